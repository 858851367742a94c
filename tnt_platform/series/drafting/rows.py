"""Drafts for sheets whose dates run along a row, once or in several blocks below each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from tnt_platform.readers.printed_dates import DateOrder
from tnt_platform.series.drafting.dates import MIN_DATES, DateTexts, Timeline, surest
from tnt_platform.series.drafting.drafted import UNIT, code_of, code_part, unique_codes
from tnt_platform.series.drafting.grid import Grid, letters
from tnt_platform.series.drafting.numbers import looks_numeric
from tnt_platform.series.readers.cells import slug

# More rows than this are written as a block, whose rows are series each.
MAX_LISTED: Final = 12
_WINDOW: Final = 2_000


@dataclass(frozen=True)
class DateRow:
    """One row of dates and the labelled rows of values below it, up to the next row of dates; rows from 1.

    `title` is what stands before the first date; `labels` the rows with their texts.
    """

    sheet: str
    dates_row: int
    first_letters: str
    label_letters: str
    title: str | None
    frequency: str
    order: DateOrder | None
    marks: tuple[str, ...]
    dates: int
    labels: tuple[tuple[int, str], ...]
    texts: pl.Series
    values: int
    checks: tuple[str, ...]


def date_rows(grid: Grid, dates: DateTexts) -> list[DateRow]:
    """Every row of dates that has labelled values below it."""
    every = {}
    for row in range(min(grid.height, _WINDOW)):
        texts = grid.row(row)
        if sum(map(dates.is_date, texts)) >= MIN_DATES and (line := dates.timeline(texts)) is not None:
            every[row] = line
    lines = list(surest(every).items())
    ends = [*(row for row, _ in lines[1:]), grid.height]
    found = (_date_row(grid, row, line, end) for (row, line), end in zip(lines, ends, strict=False))
    return [row for row in found if row is not None]


def _date_row(grid: Grid, row: int, line: Timeline, end: int) -> DateRow | None:
    """A row of dates with the labelled rows of values above row `end`, None if there are none."""
    first = line.places[0]
    rows = [at for at in range(row + 1, end) if _has_values(grid, at, line.places)]
    column = _label_column(grid, rows, first)
    if column is None:
        return None
    labels = [(at + 1, label) for at in rows if (label := grid.text(at, column)) is not None and slug(label)]
    if not labels:
        return None
    texts = [text for at in rows for place in line.places if (text := grid.text(at, place)) is not None]
    return DateRow(
        sheet=grid.name,
        dates_row=row + 1,
        first_letters=letters(first),
        label_letters=letters(column),
        title=grid.text(row, column),
        frequency=line.frequency,
        order=line.order,
        marks=line.marks,
        dates=line.count,
        labels=tuple(labels),
        texts=pl.Series(texts, dtype=pl.String),
        values=len(texts),
        checks=tuple(_row_checks(grid.name, row, rows, dict(labels), line)),
    )


def _row_checks(
    sheet: str, dates_row: int, rows: Sequence[int], labels: Mapping[int, str], line: Timeline
) -> Iterator[str]:
    for at in rows:
        if at + 1 not in labels:
            yield f"sheet {sheet!r}: row {at + 1} has values but no label: it is left out"
    if not line.regular:
        yield f"sheet {sheet!r}: the dates in row {dates_row + 1} come irregularly: check the frequency"


def row_series(rows: Sequence[tuple[str, DateRow]], name: str, frequency: str) -> list[dict[str, Any]]:
    """The series below rows of dates, as the YAML lists them; each row comes with its sheet's part of the codes."""
    listed = sum(len(row.labels) for _, row in rows) <= MAX_LISTED
    titles = _titles([row for _, row in rows])
    if listed:
        return _single_series(rows, titles, name, frequency)
    series = []
    for (part, row), title in zip(rows, titles, strict=True):
        for number, labels in enumerate(_without_repeats(row.labels)):
            again = str(number + 1) if number else ""
            code = code_of(code_part(name), part, title, again, "{label}", row.frequency)
            one: dict[str, Any] = {"code": code, "unit": UNIT, "sheet": row.sheet, "dates_row": row.dates_row}
            one |= {"first_column": row.first_letters, "label_column": row.label_letters}
            one |= {"first_row": labels[0][0], "last_row": labels[-1][0]}
            series.append(one | ({"frequency": row.frequency} if row.frequency != frequency else {}))
    codes = unique_codes([one["code"] for one in series], [f"R{one['first_row']}" for one in series])
    return [{**one, "code": code} for one, code in zip(series, codes, strict=True)]


def _single_series(
    rows: Sequence[tuple[str, DateRow]], titles: Sequence[str], name: str, frequency: str
) -> list[dict[str, Any]]:
    places = [
        (part, title, row, at, label)
        for (part, row), title in zip(rows, titles, strict=True)
        for at, label in row.labels
    ]
    codes = [
        code_of(code_part(name), part, title, code_part(label), row.frequency)
        for part, title, row, _, label in places
    ]
    series = []
    for code, (_, _, row, at, label) in zip(
        unique_codes(codes, [f"R{at}" for *_, at, _ in places]), places, strict=True
    ):
        one: dict[str, Any] = {"code": code, "unit": UNIT, "sheet": row.sheet, "dates_row": row.dates_row}
        one |= {"first_column": row.first_letters, "values_row": at, "label": label}
        one |= {"label_column": row.label_letters} if row.label_letters != "A" else {}
        series.append(one | ({"frequency": row.frequency} if row.frequency != frequency else {}))
    return series


def _titles(rows: Sequence[DateRow]) -> list[str]:
    """What tells the blocks of one sheet apart: their titles, or nothing where a sheet has one block."""
    sheets = [row.sheet for row in rows]
    return [
        code_part(row.title or f"R{row.dates_row}") if sheets.count(row.sheet) > 1 else "" for row in rows
    ]


def _without_repeats(labels: Sequence[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """The rows of a block, in runs in which no label occurs twice: a code names one series."""
    run: list[tuple[int, str]] = []
    seen: set[str] = set()
    for at, label in labels:
        if slug(label) in seen:
            yield run
            run, seen = [], set()
        run.append((at, label))
        seen.add(slug(label))
    yield run


def _has_values(grid: Grid, row: int, places: Sequence[int]) -> bool:
    known = [text for place in places if (text := grid.text(row, place)) is not None]
    return bool(known) and 2 * sum(looks_numeric(text) for text in known) >= len(known)


def _label_column(grid: Grid, rows: Sequence[int], before: int) -> int | None:
    """The column left of the dates with the most different labels; the leftmost of equals."""
    counts = {
        column: len(
            {text for row in rows if (text := grid.text(row, column)) is not None and not looks_numeric(text)}
        )
        for column in range(before)
    }
    best = max(counts, key=lambda column: counts[column], default=None)
    return best if best is not None and counts[best] else None
