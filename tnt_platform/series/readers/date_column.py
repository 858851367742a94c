"""Read series down the columns of a workbook, each with its dates in another column."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.cells import NotInFile, SeriesCells, joined, same_words
from tnt_platform.series.readers.layouts import (
    YEAR_IN_TEXT,
    ColumnSeries,
    DateColumnLayout,
    column_index,
    column_letters,
)
from tnt_platform.series.readers.sheet import Cells, Sheet
from tnt_platform.series.readers.sheet_formats import PERCENT_FORMAT
from tnt_platform.series.readers.workbook import Workbook, open_workbook

_DIGIT: Final = re.compile(r"\d")
_NUMBER: Final = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
# A number as fastexcel names a column; the name of a column that occurs twice has a suffix.
_NUMBERED: Final = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?(_\d+)?")


def read_date_column(data: bytes, layout: DateColumnLayout) -> SeriesCells:
    """Read the series of a workbook whose dates are in columns; see `SeriesCells` for the frames.

    Raises:
        InvalidInput: the workbook can't be opened (`open_workbook`), or missing_sheet, missing_column, header_moved,
            no_rows, duplicate_series.
    """
    book = open_workbook(data)
    sheets: dict[str, list[ColumnSeries]] = {}
    for series in layout.series:
        sheets.setdefault(series.sheet, []).append(series)
    found: dict[str, _Parts] = {}
    with ThreadPoolExecutor(book.sheets_at_once) as pool:
        for cells in pool.map(lambda group: _sheet_cells(book, group, layout.footer), sheets.values()):
            found.update(cells)
    return joined(
        [found[series.code].above for series in layout.series],
        ((series.code, series.unit, series.frequency) for series in layout.series),
        below=[found[series.code].below for series in layout.series],
        epoch=book.epoch,
    )


class _Parts(NamedTuple):
    """The cells of a series above the footer, and below it."""

    above: pl.DataFrame
    below: pl.DataFrame


def _sheet_cells(book: Workbook, series: list[ColumnSeries], footer: str | None) -> dict[str, _Parts]:
    """Read the series of one sheet, those that start at the same row together; return their cells by code."""
    sheet = book.sheet(series[0].sheet)
    groups: dict[tuple[int, int], list[ColumnSeries]] = {}
    for one in series:
        groups.setdefault((one.header_row, one.skip_rows_after_header), []).append(one)
    found: dict[str, _Parts] = {}
    for group in groups.values():
        found.update(zip((one.code for one in group), _group_cells(sheet, group, footer), strict=True))
    return found


def _group_cells(sheet: Sheet, group: list[ColumnSeries], footer: str | None) -> list[_Parts]:
    cells = _cells_below(sheet, group)
    for series in group:
        _check_header(sheet, cells, series)
    rows = pl.int_range(cells.first_row, cells.first_row + cells.height, eager=True).alias("line_no")
    frame = pl.DataFrame([rows, rows.cast(pl.String).alias("row")])
    ends = {s.date_column: _end(sheet, cells, s.date_column, footer) for s in group}
    found = pl.collect_all(_series_cells(sheet, cells, series, frame) for series in group)
    parts = []
    for series, series_cells in zip(group, found, strict=True):
        end = ends[series.date_column]
        is_above = pl.col("line_no") < cells.first_row + end
        above = series_cells.filter(is_above)
        if above.is_empty():
            raise _no_rows(sheet, cells, series, end)
        parts.append(_Parts(above, series_cells.filter(~is_above)))
    return parts


def _no_rows(sheet: Sheet, cells: Cells, series: ColumnSeries, end: int) -> InvalidInput:
    if end < cells.height:
        return InvalidInput(
            "footer_above_data",
            f"series {series.code}: the `footer` matches {sheet.name}!{series.date_column}{cells.first_row + end}, "
            "above which there is no row of the series; narrow the pattern",
        )
    return InvalidInput(
        "no_rows",
        f"series {series.code}: sheet {sheet.name!r} has no dates in column {series.date_column} and no values "
        f"in column {series.value_column} from row {cells.first_row} on; correct header_row or the columns",
    )


def _cells_below(sheet: Sheet, group: list[ColumnSeries]) -> Cells:
    """Return the rows below the header, including rows to skip that turn out to be data."""
    header_row, skip = group[0].header_row, group[0].skip_rows_after_header
    texts = {column_index(letters) for s in group for letters in _text_columns(s)}
    values = {column_index(s.value_column) for s in group}
    read = partial(sheet.cells_below, columns=texts | values, numbers=values - texts)
    if skip == 0:
        return read(header_row, 0)
    # Take the row right above the first one as the header: if it is data, its values appear as column names.
    cells = read(header_row + skip, 0)
    needed = values | {column_index(s.date_column) for s in group}
    if needed <= set(cells.used):
        if skipped_data := _data_above(sheet, cells, group):
            return read(header_row, skip - skipped_data)
        return cells.without_headers()
    return read(header_row, skip)


def _text_columns(series: ColumnSeries) -> list[str]:
    years = [] if series.year_column is None else [series.year_column]
    return [series.date_column, *years, *series.leave_out]


def _data_above(sheet: Sheet, cells: Cells, group: list[ColumnSeries]) -> int:
    """Count the skipped rows, from the lowest up, that have a date and a number like the first row."""
    # Columns are named by the row above; a number there is rare enough to read the whole sheet.
    if not any(_NUMBERED.fullmatch(text) for text in cells.headers.values()):
        return 0
    row = cells.first_row - 1
    while row > group[0].header_row and any(_is_data(sheet, cells, series, row) for series in group):
        row -= 1
    return cells.first_row - 1 - row


def _is_data(sheet: Sheet, cells: Cells, series: ColumnSeries, row: int) -> bool:
    date = sheet.text(row, column_index(series.date_column))
    value = sheet.text(row, column_index(series.value_column))
    dates = _column(sheet, cells, series.date_column)
    if date is None or value is None or dates.is_empty() or dates[0] is None:
        return False
    same_shape = _DIGIT.sub("0", date) == _DIGIT.sub("0", dates[0])
    return same_shape and _NUMBER.fullmatch(value) is not None


def _end(sheet: Sheet, cells: Cells, letters: str, footer: str | None) -> int:
    """Count the rows above the footer."""
    dates = _column(sheet, cells, letters)
    if footer is None:
        return cells.height
    notes = dates.str.contains(footer).arg_true()
    return int(notes[0]) if len(notes) else cells.height


def _column(sheet: Sheet, cells: Cells, letters: str) -> pl.Series:
    column = cells.column(column_index(letters))
    if column is None:
        used = sheet.all_cells().used
        span = f"{column_letters(used[0])} to {column_letters(used[-1])}" if used else "none"
        raise NotInFile(
            "missing_column",
            f"sheet {sheet.name!r} is empty in column {letters}; its used columns are {span}. Correct the letters, or "
            "ask the publisher where the column went",
            letters,
        )
    return column


def _series_cells(sheet: Sheet, cells: Cells, series: ColumnSeries, rows: pl.DataFrame) -> pl.LazyFrame:
    """Select the cells of one series in `rows`, which have line_no and row, the same as text."""
    place = f"{sheet.name}!{series.value_column.upper()}".replace("{", "{{").replace("}", "}}")
    dates = _dates(sheet, cells, series)[: rows.height]
    values = _column(sheet, cells, series.value_column)[: rows.height]
    return (
        rows.with_columns(
            dates.alias("date_text"),
            values.alias("value_text"),
            _left_out(cells, series, rows),
            _scales(sheet, series),
        )
        .lazy()
        .filter(pl.col("date_text").is_not_null() | pl.col("value_text").is_not_null(), ~pl.col("left_out"))
        .select(
            pl.lit(series.code).alias("series_code"),
            "date_text",
            "value_text",
            pl.format(place + "{}", "row").alias("place"),
            "line_no",
            "scale",
        )
    )


def _scales(sheet: Sheet, series: ColumnSeries) -> pl.Expr:
    """Tell which numbers are shown as percentages."""
    shown = sheet.percent_rows(column_index(series.value_column))
    scale = pl.when(pl.col("line_no").is_in([row + 1 for row in shown])).then(pl.lit(PERCENT_FORMAT))
    return (scale if shown else pl.lit(None, pl.String)).alias("scale")


def _dates(sheet: Sheet, cells: Cells, series: ColumnSeries) -> pl.Series:
    """Return the dates of a series; a year beside its first month applies until the next text in that column."""
    dates = _column(sheet, cells, series.date_column)
    if series.year_column is None:
        return dates
    frame = pl.DataFrame({"date": dates, "year": _column(sheet, cells, series.year_column)})
    found = pl.col("year").str.extract(YEAR_IN_TEXT).fill_null("")
    year = pl.when(pl.col("year").is_not_null()).then(found).forward_fill()
    dated = pl.when(year != "").then(pl.concat_str("date", pl.lit(" "), year)).otherwise("date")
    return frame.select(dated.alias("date")).to_series()


def _left_out(cells: Cells, series: ColumnSeries, rows: pl.DataFrame) -> pl.Series:
    """Tell which rows are marked as another kind; a column that the sheet lacks marks none."""
    left_out = pl.repeat(False, rows.height, eager=True, dtype=pl.Boolean)
    for letters, text in series.leave_out.items():
        marks = cells.column(column_index(letters))
        if marks is not None:
            left_out |= (marks[: rows.height] == text).fill_null(False)
    return left_out.alias("left_out")


def _check_header(sheet: Sheet, cells: Cells, series: ColumnSeries) -> None:
    if series.header is None:
        return
    column = column_index(series.value_column)
    wanted = same_words(series.header)
    # fastexcel renames a header that occurs twice, so only agreement counts here.
    if same_words(cells.headers.get(column, "")) == wanted:
        return
    actual = sheet.text(series.header_row, column)
    if same_words(actual or "") == wanted:
        return
    raise NotInFile(
        "header_moved",
        f"series {series.code}: cell {sheet.name}!{series.value_column.upper()}{series.header_row} should be "
        f"{series.header!r} but is {'blank' if actual is None else repr(actual)}; {places_of(sheet, wanted)}. "
        "Look at the sheet, then correct header_row, value_column or header",
        series.header,
    )


def places_of(sheet: Sheet, wanted: str) -> str:
    """Describe where in a sheet a text is now."""
    cells = sheet.all_cells()
    places = [
        (row, at)
        for at in cells.used
        if (column := cells.column(at)) is not None
        for row, text in enumerate(column, start=1)
        if text is not None and same_words(text) == wanted
    ]
    if not places:
        return "it is nowhere in the sheet"
    listed = ", ".join(f"row {row} (cell {column_letters(at)}{row})" for row, at in sorted(places)[:5])
    return f"it is in {listed}"
