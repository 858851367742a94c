"""What a series dataset's `defs.yaml` may say: strict, every field explained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import AfterValidator, Field

from tnt_platform.series.readers.layouts import (
    ColumnSeries,
    DateColumnLayout,
    DateRowLayout,
    LongLayout,
    RowBlock,
    RowSeries,
    TableLayout,
    WideLayout,
    WideRowsLayout,
    WideSeries,
)
from tnt_platform.series.spec import Layout, Reader, SeriesSource
from tnt_platform.specs.legacy_fields import Regex

Frequency = Literal["D", "W", "M", "Q", "A"]


def _letters(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{1,3}", text):
        raise ValueError(
            f"{text!r} is not a column; expected its letters as Excel shows them; write it like P or AD"
        )
    return text


def _code(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", re.sub(r"\{[^{}]+\}", "x", text)):
        raise ValueError(
            f"{text!r} can't be a series code: it names folders; use letters, digits and _ . + - "
            "(and {column} in templates)"
        )
    return text


Letters = Annotated[str, AfterValidator(_letters)]
Code = Annotated[str, AfterValidator(_code)]
RowNumber = Annotated[int, Field(ge=1, le=1_048_576)]


class SeriesSourceModel(dg.Model, dg.Resolvable):
    """Where the publisher keeps the file.

    `url`: http(s)://, file:///, s3://bucket/key or a key below the raw files; {YYYY}, {YY} and {MM} stand for the
    newest month that exists. `member` is a glob for the file inside a zip.
    """

    url: str
    headers: Mapping[str, str] = Field(default_factory=dict)
    months_back: Annotated[int, Field(ge=0, le=120)] = 12
    member: str | None = None
    max_size_mb: Annotated[float, Field(gt=0, le=2_000)] = 100
    timeout_s: Annotated[float, Field(gt=0)] = 60


class SeriesModel(dg.Model, dg.Resolvable):
    """One series, or with `first_row` and `last_row` a block of rows that are a series each.

    In a workbook, rows and columns are as Excel shows them. `header` and `label` are texts that must stand
    where they are expected, so that a sheet that moved is noticed. `year_column` and `years_row` hold years that stand
    once for their months. `leave_out` names columns and the texts that mark rows of another kind.
    """

    code: Code
    unit: str
    frequency: Frequency | None = None
    sheet: str | None = None
    header_row: RowNumber | None = None
    skip_rows_after_header: Annotated[int, Field(ge=0)] = 0
    date_column: Letters | None = None
    value_column: Letters | None = None
    header: str | None = None
    year_column: Letters | None = None
    leave_out: Mapping[str, str] = Field(default_factory=dict)
    dates_row: RowNumber | None = None
    first_column: Letters | None = None
    values_row: RowNumber | None = None
    years_row: RowNumber | None = None
    first_row: RowNumber | None = None
    last_row: RowNumber | None = None
    label_column: Letters = "A"
    label: str | None = None
    column: str | None = None


class TableModel(dg.Model, dg.Resolvable):
    """How a CSV or JSON file is a table; `records` is a JMESPath to the list of objects."""

    format: Literal["csv", "json"] = "csv"
    separator: str = ","
    quote: str | None = '"'
    encoding: str | None = None
    header_row: RowNumber = 1
    records: str = "@"
    date_column: str | None = None
    value_column: str | None = None
    date_columns: Regex | None = None
    code: Code | None = None
    unit: str | None = None
    where: Mapping[str, str] = Field(default_factory=dict)


def source_of(model: SeriesSourceModel) -> SeriesSource:
    """The source as the flow knows it."""
    return SeriesSource(
        url=model.url,
        headers=dict(model.headers),
        months_back=model.months_back,
        member=model.member,
        max_size_bytes=int(model.max_size_mb * 1_000_000),
        timeout_s=model.timeout_s,
    )


def layout_of(
    reader: Reader,
    series: Sequence[SeriesModel],
    table: TableModel | None,
    frequency: Frequency,
    footer: str | None,
) -> Layout:
    """The layout that `reader` needs.

    Raises:
        ValueError: a field it needs is missing, or one that it does not know is there.
    """
    if reader in ("date_column", "date_row"):
        if table is not None:
            raise ValueError(
                f"table: a workbook read by {reader} has none; remove it, or set reader: wide or long"
            )
        if not series:
            raise ValueError(f"series: {reader} needs at least one series; say its code, sheet and place")
        made = [_workbook_series(reader, one, frequency) for one in series]
        if reader == "date_column":
            return DateColumnLayout(series=tuple(made), footer=footer)
        return DateRowLayout(series=tuple(made))
    if table is None:
        raise ValueError(f"table: {reader} needs it; say at least format and date_column")
    return (
        _wide(series, table, frequency, footer)
        if reader == "wide"
        else _long(series, table, frequency, footer)
    )


_NEEDED: Mapping[str, tuple[str, ...]] = {
    "date_column": ("sheet", "header_row", "date_column", "value_column"),
    "date_row": ("sheet", "dates_row", "first_column", "values_row"),
    "block": ("sheet", "dates_row", "first_column", "first_row", "last_row"),
    "wide": ("column",),
}
_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "date_column": ("skip_rows_after_header", "header", "year_column", "leave_out"),
    "date_row": ("label", "label_column", "years_row"),
    "block": ("label_column", "years_row"),
    "wide": (),
}
_COMMON = {"code", "unit", "frequency"}


def _fields(kind: str, one: SeriesModel, frequency: Frequency) -> dict[str, Any]:
    """The fields of a series of this kind.

    Raises:
        ValueError: one is missing or does not belong here.
    """
    missing = [name for name in _NEEDED[kind] if getattr(one, name) is None]
    if missing:
        raise ValueError(
            f"series {one.code}: {', '.join(missing)} is missing; a {kind} series needs {', '.join(_NEEDED[kind])}"
        )
    known = {*_NEEDED[kind], *_ALLOWED[kind], *_COMMON}
    odd = sorted(one.model_fields_set - known)
    if odd:
        raise ValueError(
            f"series {one.code}: {', '.join(odd)} says nothing to a {kind} series; known: {', '.join(sorted(known))}"
        )
    values = {name: getattr(one, name) for name in (*_NEEDED[kind], *_ALLOWED[kind])}
    if "leave_out" in values:
        values["leave_out"] = tuple(
            sorted((_letters(column), text) for column, text in one.leave_out.items())
        )
    return {**values, "code": one.code, "unit": one.unit, "frequency": one.frequency or frequency}


def _workbook_series(reader: Reader, one: SeriesModel, frequency: Frequency) -> Any:
    if reader == "date_column":
        return ColumnSeries(**_fields("date_column", one, frequency))
    if one.first_row is not None or one.last_row is not None:
        return RowBlock(**_fields("block", one, frequency))
    return RowSeries(**_fields("date_row", one, frequency))


def _table_of(table: TableModel, footer: str | None) -> TableLayout:
    return TableLayout(
        format=table.format,
        separator=table.separator,
        quote=table.quote,
        encoding=table.encoding,
        header_row=table.header_row,
        records=table.records,
        footer=footer,
    )


def _wide(
    series: Sequence[SeriesModel], table: TableModel, frequency: Frequency, footer: str | None
) -> WideLayout | WideRowsLayout:
    if table.value_column or table.where:
        raise ValueError("table: value_column and where belong to reader: long")
    if table.date_columns is not None:
        if table.date_column is not None or series:
            raise ValueError(
                "table: date_columns makes each row a series: leave date_column and series out, and give code"
            )
        if table.code is None or table.unit is None:
            raise ValueError("table: date_columns needs code (such as WB_{Country Code}_A) and unit")
        return WideRowsLayout(
            table=_table_of(table, footer),
            code=table.code,
            date_columns=table.date_columns,
            unit=table.unit,
            frequency=frequency,
        )
    if table.date_column is None:
        raise ValueError(
            "table: date_column is missing; name the column of the dates, or date_columns if they run across"
        )
    if not series and (table.code is None or table.unit is None):
        raise ValueError(
            "series: list them, or give table.code (such as FX_{column}) and table.unit for every other column"
        )
    return WideLayout(
        table=_table_of(table, footer),
        date_column=table.date_column,
        series=tuple(WideSeries(**_fields("wide", one, frequency)) for one in series),
        code=table.code,
        unit=table.unit,
        frequency=frequency,
    )


def _long(
    series: Sequence[SeriesModel], table: TableModel, frequency: Frequency, footer: str | None
) -> LongLayout:
    if table.date_column is None or table.value_column is None or table.code is None or table.unit is None:
        raise ValueError(
            "table: reader long needs date_column, value_column, code (such as FX_{Country}_M) and unit"
        )
    if table.date_columns is not None:
        raise ValueError("table: date_columns belongs to reader: wide")
    return LongLayout(
        table=_table_of(table, footer),
        date_column=table.date_column,
        value_column=table.value_column,
        code=table.code,
        unit=table.unit,
        frequency=frequency,
        where=dict(table.where),
        series={one.code: one.unit for one in series},
    )
