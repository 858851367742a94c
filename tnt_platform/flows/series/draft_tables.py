"""Drafts for CSV and JSON: a series in each column, in each row, or below each other."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.flows.series.draft_columns import NUMBER
from tnt_platform.flows.series.draft_dates import NAMES, DateTexts, Timeline, surest
from tnt_platform.flows.series.draft_numbers import Marks, marks_of
from tnt_platform.flows.series.drafted import UNIT, Draft, code_of, code_part, footer_of, unique_codes
from tnt_platform.readers.series_cells import slug
from tnt_platform.readers.series_layouts import TableLayout
from tnt_platform.readers.table import Table, read_table

_MOSTLY: Final = 0.9
_MAX_KEYS: Final = 3
_SAMPLE: Final = 5_000
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
    return drafted


def _across(table: Table, layout: TableLayout, name: str) -> Draft | None:
    """Names of columns that are dates make each row a series."""
    names = [column or None for column in table.names]
    line = DateTexts(pl.Series(names, dtype=pl.String)).timeline(names)
    if line is None or not any(at not in line.places for at in range(len(names))):
        return None
    values = pl.concat([_texts(table, at) for at in line.places])
    keys = _keys(table, [at for at, column in enumerate(names) if at not in line.places and column], None)
    if not keys or not _numeric(values):
        return None
    dated = [table.names[at] for at in line.places]
    pattern = _pattern(dated)
    marks = marks_of(values)
    code = code_of(code_part(name), *(f"{{{table.names[at]}}}" for at in keys), line.frequency)
    said: dict[str, Any] = _table(layout) | {"date_columns": pattern, "code": code, "unit": UNIT}
    last = _last_filled(table, line.places)
    notes = [text for text in _texts(table, 0)[last + 1 :].to_list() if text]
    return Draft(
        reader="wide",
        frequency=line.frequency,
        table=said,
        options={**marks.options(is_text=layout.format == "csv"), **_order(line)},
        footer=footer_of(notes),
        detected=(
            f"dates across: {len(dated)} columns from {dated[0]!r} to {dated[-1]!r} ({NAMES[line.frequency]})",
            f"a series in each of {table.frame.height} {table.kind}s, named by {_listed(table, keys)}",
            *_constants(table, [at for at in range(len(names)) if at not in (*line.places, *keys)]),
        ),
        check=_checks(line, marks, "the names of the date columns"),
    )


def _down(table: Table, layout: TableLayout, name: str) -> Draft | None:
    columns = range(len(table.names))
    dates = DateTexts(pl.concat([_texts(table, at) for at in columns]))
    lines = {
        at: line for at in columns if (line := dates.timeline(_texts(table, at).to_list(), repeats=True))
    }
    found = surest({at: line for at, line in lines.items() if _nearly_all(table, at, line)})
    for at, line in sorted(found.items(), key=lambda item: -item[1].count):
        values = [
            column
            for column in columns
            if column not in found and table.names[column] and _numeric(_texts(table, column))
        ]
        days = pl.Series([day for day in line.days if day is not None])
        if not values:
            continue
        if days.n_unique() >= _MOSTLY * len(days):
            return _wide(table, layout, name, at, line, values)
        if drafted := _long(table, layout, name, at, line, values):
            return drafted
    return None


def _wide(
    table: Table, layout: TableLayout, name: str, at: int, line: Timeline, values: Sequence[int]
) -> Draft:
    marks = marks_of(pl.concat([_texts(table, column) for column in values]))
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
        table=_table(layout) | {"date_column": table.names[at]},
        options={**marks.options(is_text=layout.format == "csv"), **_order(line)},
        footer=_footer(table, at, line),
        detected=(
            f"dates down the column {table.names[at]!r} ({line.count} of them, {NAMES[line.frequency]})",
            f"{len(used)} columns of values: {_listed(table, used[:12])}",
            *_constants(table, [c for c in range(len(table.names)) if c != at and c not in values]),
        ),
        check=(*_checks(line, marks, f"the column {table.names[at]}"), *twice),
    )


def _long(
    table: Table, layout: TableLayout, name: str, at: int, line: Timeline, values: Sequence[int]
) -> Draft | None:
    """One observation a row: the fewest columns that tell rows of one date apart name the series."""
    others = [column for column, label in enumerate(table.names) if column != at and label]
    value = next((c for c in values if slug(table.names[c]).lower() in _VALUE_NAMES), values[-1])
    keys = _keys(table, [column for column in others if column != value], at)
    if not keys:
        return None
    marks = marks_of(_texts(table, value))
    days = table.frame.select(*(f"c{column}" for column in keys), day=pl.Series(line.days, dtype=pl.Date))
    frequency = _frequency_within(days, line)
    unit = next((column for column in others if table.names[column].casefold() in _UNIT_NAMES), None)
    code = code_of(code_part(name), *(f"{{{table.names[column]}}}" for column in keys), frequency)
    said: dict[str, Any] = _table(layout) | {
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
        options={**marks.options(is_text=layout.format == "csv"), **_order(line)},
        footer=_footer(table, at, line),
        detected=(
            f"dates in {table.names[at]!r} ({NAMES[frequency]}), values in {table.names[value]!r}",
            f"{series} series, named by {_listed(table, keys)}",
            *(f"other numbers, not read: {column!r}" for column in left),
        ),
        check=_checks(
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


def _keys(table: Table, candidates: Sequence[int], date: int | None) -> list[int]:
    """The fewest columns that, with the date, are different in every row; the shortest texts of equals."""
    frame = table.frame.filter(pl.col(f"c{date}").is_not_null()) if date is not None else table.frame
    usable = [
        at
        for at in candidates
        if frame[f"c{at}"].n_unique() > 1 and frame[f"c{at}"].null_count() <= (1 - _MOSTLY) * frame.height
    ]
    short = sorted(
        usable, key=lambda at: (_numeric(_texts(table, at)), frame[f"c{at}"].str.len_chars().mean() or 0)
    )
    base = [] if date is None else [f"c{date}"]
    for size in range(1, _MAX_KEYS + 1):
        for chosen in itertools.combinations(short[:8], size):
            names = [f"c{at}" for at in chosen]
            known = frame.drop_nulls(names)
            if known.select(*base, *names).n_unique() == known.height and known.height > 1:
                return sorted(chosen)
    return []


def _texts(table: Table, at: int) -> pl.Series:
    return table.frame[f"c{at}"].rename("text")


def _nearly_all(table: Table, at: int, line: Timeline) -> bool:
    """Whether a column is one of dates, notes below the last one apart."""
    known = _texts(table, at).head(line.places[-1] + 1).drop_nulls()
    return line.count >= _MOSTLY * len(known)


def _numeric(texts: pl.Series) -> bool:
    known = texts.drop_nulls().head(_SAMPLE).to_list()
    return bool(known) and 2 * sum(NUMBER.fullmatch(text) is not None for text in known) > len(known)


def _table(layout: TableLayout) -> dict[str, Any]:
    if layout.format == "json":
        return {"format": "json", "records": layout.records}
    said: dict[str, Any] = {"format": "csv", "separator": layout.separator}
    return said | ({"header_row": layout.header_row} if layout.header_row > 1 else {})


def _pattern(names: Sequence[str]) -> str:
    """A regular expression for names of these kinds: digits for digits, letters for letters."""
    forms = dict.fromkeys(re.sub(r"[^\W\d_]+", "\x01", re.sub(r"\d", "\x00", name)) for name in names)
    patterns = [
        re.sub(r"(?:\\d)+", lambda run: rf"\d{{{len(run[0]) // 2}}}", re.escape(form).replace("\x00", r"\d"))
        .replace("\x01", r"\pL+")
        .replace("\\ ", " ")
        for form in forms
    ]
    return "|".join(pattern.replace(r"\pL+", "[A-Za-zÀ-ÿ]+") for pattern in patterns)


def _footer(table: Table, at: int, line: Timeline) -> str | None:
    """How the rows below the last date begin, those that are too short for the table included."""
    last = line.places[-1]
    notes = [
        text
        for text in (_texts(table, at)[last + 1 :].to_list() + _texts(table, 0)[last + 1 :].to_list())
        if text
    ]
    after = table.frame["line_no"][last]
    notes += table.refused.filter(pl.col("line_no") > after)["raw"].str.strip_chars('" \t').to_list()
    return footer_of(notes)


def _last_filled(table: Table, places: Sequence[int]) -> int:
    filled = table.frame.select(
        pl.any_horizontal(pl.col(f"c{at}").is_not_null() for at in places)
    ).to_series()
    return int(filled.arg_true()[-1]) if filled.any() else -1


def _order(line: Timeline) -> dict[str, Any]:
    return {"date_order": line.order} if line.order else {}


def _listed(table: Table, columns: Sequence[int]) -> str:
    return ", ".join(repr(table.names[at]) for at in columns)


def _constants(table: Table, columns: Sequence[int]) -> list[str]:
    """What a column says that is the same in every row may be the unit."""
    said = []
    for at in columns:
        known = _texts(table, at).drop_nulls()
        if table.names[at] and len(known) and known.n_unique() == 1:
            said.append(f"{table.names[at]!r} is {known[0]!r} in every {table.kind}")
    return said


def _checks(line: Timeline, marks: Marks, where: str) -> tuple[str, ...]:
    said = []
    if line.order:
        said.append(f"dates are taken as {line.order}: compare one with the file")
    if not line.regular:
        said.append(f"{where}: dates come irregularly: check the frequency")
    if marks.ambiguous:
        said.append("every value has one mark before three digits: check decimal and thousands")
    if marks.others:
        said.append(
            f"values that are no numbers: {', '.join(map(repr, marks.others))}; add them to not_available if "
            "that is meant"
        )
    return tuple(said)
