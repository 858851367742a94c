"""Read series along the rows of a workbook, their dates along another row."""

from __future__ import annotations

import re

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.cells import (
    CELLS,
    REJECTED,
    NotInFile,
    SeriesCells,
    filled,
    joined,
    same_words,
    slug,
)
from tnt_platform.series.readers.date_column import places_of
from tnt_platform.series.readers.layouts import (
    YEAR_IN_TEXT,
    DateRowLayout,
    RowBlock,
    RowEntry,
    RowSeries,
    column_index,
    column_letters,
)
from tnt_platform.series.readers.sheet import Sheet
from tnt_platform.series.readers.sheet_formats import PERCENT_FORMAT
from tnt_platform.series.readers.workbook import open_workbook

_Texts = list[str | None]
_Rejected = tuple[int, str, str, str]


def read_date_row(data: bytes, layout: DateRowLayout) -> SeriesCells:
    """Read the series of a workbook whose dates are in rows; see `SeriesCells` for the frames.

    Raises:
        InvalidInput: the workbook can't be opened (`open_workbook`), or missing_sheet, label_moved, no_rows,
            duplicate_series.
    """
    book = open_workbook(data)
    rows_of: dict[str, list[_Texts]] = {}
    cells: list[pl.DataFrame] = []
    codes: list[tuple[str, str | None, str | None]] = []
    rejected: list[_Rejected] = []
    for series in layout.series:
        sheet = book.sheet(series.sheet)
        if sheet.name not in rows_of:
            rows_of[sheet.name] = _rows(sheet)
        rows = rows_of[sheet.name]
        if isinstance(series, RowSeries):
            _check_label(sheet, rows, series)
            found = [(series.code, series.values_row)]
        else:
            assert isinstance(series, RowBlock), "an entry is a series or a block"
            found = _block_rows(sheet, rows, series, rejected)
        for code, values_row in found:
            cells.append(_row_cells(sheet, rows, series, code, values_row))
            codes.append((code, series.unit, series.frequency))
    return joined(cells, codes, pl.DataFrame(rejected, schema=REJECTED, orient="row"), epoch=book.epoch)


def _rows(sheet: Sheet) -> list[_Texts]:
    """Return the texts of a sheet by row and column, both counted from 0."""
    cells = sheet.all_cells()
    if not cells.used:
        return []
    blank = pl.Series([None] * cells.height, dtype=pl.String)
    columns = [cells.column(at) for at in range(cells.used[-1] + 1)]
    texts = [(blank if column is None else column).to_list() for column in columns]
    return [list(row) for row in zip(*texts, strict=True)]


def _text(rows: list[_Texts], row: int, column: int) -> str | None:
    return rows[row - 1][column] if row <= len(rows) and column < len(rows[row - 1]) else None


def _check_label(sheet: Sheet, rows: list[_Texts], series: RowSeries) -> None:
    if series.label is None:
        return
    wanted = same_words(series.label)
    actual = _text(rows, series.values_row, column_index(series.label_column))
    if same_words(actual or "") == wanted:
        return
    raise NotInFile(
        "label_moved",
        f"series {series.code}: cell {sheet.name}!{series.label_column.upper()}{series.values_row} should be "
        f"{series.label!r} but is {'blank' if actual is None else repr(actual)}; {places_of(sheet, wanted)}. "
        "Look at the sheet, then correct values_row or label",
        series.label,
    )


def _block_rows(
    sheet: Sheet, rows: list[_Texts], block: RowBlock, rejected: list[_Rejected]
) -> list[tuple[str, int]]:
    """Return the code and row of each series of a block; add values without a label to `rejected`."""
    label_at = column_index(block.label_column)
    first = column_index(block.first_column)
    found = []
    for row in range(block.first_row, min(block.last_row, len(rows)) + 1):
        label = _text(rows, row, label_at)
        values = rows[row - 1][first:]
        if not any(value is not None for value in values):
            continue
        name = slug(label) if label is not None else ""
        if name:
            found.append((filled(block.code, {"label": name}), row))
        else:
            raw = " | ".join("" if value is None else value for value in (label, *values))
            reason = (
                f"row {row} of sheet {sheet.name!r} has values but no label in column {block.label_column.upper()} to "
                "name its series; correct label_column, or declare a series for the row"
            )
            rejected.append((row, raw[:10_000], "no_label", reason))
    if not found:
        raise InvalidInput(
            "no_rows",
            f"block {block.code}: rows {block.first_row} to {block.last_row} of sheet {sheet.name!r} have no row with "
            f"a label in column {block.label_column.upper()} and a value; correct the rows of the block",
        )
    return found


def _row_cells(
    sheet: Sheet, rows: list[_Texts], series: RowEntry, code: str, values_row: int
) -> pl.DataFrame:
    first = column_index(series.first_column)
    width = len(rows[0]) if rows else 0
    dates = _dates(rows, series, range(first, width))
    pairs = [
        (
            *(code, date, value, f"{sheet.name}!{column_letters(at)}{values_row}", values_row),
            PERCENT_FORMAT if values_row - 1 in sheet.percent_rows(at) else None,
        )
        for at, date in zip(range(first, width), dates, strict=True)
        for value in [_text(rows, values_row, at)]
        if date is not None or value is not None
    ]
    if not pairs:
        raise InvalidInput(
            "no_rows",
            f"series {code}: sheet {sheet.name!r} has no dates in row {series.dates_row} and no values in row "
            f"{values_row} from column {series.first_column.upper()} on; correct the rows or first_column",
        )
    return pl.DataFrame(pairs, schema=CELLS, orient="row")


def _dates(rows: list[_Texts], series: RowEntry, columns: range) -> list[str | None]:
    """Return the dates of columns; a year above its first month applies until the next text in that row."""
    dates = [_text(rows, series.dates_row, at) for at in columns]
    if series.years_row is None:
        return dates
    year: str | None = None
    dated = []
    for at, date in zip(columns, dates, strict=True):
        if (text := _text(rows, series.years_row, at)) is not None:
            found = re.search(YEAR_IN_TEXT, text)
            year = found[1] if found else None
        dated.append(f"{date} {year}" if date is not None and year is not None else date)
    return dated
