"""Drafts for CSV and JSON: a series in each column, in each row, or below each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.series.drafting.dates import MIN_DATES, NAMES, DateTexts, Timeline, surest
from tnt_platform.series.drafting.drafted import UNIT, Draft, code_of, code_part, footer_of, unique_codes
from tnt_platform.series.drafting.long import draft_long, key_columns
from tnt_platform.series.drafting.numbers import marks_of
from tnt_platform.series.drafting.split_dates import is_part_of_year, with_split_dates
from tnt_platform.series.drafting.table_words import (
    MOSTLY,
    checks_of,
    constants,
    footer_below,
    is_numeric,
    last_filled,
    names_of,
    nearly_all_dates,
    order_words,
    pattern_of,
    table_words,
    texts_of,
)
from tnt_platform.series.readers.layouts import TableLayout
from tnt_platform.series.readers.table import Table, read_table


def draft_table(data: bytes, layout: TableLayout, name: str) -> Draft:
    """Draft the series of one table.

    Raises:
        InvalidInput: nothing_recognised with the columns there are, or what `read_table` says.
    """
    table = read_table(data, layout)
    drafted = _across(table, layout, name) or _down(table, layout, name)
    if drafted is None:
        columns = ", ".join(repr(column) for column in table.names[:20])
        raise InvalidInput(
            "nothing_recognised",
            f"no dates with values were recognised in {table.frame.height} {table.kind}s with the columns {columns} "
            f"(header in line {layout.header_row}, separator {layout.separator!r}); write the layout by hand",
        )
    if layout.encoding is None:
        return drafted
    guess = f"the bytes don't tell the encoding, and {layout.encoding} is taken: look at letters with accents"
    return replace(drafted, check=(*drafted.check, guess))


def _across(table: Table, layout: TableLayout, name: str) -> Draft | None:
    """Names of columns that are dates make each row a series."""
    names = [column or None for column in table.names]
    line = DateTexts(pl.Series(names, dtype=pl.String)).timeline(names)
    if line is None or not any(at not in line.places for at in range(len(names))):
        return None
    values = pl.concat([texts_of(table, at) for at in line.places])
    keys = key_columns(
        table, [at for at, column in enumerate(names) if at not in line.places and column], None
    )
    if not keys or not is_numeric(values):
        return None
    dated = [table.names[at] for at in line.places]
    pattern = pattern_of(dated)
    marks = marks_of(values).with_dates(line.marks)
    code = code_of(code_part(name), *(f"{{{table.names[at]}}}" for at in keys), line.frequency)
    said: dict[str, Any] = table_words(layout) | {"date_columns": pattern, "code": code, "unit": UNIT}
    last = last_filled(table, line.places)
    notes = [text for text in texts_of(table, 0)[last + 1 :].to_list() if text]
    return Draft(
        reader="wide",
        frequency=line.frequency,
        table=said,
        options={**marks.options(is_text=layout.format == "csv"), **order_words(line)},
        footer=footer_of(notes),
        detected=(
            f"dates across: {len(dated)} columns from {dated[0]!r} to {dated[-1]!r} ({NAMES[line.frequency]})",
            f"a series in each of {table.frame.height} {table.kind}s, named by {names_of(table, keys)}",
            *constants(table, [at for at in range(len(names)) if at not in (*line.places, *keys)]),
        ),
        check=checks_of(line, marks, "the names of the date columns"),
    )


def _down(table: Table, layout: TableLayout, name: str) -> Draft | None:
    table, parts = with_split_dates(table)
    columns = range(len(table.names))
    read = [len(table.names) - 1] if parts else columns
    dates = DateTexts(pl.concat([texts_of(table, at) for at in read]))
    lines = {at: line for at in read if (line := dates.timeline(texts_of(table, at).to_list(), repeats=True))}
    found = surest({at: line for at, line in lines.items() if nearly_all_dates(table, at, line)})
    used = {*found, *parts}
    for at, line in sorted(found.items(), key=lambda item: -item[1].count):
        values = [
            column
            for column in columns
            if column not in used and table.names[column] and is_numeric(texts_of(table, column))
        ]
        days = pl.Series([day for day in line.days if day is not None])
        if not values:
            continue
        if days.n_unique() >= MOSTLY * len(days):
            _refuse_months_across([table.names[column] for column in values], line, table.names[at])
            return _wide(table, layout, name, at, line, values)
        if drafted := draft_long(table, layout, name, at, line, values, [at, *parts]):
            return drafted
    return None


def _refuse_months_across(names: Sequence[str], line: Timeline, dates: str) -> None:
    """Raise if columns are the months of years that run down: each month as a series of years is not what is meant."""
    months = [name for name in names if is_part_of_year(name)]
    if line.frequency == "A" and 2 * len(months) >= len(names) and len(months) >= MIN_DATES:
        raise InvalidInput(
            "months_across_years",
            f"the years run down column {dates!r} and their months or quarters across ({', '.join(months[:4])} ...), "
            "which no reader takes; turn the table into a row for each month, with its year and month in columns "
            'of their own, and declare `date_column: "{year} {month}"`',
        )


def _wide(
    table: Table, layout: TableLayout, name: str, at: int, line: Timeline, values: Sequence[int]
) -> Draft:
    values_of = pl.concat([texts_of(table, column) for column in values])
    marks = marks_of(values_of).with_dates(line.marks)
    repeated = {column for column in table.names if table.names.count(column) > 1}
    used = [column for column in values if table.names[column] not in repeated]
    codes = [
        code_of(code_part(name), code_part(table.names[column]) or f"C{column + 1}", line.frequency)
        for column in used
    ]
    codes = unique_codes(codes, [f"C{column + 1}" for column in used])
    series = [
        {"code": code, "column": table.names[column], "unit": UNIT}
        for code, column in zip(codes, used, strict=True)
    ]
    twice = [
        f"columns named {column!r} are left out: the name occurs several times" for column in sorted(repeated)
    ]
    return Draft(
        reader="wide",
        frequency=line.frequency,
        series=tuple(series),
        table=table_words(layout) | {"date_column": table.names[at]},
        options={**marks.options(is_text=layout.format == "csv"), **order_words(line)},
        footer=footer_below(table, at, line),
        detected=(
            f"dates down the column {table.names[at]!r} ({line.count} of them, {NAMES[line.frequency]})",
            f"{len(used)} columns of values: {names_of(table, used[:12])}",
            *constants(table, [c for c in range(len(table.names)) if c != at and c not in values]),
        ),
        check=(*checks_of(line, marks, f"the column {table.names[at]}"), *twice),
    )
