"""Series side by side in a table: a column of dates and a column each, or a row each and a column for each date."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.cells import (
    CELLS,
    REFUSED,
    SeriesCells,
    filled,
    joined,
    slug,
    template_names,
)
from tnt_platform.series.readers.layouts import WideLayout, WideTable
from tnt_platform.series.readers.table import Table, read_table

_SOME = pl.col("date_text").is_not_null() | pl.col("value_text").is_not_null()


def read_wide(data: bytes, layout: WideLayout) -> SeriesCells:
    """Read the series of a wide table; see `SeriesCells` for the frames.

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
    table = table.above_footer(layout.footer, "c0", dates)
    listed: list[tuple[str, str, str | None, str | None, str]] = [
        (one.code, one.column, one.unit, one.frequency, table.column(one.column)) for one in layout.series
    ]
    series = listed or list(_other_columns(table, parts, layout.table))
    cells = [
        table.frame.select(
            pl.lit(code).alias("series_code"),
            pl.col(dates).alias("date_text"),
            pl.col(column).alias("value_text"),
            _place(table, pl.lit(name.strip())).alias("place"),
            "line_no",
        ).filter(_SOME)
        for code, name, _, _, column in series
    ]
    codes = ((code, unit, frequency) for code, _, unit, frequency, _ in series)
    return joined(cells, codes, table.refused)


def _other_columns(
    table: Table, dates: frozenset[str], columns: WideTable
) -> Iterator[tuple[str, str, str | None, str | None, str]]:
    """Yield code, name, unit, frequency and frame column of each column but the dates; a blank unnamed one is none."""
    for at, name in enumerate(table.names):
        column = f"c{at}"
        if column in dates:
            continue
        if slug(name):
            yield filled(columns.code or "", {"column": slug(name)}), name, columns.unit, None, column
        elif table.frame[column].is_not_null().any():
            raise InvalidInput(
                "unnamed_column",
                f"column {at + 1} has values, but its header {name!r} gives its series no name; name it in the file, "
                "or list the `series` to read",
            )


def _by_rows(table: Table, layout: WideLayout, date_columns: str) -> SeriesCells:
    code, unit = layout.table.code or "", layout.table.unit
    named = {name: table.column(name) for name in template_names(code)}
    table = table.above_footer(layout.footer, "c0")
    dates = {
        f"c{at}": name
        for at, name in enumerate(table.names)
        if name and re.fullmatch(date_columns, name) is not None
    }
    if not dates:
        raise InvalidInput(
            "missing_column",
            f"no column of the file matches {date_columns!r}; it has {', '.join(map(repr, table.names[:40]))}"
            ". Correct date_columns or header_row",
        )
    frame, refused = coded_rows(table, code, named)
    codes = frame["series_code"].to_list()
    cells = (
        frame.unpivot(
            list(dates), index=["series_code", "line_no"], variable_name="at", value_name="value_text"
        )
        .with_columns(pl.col("at").replace(dates).alias("date_text"))
        .with_columns(_place(table, pl.col("date_text")).alias("place"))
        .select(list(CELLS))
        .sort("line_no", maintain_order=True)
    )
    return joined([cells], ((one, unit, None) for one in codes), refused)


def coded_rows(table: Table, template: str, named: dict[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the table's rows with their series_code, and all refused rows: its own and those that give no code.

    Raises:
        InvalidInput: duplicate_series if rows with different names get one code.
    """
    keys = table.frame.select(list(named.values())).unique(maintain_order=True)
    codes: list[str | None] = []
    for values in keys.iter_rows():
        slugs = [slug(value or "") for value in values]
        codes.append(filled(template, dict(zip(named, slugs, strict=True))) if all(slugs) else None)
    coded = keys.with_columns(pl.Series("series_code", codes, dtype=pl.String))
    _refuse_one_code_for_two(coded, list(named.values()))
    rows = table.frame.join(
        coded, on=list(named.values()), how="left", nulls_equal=True, maintain_order="left"
    )
    nameless = rows.filter(pl.col("series_code").is_null())
    cells = pl.concat_str([pl.col(f"c{at}").fill_null("") for at in range(len(table.names))], separator=" | ")
    refused = nameless.select(
        "line_no",
        cells.str.slice(0, 10_000).alias("raw"),
        pl.lit("no_code").alias("reason_code"),
        pl.lit(
            f"the row has nothing in {', '.join(map(repr, named))} that could name its series; fill the cell, or "
            "declare a `footer` if it is a note"
        ).alias("reason"),
    )
    named_rows = rows.filter(pl.col("series_code").is_not_null())
    return named_rows, pl.concat([table.refused, refused]).select(list(REFUSED)).sort("line_no")


def _refuse_one_code_for_two(coded: pl.DataFrame, columns: list[str]) -> None:
    twice = coded.filter(pl.col("series_code").is_not_null() & pl.col("series_code").is_duplicated())
    if twice.is_empty():
        return
    code = twice["series_code"][0]
    rows = twice.filter(pl.col("series_code") == code).select(columns).rows()
    raise InvalidInput(
        "duplicate_series",
        f"{' and '.join(repr(' / '.join(row)) for row in rows[:5])} would both be the series {code}; add a column that "
        "tells them apart to the `code` template",
    )


def _place(table: Table, column: pl.Expr) -> pl.Expr:
    return pl.format(f"{table.kind} {{}}, column {{}}", "line_no", column)
