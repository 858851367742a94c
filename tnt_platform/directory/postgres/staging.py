"""Frames into PostgreSQL tables by COPY and back, refused by name where PostgreSQL could not hold them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import polars as pl
import psycopg2
from sqlalchemy import Connection, text

from tnt_platform.errors import PermanentError

SLUG_LENGTH_MAX = 200
# An entry of a PostgreSQL index holds 2,704 bytes.
UNIQUE_ID_BYTES_MAX = 1000
_COPY_BYTES = 1 << 16
_COPY_ROWS = 4096

_UTC = pl.Datetime("us", "UTC")
_TEXT_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ESCAPED = r"[\\\t\n\r]"
_ARRAY_ESCAPES = {"\\": "\\\\", '"': '\\"'}
_COPY_PLACE = re.compile(r"COPY \w+, line (\d+)(?:, column (\w+))?")


@dataclass(frozen=True, eq=False)
class Staged:
    """One temporary table: its columns' frame types and PostgreSQL types, and which must be set."""

    table: str
    columns: Mapping[str, tuple[pl.DataType, str]]
    required: tuple[str, ...]
    key: tuple[str, ...] = ()

    def schema(self) -> dict[str, pl.DataType]:
        return {name: dtype for name, (dtype, _) in self.columns.items()}


def _texts(*names: str) -> dict[str, tuple[pl.DataType, str]]:
    return {name: (pl.String(), "text") for name in names}


TENANTS = Staged(
    "incoming",
    {
        **_texts("unique_id", "tenant_id", "kind", "slug_base"),
        **_texts("title_en", "title_th", "title_zh", "description_en", "description_th", "description_zh"),
        **_texts("category", "floor", "zone", "unit", "opening_hours_text"),
        "opening_hours": (pl.String(), "jsonb"),
        **_texts("tel", "website", "logo"),
        "gallery": (pl.List(pl.String()), "text[]"),
        "source_active": (pl.Boolean(), "boolean"),
        "starts_on": (pl.Date(), "date"),
        "ends_on": (pl.Date(), "date"),
        "tenant_last_update": (_UTC, "timestamptz"),
        "mall_last_update": (_UTC, "timestamptz"),
        "attributes": (pl.String(), "jsonb"),
        **_texts("fingerprint"),
    },
    required=("unique_id", "tenant_id", "kind", "slug_base", "attributes", "fingerprint"),
    key=("unique_id",),
)
CATEGORIES = Staged(
    "incoming_categories", _texts("code", "name_en", "name_th", "name_zh"), required=("code",), key=("code",)
)
FLOORS = Staged(
    "incoming_floors",
    {**_texts("code", "name"), "sort_order": (pl.Int64(), "integer")},
    required=("code", "sort_order"),
    key=("code",),
)
ISSUES = Staged(
    "incoming_issues",
    _texts("unique_id", "field", "issue_code", "value", "message"),
    required=("field", "issue_code", "message"),
)
UNMAPPED = Staged(
    "incoming_unmapped",
    {
        **_texts("kind", "value"),
        "records": (pl.Int64(), "bigint"),
        "candidates": (pl.String(), "jsonb"),
    },
    required=("kind", "value", "records", "candidates"),
)


def checked(frame: pl.DataFrame, staged: Staged) -> pl.DataFrame:
    """`frame` with the columns of `staged` only, after every check that needs no server.

    Raises:
        PermanentError: a column is missing or of another type, a required value is null, a key occurs twice
            or a text holds a NUL character; the record is named.
    """
    schema = staged.schema()
    wrong = [name for name, dtype in schema.items() if frame.schema.get(name) != dtype]
    if wrong:
        expected = ", ".join(f"{name} {schema[name]}" for name in wrong)
        raise PermanentError(
            f"the frame for {staged.table} needs the columns {expected}; it has {frame.schema}"
        )
    frame = frame.select(*schema)
    faults = [(name, "is null", pl.col(name).is_null()) for name in staged.required]
    for name, dtype in schema.items():
        if dtype == pl.String():
            faults.append((name, "holds a NUL character", pl.col(name).str.contains("\x00", literal=True)))
        elif dtype == pl.List(pl.String()):
            joined = pl.col(name).list.join("", ignore_nulls=True)
            faults.append((name, "holds a NUL character", joined.str.contains("\x00", literal=True)))
    if staged.key:
        faults.append((staged.key[0], "occurs more than once", pl.struct(staged.key).is_duplicated()))
    # One look over the frame; the records are looked for only where there is a fault.
    found = frame.select(fault.any().alias(str(number)) for number, (_, _, fault) in enumerate(faults)).row(0)
    for (name, what, fault), is_there in zip(faults, found, strict=True):
        if is_there:
            _refuse(frame, fault, name, what)
    return frame


def checked_tenants(
    tenants: pl.DataFrame, categories: pl.DataFrame, floors: pl.DataFrame, kinds: tuple[str, ...]
) -> pl.DataFrame:
    """`checked` for TENANTS; also kinds and codes must be known, slug bases set and keys not too long.

    Slug bases are cut to `SLUG_LENGTH_MAX` characters.

    Raises:
        PermanentError: see above; the first record at fault is named.
    """
    frame = checked(tenants, TENANTS)
    _refuse(frame, ~pl.col("kind").is_in(kinds), "kind", f"is not one of {', '.join(kinds)}")
    _refuse(frame, pl.col("slug_base") == "", "slug_base", "is empty")
    too_long = pl.col("unique_id").str.len_bytes() > UNIQUE_ID_BYTES_MAX
    _refuse(frame, too_long, "unique_id", f"has more than {UNIQUE_ID_BYTES_MAX:,} bytes")
    for name, lookup in (("category", categories), ("floor", floors)):
        known = pl.col(name).is_in(lookup["code"].implode())
        _refuse(frame, ~known, name, "is a code that the lookup doesn't have")
    return frame.with_columns(pl.col("slug_base").str.slice(0, SLUG_LENGTH_MAX))


def stage(connection: Connection, frame: pl.DataFrame, staged: Staged) -> None:
    """Make the temporary table of `staged`, which lives until the transaction ends, and fill it.

    `frame` went through `checked`.

    Raises:
        PermanentError: see `copy_into`.
    """
    columns = ", ".join(f"{name} {kind}" for name, (_, kind) in staged.columns.items())
    connection.execute(text(f"CREATE TEMP TABLE {staged.table} ({columns}) ON COMMIT DROP"))
    copy_into(connection, staged.table, frame)


def copy_into(connection: Connection, table: str, frame: pl.DataFrame) -> int:
    """COPY `frame` into the columns of `table` that have its names; returns how many rows it became.

    Raises:
        PermanentError: PostgreSQL refuses a value, such as broken JSON; the record and column are named.
    """
    driver: Any = connection.connection.dbapi_connection
    statement = f"COPY {table} ({', '.join(frame.columns)}) FROM STDIN"
    with driver.cursor() as cursor, ThreadPoolExecutor(1) as ahead:
        try:
            cursor.copy_expert(statement, _CopyStream(frame, ahead), _COPY_BYTES)
        except psycopg2.DataError as error:
            raise PermanentError(_refused_value(frame, table, error)) from error
        return int(cursor.rowcount)


class _CopyStream:
    """A file of `frame` in COPY's text format; the next rows are made while the server takes in the last ones."""

    def __init__(self, frame: pl.DataFrame, ahead: Executor) -> None:
        self._texts = (ahead.submit(copy_text, part) for part in frame.iter_slices(_COPY_ROWS))
        self._next = next(self._texts, None)
        self._current = BytesIO()

    def read(self, size_bytes: int) -> bytes:
        while not (found := self._current.read(size_bytes)) and self._next is not None:
            self._current = self._next.result()
            self._next = next(self._texts, None)
        return found


def copy_out(connection: Connection, query: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The rows of `query` in the columns of `schema`: texts, numbers and true or false, none of them null."""
    driver: Any = connection.connection.dbapi_connection
    answer = BytesIO()
    with driver.cursor() as cursor:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH (FORMAT csv)", answer, _COPY_BYTES)
    if not answer.tell():
        return pl.DataFrame(schema=schema)
    return pl.read_csv(answer.getvalue(), has_header=False, schema=dict(schema))


def copy_text(frame: pl.DataFrame) -> BytesIO:
    """`frame` in COPY's text format: one line a row whatever the texts hold, so that an error's line is a row."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String()]
    # Looking is five times cheaper than replacing, and few columns hold such characters.
    found = frame.select(pl.col(texts).str.contains(_ESCAPED).any()).row(0, named=True) if texts else {}
    plain = {name for name in texts if not found[name]}
    buffer = BytesIO()
    frame.select(
        pl.col(name) if name in plain else _as_text(name, dtype) for name, dtype in frame.schema.items()
    ).write_csv(buffer, include_header=False, separator="\t", quote_style="never", null_value="\\N")
    buffer.seek(0)
    return buffer


def content_fingerprint(*frames: pl.DataFrame) -> str:
    """A digest of what the frames hold, whatever the order of their rows."""
    digest = hashlib.sha256()
    for frame in frames:
        for line in sorted(copy_text(frame).getvalue().splitlines()):
            digest.update(line + b"\n")
        digest.update(b"\x00")
    return digest.hexdigest()


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String():
        return _escaped(pl.col(name), _TEXT_ESCAPES)
    if dtype == pl.List(pl.String()):
        quoted = pl.concat_str(pl.lit('"'), _escaped(pl.element(), _ARRAY_ESCAPES), pl.lit('"'))
        joined = pl.col(name).list.eval(quoted.fill_null("NULL")).list.join(",").fill_null("")
        return _escaped(pl.concat_str(pl.lit("{"), joined, pl.lit("}")), _TEXT_ESCAPES).alias(name)
    return pl.col(name)


def _escaped(values: pl.Expr, escapes: Mapping[str, str]) -> pl.Expr:
    return values.str.replace_many(list(escapes), list(escapes.values()))


def _refuse(frame: pl.DataFrame, wrong: pl.Expr, column: str, what: str) -> None:
    found = frame.with_row_index("row").filter(wrong.fill_null(False))
    if found.height:
        raise PermanentError(
            f"{found.height:,} records can't be stored: {column} {what}, first in {_named(found.row(0, named=True))}"
        )


def _named(row: Mapping[str, Any]) -> str:
    """How a message calls a row: its own name where it has one, else its place."""
    name = row.get("unique_id") or row.get("code") or row.get("value")
    return repr(str(name)[:100]) if name else f"row {row['row'] + 1:,}"


def _refused_value(frame: pl.DataFrame, table: str, error: psycopg2.Error) -> str:
    words = (error.diag.message_primary or str(error)).strip()
    place = _COPY_PLACE.search(error.diag.context or "")
    if place is None or int(place[1]) > frame.height:
        return f"a record for {table} can't be stored: {words}"
    number = int(place[1]) - 1
    row = {"row": number, **frame.row(number, named=True)}
    return f"the record {_named(row)} can't be stored: {place[2] or 'a column'}: {words}"
