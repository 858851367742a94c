"""Read one sheet of a workbook as columns of text, exact to the last digit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import fastexcel
import polars as pl

from tnt_platform.series.readers.cell_text import exact_text, hides_numbers, may_hold_booleans, typed_texts
from tnt_platform.series.readers.cells import text_cells

if TYPE_CHECKING:
    import pyarrow as pa

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
# What fastexcel reports for a cell with only white space.
_BLANK: Final = re.compile(r"""'String\("(?:\s|\\[tnr]|\\u\{a0\})*"\)'""")
_TEXT: Final = re.compile(r"""'String\("(.*)"\)'""", re.DOTALL)
# How Rust escapes characters that do not print.
_ESCAPE: Final = re.compile(r"\\(?:u\{([0-9a-f]{1,6})\}|(.))", re.DOTALL)
_ESCAPED: Final = {"t": "\t", "n": "\n", "r": "\r", "0": "\0", '"': '"', "'": "'", "\\": "\\"}

# What fastexcel raises if it can't type the columns; the last one if a sheet ends above its data.
NOT_OF_ONE_TYPE: Final = (
    fastexcel.UnsupportedColumnTypeCombinationError,
    fastexcel.CalamineCellError,
    fastexcel.InvalidParametersError,
)

_Load = Callable[..., fastexcel.ExcelSheet]
# Text by column and row, both counted from 0.
_Texts: TypeAlias = dict[int, dict[int, str]]


class Cells:
    """Some rows of a sheet; columns are counted from 0, and those outside the used range are None.

    headers: the text of each column in the header row, "" if there is none.
    """

    def __init__(self, first_row: int, columns: dict[int, pl.Series], headers: dict[int, str]) -> None:
        self.first_row = first_row
        self.headers = headers
        self.columns = columns

    def column(self, index: int) -> pl.Series | None:
        """Return the text of a column from row `first_row` on; blank cells are null."""
        return self.columns.get(index)

    def without_headers(self) -> Cells:
        """Return the same cells without their headers."""
        return Cells(self.first_row, self.columns, {})

    @property
    def used(self) -> list[int]:
        """The used columns, in order."""
        return sorted(self.columns)

    @property
    def height(self) -> int:
        """The number of rows."""
        return max((len(column) for column in self.columns.values()), default=0)


class Sheet:
    """A sheet that is read on demand, in the cheapest way that loses nothing."""

    def __init__(
        self,
        name: str,
        load: _Load,
        has_booleans: Callable[[str], bool],
        has_lookalikes: Callable[[str], bool],
        formulas: _Texts,
        percent_cells: Callable[[str], set[tuple[int, int]]],
    ) -> None:
        self.name = name
        self._load = load
        self._has_booleans = has_booleans
        self._has_lookalikes = has_lookalikes
        self._formulas = formulas
        self._percent_cells = percent_cells
        self._all: Cells | None = None

    def all_cells(self) -> Cells:
        """Return all cells from row 1 on; the sheet is read twice for it, and cached."""
        if self._all is None:
            strings, faults = _read(self._load(self.name, header_row=None, skip_rows=0, dtypes="string"))
            floats = _columns(self._load(self.name, header_row=None, skip_rows=0, dtypes="float"))
            errors = {at: _error_texts(details) for at, details in faults.items()}
            columns = _exact_columns(strings, floats, errors)
            self._all = Cells(1, _with_formulas(columns, self._formulas), {})
        return self._all

    def cells_below(
        self, header_row: int, skip_rows: int, columns: Iterable[int], numbers: Iterable[int] = ()
    ) -> Cells:
        """Return `columns` from row header_row + skip_rows + 1 on; `numbers` are those that mostly hold numbers.

        If each column has cells of one type, as most do below their header, and `numbers` have only numbers and some
        text, the sheet is read once; otherwise as by `all_cells`.
        """
        first_row = header_row + skip_rows + 1
        wanted = set(columns)
        if wanted & set(self._formulas):
            self.all_cells()
        typed = self._typed(header_row, skip_rows, wanted, set(numbers)) if self._all is None else None
        if typed is not None:
            return Cells(first_row, *typed)
        cells = self.all_cells()
        kept = {at: column[first_row - 1 :] for at in wanted if (column := cells.column(at)) is not None}
        return Cells(first_row, kept, {at: self.text(header_row, at) or "" for at in kept})

    def percent_rows(self, column: int) -> set[int]:
        """Return the rows, from 0, in which a column shows its numbers as percentages."""
        return self._percents.get(column, set())

    @property
    def percent_columns(self) -> list[int]:
        """Return the columns, from 0, with numbers that are shown as percentages."""
        return sorted(self._percents)

    @cached_property
    def _percents(self) -> dict[int, set[int]]:
        rows: dict[int, set[int]] = {}
        for row, at in self._percent_cells(self.name):
            rows.setdefault(at, set()).add(row)
        return rows

    def text(self, row: int, column: int) -> str | None:
        """Return the text of one cell, None if it is blank."""
        cells = self.all_cells().column(column)
        return cells[row - 1] if cells is not None and row <= len(cells) else None

    def _typed(
        self, header_row: int, skip_rows: int, wanted: set[int], numbers: set[int]
    ) -> tuple[dict[int, pl.Series], dict[int, str]] | None:
        """Return text and headers of columns of one type each (`numbers` may have text too), or None if they aren't."""
        # Where a float can only be a number, ask for floats: other cells are then reported as errors, with their text.
        floats = numbers if numbers and not self._has_lookalikes(self.name) else set[int]()
        try:
            sheet = self._load(
                self.name,
                header_row=header_row - 1,
                skip_rows=skip_rows,
                schema_sample_rows=None,
                whitespace_as_null=True,
                use_columns=lambda column: column.absolute_index in wanted,
                dtypes=dict.fromkeys(floats, "float") or None,
            )
        except NOT_OF_ONE_TYPE:
            return None
        columns, faults = _read(sheet)
        texts = {at: _reported_texts(details) if at in floats else None for at, details in faults.items()}
        cells = {at: column for at, column in columns.items() if at not in floats}
        if None in texts.values() or any(hides_numbers(column) for column in cells.values()):
            return None
        if any(may_hold_booleans(column) for column in cells.values()) and self._has_booleans(self.name):
            return None
        headers = {column.absolute_index: column.name for column in sheet.selected_columns}
        return _with_texts(typed_texts(columns), texts), headers


def _exact_columns(
    strings: dict[int, pl.Series], floats: dict[int, pl.Series], errors: _Texts
) -> dict[int, pl.Series]:
    if not strings:
        return {}
    # All columns at once: a hundred short columns one by one cost ten times as much.
    text = exact_text(pl.concat(list(strings.values())), pl.concat([floats[at] for at in strings]))
    columns = {}
    begin = 0
    for at, column in strings.items():
        columns[at] = text[begin : begin + len(column)]
        begin += len(column)
    return _with_texts(columns, errors)


def _with_texts(
    columns: dict[int, pl.Series], texts: Mapping[int, dict[int, str] | None]
) -> dict[int, pl.Series]:
    """Replace single cells of columns, by row."""
    return {
        at: column.scatter(list(found), list(found.values())) if (found := texts.get(at)) else column
        for at, column in columns.items()
    }


def _with_formulas(columns: dict[int, pl.Series], formulas: _Texts) -> dict[int, pl.Series]:
    """Write the formulas that have no result into their cells; they may be outside the used range."""
    if not formulas:
        return columns
    height = max(map(len, columns.values()), default=0)
    height = max(height, *(max(rows) + 1 for rows in formulas.values()))
    full = {at: column.extend_constant(None, height - len(column)) for at, column in columns.items()}
    blank = pl.Series([None] * height, dtype=pl.String)
    return _with_texts({at: full.get(at, blank.clone()) for at in {*full, *formulas}}, formulas)


def _columns(sheet: fastexcel.ExcelSheet) -> dict[int, pl.Series]:
    """Return columns by their position."""
    return _placed(sheet, sheet.to_arrow())


def _read(sheet: fastexcel.ExcelSheet) -> tuple[dict[int, pl.Series], _Texts]:
    """Return columns by their position, and what is reported for cells that don't fit, by column and row."""
    batch, faults = sheet.to_arrow_with_errors()
    # A fault gives its column relative to the used range, which starts at the first used column.
    offset = {column.index: column.absolute_index for column in sheet.selected_columns}
    details: _Texts = {}
    for fault in faults.errors if faults else ():
        detail = fault.detail
        if not _BLANK.search(detail):
            row, at = fault.offset_position
            details.setdefault(offset[at], {})[row] = detail
    return _placed(sheet, batch), details


def _placed(sheet: fastexcel.ExcelSheet, batch: pa.RecordBatch) -> dict[int, pl.Series]:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    places = [column.absolute_index for column in sheet.selected_columns]
    return dict(zip(places, frame.get_columns(), strict=True))


def _error_texts(details: dict[int, str]) -> dict[int, str]:
    """Return the errors as Excel shows them; every other cell can be read as text."""
    return {row: _error_name(detail) or "#UNREADABLE" for row, detail in details.items()}


def _error_name(detail: str) -> str | None:
    found = _ERROR.search(detail)
    return _ERROR_NAMES.get(found[1], "#ERROR!") if found else None


def _reported_texts(details: dict[int, str]) -> dict[int, str] | None:
    """Return the text and errors that are not numbers, stripped; None if anything else is among them."""
    texts = {}
    for row, detail in details.items():
        found = _TEXT.search(detail)
        text = _ESCAPE.sub(_unescaped, found[1]) if found else _error_name(detail)
        if text is None:
            return None
        texts[row] = text
    known = text_cells(pl.Series(texts.values(), dtype=pl.String))
    if hides_numbers(known):
        return None
    return dict(zip(texts, known, strict=True))


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _ESCAPED[escape[2]]
