"""Series below each other in a table: each row names its series, its date and its value."""

from __future__ import annotations

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.cells import CELLS, SeriesCells, filled, joined, template_names
from tnt_platform.series.readers.layouts import LongLayout
from tnt_platform.series.readers.table import Table, read_table
from tnt_platform.series.readers.wide import coded_rows


def read_long(data: bytes, layout: LongLayout) -> SeriesCells:
    """Read the series of a long table; see `SeriesCells` for the frames.

    Raises:
        InvalidInput: the table can't be read (`read_table`), or missing_column, duplicate_column, mixed_units,
            no_rows, duplicate_series.
    """
    table = read_table(data, layout.table)
    columns = layout.table
    table, dates, _ = table.dated(columns.date_column)
    values = table.column(columns.value_column)
    named = {name: table.column(name) for name in template_names(columns.code)}
    units = {name: table.column(name) for name in template_names(columns.unit)}
    kept = [pl.col(table.column(name)) == text for name, text in columns.where.items()]
    table = table.above_footer(layout.footer, "c0", dates)
    some = pl.col(dates).is_not_null() | pl.col(values).is_not_null()
    table = Table(table.names, table.frame.filter(some, *kept), table.refused, table.kind)
    rows, refused = coded_rows(table, columns.code, named)
    cells = rows.select(
        "series_code",
        pl.col(dates).alias("date_text"),
        pl.col(values).alias("value_text"),
        pl.format(f"{table.kind} {{}}", "line_no").alias("place"),
        "line_no",
    ).select(list(CELLS))
    return joined([cells], _codes(rows, units, layout), refused)


def _codes(
    rows: pl.DataFrame, units: dict[str, str], layout: LongLayout
) -> list[tuple[str, str | None, str | None]]:
    """Return each series with its unit and frequency, in the order of the file."""
    found = rows.select("series_code", *units.values()).unique(maintain_order=True)
    units_of = {one.code: one.unit for one in layout.series}
    listed: dict[str, str | None] = {}
    for code, *texts in found.iter_rows():
        unit = layout.table.unit
        if units:
            unit = filled(layout.table.unit, dict(zip(units, (text or "" for text in texts), strict=True)))
        unit = units_of.get(code, unit)
        if listed.setdefault(code, unit) != unit:
            raise InvalidInput(
                "mixed_units",
                f"series {code} has rows in {listed[code]!r} and rows in {unit!r}; add the column of the unit to the "
                "`code` template, or keep one unit with `where`",
            )
    return [(code, unit, None) for code, unit in listed.items()]
