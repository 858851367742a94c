"""Dates that a table prints in two columns: years, and months or quarters of them."""

from __future__ import annotations

from typing import Final

import polars as pl

from tnt_platform.readers.printed_dates import dates_of
from tnt_platform.series.drafting.table_words import MOSTLY, texts_of
from tnt_platform.series.readers.cells import slug
from tnt_platform.series.readers.table import Table

_YEAR: Final = r"^(?:19|20)[0-9]{2}(?:[.]0+)?$"
_MIN_PARTS: Final = 3
# How year and part are put together, the frequency that then reads them, and what a column of digits must be called.
_FORMS: Final = (
    ("{year} {part}", "M", None),
    ("{year}{part}", "M", ("PERIOD", "PERIODO")),
    ("{year}-{part}", "M", ("MES", "MONTH", "MM", "PERIOD", "PERIODO")),
    ("{year} {part}", "Q", None),
    ("{year}-T{part}", "Q", ("TRIMESTRE", "TRIM", "QUARTER", "QTR", "Q", "T")),
)


def with_split_dates(table: Table) -> tuple[Table, frozenset[int]]:
    """Add a column named by the template that puts dates together, the last one; with the columns they are of.

    Where there are no such dates the table is as it was, and the columns are none.
    """
    for year, label in enumerate(table.names):
        if not label or not _are_years(texts_of(table, year)):
            continue
        for part, of_year in enumerate(table.names):
            if part != year and of_year and (form := _form(texts_of(table, part), of_year)) is not None:
                template = form.format(year=f"{{{label}}}", part=f"{{{of_year}}}")
                return _with_column(table, template), frozenset({year, part})
    return table, frozenset()


def is_part_of_year(name: str) -> bool:
    """Whether the name of a column is a month or a quarter, such as Ene or T1."""
    return _form(pl.Series([name]), "") is not None


def _are_years(texts: pl.Series) -> bool:
    return len(texts) >= _MIN_PARTS and texts.str.contains(_YEAR).sum() >= MOSTLY * len(texts)


def _form(texts: pl.Series, label: str) -> str | None:
    """The form in which nearly all texts are parts of a year."""
    parts = texts.drop_nulls().unique()
    in_digits = bool(parts.str.contains("^[0-9]").any())
    for form, frequency, names in _FORMS:
        if in_digits and (names is None or slug(label) not in names):
            continue
        printed = pl.concat_str(pl.lit(form.partition("{part}")[0].format(year=2024)), pl.col("part"))
        known = parts.to_frame("part").select(day=dates_of(printed, frequency))["day"]
        if len(known) and known.count() >= MOSTLY * len(known):
            return form
    return None


def _with_column(table: Table, template: str) -> Table:
    dated, column, _ = table.dated(template)
    frame = dated.frame.rename({column: f"c{len(table.names)}"})
    return Table((*table.names, template), frame, table.rejected, table.kind)
