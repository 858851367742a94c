"""A sheet as rows and columns of texts, the way drafts look at it."""

from __future__ import annotations

from functools import cached_property

import polars as pl

from tnt_platform.series.readers.layouts import column_letters
from tnt_platform.series.readers.sheet import Cells


class Grid:
    """The texts of a sheet; rows and columns from 0, blank cells None."""

    def __init__(self, name: str, cells: Cells) -> None:
        self.name = name
        self._columns = {at: column for at in cells.used if (column := cells.column(at)) is not None}
        self.width = max(self._columns, default=-1) + 1
        self.height = cells.height

    @cached_property
    def _lists(self) -> dict[int, list[str | None]]:
        return {at: column.to_list() for at, column in self._columns.items()}

    def column(self, at: int) -> list[str | None]:
        """The texts of a column."""
        return self._lists.get(at) or [None] * self.height

    def row(self, at: int) -> list[str | None]:
        """The texts of a row."""
        return [self.text(at, column) for column in range(self.width)]

    def text(self, row: int, column: int) -> str | None:
        """One cell."""
        cells = self._lists.get(column, [])
        return cells[row] if 0 <= row < len(cells) else None

    @property
    def texts(self) -> pl.Series:
        """Every text of the sheet."""
        return pl.concat([column.cast(pl.String).rename("text") for column in self._columns.values()])

    @property
    def first_text(self) -> str:
        """The first text, as a person sees it."""
        rows = (text for at in range(self.height) for text in self.row(at) if text is not None)
        return next(rows, "")[:60]


def letters(at: int) -> str:
    """A column as Excel shows it."""
    return column_letters(at)
