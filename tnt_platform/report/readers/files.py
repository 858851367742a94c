"""Read a CSV, JSON or Parquet file for a report: count its records, and return those that are malformed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, NoReturn

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import MEMBER_LIMIT_BYTES, MEMBER_MAX_RATIO, decompress, is_compressed
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, read_rows
from tnt_platform.readers.dialect import Dialect, detect_dialect
from tnt_platform.readers.encoding import decode
from tnt_platform.readers.layout import DelimitedFormat, as_layout
from tnt_platform.readers.served_page import first_text, refuse_page
from tnt_platform.report.transforms.totals import totals_of

Format = Literal["csv", "jsonl", "json", "parquet"]

BAD: Final = {"line_no": pl.Int64(), "raw": pl.String(), "reason_code": pl.String(), "reason": pl.String()}
_RAW_LIMIT_CHARS: Final = 10_000
_SAMPLE_BYTES: Final = 256 << 10
# The sum of one row is that row.
_MIN_SUMMED: Final = 3
# file_key, line_no and raw stand before the columns of the file.
_OWN_COLUMNS: Final = 3
_PARQUET: Final = b"PAR1"
_MAGIC_BYTES: Final = ((b"\x1f\x8b", "gzip"), (b"PK", "zip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))
_COMPRESSED_SUFFIXES: Final = (".gz", ".zip", ".bz2", ".xz")
_Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class ReportFile:
    """What one file holds; rows_in = records.height + bad.height.

    columns: names from the header, or the fields of the objects in order of appearance.
    records: one row per valid record: line_no (1-based line, or position in an array or table), raw (its text; null
        unless columns are wanted), and the wanted columns that the file has, as String.
    bad: line_no, raw (first 10,000 characters), reason_code, reason.
    """

    format: Format
    compression: str | None
    columns: tuple[str, ...]
    rows_in: int
    records: pl.DataFrame
    bad: pl.DataFrame


def read_report_file(
    name: str, data: bytes, wanted: Sequence[str] = (), text: DelimitedFormat | None = None
) -> ReportFile:
    """Read a delimited text, JSON lines, a JSON array or object, or Parquet, compressed or not.

    The content decides the format: Parquet's magic bytes, then JSON, else CSV. A file named as JSON or Parquet with
    other content is rejected. Blank lines are not records.

    Args:
        wanted: columns whose values are returned as strings.
        text: how delimited texts are written; found out file by file if left out.

    Raises:
        InvalidInput: the file can't be read at all: html_page, empty_file, not_json, not_parquet, and the reason codes
            of `decompress` and `read_rows` for whole files.
    """
    compression = next((name for magic, name in _MAGIC_BYTES if data.startswith(magic)), None)
    compression = compression if is_compressed(data) else None
    plain = decompress(data, limit_bytes=MEMBER_LIMIT_BYTES, max_ratio=MEMBER_MAX_RATIO)
    if not plain.strip():
        raise InvalidInput("empty_file", "the file is empty; deliver it again, or delete it")
    kind, read = _reader_of(_plain_name(name), plain)
    if kind == "csv":
        columns, rows_in, records, bad = _csv(plain, tuple(wanted), text)
    else:
        columns, rows_in, records, bad = read(plain, tuple(wanted))
    return ReportFile(kind, compression, tuple(columns), rows_in, records, bad)


_Read = tuple[Sequence[str], int, pl.DataFrame, pl.DataFrame]
_Reader = Callable[[bytes, tuple[str, ...]], _Read]


def _plain_name(name: str) -> str:
    lower = name.lower()
    return next((lower.removesuffix(end) for end in _COMPRESSED_SUFFIXES if lower.endswith(end)), lower)


def _reader_of(name: str, data: bytes) -> tuple[Format, _Reader]:
    if data.startswith(_PARQUET) and data.endswith(_PARQUET):
        return "parquet", _parquet
    if name.endswith((".parquet", ".pq")):
        raise InvalidInput(
            "not_parquet",
            f"the file is named as Parquet, but starts with {data[:20]!r} and ends with {data[-8:]!r}; it may be "
            "truncated: deliver it again",
        )
    refuse_page(data)
    beginning = first_text(data).lstrip()
    is_lines = name.endswith((".jsonl", ".ndjson"))
    if beginning[:1] in ("{", "["):
        if beginning.startswith("{") and (is_lines or _several_objects(data)):
            return "jsonl", _json_lines
        if is_lines or _parsed(data) is not None:
            return ("json", _json_document) if _parsed(data) is not None else ("jsonl", _json_lines)
    if name.endswith(".json"):
        fault = _json_fault(data)
        raise InvalidInput(
            "not_json", f"the file is named as JSON, but is not valid JSON ({fault}); deliver it again"
        )
    return ("jsonl", _json_lines) if is_lines else ("csv", _csv)


def _several_objects(data: bytes) -> bool:
    """Whether the first line is a complete object and more lines follow."""
    lines = (line for _, line in _lines(data))
    first = next(lines, "")
    return next(lines, None) is not None and isinstance(_load(first), dict)


def _csv(data: bytes, wanted: tuple[str, ...], declared: DelimitedFormat | None = None) -> _Read:
    dialect = None if declared else detect_dialect(_sample(data))
    rows = read_rows([RawFile("file", data)], as_layout(declared) if declared else _layout_of(dialect))
    whole = rows.bad.filter(pl.col("line_no") == 0)
    if not whole.is_empty():
        raise InvalidInput(whole["reason_code"][0], whole["reason"][0])
    columns = rows.good_cells.collect_schema().names()[_OWN_COLUMNS:]
    present = [name for name in wanted if name in columns]
    surplus = columns[-1:] if dialect and dialect.trailing else []
    typed = [columns[at] for at in dialect.typed] if dialect else []
    found = rows.good_cells.select("line_no", "raw", *dict.fromkeys([*present, *surplus, *typed])).collect(
        engine="streaming"
    )
    bad = [rows.bad.select(list(BAD))]
    if dialect:
        found, not_data = _without_other_lines(found, dialect, surplus, typed, present)
        bad += not_data
    raw = pl.col("raw") if present else pl.lit(None, pl.String).alias("raw")
    counts = rows.files.row(0, named=True)
    rejected = pl.concat(bad).sort("line_no", maintain_order=True)
    rows_in = counts["rows_in"] - counts["blank_lines"]
    return columns[: len(columns) - len(surplus)], rows_in, found.select("line_no", raw, *present), rejected


def _without_other_lines(
    rows: pl.DataFrame, dialect: Dialect, surplus: list[str], typed: list[str], summed: list[str]
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Take out lines as wide as the table that are not its rows: shifted ones, units, notes and totals."""
    bad = []
    for name in surplus:
        rows, shifted = _split(rows, ~_is_blank(name))
        bad.append(_as_bad(shifted, "too_many_columns", "the row has one cell more than the header names"))
    if dialect.units_row:
        rows, units = _split(rows, pl.col("line_no") == dialect.units_row)
        bad.append(_as_bad(units, "not_data", "the row names units or headings, not values"))
    if typed:
        named = ", ".join(typed[:5])
        has_digit = (pl.col(name).fill_null("").str.contains(r"\d") for name in typed)
        rows, notes = _split(rows, ~pl.any_horizontal(has_digit))
        bad.append(_as_bad(notes, "not_data", f"no number or date in {named}, as in a note below a table"))
        rows, totals = _split(rows, pl.col("line_no").is_in(_total_lines(rows, typed, summed)))
        bad.append(_as_bad(totals, "total_row", "the last row holds the sum of those above it"))
    return rows, bad


def _total_lines(rows: pl.DataFrame, typed: list[str], summed: list[str]) -> list[int]:
    """Return the line of the last row if it leaves a typed column empty and holds the sums of the others."""
    if rows.height < _MIN_SUMMED:
        return []
    last, above = rows.tail(1), rows.head(-1)
    empty = last.select(pl.any_horizontal(_is_blank(name) for name in typed)).item()
    own, sums = totals_of(last, summed).sums, totals_of(above, summed).sums
    is_total = empty and any(own.values()) and all(own[name] in (None, sums[name]) for name in own)
    return [int(last["line_no"][0])] if is_total else []


def _is_blank(name: str) -> pl.Expr:
    return pl.col(name).fill_null("").str.strip_chars() == ""


def _sample(data: bytes) -> str:
    """Return the first whole lines of a text."""
    text_utf8 = decode(data, declared=None).text_utf8
    head = text_utf8[:_SAMPLE_BYTES]
    if len(text_utf8) > len(head):
        head = head[: head.rfind(b"\n") + 1] or head
    return head.decode("utf-8", "replace")


def _layout_of(dialect: Dialect | None) -> DelimitedLayout:
    assert dialect is not None, "a text that is not declared is detected"
    width = dialect.width
    if dialect.header_row is None:
        return DelimitedLayout(
            separator=dialect.separator,
            escape=dialect.escape,
            header=False,
            skip_rows=dialect.first_row - 1,
            max_columns=width,
        )
    return DelimitedLayout(
        separator=dialect.separator,
        escape=dialect.escape,
        header_row=dialect.header_row,
        min_columns=width,
        max_columns=width + 1 if dialect.trailing else None,
    )


def _split(rows: pl.DataFrame, is_bad: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    return rows.filter(~is_bad), rows.filter(is_bad)


def _as_bad(rows: pl.DataFrame, code: str, reason: str) -> pl.DataFrame:
    return rows.select(
        "line_no",
        pl.col("raw").str.slice(0, _RAW_LIMIT_CHARS),
        reason_code=pl.lit(code),
        reason=pl.lit(reason),
    )


def _json_lines(data: bytes, wanted: tuple[str, ...]) -> _Read:
    return _objects(((number, line, _load(line)) for number, line in _lines(data)), wanted)


def _json_document(data: bytes, wanted: tuple[str, ...]) -> _Read:
    document = _parsed(data)
    items = document if isinstance(document, list) else [document]
    return _objects(((number, None, item) for number, item in enumerate(items, start=1)), wanted)


def _objects(items: Iterator[tuple[int, str | None, Any]], wanted: tuple[str, ...]) -> _Read:
    """Build records of objects from (line number, text or None to serialize the value, value or _Fault)."""
    columns: dict[str, None] = {}
    good: _Rows = []
    bad: _Rows = []
    for number, text, item in items:
        if isinstance(item, dict):
            columns |= dict.fromkeys(item)
            raw = (text if text is not None else _json_text(item)) if wanted else None
            good.append((number, raw, *(_value_text(item.get(name)) for name in wanted)))
        else:
            raw = text if text is not None else _json_text(item)
            bad.append((number, _storable(raw)[:_RAW_LIMIT_CHARS], *_fault_of(item)))
    schema: dict[str, Any] = {"line_no": pl.Int64(), "raw": pl.String(), **dict.fromkeys(wanted, pl.String())}
    rows = [tuple(_storable(cell) if isinstance(cell, str) else cell for cell in row) for row in good]
    records = pl.DataFrame(rows, schema=schema, orient="row")
    absent = [name for name in wanted if name not in columns]
    return (
        [_storable(name) for name in columns],
        len(good) + len(bad),
        records.drop(absent),
        pl.DataFrame(bad, schema=BAD, orient="row"),
    )


def _parquet(data: bytes, wanted: tuple[str, ...]) -> _Read:
    try:
        table = pl.scan_parquet(io.BytesIO(data))
        schema = table.collect_schema()
        present = [name for name in wanted if name in schema]
        rows_in = int(table.select(pl.len()).collect().item())
        values = table.select(present).collect() if present else pl.DataFrame()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(
            "not_parquet", f"the Parquet file is damaged ({error}); deliver it again"
        ) from error
    strings = {name: _as_strings(values[name]) for name in present}
    positions: Mapping[str, Any] = {"line_no": pl.int_range(1, rows_in + 1, eager=True, dtype=pl.Int64)}
    records = pl.DataFrame({**positions, **strings}).with_columns(_raw_row(present))
    return schema.names(), rows_in, records.select("line_no", "raw", *present), pl.DataFrame(schema=BAD)


def _raw_row(names: Sequence[str]) -> pl.Expr:
    if not names:
        return pl.lit(None, pl.String).alias("raw")
    return pl.struct(names).struct.json_encode().alias("raw")


def _as_strings(values: pl.Series) -> pl.Series:
    if values.dtype.is_numeric() or values.dtype == pl.String:
        return values.cast(pl.String)
    return pl.Series([None if value is None else str(value) for value in values.to_list()], dtype=pl.String)


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, numbered from 1."""
    text = decode(data, declared=None).text_utf8.decode("utf-8", "backslashreplace")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


class _Fault(str):
    """Why a text is not valid JSON; a type of its own, since JSON values may be strings."""

    __slots__ = ()


def _load(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        return _Fault(str(error) or type(error).__name__)


def _parsed(data: bytes) -> list[Any] | dict[str, Any] | None:
    """Parse the file as one JSON array or object; return None if it is neither."""
    value = _document(data)
    return value if isinstance(value, list | dict) else None


def _json_fault(data: bytes) -> str:
    value = _document(data)
    return value if isinstance(value, _Fault) else "it is neither an array nor an object"


def _document(data: bytes) -> Any:
    try:
        return _load(data.decode(json.detect_encoding(data)).removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        return _Fault(str(error))


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _fault_of(item: Any) -> tuple[str, str]:
    if isinstance(item, _Fault):
        return "not_json", f"the line is not valid JSON: {item}"
    kind = "null" if item is None else type(item).__name__
    return "not_an_object", f"a record must be a JSON object, not {kind}"


def _value_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value) if type(value) in (int, Decimal) else _json_text(value)


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _storable(text: str) -> str:
    """Escape unpaired surrogates, which JSON can express but nothing can store."""
    return text.encode("utf-8", "backslashreplace").decode()
