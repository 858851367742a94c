"""Drafts for workbooks: dates down a column, or along a row with a label before the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.series.drafting.columns import ColumnBlock, column_blocks, column_series
from tnt_platform.series.drafting.dates import NAMES, DateTexts
from tnt_platform.series.drafting.drafted import Draft, code_part, footer_of
from tnt_platform.series.drafting.grid import Grid
from tnt_platform.series.drafting.numbers import marks_of
from tnt_platform.series.drafting.rows import DateRow, date_rows, row_series
from tnt_platform.series.readers.workbook import Workbook

_FREQUENCIES: Final = "DWMQA"
_LISTED: Final = 12


@dataclass(frozen=True)
class _Sheet:
    """One sheet and what was found in it; at most one of the two."""

    grid: Grid
    columns: tuple[ColumnBlock, ...] = ()
    rows: tuple[DateRow, ...] = ()

    @property
    def values(self) -> int:
        """How many value cells were recognised."""
        return sum(block.values for block in self.columns) + sum(row.values for row in self.rows)


def draft_workbook(workbook: Workbook, name: str, only: str | None = None) -> Draft:
    """Draft the series of all sheets, or of one.

    Raises:
        InvalidInput: missing_sheet, or nothing_recognised with what each sheet starts with.
    """
    names = [only] if only is not None else workbook.sheet_names
    sheets = [_looked_at(Grid(sheet.name, sheet.all_cells())) for sheet in map(workbook.sheet, names)]
    by_column = sum(sheet.values for sheet in sheets if sheet.columns)
    by_row = sum(sheet.values for sheet in sheets if sheet.rows)
    if not by_column and not by_row:
        raise InvalidInput("nothing_recognised", _nothing(sheets))
    return _by_columns(sheets, name) if by_column >= by_row else _by_rows(sheets, name)


def _looked_at(grid: Grid) -> _Sheet:
    if not grid.width:
        return _Sheet(grid)
    dates = DateTexts(grid.texts)
    columns, rows = column_blocks(grid, dates), date_rows(grid, dates)
    down, across = sum(block.values for block in columns), sum(row.values for row in rows)
    # Both readings explain a square of dates; the one that runs further along its dates is right.
    longest_down = max((block.dates for block in columns), default=0)
    longest_across = max((row.dates for row in rows), default=0)
    if down and (longest_down > longest_across or not across):
        return _Sheet(grid, columns=tuple(columns))
    return _Sheet(grid, rows=tuple(rows)) if across else _Sheet(grid)


def _by_columns(sheets: Sequence[_Sheet], name: str) -> Draft:
    used = [sheet for sheet in sheets if sheet.columns]
    frequency = _commonest([block.frequency for sheet in used for block in sheet.columns])
    texts = pl.concat([block.texts for sheet in used for block in sheet.columns])
    marks = marks_of(texts).with_dates(
        mark for sheet in used for block in sheet.columns for mark in block.marks
    )
    series = column_series(
        [(_sheet_part(sheet, used), block) for sheet in used for block in sheet.columns], name, frequency
    )
    orders = {block.order for sheet in used for block in sheet.columns} - {None}
    notes = [note for sheet in used for block in sheet.columns for note in block.notes]
    detected = [
        f"sheet {block.sheet!r}: dates down column {block.date_letters} from row {block.first_row} "
        f"({block.dates} of them, {NAMES[block.frequency]}), header in row {block.header_row}, "
        f"{len(block.columns)} columns of values"
        for sheet in used
        for block in sheet.columns
    ]
    checks = [check for sheet in used for block in sheet.columns for check in block.checks]
    return Draft(
        reader="date_column",
        frequency=frequency,
        series=tuple(series),
        options={**marks.options(is_text=False), **_order(orders)},
        footer=footer_of(notes),
        detected=(*detected, *_left_out(sheets, used)),
        check=(*checks, *_order_checks(orders), *marks.checks),
    )


def _by_rows(sheets: Sequence[_Sheet], name: str) -> Draft:
    used = [sheet for sheet in sheets if sheet.rows]
    frequency = _commonest([row.frequency for sheet in used for row in sheet.rows])
    marks = marks_of(pl.concat([row.texts for sheet in used for row in sheet.rows])).with_dates(
        mark for sheet in used for row in sheet.rows for mark in row.marks
    )
    series = row_series(
        [(_sheet_part(sheet, used), row) for sheet in used for row in sheet.rows], name, frequency
    )
    orders = {row.order for sheet in used for row in sheet.rows} - {None}
    detected = [
        f"sheet {row.sheet!r}: dates along row {row.dates_row} from column {row.first_letters} "
        f"({row.dates} of them, {NAMES[row.frequency]}), {len(row.labels)} rows of values with labels in column "
        f"{row.label_letters}" + (f", under {row.title!r}" if row.title else "")
        for sheet in used
        for row in sheet.rows
    ]
    return Draft(
        reader="date_row",
        frequency=frequency,
        series=tuple(series),
        options={**marks.options(is_text=False), **_order(orders)},
        detected=(*detected, *_left_out(sheets, used)),
        check=(
            *(check for sheet in used for row in sheet.rows for check in row.checks),
            *_order_checks(orders),
            *marks.checks,
        ),
    )


def _commonest(frequencies: Sequence[str]) -> str:
    return max(_FREQUENCIES, key=frequencies.count)


def _sheet_part(sheet: _Sheet, used: Sequence[_Sheet]) -> str:
    """A sheet is part of its series' codes only where there are several."""
    return code_part(sheet.grid.name) if len(used) > 1 else ""


def _order(orders: set[Any]) -> dict[str, Any]:
    return {"date_order": min(orders)} if orders else {}


def _order_checks(orders: set[Any]) -> list[str]:
    return [f"dates are taken as {min(orders)}: compare one with the file"] if orders else []


def _left_out(sheets: Sequence[_Sheet], used: Sequence[_Sheet]) -> list[str]:
    said = []
    for sheet in sheets:
        if sheet in used:
            continue
        how = "dates along a row" if sheet.rows else "dates down a column" if sheet.columns else ""
        why = (
            f"it has {how}, which needs a dataset of its own (use --sheet)" if how else "no dates with values"
        )
        said.append(f"sheet {sheet.grid.name!r} left out: {why}")
    return said


def _nothing(sheets: Sequence[_Sheet]) -> str:
    seen = "; ".join(
        f"sheet {sheet.grid.name!r} has {sheet.grid.height} rows and {sheet.grid.width} columns and starts with "
        f"{sheet.grid.first_text!r}"
        for sheet in sheets[:_LISTED]
    )
    return (
        f"no dates with values beside or below them were recognised: {seen}. Dates must stand in one column or one "
        "row, three or more; if they are split, as a column of years beside one of months, write the series by "
        "hand, with `year_column` or `years_row`"
    )
