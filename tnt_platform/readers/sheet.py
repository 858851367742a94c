"""One sheet of a workbook as columns of text, exact to the last digit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import fastexcel
import polars as pl

from tnt_platform.readers.cell_text import exact_text, hides_numbers, may_hold_booleans, typed_texts

_ERROR_NAMES: Final = {
    "NA": "#N/A",
    "Div0": "#DIV/0!",
    "Name": "#NAME?",
    "Null": "#NULL!",
    "Num": "#NUM!",
    "Ref": "#REF!",
    "Value": "#VALUE!",
    "GettingData": "#GETTING_DATA",
}
_ERROR: Final = re.compile(r"'Error\((\w+)\)'")
# What fastexcel says of a cell that holds a text of nothing but white space.
_BLANK: Final = re.compile(r"""'String\("(?:\s|\\[tnr]|\\u\{a0\})*"\)'""")

# What fastexcel raises when it can't give the columns a type each; the last is for a sheet that ends before its data.
NOT_OF_ONE_TYPE: Final = (
    fastexcel.UnsupportedColumnTypeCombinationError,
    fastexcel.CalamineCellError,
    fastexcel.InvalidParametersError,
)

_Load = Callable[..., fastexcel.ExcelSheet]


class Cells:
    """Some rows of a sheet, the columns by their place from 0; a column outside the used ones is None.

    headers: the text of the header row over each column, "" where there is none.
    """

    def __init__(self, first_row: int, columns: dict[int, pl.Series], headers: dict[int, str]) -> None:
        self.first_row = first_row
        self.headers = headers
        self._columns = columns

    def column(self, index: int) -> pl.Series | None:
        """Return the texts of a column, blank ones null; the first stands in row `first_row`."""
        return self._columns.get(index)

    def without_headers(self) -> Cells:
        """Return the same cells; what stood over them is not known."""
        return Cells(self.first_row, self._columns, {})

    @property
    def used(self) -> list[int]:
        """The columns there are, in order."""
        return sorted(self._columns)

    @property
    def height(self) -> int:
        """How many rows there are."""
        return max((len(column) for column in self._columns.values()), default=0)


class Sheet:
    """A sheet that is read when asked, in the cheapest way that loses nothing."""

    def __init__(self, name: str, load: _Load, has_booleans: Callable[[str], bool]) -> None:
        self.name = name
        self._load = load
        self._has_booleans = has_booleans
        self._all: Cells | None = None

    def all_cells(self) -> Cells:
        """Return every cell from row 1 on; the sheet is read twice for it, and kept."""
        if self._all is None:
            strings, errors = _read(self._load(self.name, header_row=None, skip_rows=0, dtypes="string"))
            floats, _ = _read(self._load(self.name, header_row=None, skip_rows=0, dtypes="float"))
            self._all = Cells(1, _exact_columns(strings, floats, errors), {})
        return self._all

    def cells_below(self, header_row: int, skip_rows: int, columns: Iterable[int]) -> Cells:
        """Return `columns` from row header_row + skip_rows + 1 on.

        Where each column holds one type of cell, as most do below their header, the sheet is read once; else as
        `all_cells` does.
        """
        first_row = header_row + skip_rows + 1
        wanted = set(columns)
        typed = self._typed(header_row, skip_rows, wanted) if self._all is None else None
        if typed is not None:
            return Cells(first_row, *typed)
        cells = self.all_cells()
        kept = {at: column[first_row - 1 :] for at in wanted if (column := cells.column(at)) is not None}
        return Cells(first_row, kept, {at: self.text(header_row, at) or "" for at in kept})

    def text(self, row: int, column: int) -> str | None:
        """Return the text of one cell, None if it is blank."""
        cells = self.all_cells().column(column)
        return cells[row - 1] if cells is not None and row <= len(cells) else None

    def _typed(
        self, header_row: int, skip_rows: int, wanted: set[int]
    ) -> tuple[dict[int, pl.Series], dict[int, str]] | None:
        """Return the texts and headers of columns of one type each; None if one is of several."""
        try:
            sheet = self._load(
                self.name,
                header_row=header_row - 1,
                skip_rows=skip_rows,
                schema_sample_rows=None,
                whitespace_as_null=True,
                use_columns=lambda column: column.absolute_index in wanted,
            )
        except NOT_OF_ONE_TYPE:
            return None
        cells, errors = _read(sheet)
        if errors or any(hides_numbers(column) for column in cells.values()):
            return None
        if any(may_hold_booleans(column) for column in cells.values()) and self._has_booleans(self.name):
            return None
        headers = {column.absolute_index: column.name for column in sheet.selected_columns}
        return typed_texts(cells), headers


def _exact_columns(
    strings: dict[int, pl.Series], floats: dict[int, pl.Series], errors: dict[int, dict[int, str]]
) -> dict[int, pl.Series]:
    if not strings:
        return {}
    # All columns in one go: a hundred short columns cost ten times as much one by one.
    text = exact_text(pl.concat(list(strings.values())), pl.concat([floats[at] for at in strings]))
    columns = {}
    begin = 0
    for at, column in strings.items():
        exact = text[begin : begin + len(column)]
        begin += len(column)
        found = errors.get(at)
        columns[at] = exact.scatter(list(found), list(found.values())) if found else exact
    return columns


def _read(sheet: fastexcel.ExcelSheet) -> tuple[dict[int, pl.Series], dict[int, dict[int, str]]]:
    """Return columns by their place, and the texts of the cells that didn't fit by column and row."""
    batch, faults = sheet.to_arrow_with_errors()
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    places = [column.absolute_index for column in sheet.selected_columns]
    # A fault names its column by its place in the used range, which starts at the first used column.
    offset = {column.index: column.absolute_index for column in sheet.selected_columns}
    errors: dict[int, dict[int, str]] = {}
    for fault in faults.errors if faults else ():
        if _BLANK.search(fault.detail):
            continue
        found = _ERROR.search(fault.detail)
        row, at = fault.offset_position
        errors.setdefault(offset[at], {})[row] = (
            _ERROR_NAMES.get(found[1], "#ERROR!") if found else "#UNREADABLE"
        )
    return dict(zip(places, frame.get_columns(), strict=True)), errors
