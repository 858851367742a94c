"""Drafts for sheets whose dates run down a column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from tnt_platform.readers.printed_dates import DateOrder
from tnt_platform.series.drafting.dates import MIN_DATES, DateTexts, Timeline, surest
from tnt_platform.series.drafting.drafted import UNIT, code_of, code_part, unique_codes
from tnt_platform.series.drafting.grid import Grid, letters
from tnt_platform.series.drafting.numbers import looks_numeric
from tnt_platform.series.drafting.split_dates import is_part_of_year

_HEADER_ROWS: Final = 15
# A header that names a moment will say something else in the next file.
_PASSING: Final = re.compile(r"(?:19|20)[0-9]{2}|\d{1,2}[/-]\d")
_RUN: Final = 4
_SAMPLE: Final = 2_000
_REPEATED: Final = 0.02


@dataclass(frozen=True)
class ColumnBlock:
    """One column of dates and the columns of values beside it; rows from 1, as Excel counts."""

    sheet: str
    date_letters: str
    header_row: int
    first_row: int
    frequency: str
    order: DateOrder | None
    marks: tuple[str, ...]
    dates: int
    columns: tuple[tuple[int, str | None], ...]
    texts: pl.Series
    values: int
    notes: tuple[str, ...]
    checks: tuple[str, ...]


def column_blocks(grid: Grid, dates: DateTexts) -> list[ColumnBlock]:
    """Every column of dates that has columns of values nearest to it."""
    lines = {at: line for at in range(grid.width) if (line := dates.timeline(grid.column(at))) is not None}
    found = surest(lines)
    beside: dict[int, list[int]] = {at: [] for at in found}
    for column in range(grid.width):
        if column in found:
            continue
        owner = max((at for at in found if at < column), default=min(found, default=None))
        if owner is not None and _holds_values(grid.column(column), found[owner].places):
            beside[owner].append(column)
    blocks = [_block(grid, at, found[at], columns) for at, columns in beside.items() if columns]
    return [block for block in blocks if block.dates >= MIN_DATES and not _has_months_across(block)]


def column_series(
    blocks: Sequence[tuple[str, ColumnBlock]], name: str, frequency: str
) -> list[dict[str, Any]]:
    """The series of blocks, as the YAML lists them; each block comes with its part of the codes."""
    places = [(part, block, at, header) for part, block in blocks for at, header in block.columns]
    codes = [
        code_of(code_part(name), part, code_part(header or letters(at)) or letters(at), block.frequency)
        for part, block, at, header in places
    ]
    codes = unique_codes(codes, [letters(at) for _, _, at, _ in places])
    series = []
    for code, (_, block, at, header) in zip(codes, places, strict=True):
        one: dict[str, Any] = {
            "code": code,
            "unit": UNIT,
            "sheet": block.sheet,
            "header_row": block.header_row,
            "skip_rows_after_header": block.first_row - block.header_row - 1,
            "date_column": block.date_letters,
            "value_column": letters(at),
        }
        if header and not _PASSING.search(header):
            one["header"] = header
        if block.frequency != frequency:
            one["frequency"] = block.frequency
        series.append(one)
    return series


def _has_months_across(block: ColumnBlock) -> bool:
    """Whether the columns are the months of years that run down: then none of them is a series."""
    months = [header for _, header in block.columns if header is not None and is_part_of_year(header)]
    return block.frequency == "A" and len(months) >= MIN_DATES and 2 * len(months) >= len(block.columns)


def _holds_values(texts: Sequence[str | None], rows: Sequence[int]) -> bool:
    known = [text for row in rows if row < len(texts) and (text := texts[row]) is not None]
    return bool(known) and 2 * sum(looks_numeric(text) for text in known) >= len(known)


def _block(grid: Grid, at: int, line: Timeline, columns: Sequence[int]) -> ColumnBlock:
    first = _first_of_run(line.places)
    places = [row for row in line.places if row >= first]
    header = _header_row(grid, [at, *columns], first)
    checks = []
    if header is None:
        checks.append(
            f"sheet {grid.name!r}: row {first + 1} holds data where a header is expected, so it is not read"
        )
    if not line.regular:
        checks.append(
            f"sheet {grid.name!r}: the dates in column {letters(at)} come irregularly: check the frequency"
        )
    texts = [
        text for column in columns for row in places[:_SAMPLE] if (text := grid.text(row, column)) is not None
    ]
    last = places[-1]
    notes = [text for row in range(last + 1, grid.height) if (text := grid.text(row, at)) is not None]
    row = first if header is None else header
    return ColumnBlock(
        sheet=grid.name,
        date_letters=letters(at),
        header_row=row + 1,
        first_row=max(first, row + 1) + 1,
        frequency=line.frequency,
        order=line.order,
        marks=line.marks,
        dates=len(places),
        columns=tuple((column, None if header is None else grid.text(header, column)) for column in columns),
        texts=pl.Series(texts, dtype=pl.String),
        values=len(texts),
        notes=tuple(notes),
        checks=tuple(checks),
    )


def _first_of_run(places: Sequence[int]) -> int:
    """Where dates follow each other: one that stands alone above them, such as a date of publication, is none."""
    for number, row in enumerate(places):
        following = places[number : number + _RUN]
        if len(following) < 2 or following[1] - row <= 2:
            return row
    return places[0]


def _header_row(grid: Grid, columns: Sequence[int], first: int) -> int | None:
    """The row above the data that says most, by columns named and then by different names; the lowest of equals."""
    best: tuple[int, int, int] | None = None
    for row in range(max(0, first - _HEADER_ROWS), first):
        texts = [text for column in columns if (text := grid.text(row, column)) is not None]
        if not any(grid.text(row, column) is not None for column in columns[1:]):
            continue
        score = (len(texts), len(set(texts)), row)
        best = max(best, score) if best else score
    return best[2] if best else (first - 1 if first else None)
