"""What drafts of tables look at and say: the texts of a column, its footer, and a table in the words of the YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from tnt_platform.series.drafting.dates import Timeline
from tnt_platform.series.drafting.drafted import footer_of
from tnt_platform.series.drafting.numbers import Marks, looks_numeric
from tnt_platform.series.readers.layouts import TableLayout
from tnt_platform.series.readers.table import Table

MOSTLY: Final = 0.9
_SAMPLE: Final = 5_000


def texts_of(table: Table, at: int) -> pl.Series:
    """The texts of a column."""
    return table.frame[f"c{at}"].rename("text")


def nearly_all_dates(table: Table, at: int, line: Timeline) -> bool:
    """Whether a column is one of dates, notes below the last one apart."""
    known = texts_of(table, at).head(line.places[-1] + 1).drop_nulls()
    return line.count >= MOSTLY * len(known)


def is_numeric(texts: pl.Series) -> bool:
    """Whether most texts are numbers."""
    known = texts.drop_nulls().head(_SAMPLE).to_list()
    return bool(known) and 2 * sum(looks_numeric(text) for text in known) > len(known)


def table_words(layout: TableLayout) -> dict[str, Any]:
    """A layout as the YAML says it."""
    if layout.format == "json":
        return {"format": "json", "records": layout.records}
    said: dict[str, Any] = {"format": "csv", "separator": layout.separator}
    said |= {"header_row": layout.header_row} if layout.header_row > 1 else {}
    return said | ({"encoding": layout.encoding} if layout.encoding else {})


def pattern_of(names: Sequence[str]) -> str:
    """A regular expression for names of these kinds: digits for digits, letters for letters."""
    forms = dict.fromkeys(re.sub(r"[^\W\d_]+", "\x01", re.sub(r"\d", "\x00", name)) for name in names)
    patterns = [
        re.sub(r"(?:\\d)+", lambda run: rf"\d{{{len(run[0]) // 2}}}", re.escape(form).replace("\x00", r"\d"))
        .replace("\x01", r"\pL+")
        .replace("\\ ", " ")
        for form in forms
    ]
    return "|".join(pattern.replace(r"\pL+", "[A-Za-zÀ-ÿ]+") for pattern in patterns)


def footer_below(table: Table, at: int, line: Timeline) -> str | None:
    """How the rows below the last date begin, those that are too short for the table included."""
    last = line.places[-1]
    notes = [
        text
        for text in (texts_of(table, at)[last + 1 :].to_list() + texts_of(table, 0)[last + 1 :].to_list())
        if text
    ]
    after = table.frame["line_no"][last]
    notes += table.rejected.filter(pl.col("line_no") > after)["raw"].str.strip_chars('" \t').to_list()
    return footer_of(notes)


def last_filled(table: Table, places: Sequence[int]) -> int:
    """The last row with something in one of the columns, -1 if there is none."""
    filled = table.frame.select(
        pl.any_horizontal(pl.col(f"c{at}").is_not_null() for at in places)
    ).to_series()
    return int(filled.arg_true()[-1]) if filled.any() else -1


def order_words(line: Timeline) -> dict[str, Any]:
    """What the YAML must say of days and months in digits."""
    return {"date_order": line.order} if line.order else {}


def names_of(table: Table, columns: Sequence[int]) -> str:
    """The names of columns, listed."""
    return ", ".join(repr(table.names[at]) for at in columns)


def constants(table: Table, columns: Sequence[int]) -> list[str]:
    """What a column says that is the same in every row may be the unit."""
    said = []
    for at in columns:
        known = texts_of(table, at).drop_nulls()
        if table.names[at] and len(known) and known.n_unique() == 1:
            said.append(f"{table.names[at]!r} is {known[0]!r} in every {table.kind}")
    return said


def checks_of(line: Timeline, marks: Marks, where: str) -> tuple[str, ...]:
    """What a person must look at."""
    said = []
    if line.order:
        said.append(f"dates are taken as {line.order}: compare one with the file")
    if not line.regular:
        said.append(f"{where}: dates come irregularly: check the frequency")
    return (*said, *marks.checks)
