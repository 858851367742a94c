"""Fingerprint what a series dataset declares, as the first release computed it.

Published versions carry the fingerprint, and with another one every capture would be read again. So a setting that is
added later appears in it only where it is set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tnt_platform.series.readers.layouts import (
    ColumnSeries,
    DateColumnLayout,
    DateRowLayout,
    LongLayout,
    RowBlock,
    RowEntry,
    RowSeries,
    TableLayout,
    WideLayout,
)
from tnt_platform.series.transforms.conventions import Conventions


class _Text(str):
    """A part of the fingerprinted text that is not quoted."""

    def __repr__(self) -> str:
        return str(self)


def recipe_of(
    reader: str, layout: object, conventions: Conventions, frequency: str, member: str | None
) -> str:
    """Hash everything declared that decides what observations a capture gives."""
    text = repr((reader, _layout(layout, frequency), _conventions(conventions), member))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _call(name: str, **fields: object) -> _Text:
    return _Text(f"{name}({', '.join(f'{field}={value!r}' for field, value in fields.items())})")


def _layout(layout: object, frequency: str) -> _Text:
    if isinstance(layout, DateColumnLayout):
        series = tuple(_column_series(one, frequency) for one in layout.series)
        return _call("DateColumnLayout", series=series, footer=layout.footer)
    if isinstance(layout, DateRowLayout):
        return _call("DateRowLayout", series=tuple(_row_entry(one, frequency) for one in layout.series))
    if isinstance(layout, LongLayout):
        return _long(layout, frequency)
    assert isinstance(layout, WideLayout), "these are all layouts there are"
    table, columns = _table(layout.table, layout.footer), layout.table
    if columns.date_columns is not None:
        own = {"code": columns.code, "date_columns": columns.date_columns, "unit": columns.unit}
        return _call("WideRowsLayout", table=table, **own, frequency=frequency)
    series = tuple(
        _call(
            "WideSeries",
            code=one.code,
            column=one.column,
            unit=one.unit,
            frequency=one.frequency or frequency,
        )
        for one in layout.series
    )
    return _call(
        "WideLayout",
        table=table,
        date_column=columns.date_column,
        series=series,
        code=columns.code,
        unit=columns.unit,
        frequency=frequency,
    )


def _long(layout: LongLayout, frequency: str) -> _Text:
    columns = layout.table
    return _call(
        "LongLayout",
        table=_table(columns, layout.footer),
        date_column=columns.date_column,
        value_column=columns.value_column,
        code=columns.code,
        unit=columns.unit,
        frequency=frequency,
        where=dict(columns.where),
        series={one.code: one.unit for one in layout.series},
    )


def _column_series(one: ColumnSeries, frequency: str) -> _Text:
    return _call(
        "ColumnSeries",
        code=one.code,
        sheet=one.sheet,
        header_row=one.header_row,
        skip_rows_after_header=one.skip_rows_after_header,
        date_column=one.date_column,
        value_column=one.value_column,
        header=one.header,
        leave_out=tuple(sorted(one.leave_out.items())),
        unit=one.unit,
        frequency=one.frequency or frequency,
        year_column=one.year_column,
    )


def _row_entry(one: RowEntry, frequency: str) -> _Text:
    place: dict[str, object] = {"code": one.code, "sheet": one.sheet, "dates_row": one.dates_row}
    place["first_column"] = one.first_column
    measure = {"unit": one.unit, "frequency": one.frequency or frequency, "years_row": one.years_row}
    if isinstance(one, RowSeries):
        own = {"values_row": one.values_row, "label": one.label, "label_column": one.label_column}
        return _call("RowSeries", **place, **own, **measure)
    assert isinstance(one, RowBlock), "an entry is a series or a block"
    rows = {"label_column": one.label_column, "first_row": one.first_row, "last_row": one.last_row}
    return _call("RowBlock", **place, **rows, **measure)


def _table(table: TableLayout, footer: str | None) -> _Text:
    names: Iterable[str] = ("format", "separator", "quote", "encoding", "header_row", "records")
    return _call("TableLayout", **{name: getattr(table, name) for name in names}, footer=footer)


def _conventions(one: Conventions) -> _Text:
    added = {
        name: value
        for name, value in (
            ("serial_epoch", one.serial_epoch),
            ("forecasts", one.forecasts or None),
            ("zeros", one.zeros or None),
        )
        if value is not None
    }
    return _call(
        "Conventions",
        timezone=one.timezone,
        decimal=one.decimal,
        thousands=one.thousands,
        date_order=one.date_order,
        na_tokens=one.not_available,
        duplicates=one.duplicates,
        numbers_as_such=one.numbers_as_such,
        marks=one.marks,
        negative_parentheses=one.negative_parentheses,
        **added,
    )
