"""Check the frames of a sync, and move frames into PostgreSQL tables and back by COPY."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import polars as pl
import psycopg2
from sqlalchemy import Connection, text

from tnt_platform.directory.postgres.tables import KINDS
from tnt_platform.directory.transforms.tenants import UNIQUE_ID_BYTES_MAX
from tnt_platform.errors import PermanentError

SLUG_LENGTH_MAX = 200
_COPY_BYTES = 1 << 16
_COPY_ROWS = 4096

_UTC = pl.Datetime("us", "UTC")
_TEXT_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ESCAPED = r"[\\\t\n\r]"
_ARRAY_ESCAPES = {"\\": "\\\\", '"': '\\"'}
_COPY_POSITION = re.compile(r"COPY \w+, line (\d+)(?:, column (\w+))?")


@dataclass(frozen=True, eq=False)
class Staged:
    """A temporary table: the type of each column in frames and in PostgreSQL, the required columns and the key."""

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


@dataclass(frozen=True, eq=False)
class Frames:
    """The checked frames of one sync, and the unique_ids whose rows must not be withdrawn."""

    tenants: pl.DataFrame
    categories: pl.DataFrame
    floors: pl.DataFrame
    issues: pl.DataFrame
    unmapped: pl.DataFrame
    held_back: Sequence[str]

    @property
    def detail_counters(self) -> dict[str, int]:
        """Count issues, and unmapped values (distinct values, not records)."""
        return {
            "validation_issues": self.issues.height,
            "unmapped_floors": self.unmapped.filter(kind="floor").height,
            "unmapped_categories": self.unmapped.filter(kind="category").height,
        }


def checked_frames(
    tenants: pl.DataFrame,
    *,
    categories: pl.DataFrame,
    floors: pl.DataFrame,
    issues: pl.DataFrame,
    unmapped: pl.DataFrame,
    held_back: Sequence[str],
) -> Frames:
    """Check the frames of a sync and keep only the columns that are stored.

    Raises:
        PermanentError: a frame cannot be stored; see `checked` and `checked_tenants`.
    """
    categories = checked(categories, CATEGORIES)
    floors = checked(floors, FLOORS)
    return Frames(
        tenants=checked_tenants(tenants, categories, floors),
        categories=categories,
        floors=floors,
        issues=checked(issues, ISSUES),
        unmapped=checked(unmapped, UNMAPPED),
        held_back=held_back,
    )


def checked(frame: pl.DataFrame, staged: Staged) -> pl.DataFrame:
    """Check `frame` as far as that needs no server, and keep only the columns of `staged`.

    Raises:
        PermanentError: a column is missing or has the wrong type, a required value is null, a key is repeated, or a
            string contains a NUL character. The record is named.
    """
    schema = staged.schema()
    wrong = [name for name, dtype in schema.items() if frame.schema.get(name) != dtype]
    if wrong:
        expected = ", ".join(f"{name} {schema[name]}" for name in wrong)
        raise PermanentError(
            f"the frame for {staged.table} must have the columns {expected}; it has {frame.schema}"
        )
    frame = frame.select(*schema)
    faults = [(name, "is null", pl.col(name).is_null()) for name in staged.required]
    for name, dtype in schema.items():
        if dtype == pl.String():
            faults.append((name, "contains a NUL character", pl.col(name).str.contains("\x00", literal=True)))
        elif dtype == pl.List(pl.String()):
            joined = pl.col(name).list.join("", ignore_nulls=True)
            faults.append((name, "contains a NUL character", joined.str.contains("\x00", literal=True)))
    if staged.key:
        faults.append((staged.key[0], "occurs more than once", pl.struct(staged.key).is_duplicated()))
    # One pass over the frame finds which faults there are; only then are their records searched.
    found = frame.select(fault.any().alias(str(number)) for number, (_, _, fault) in enumerate(faults)).row(0)
    for (name, what, fault), is_there in zip(faults, found, strict=True):
        if is_there:
            _refuse(frame, fault, name, what)
    return frame


def checked_tenants(tenants: pl.DataFrame, categories: pl.DataFrame, floors: pl.DataFrame) -> pl.DataFrame:
    """Check the tenants like `checked`, and that kinds and codes exist, slug bases are set and keys are short enough.

    Slug bases are cut to `SLUG_LENGTH_MAX` characters.

    Raises:
        PermanentError: see above; the first faulty record is named.
    """
    frame = checked(tenants, TENANTS)
    _refuse(frame, ~pl.col("kind").is_in(list(KINDS)), "kind", f"is not one of {', '.join(KINDS)}")
    _refuse(frame, pl.col("slug_base") == "", "slug_base", "is empty")
    too_long = pl.col("unique_id").str.len_bytes() > UNIQUE_ID_BYTES_MAX
    _refuse(frame, too_long, "unique_id", f"has more than {UNIQUE_ID_BYTES_MAX:,} bytes")
    for name, lookup in (("category", categories), ("floor", floors)):
        known = pl.col(name).is_in(lookup["code"].implode())
        _refuse(frame, ~known, name, "is a code that is not in the lookup")
    return frame.with_columns(pl.col("slug_base").str.slice(0, SLUG_LENGTH_MAX))


def stage(connection: Connection, frame: pl.DataFrame, staged: Staged) -> None:
    """Create the temporary table of `staged`, which lasts until the transaction ends, and fill it.

    `frame` has passed `checked`.

    Raises:
        PermanentError: see `copy_into`.
    """
    columns = ", ".join(f"{name} {kind}" for name, (_, kind) in staged.columns.items())
    connection.execute(text(f"CREATE TEMP TABLE {staged.table} ({columns}) ON COMMIT DROP"))
    copy_into(connection, staged.table, frame)


def copy_into(connection: Connection, table: str, frame: pl.DataFrame) -> int:
    """COPY `frame` into the columns of `table` with the same names, and return how many rows were written.

    Raises:
        PermanentError: PostgreSQL rejects a value, such as invalid JSON; the record and column are named.
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
    """A file with `frame` in COPY's text format; rows are printed while the server stores the ones before them."""

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
    """COPY the rows of `query` into a frame of `schema`: strings, numbers and booleans without nulls."""
    driver: Any = connection.connection.dbapi_connection
    csv = BytesIO()
    with driver.cursor() as cursor:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH (FORMAT csv)", csv, _COPY_BYTES)
    if not csv.tell():
        return pl.DataFrame(schema=schema)
    return pl.read_csv(csv.getvalue(), has_header=False, schema=dict(schema))


def copy_text(frame: pl.DataFrame) -> BytesIO:
    """Print `frame` in COPY's text format, exactly one line per row, so that the line of an error is its row."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String()]
    # Searching is five times cheaper than replacing, and few columns contain such characters.
    found = frame.select(pl.col(texts).str.contains(_ESCAPED).any()).row(0, named=True) if texts else {}
    plain = {name for name in texts if not found[name]}
    buffer = BytesIO()
    frame.select(
        pl.col(name) if name in plain else _as_text(name, dtype) for name, dtype in frame.schema.items()
    ).write_csv(buffer, include_header=False, separator="\t", quote_style="never", null_value="\\N")
    buffer.seek(0)
    return buffer


def content_fingerprint(*frames: pl.DataFrame) -> str:
    """Compute a digest of the frames that does not depend on the order of their rows."""
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
            f"{found.height:,} records cannot be stored: {column} {what}, first in {_named(found.row(0, named=True))}"
        )


def _named(row: Mapping[str, Any]) -> str:
    """Name a row in a message: by its id, code or value if it has one, else by its number."""
    name = row.get("unique_id") or row.get("code") or row.get("value")
    return repr(str(name)[:100]) if name else f"row {row['row'] + 1:,}"


def _refused_value(frame: pl.DataFrame, table: str, error: psycopg2.Error) -> str:
    reason = (error.diag.message_primary or str(error)).strip()
    position = _COPY_POSITION.search(error.diag.context or "")
    if position is None or int(position[1]) > frame.height:
        return f"a record for {table} cannot be stored: {reason}"
    number = int(position[1]) - 1
    row = {"row": number, **frame.row(number, named=True)}
    return f"the record {_named(row)} cannot be stored: {position[2] or 'a column'}: {reason}"
