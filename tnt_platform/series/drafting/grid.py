"""Classify the cells of a sheet or table once: dates, numbers, labels and blanks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

import polars as pl

from tnt_platform.series.drafting.dates import DateReadings, Timeline, surest
from tnt_platform.series.drafting.numbers import multiplied_among, numbers_among

_SCANNED_ROWS: Final = 2_000


class Grid:
    """The cells of a sheet, or of a table below its `header`; rows and columns from 0, blank cells None.

    A string such as "2024" is a date and a number: its neighbours decide. What is neither is a label.
    """

    def __init__(self, name: str, columns: Mapping[int, pl.Series], header: Sequence[str] = ()) -> None:
        self.name = name
        self.header = [label or None for label in header]
        self.width = max(columns, default=-1) + 1
        self.height = max(map(len, columns.values()), default=0)
        self._columns = columns

    def column(self, at: int) -> list[str | None]:
        """Return the cells of a column."""
        return self._cells.get(at) or [None] * self.height

    def row(self, at: int) -> list[str | None]:
        """Return the cells of a row."""
        return [self.cell(at, column) for column in range(self.width)]

    def cell(self, row: int, column: int) -> str | None:
        """Return one cell; None outside the grid too."""
        cells = self._cells.get(column, [])
        return cells[row] if 0 <= row < len(cells) else None

    def timelines(self, *, across: bool = False) -> dict[int, Timeline]:
        """Return the columns, or the rows, that are dates."""
        rows = range(min(self.height, _SCANNED_ROWS))
        lines = map(self.row, rows) if across else map(self.column, range(self.width))
        found = ((at, self.dates.timeline(cells)) for at, cells in enumerate(lines))
        return surest({at: line for at, line in found if line is not None})

    def are_numbers(self, cells: Iterable[str | None]) -> bool:
        """Tell whether at least half of the cells that aren't blank are numbers."""
        known = [text for text in cells if text is not None]
        return bool(known) and 2 * sum(map(self.is_number, known)) >= len(known)

    def numbers_in(self, cells: Iterable[str | None]) -> str | None:
        """Say how many cells are numbers, or formulas without a result; None if no cell is."""
        known = [text for text in cells if text is not None]
        numbers = sum(map(self.is_number, known))
        formulas = sum(text.startswith("=") for text in known)
        multiplied = multiplied_among(known)
        found = [
            f"{count:,} of {len(known):,} cells are {what}"
            for count, what in (
                (numbers, "numbers"),
                (len(multiplied), f"numbers with a mark that changes them, such as {multiplied[:1]}"),
                (formulas, "formulas without a stored result"),
            )
            if count
        ]
        return " and ".join(found) or None

    def is_number(self, text: str) -> bool:
        """Tell whether a string of the grid is a number."""
        return text in self._numbers

    @cached_property
    def dates(self) -> DateReadings:
        """The strings that are dates."""
        return DateReadings(self._strings)

    @cached_property
    def _numbers(self) -> set[str | None]:
        return numbers_among(self._strings)

    @cached_property
    def _cells(self) -> dict[int, list[str | None]]:
        return {at: column.to_list() for at, column in self._columns.items()}

    @property
    def _strings(self) -> pl.Series:
        header = pl.Series("text", self.header, dtype=pl.String)
        return pl.concat(
            [header, *(column.cast(pl.String).rename("text") for column in self._columns.values())]
        )

    @property
    def first_label(self) -> str:
        """The first cell that isn't blank, as a person sees it."""
        cells = (text for at in range(self.height) for text in self.row(at) if text is not None)
        return next(cells, "")[:60]
