"""Series of a CSV or JSON table: one per column, one per row with dates across, or one observation per row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.cells import (
    PAIRS,
    REJECTED,
    NotInFile,
    SeriesCells,
    filled,
    joined,
    slug,
    template_names,
)
from tnt_platform.series.readers.layouts import LongLayout, WideLayout, WideTable
from tnt_platform.series.readers.table import Table, read_table

_SOME = pl.col("date_text").is_not_null() | pl.col("value_text").is_not_null()


def read_wide(data: bytes, layout: WideLayout) -> SeriesCells:
    """Read a table with a series per column or per row; see `SeriesCells` for the frames.

    Raises:
        InvalidInput: the table can't be read (`read_table`), or missing_column, duplicate_column, unnamed_column,
            no_rows, duplicate_series.
    """
    table = read_table(data, layout.table)
    if layout.table.date_columns is None:
        return _by_columns(table, layout)
    return _by_rows(table, layout, layout.table.date_columns)


def _by_columns(table: Table, layout: WideLayout) -> SeriesCells:
    table, dates, parts = table.dated(layout.table.date_column or "")
    table, below = table.split_at_footer(layout.footer, "c0", dates)
    listed: list[tuple[str, str, str | None, str | None, str]] = [
        (one.code, one.column, one.unit, one.frequency, table.column(one.column)) for one in layout.series
    ]
    series = listed or list(_other_columns(table, parts, layout.table))
    cells, cut_off = (
        [_column_cells(part, code, name, dates, column) for code, name, _, _, column in series]
        for part in (table, below)
    )
    codes = ((code, unit, frequency) for code, _, unit, frequency, _ in series)
    return joined(cells, codes, table.rejected, below=cut_off)


def _column_cells(table: Table, code: str, name: str, dates: str, column: str) -> pl.DataFrame:
    return table.frame.select(
        pl.lit(code).alias("series_code"),
        pl.col(dates).alias("date_text"),
        pl.col(column).alias("value_text"),
        _place(table, pl.lit(name.strip())).alias("place"),
        "line_no",
    ).filter(_SOME)


def _other_columns(
    table: Table, dates: frozenset[str], columns: WideTable
) -> Iterator[tuple[str, str, str | None, str | None, str]]:
    """Yield code, name, unit, frequency and frame column of each column but the dates and blank unnamed ones."""
    for at, name in enumerate(table.names):
        column = f"c{at}"
        if column in dates:
            continue
        if slug(name):
            yield filled(columns.code or "", {"column": slug(name)}), name, columns.unit, None, column
        elif table.frame[column].is_not_null().any():
            raise InvalidInput(
                "unnamed_column",
                f"column {at + 1} has values, but its header {name!r} can't name a series; name it in the file, or "
                "list the `series` to read",
            )


def _by_rows(table: Table, layout: WideLayout, date_columns: str) -> SeriesCells:
    code, unit = layout.table.code or "", layout.table.unit
    named = {name: table.column(name) for name in template_names(code)}
    table, below = table.split_at_footer(layout.footer, "c0")
    dates = {
        f"c{at}": name
        for at, name in enumerate(table.names)
        if name and re.fullmatch(date_columns, name) is not None
    }
    if not dates:
        raise NotInFile(
            "missing_column",
            f"no column of the file matches {date_columns!r}; it has {', '.join(map(repr, table.names[:40]))}"
            ". Correct date_columns or header_row",
            date_columns,
        )
    frame, rejected = _coded_rows(table, code, named)
    codes = frame["series_code"].to_list()
    cells = _cells_across(table, frame, dates)
    # A note has no values under the dates.
    cut_off = _below_footer(below, code, named)
    below_cells = _cells_across(below, cut_off, dates).filter(pl.col("value_text").is_not_null())
    return joined([cells], ((one, unit, None) for one in codes), rejected, below=[below_cells])


def _cells_across(table: Table, frame: pl.DataFrame, dates: dict[str, str]) -> pl.DataFrame:
    return (
        frame.unpivot(
            list(dates), index=["series_code", "line_no"], variable_name="at", value_name="value_text"
        )
        .with_columns(pl.col("at").replace(dates).alias("date_text"))
        .with_columns(_place(table, pl.col("date_text")).alias("place"))
        .select(*PAIRS)
        .sort("line_no", maintain_order=True)
    )


def read_long(data: bytes, layout: LongLayout) -> SeriesCells:
    """Read a table with one observation per row; see `SeriesCells` for the frames.

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
    selected = [pl.col(table.column(name)) == text for name, text in columns.where.items()]
    table, below = table.split_at_footer(layout.footer, "c0", dates)
    some = pl.col(dates).is_not_null() | pl.col(values).is_not_null()
    kept, cut_off = (replace(part, frame=part.frame.filter(some, *selected)) for part in (table, below))
    rows, rejected = _coded_rows(kept, columns.code, named)
    cells, below_cells = (
        coded.select(
            "series_code",
            pl.col(dates).alias("date_text"),
            pl.col(values).alias("value_text"),
            pl.format(f"{table.kind} {{}}", "line_no").alias("place"),
            "line_no",
        )
        for coded in (rows, _below_footer(cut_off, columns.code, named))
    )
    return joined([cells], _long_codes(rows, units, layout), rejected, below=[below_cells])


def _long_codes(
    rows: pl.DataFrame, units: dict[str, str], layout: LongLayout
) -> list[tuple[str, str | None, str | None]]:
    """Return code, unit and frequency of each series, in the order of the file."""
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


def _keys_with_codes(table: Table, template: str, named: dict[str, str]) -> pl.DataFrame:
    """Return the different values of the columns that name a series, with its series_code; null where one is blank."""
    keys = table.frame.select(list(named.values())).unique(maintain_order=True)
    codes: list[str | None] = []
    for values in keys.iter_rows():
        slugs = [slug(value or "") for value in values]
        codes.append(filled(template, dict(zip(named, slugs, strict=True))) if all(slugs) else None)
    return keys.with_columns(pl.Series("series_code", codes, dtype=pl.String))


def _with_codes(table: Table, coded: pl.DataFrame, named: dict[str, str]) -> pl.DataFrame:
    return table.frame.join(
        coded, on=list(named.values()), how="left", nulls_equal=True, maintain_order="left"
    )


def _below_footer(table: Table, template: str, named: dict[str, str]) -> pl.DataFrame:
    """Return rows below a footer with their series_code: the template itself where they name no series."""
    if not named:
        return table.frame.with_columns(series_code=pl.lit(template))
    rows = _with_codes(table, _keys_with_codes(table, template, named), named)
    return rows.with_columns(pl.col("series_code").fill_null(template))


def _coded_rows(table: Table, template: str, named: dict[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the table's rows with their series_code, and the rejected rows: the table's own and those without a code.

    Raises:
        InvalidInput: duplicate_series if rows with different names get the same code.
    """
    if not named:
        return table.frame.with_columns(series_code=pl.lit(template)), table.rejected
    coded = _keys_with_codes(table, template, named)
    _reject_ambiguous_codes(coded, list(named.values()))
    rows = _with_codes(table, coded, named)
    without_code = rows.filter(pl.col("series_code").is_null())
    cells = pl.concat_str([pl.col(f"c{at}").fill_null("") for at in range(len(table.names))], separator=" | ")
    rejected = without_code.select(
        "line_no",
        cells.str.slice(0, 10_000).alias("raw"),
        pl.lit("no_code").alias("reason_code"),
        pl.lit(
            f"the row has no value in {', '.join(map(repr, named))} that names its series; fill the cell, or declare "
            "a `footer` if the row is a note"
        ).alias("reason"),
    )
    named_rows = rows.filter(pl.col("series_code").is_not_null())
    return named_rows, pl.concat([table.rejected, rejected]).select(list(REJECTED)).sort("line_no")


def _reject_ambiguous_codes(coded: pl.DataFrame, columns: list[str]) -> None:
    ambiguous = coded.filter(pl.col("series_code").is_not_null() & pl.col("series_code").is_duplicated())
    if ambiguous.is_empty():
        return
    code = ambiguous["series_code"][0]
    rows = ambiguous.filter(pl.col("series_code") == code).select(columns).rows()
    raise InvalidInput(
        "duplicate_series",
        f"{' and '.join(repr(' / '.join(row)) for row in rows[:5])} would all be the series {code}; add a column that "
        "distinguishes them to the `code` template",
    )


def _place(table: Table, column: pl.Expr) -> pl.Expr:
    return pl.format(f"{table.kind} {{}}, column {{}}", "line_no", column)
