"""Where the series of a workbook or table stand; rows and columns as Excel shows them (row 1, column A)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tnt_platform.errors import ConfigError
from tnt_platform.series.readers.cells import template_names

LAST_COLUMN: Final = 16_384
# A year that stands apart from its months, as a number or with words and marks around it.
YEAR_IN_TEXT: Final = r"\b((?:18|19|20|21)[0-9]{2})\b"


def column_index(letters: str) -> int:
    """Return the place of a column from 0: A is 0, Z 25, AA 26.

    Raises:
        ConfigError: not the letters of a column up to XFD.
    """
    index = 0
    if re.fullmatch("[A-Za-z]{1,3}", letters):
        for letter in letters.upper():
            index = index * 26 + ord(letter) - ord("A") + 1
    if not 1 <= index <= LAST_COLUMN:
        raise ConfigError(f"column {letters!r} is no column of a sheet; write its letters, such as P or AD")
    return index - 1


def column_letters(index: int) -> str:
    """Return the letters of a column counted from 0."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def _check_rows(code: str, **rows: int) -> None:
    for name, row in rows.items():
        if row < 1:
            raise ConfigError(f"series {code}: {name} is {row}; rows are counted from 1, as Excel shows them")


def _check_footer(footer: str | None) -> None:
    _check_pattern("footer", footer)


def _check_pattern(name: str, pattern: str | None) -> None:
    if pattern is None:
        return
    try:
        re.compile(pattern)
        pl.Series([""]).str.contains(pattern)
    except (re.error, pl.exceptions.PolarsError) as fault:
        raise ConfigError(f"{name}: {pattern!r} is no regular expression ({fault}); correct it") from None


@dataclass(frozen=True)
class ColumnSeries:
    """A series down a column; its first row is header_row + skip_rows_after_header + 1.

    Rows right above that one which hold a date and a number too are data, not header: they are never skipped.
    `header` is what the header cell of the value column must say (any case, any white space); None: not checked.
    `year_column`: where the year stands, once for the rows below it, if the date column has months or quarters only.
    `leave_out`: columns and the texts that mark rows of another kind, such as ("Q", "M") for monthly averages that
    stand below the daily rows; a row marked so is not of this series.
    """

    code: str
    sheet: str
    header_row: int
    skip_rows_after_header: int
    date_column: str
    value_column: str
    header: str | None = None
    leave_out: tuple[tuple[str, str], ...] = ()
    unit: str | None = None
    frequency: str | None = None
    year_column: str | None = None

    def __post_init__(self) -> None:
        _check_rows(self.code, header_row=self.header_row)
        if self.skip_rows_after_header < 0:
            raise ConfigError(f"series {self.code}: skip_rows_after_header is negative; use 0 or more")
        for letters in (self.date_column, self.value_column, *(column for column, _ in self.leave_out)):
            column_index(letters)
        if self.year_column is not None:
            column_index(self.year_column)


@dataclass(frozen=True)
class RowSeries:
    """A series along a row, its dates along another; `label` is what its cell in label_column must say.

    `years_row`: where the year stands, once for the columns from it on, if the row of dates has months only.
    """

    code: str
    sheet: str
    dates_row: int
    first_column: str
    values_row: int
    label: str | None = None
    label_column: str = "A"
    unit: str | None = None
    frequency: str | None = None
    years_row: int | None = None

    def __post_init__(self) -> None:
        _check_rows(
            self.code,
            dates_row=self.dates_row,
            values_row=self.values_row,
            years_row=self.dates_row if self.years_row is None else self.years_row,
        )
        column_index(self.first_column)
        column_index(self.label_column)


@dataclass(frozen=True)
class RowBlock:
    """Rows first_row to last_row under one row of dates: each with a label and a value is a series.

    `code` is a template with {label}, the label as upper-case ASCII; `years_row` as in `RowSeries`.
    """

    code: str
    sheet: str
    dates_row: int
    first_column: str
    label_column: str
    first_row: int
    last_row: int
    unit: str | None = None
    frequency: str | None = None
    years_row: int | None = None

    def __post_init__(self) -> None:
        _check_rows(
            self.code,
            dates_row=self.dates_row,
            first_row=self.first_row,
            years_row=self.dates_row if self.years_row is None else self.years_row,
        )
        if self.last_row < self.first_row:
            raise ConfigError(
                f"series {self.code}: last_row {self.last_row} is above first_row {self.first_row}"
            )
        if set(template_names(self.code)) != {"label"}:
            raise ConfigError(
                f"code {self.code!r} of a block of rows must have {{label}}, and nothing else in braces"
            )
        column_index(self.first_column)
        column_index(self.label_column)


@dataclass(frozen=True)
class DateColumnLayout:
    """Series down the columns of a workbook.

    `footer`: the first row whose date cell holds a match of it, and all after it, are no data.
    """

    series: tuple[ColumnSeries, ...]
    footer: str | None = None

    def __post_init__(self) -> None:
        _check_footer(self.footer)


@dataclass(frozen=True)
class DateRowLayout:
    """Series along the rows of a workbook."""

    series: tuple[RowSeries | RowBlock, ...]


@dataclass(frozen=True)
class TableLayout:
    """How the rows of a CSV or JSON file are found.

    CSV: separator, quote, encoding (None: told from the bytes) and header_row, the line of the header; those above it
    are skipped. JSON: `records`, a JMESPath to the list of objects whose fields are the columns.
    `footer`: the first row whose first cell or date cell holds a match of it, and all after it, are no data.
    """

    format: str = "csv"
    separator: str = ","
    quote: str | None = '"'
    encoding: str | None = None
    header_row: int = 1
    records: str = "@"
    footer: str | None = None

    def __post_init__(self) -> None:
        if self.format not in ("csv", "json"):
            raise ConfigError(f"format: {self.format!r} is not known; use csv or json")
        if self.header_row < 1:
            raise ConfigError(f"header_row: {self.header_row} is no line of a file; lines are counted from 1")
        _check_footer(self.footer)


@dataclass(frozen=True)
class WideSeries:
    """One column of a table."""

    code: str
    column: str
    unit: str | None = None
    frequency: str | None = None


@dataclass(frozen=True)
class WideLayout:
    """A table with a column of dates and a series in each other column.

    `date_column` may be a template of columns, such as {year}-{month}, where a date is printed in several.

    Without `series`, every other column is one: `code` is then a template with {column}, and unit and frequency hold
    for all.
    """

    table: TableLayout
    date_column: str
    series: tuple[WideSeries, ...] = ()
    code: str | None = None
    unit: str | None = None
    frequency: str | None = None

    def __post_init__(self) -> None:
        if not self.series and set(template_names(self.code or "")) != {"column"}:
            raise ConfigError(
                "code: a wide table without `series` needs a template with {column}, such as FX_{column}"
            )


@dataclass(frozen=True)
class WideRowsLayout:
    """A table with a series in each row, the dates being the names of columns.

    `code` is a template of names of columns; `date_columns` a regular expression for the whole name of a date column.
    """

    table: TableLayout
    code: str
    date_columns: str
    unit: str | None = None
    frequency: str | None = None

    def __post_init__(self) -> None:
        _check_pattern("date_columns", self.date_columns)
        if not template_names(self.code):
            raise ConfigError(
                f"code: {self.code!r} must name a column in braces, such as WB_{{Country Code}}_A"
            )


@dataclass(frozen=True)
class LongLayout:
    """A table with one observation a row; `date_column` may be a template of columns, such as {year}-{month}.

    `code` is a template of names of columns, whose values become upper-case ASCII; `unit` a text or a template of names
    of columns, their values as they stand. `where` keeps the rows whose columns hold exactly these texts. `series`
    gives the unit of single codes.
    """

    table: TableLayout
    date_column: str
    value_column: str
    code: str
    unit: str | None = None
    frequency: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    series: Mapping[str, str] = field(default_factory=dict)
