"""Drafts for tables with one observation a row."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl

from tnt_platform.series.drafting.dates import NAMES, DateTexts, Timeline
from tnt_platform.series.drafting.drafted import UNIT, Draft, code_of, code_part
from tnt_platform.series.drafting.numbers import marks_of
from tnt_platform.series.drafting.table_words import (
    MOSTLY,
    checks_of,
    footer_below,
    is_numeric,
    names_of,
    order_words,
    table_words,
    texts_of,
)
from tnt_platform.series.readers.cells import slug
from tnt_platform.series.readers.layouts import TableLayout
from tnt_platform.series.readers.table import Table

_MAX_KEYS: Final = 3
_VALUE_NAMES: Final = (
    "value",
    "valor",
    "obs_value",
    "obsvalue",
    "price",
    "precio",
    "rate",
    "tasa",
    "close",
    "amount",
    "monto",
)
_UNIT_NAMES: Final = ("unit", "units", "unidad", "unidades", "unit_measure", "unidad_de_medida")


def draft_long(
    table: Table,
    layout: TableLayout,
    name: str,
    at: int,
    line: Timeline,
    values: Sequence[int],
    used: Sequence[int],
) -> Draft | None:
    """One observation a row: the fewest columns that tell rows of one date apart name the series.

    `at`: the column of dates, whose texts are `line`; `used`: all columns that are dates or parts of them.
    """
    others = [column for column, label in enumerate(table.names) if column not in used and label]
    value = next((c for c in values if slug(table.names[c]).lower() in _VALUE_NAMES), values[-1])
    keys = key_columns(table, [column for column in others if column != value], at)
    if not keys:
        return None
    marks = marks_of(texts_of(table, value)).with_dates(line.marks)
    days = table.frame.select(*(f"c{column}" for column in keys), day=pl.Series(line.days, dtype=pl.Date))
    frequency = _frequency_within(days, line)
    unit = next((column for column in others if table.names[column].casefold() in _UNIT_NAMES), None)
    code = code_of(code_part(name), *(f"{{{table.names[column]}}}" for column in keys), frequency)
    said: dict[str, Any] = table_words(layout) | {
        "date_column": table.names[at],
        "value_column": table.names[value],
    }
    said |= {"code": code, "unit": f"{{{table.names[unit]}}}" if unit is not None else UNIT}
    left = [table.names[column] for column in values if column not in (value, *keys)]
    series = table.frame.select(f"c{column}" for column in keys).n_unique()
    return Draft(
        reader="long",
        frequency=frequency,
        table=said,
        options={**marks.options(is_text=layout.format == "csv"), **order_words(line)},
        footer=footer_below(table, at, line),
        detected=(
            f"dates in {table.names[at]!r} ({NAMES[frequency]}), values in {table.names[value]!r}",
            f"{series} series, named by {names_of(table, keys)}",
            *(f"other numbers, not read: {column!r}" for column in left),
        ),
        check=checks_of(
            replace(line, frequency=frequency, regular=True), marks, f"the column {table.names[at]}"
        ),
    )


def _frequency_within(rows: pl.DataFrame, line: Timeline) -> str:
    """How often dates come within a series; the file's printed form can't be finer than it says."""
    keys = [column for column in rows.columns if column != "day"]
    one = (
        rows.drop_nulls("day")
        .group_by(keys)
        .agg("day")
        .sort(pl.col("day").list.len(), descending=True)
        .head(1)
    )
    texts = [str(day) for day in one["day"].explode().sort()]
    within = DateTexts(pl.Series(texts, dtype=pl.String)).timeline(texts)
    found = [line.frequency] if within is None else [line.frequency, within.frequency]
    return max(found, key="DWMQA".index)


def key_columns(table: Table, candidates: Sequence[int], date: int | None) -> list[int]:
    """The fewest columns that, with the date, are different in every row; the shortest texts of equals."""
    frame = table.frame.filter(pl.col(f"c{date}").is_not_null()) if date is not None else table.frame
    usable = [
        at
        for at in candidates
        if frame[f"c{at}"].n_unique() > 1 and frame[f"c{at}"].null_count() <= (1 - MOSTLY) * frame.height
    ]
    short = sorted(
        usable, key=lambda at: (is_numeric(texts_of(table, at)), frame[f"c{at}"].str.len_chars().mean() or 0)
    )
    base = [] if date is None else [f"c{date}"]
    for size in range(1, _MAX_KEYS + 1):
        for chosen in itertools.combinations(short[:8], size):
            names = [f"c{at}" for at in chosen]
            known = frame.drop_nulls(names)
            if known.select(*base, *names).n_unique() == known.height and known.height > 1:
                return sorted(chosen)
    return []
