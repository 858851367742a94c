"""The records of a delimited text, whose columns nobody may have declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, read_rows
from tnt_platform.readers.dialect import Dialect, detect_dialect
from tnt_platform.readers.encoding import decode
from tnt_platform.readers.layout import DelimitedFormat, as_layout
from tnt_platform.report.readers.records import BAD, RAW_LIMIT_CHARS, Records
from tnt_platform.report.transforms.totals import totals_of

_SAMPLE_BYTES: Final = 256 << 10
# The sum of one row is that row.
_MIN_SUMMED: Final = 3
# file_key, line_no and raw stand before the columns of the file.
_OWN_COLUMNS: Final = 3


def read_delimited(data: bytes, wanted: Sequence[str], declared: DelimitedFormat | None = None) -> Records:
    """Read a text as declared, or else by the shape of its rows.

    Raises:
        InvalidInput: the reason codes of `detect_dialect`, and of `read_rows` for whole files.
    """
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
    named = columns[: len(columns) - len(surplus)]
    return Records(named, rows_in, found.select("line_no", raw, *present), rejected)


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
        # A row of empty cells says nothing, so it is no note.
        rows, notes = _split(rows, ~pl.any_horizontal(has_digit) & pl.col("raw").str.contains(r"\w"))
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
        pl.col("raw").str.slice(0, RAW_LIMIT_CHARS),
        reason_code=pl.lit(code),
        reason=pl.lit(reason),
    )
