"""Where the series of a workbook or table stand, as their YAML declares it; rows and columns as Excel shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import jmespath
import jmespath.exceptions
import polars as pl
from pydantic import AfterValidator, Field

from tnt_platform.errors import ConfigError
from tnt_platform.series.readers.cells import template_names
from tnt_platform.specs.fields import Encoding, Regex, Unit, listed, meant, shown
from tnt_platform.specs.spec import Mistake, Spec, mistake, rule

LAST_COLUMN: Final = 16_384
# A year that stands apart from its months, as a number or with words and marks around it.
YEAR_IN_TEXT: Final = r"\b((?:18|19|20|21)[0-9]{2})\b"

Frequency = Literal["D", "W", "M", "Q", "A"]


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
        raise ConfigError(f"{letters!r} is not a column of a sheet; write its letters, such as P or AD")
    return index - 1


def column_letters(index: int) -> str:
    """Return the letters of a column counted from 0."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def _letters(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{1,3}", text):
        raise mistake(
            f"{shown(text)} is not a column", "its letters as Excel shows them", "write it like P or AD"
        )
    try:
        column_index(text)
    except ConfigError:
        raise mistake(
            f"{text} is past the last column of a sheet", "A to XFD", "correct the letters"
        ) from None
    return text


def _code(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", re.sub(r"\{[^{}]+\}", "x", text)):
        raise mistake(
            f"{shown(text)} can't be a series code",
            "a name that folders can have",
            "use letters, digits and _ . + - (and {column} in templates)",
        )
    return text


def _polars_pattern(text: str) -> str:
    try:
        pl.Series([""]).str.contains(text)
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        wrong = f"{shown(text)} is not a regular expression that polars takes: {reason}"
        raise mistake(wrong, "Rust's syntax", "look-around and back-references can't be used") from None
    return text


def _json_path(text: str) -> str:
    try:
        jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        wrong = f"{shown(text)} is not a JMESPath: {' '.join(str(error).split())}"
        raise mistake(wrong, "an expression such as data or [1]", "fix the expression") from error
    return text


def _one_character(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in "\r\n\0":
        fix = 'write one character; a tab is "\\t" in double quotes'
        raise mistake(f"{shown(text)} is not one character", "one ASCII character, no line end", fix)
    return text


Letters = Annotated[str, AfterValidator(_letters)]
Code = Annotated[str, AfterValidator(_code)]
Row = Annotated[int, Field(ge=1, le=1_048_576)]
Footer = Annotated[Regex, AfterValidator(_polars_pattern)]
Character = Annotated[str, AfterValidator(_one_character)]


class _Entry(Spec):
    code: Annotated[Code, Field(description="Code of the series.")]
    unit: Annotated[str, Field(description="Unit of its values.")]
    frequency: Annotated[
        Frequency | None, Field(description="Its frequency, where it differs from that of the dataset.")
    ] = None


class _OneSeries(_Entry):
    @rule
    def _is_no_template(self) -> Iterator[Mistake]:
        if names := template_names(self.code):
            code = self.code
            for name in names:
                code = code.replace(f"{{{name}}}", "X")
            wrong = f"the code {self.code} has braces"
            yield Mistake(
                wrong, "the code of one series", f"write the code itself, such as {code}", at=("code",)
            )


class ColumnSeries(_OneSeries):
    """A series down a column of a sheet; its first row is header_row + skip_rows_after_header + 1.

    Rows right above that one which hold a date and a number too are data, not header: they are never skipped.
    """

    sheet: Annotated[str, Field(description="Name of the sheet.")]
    header_row: Annotated[Row, Field(description="Row of the header."), Unit("row")]
    skip_rows_after_header: Annotated[
        int, Field(ge=0, description="Rows between the header and the first value."), Unit("rows")
    ] = 0
    date_column: Annotated[Letters, Field(description="Column of the dates.")]
    value_column: Annotated[Letters, Field(description="Column of the values.")]
    header: Annotated[
        str | None,
        Field(description="What the header of the value column must be, so that a moved column is noticed."),
    ] = None
    year_column: Annotated[
        Letters | None,
        Field(
            description="Column of years, each once for the rows below it, where the dates are months alone."
        ),
    ] = None
    leave_out: Annotated[
        Mapping[Letters, str],
        Field(
            description="Columns and the text in them that marks rows of another kind, such as monthly averages."
        ),
    ] = Field(default_factory=dict)


class RowEntry(_Entry):
    """One series along a row, or with `first_row` and `last_row` a block of rows that are a series each."""

    sheet: Annotated[str, Field(description="Name of the sheet.")]
    dates_row: Annotated[Row, Field(description="Row of the dates."), Unit("row")]
    first_column: Annotated[Letters, Field(description="Column of the first date and value.")]
    label_column: Annotated[Letters, Field(description="Column of the labels.")] = "A"
    years_row: Annotated[
        Row | None,
        Field(
            description="Row of years, each once for the columns from it on, where the dates are months alone."
        ),
        Unit("row"),
    ] = None

    @classmethod
    def variant(cls, value: Mapping[str, object]) -> type[Spec]:
        """A block where the YAML has its rows, else one series."""
        if cls is not RowEntry:
            return cls
        return RowBlock if "first_row" in value or "last_row" in value else RowSeries

    @classmethod
    def variants(cls) -> tuple[type[Spec], ...]:
        """A series and a block."""
        return (RowSeries, RowBlock) if cls is RowEntry else (cls,)


class RowSeries(RowEntry, _OneSeries):
    """A series along a row of a sheet, its dates along another."""

    values_row: Annotated[Row, Field(description="Row of the values."), Unit("row")]
    label: Annotated[
        str | None, Field(description="What its label must be, so that a moved row is noticed.")
    ] = None


class RowBlock(RowEntry):
    """Rows under one row of dates: each with a label and a value is a series; `code` is a template with {label}."""

    first_row: Annotated[Row, Field(description="First row of the block."), Unit("row")]
    last_row: Annotated[Row, Field(description="Last row of the block."), Unit("row")]

    @rule
    def _rows_are_in_order(self) -> Iterator[Mistake]:
        if self.last_row < self.first_row:
            wrong = f"last_row {self.last_row} is above first_row {self.first_row}"
            yield Mistake(wrong, "the smaller number first", "swap them", at=("last_row",))

    @rule
    def _code_is_a_template(self) -> Iterator[Mistake]:
        yield from _template_mistakes(self.code, "label", f"{re.sub(r'{[^{}]*}', '', self.code)}_{{label}}")


class DateColumnLayout(Spec):
    """Series down the columns of a workbook."""

    series: Annotated[tuple[ColumnSeries, ...], Field(description="The series to read.")] = ()
    footer: Annotated[
        Footer | None,
        Field(description="The first row whose date cell matches it, and all rows below, are not data."),
    ] = None

    @rule
    def _has_series(self) -> Iterator[Mistake]:
        yield from _at_least_one(self.series)


class DateRowLayout(Spec):
    """Series along the rows of a workbook."""

    series: Annotated[tuple[RowEntry, ...], Field(description="The series to read.")] = ()

    @rule
    def _has_series(self) -> Iterator[Mistake]:
        yield from _at_least_one(self.series)


class TableLayout(Spec):
    """How the rows of a CSV or JSON file are found."""

    format: Annotated[Literal["csv", "json"], Field(description="Format of the file.")] = "csv"
    separator: Annotated[Character, Field(description="CSV: what separates the cells of a row.")] = ","
    quote: Annotated[
        Character | None, Field(description="CSV: the quote character; null if there is none.")
    ] = '"'
    encoding: Annotated[
        Encoding | None, Field(description="CSV: the encoding; detected from the bytes by default.")
    ] = None
    header_row: Annotated[
        Row, Field(description="CSV: line of the header; those above are skipped."), Unit("line")
    ] = 1
    records: Annotated[
        str, AfterValidator(_json_path), Field(description="JSON: JMESPath of the list of objects.")
    ] = "@"

    @rule
    def _options_fit_the_format(self) -> Iterator[Mistake]:
        own = ("records",) if self.format == "json" else ("separator", "quote", "encoding", "header_row")
        other = {"records", "separator", "quote", "encoding", "header_row"} - set(own)
        for name in sorted(other & self.model_fields_set):
            wrong = f"table.{name} has no meaning for format: {self.format}"
            right = "CSV" if self.format == "json" else "JSON"
            yield Mistake(wrong, f"it for {right} only", "delete it", at=(name,))

    @rule
    def _marks_differ(self) -> Iterator[Mistake]:
        if self.separator == self.quote:
            at = ("quote",) if "quote" in self.model_fields_set else ("separator",)
            wrong = f"separator and quote are both {self.quote!r}"
            yield Mistake(wrong, "two characters", "change one of them", at)


class WideTable(TableLayout):
    """A table with a column per series, or with `date_columns` a row per series."""

    date_column: Annotated[
        str | None,
        Field(description="Column of the dates, or a template of several, such as `{year}-{month}`."),
    ] = None
    date_columns: Annotated[
        Footer | None,
        Field(description="Pattern of the names of columns that are dates; each row is a series then."),
    ] = None
    code: Annotated[
        Code | None,
        Field(
            description="Template of codes: `FX_{column}`, or with `date_columns` columns such as `{Country}`."
        ),
    ] = None
    unit: Annotated[str | None, Field(description="Unit of series that are not listed.")] = None

    @rule
    def _dates_run_one_way(self) -> Iterator[Mistake]:
        if self.date_columns is None:
            if self.date_column is None:
                fix = "name the column of the dates, or date_columns if they run across"
                yield Mistake("table.date_column is missing", "where the dates are", fix)
            return
        if self.date_column is not None:
            fix = "delete one of them"
            yield Mistake(
                "date_column and date_columns are both given", "one of them", fix, at=("date_column",)
            )
        for name in ("code", "unit"):
            if getattr(self, name) is None:
                wrong = f"table.{name} is missing"
                yield Mistake(wrong, "it with date_columns", "add it, such as code: WB_{Country Code}_A")

    @rule
    def _code_is_a_template(self) -> Iterator[Mistake]:
        if self.code is None:
            return
        if self.date_columns is None:
            yield from _template_mistakes(self.code, "column", "FX_{column}")
            return
        if not template_names(self.code):
            wrong = f"table.code {self.code} is the same for every row"
            yield Mistake(wrong, "a column in braces", "write it like WB_{Country Code}_A", at=("code",))
        yield from _names_of_columns(self.code, {})


class WideSeries(_OneSeries):
    """One column of a table."""

    column: Annotated[str, Field(description="Name of the column.")]


class WideLayout(Spec):
    """A table whose series are columns beside a column of dates, or rows under a row of dates."""

    table: Annotated[WideTable, Field(description="How the file is a table.")]
    series: Annotated[
        tuple[WideSeries, ...],
        Field(description="The columns to read; without any, every column but the dates is a series."),
    ] = ()
    footer: Annotated[
        Footer | None,
        Field(
            description="The first row whose first cell or date matches it, and all rows below, are not data."
        ),
    ] = None

    @rule
    def _series_have_names(self) -> Iterator[Mistake]:
        if self.table.date_columns is not None:
            if self.series:
                wrong = "series are listed, and with date_columns each row is one"
                yield Mistake(wrong, "one of the two", "delete series, and give table.code", at=("series",))
        elif not self.series and (self.table.code is None or self.table.unit is None):
            fix = (
                "list series, or give table.code (such as FX_{column}) and table.unit for every other column"
            )
            yield Mistake("no series is named", "series, or a template of codes", fix, at=("table",))


class LongTable(TableLayout):
    """A table with an observation per row."""

    date_column: Annotated[
        str, Field(description="Column of the dates, or a template of several, such as `{year}-{month}`.")
    ]
    value_column: Annotated[str, Field(description="Column of the values.")]
    code: Annotated[Code, Field(description="Template of codes, of names of columns: `FX_{Country}_M`.")]
    unit: Annotated[str, Field(description="Unit of the values, or a template of names of columns.")]
    where: Annotated[
        Mapping[str, str], Field(description="Columns and their values: only rows that have them are read.")
    ] = Field(default_factory=dict)

    @rule
    def _code_is_a_template(self) -> Iterator[Mistake]:
        yield from _names_of_columns(self.code, {self.date_column: "dates", self.value_column: "values"})


class LongSeries(Spec):
    """The unit of one series of a long table."""

    code: Annotated[Code, Field(description="Code of the series.")]
    unit: Annotated[str, Field(description="Unit of its values.")]


class LongLayout(Spec):
    """A table with an observation per row."""

    table: Annotated[LongTable, Field(description="How the file is a table.")]
    series: Annotated[
        tuple[LongSeries, ...], Field(description="Series whose unit is not that of `table.unit`.")
    ] = ()
    footer: Annotated[
        Footer | None,
        Field(
            description="The first row whose first cell or date matches it, and all rows below, are not data."
        ),
    ] = None


def _at_least_one(series: tuple[Any, ...]) -> Iterator[Mistake]:
    if not series:
        fix = "give its code, sheet and place"
        yield Mistake("series is missing or empty", "at least one series", fix, at=("series",))


def _template_mistakes(code: str, name: str, example: str) -> Iterator[Mistake]:
    """A code that must have exactly one field."""
    names = template_names(code)
    if set(names) != {name}:
        found = listed(f"{{{one}}}" for one in names) if names else "nothing"
        fix = meant(names[0] if names else "", (name,), f"write it like {example}")
        wrong = f"the code {code} is a template of {found}"
        yield Mistake(wrong, f"{{{name}}} in it, and nothing else in braces", fix, at=("code",))


def _names_of_columns(code: str, taken: Mapping[str | None, str]) -> Iterator[Mistake]:
    for name in template_names(code):
        if not name.strip() or name != name.strip():
            wrong = f"table.code {code}: {{{name}}} does not name a column"
            yield Mistake(
                wrong, "the name of a column in braces", "write it as the header does", at=("code",)
            )
        elif name in taken:
            wrong = f"table.code {code}: {{{name}}} is the column of the {taken[name]}"
            yield Mistake(wrong, "a column that tells the series apart", "name another column", at=("code",))
