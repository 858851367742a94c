"""Draft the layout of CSV and JSON tables: a series in each column, in each row, or an observation per row."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.printed_dates import dates_of
from tnt_platform.series.drafting.dates import (
    FREQUENCIES,
    FREQUENCY_NAMES,
    MOSTLY,
    DateReadings,
    Timeline,
    are_years,
    date_checks,
    months_across_years,
    split_date_template,
    surest,
)
from tnt_platform.series.drafting.draft import UNIT, Draft, code_of, code_part, footer_of, unique_codes
from tnt_platform.series.drafting.grid import Grid
from tnt_platform.series.drafting.numbers import number_format
from tnt_platform.series.readers.cells import slug
from tnt_platform.series.readers.layouts import TableLayout
from tnt_platform.series.readers.table import Table, read_table

_NUMBER_NAME: Final = re.compile(r"[-+]?[0-9][0-9.,]*")
_MAX_KEYS: Final = 3
_MAX_KEY_CANDIDATES: Final = 8
_SAMPLE: Final = 5_000
_NAMES_LISTED: Final = 20


def draft_table(data: bytes, layout: TableLayout, name: str) -> Draft:
    """Draft the series of one table.

    Raises:
        InvalidInput: nothing_recognised with the columns of the table, months_across_years, duplicate_column, or as
            `read_table`.
    """
    table = read_table(data, layout)
    draft = _dates_across(_ClassifiedTable.of(table, layout, name))
    if draft is None:
        table, split = _with_split_dates(table)
        draft = _dates_down(_ClassifiedTable.of(table, layout, name), split)
    if draft is None:
        columns = ", ".join(repr(column) for column in table.names[:_NAMES_LISTED])
        raise InvalidInput(
            "nothing_recognised",
            f"no dates with values were recognised in {table.frame.height} {table.kind}s with the columns {columns} "
            f"(header in line {layout.header_row}, separator {layout.separator!r}); write the layout yourself",
        )
    if layout.encoding is None:
        return draft
    guess = f"the encoding can't be detected, and {layout.encoding} is assumed: check letters with accents"
    return replace(draft, check=(*draft.check, guess))


@dataclass(frozen=True)
class _ClassifiedTable(Table):
    """A table with its classified cells, its layout, and the name of the dataset that is drafted."""

    layout: TableLayout
    dataset: str
    grid: Grid

    @classmethod
    def of(cls, table: Table, layout: TableLayout, dataset: str) -> _ClassifiedTable:
        """Classify the cells of a table."""
        columns = {at: table.frame[f"c{at}"] for at in range(len(table.names))}
        grid = Grid(dataset, columns, table.names)
        return cls(
            table.names, table.frame, table.rejected, table.kind, table.separator, layout, dataset, grid
        )

    def strings(self, columns: Sequence[int]) -> pl.Series:
        """Return all cells of columns."""
        return pl.concat([self.frame[f"c{at}"].rename("text") for at in columns])

    def holds_numbers(self, *columns: int) -> bool:
        """Tell whether at least half of the first cells of columns that aren't blank are numbers."""
        return self.grid.are_numbers(self.strings(columns).drop_nulls().head(_SAMPLE))

    def listed(self, columns: Sequence[int]) -> str:
        """List the names of columns."""
        return ", ".join(repr(self.names[at]) for at in columns)

    def code_template(self, keys: Sequence[int], frequency: str) -> str:
        """Return the template of the codes of series that columns name."""
        return code_of(code_part(self.dataset), *(f"{{{self.names[at]}}}" for at in keys), frequency)

    def footer(self, last: int, columns: Sequence[int]) -> str | None:
        """Return the pattern of the notes below a row: in columns, or too short to be rows of the table."""
        notes = [text for at in columns for text in self.grid.column(at)[last + 1 :] if text]
        below = pl.col("line_no") > self.frame["line_no"][last]
        notes += self.rejected.filter(below)["raw"].str.strip_chars('" \t').to_list()
        return footer_of(notes, (text for at in columns for text in self.grid.column(at)[: last + 1]))

    def left_out(self, used: Collection[int]) -> list[str]:
        """Name the columns with numbers, or formulas, that no series reads."""
        return [
            f"column {self.names[at] or at + 1!r} is left out: {found}"
            for at in range(self.grid.width)
            if at not in used and (found := self.grid.numbers_in(self.grid.column(at)))
        ]

    def constants(self, columns: Sequence[int]) -> list[str]:
        """Describe columns that are the same in every row: they may be the unit."""
        cells = {at: self.frame[f"c{at}"].drop_nulls() for at in columns if self.names[at]}
        return [
            f"{self.names[at]!r} is {known[0]!r} in every {self.kind}"
            for at, known in cells.items()
            if len(known) and known.n_unique() == 1
        ]

    def draft(
        self,
        reader: str,
        dates: Timeline,
        values: pl.Series,
        fields: dict[str, Any],
        where: str,
        texts: Iterable[str | None],
    ) -> Draft:
        """Draft what all tables have: the file's format, the formats of numbers and dates, and their checks."""
        layout = self.layout
        numbers = number_format(values).with_marks(dates.marks)
        file: dict[str, Any] = {"format": "json", "records": layout.records}
        if layout.format == "csv":
            file = {"format": "csv", "separator": layout.separator}
            file |= {"header_row": layout.header_row} if layout.header_row > 1 else {}
            file |= {"encoding": layout.encoding} if layout.encoding else {}
        options = numbers.options(is_text=layout.format == "csv")
        found, checks = date_checks(texts)
        options |= found
        if dates.order:
            options["date_order"] = dates.order
            checks.append(f"days and months are read as {dates.order}: compare one with the file")
        if not dates.regular:
            checks.append(f"{where}: the dates are irregular: check the frequency")
        return Draft(
            reader=reader,
            frequency=dates.frequency,
            table=file | fields,
            options=options,
            check=(*checks, *numbers.checks),
        )


def _dates_across(table: _ClassifiedTable) -> Draft | None:
    """Draft a table whose column names are dates: each row is a series."""
    names = table.grid.header
    # Only the names: reading every cell as a date is for tables whose dates run down.
    dates = DateReadings(pl.Series(names, dtype=pl.String)).timeline(names)
    others = [] if dates is None else [at for at, day in enumerate(dates.days) if day is None]
    if dates is None or not others:
        return None
    keys = _key_columns(table, [at for at in others if names[at]], None)
    if not keys or not table.holds_numbers(*dates.positions):
        return None
    dated = [table.names[at] for at in dates.positions]
    code = table.code_template(keys, dates.frequency)
    fields = {"date_columns": _pattern_of(dated), "code": code, "unit": UNIT}
    where = "the names of the date columns"
    filled = pl.any_horizontal(pl.col(f"c{at}").is_not_null() for at in dates.positions)
    last = table.frame.select(filled.arg_true().max()).item()
    draft = table.draft("wide", dates, table.strings(dates.positions), fields, where, dated)
    return replace(
        draft,
        footer=table.footer(last, [0]),
        detected=(
            f"dates across: {len(dated)} columns from {dated[0]!r} to {dated[-1]!r} "
            f"({FREQUENCY_NAMES[dates.frequency]})",
            f"a series in each of {table.grid.height} {table.kind}s, named by {table.listed(keys)}",
            *table.constants([at for at in others if at not in keys]),
        ),
        check=(*draft.check, *table.left_out({*dates.positions, *keys})),
    )


def _dates_down(table: _ClassifiedTable, split: frozenset[int]) -> Draft | None:
    """Draft a table with a column of dates; `split` are the columns whose parts the last column puts together."""
    columns = range(table.grid.width)
    found = {}
    for at in columns[-1:] if split else columns:
        dates = table.grid.dates.timeline(table.grid.column(at), repeats=True)
        if dates is not None and _is_nearly_all_dates(table, at, dates):
            found[at] = dates
    found = surest(found)
    names = table.names
    values = [
        at for at in columns if at not in found and at not in split and names[at] and table.holds_numbers(at)
    ]
    if not values:
        return None
    for at, dates in sorted(found.items(), key=lambda item: -item[1].count):
        _refuse_data_as_header(names, at, dates, values)
        if len(set(dates.days) - {None}) >= MOSTLY * dates.count:
            return _series_per_column(table, at, dates, values, split)
        if draft := _observation_per_row(table, at, dates, values, split):
            return draft
    return None


def _refuse_data_as_header(names: Sequence[str], at: int, dates: Timeline, values: Sequence[int]) -> None:
    """Refuse a table without a header, whose first row would name the columns and be lost."""
    first = pl.DataFrame({"text": [names[at]]})
    day = first.select(dates_of(pl.col("text"), dates.frequency, dates.order)).item()
    if day is not None and all(_NUMBER_NAME.fullmatch(names[column]) for column in values):
        raise InvalidInput(
            "no_header",
            f"the header holds a date and numbers as the rows below it do ({names[at]!r}, "
            f"{names[values[0]]!r} ...), so the file has none; add a line that names the columns",
        )


def _is_nearly_all_dates(table: _ClassifiedTable, at: int, dates: Timeline) -> bool:
    """Tell whether a column has hardly anything but dates, apart from notes below the last one."""
    known = [text for text in table.grid.column(at)[: dates.positions[-1] + 1] if text is not None]
    return dates.count >= MOSTLY * len(known)


def _dated(table: _ClassifiedTable, at: int, dates: Timeline) -> list[str | None]:
    column = table.grid.column(at)
    return [column[row] for row in dates.positions]


def _columns_of_series(table: _ClassifiedTable, at: int, dates: Timeline, values: Sequence[int]) -> list[int]:
    names = table.names
    if months := months_across_years(dates.frequency, [names[column] for column in values]):
        raise InvalidInput(
            "months_across_years",
            f"the years run down column {names[at]!r} and their months or quarters across ({', '.join(months[:4])} "
            "...), which no reader takes; turn the table into a row for each month, with its year and month in columns "
            'of their own, and declare `date_column: "{year} {month}"`',
        )
    used = [column for column in values if names.count(names[column]) == 1]
    if not used:
        raise InvalidInput(
            "duplicate_column",
            f"all columns of values have a name that occurs twice ({table.listed(values[:12])}); name each column once",
        )
    return used


def _series_per_column(
    table: _ClassifiedTable, at: int, dates: Timeline, values: Sequence[int], split: frozenset[int]
) -> Draft:
    """Draft a table whose dates occur once: each column of values is a series.

    Raises:
        InvalidInput: months_across_years, duplicate_column.
    """
    names = table.names
    used = _columns_of_series(table, at, dates, values)
    places = [f"C{column + 1}" for column in used]
    codes = [
        code_of(code_part(table.dataset), code_part(names[column]) or place, dates.frequency)
        for column, place in zip(used, places, strict=True)
    ]
    found = zip(unique_codes(codes, places), used, strict=True)
    where = f"the column {names[at]}"
    fields = {"date_column": names[at]}
    draft = table.draft("wide", dates, table.strings(values), fields, where, _dated(table, at, dates))
    repeated = sorted({names[column] for column in range(len(names)) if names.count(names[column]) > 1})
    return replace(
        draft,
        series=tuple({"code": code, "column": names[column], "unit": UNIT} for code, column in found),
        footer=table.footer(dates.positions[-1], [at, 0]),
        detected=(
            f"dates down the column {names[at]!r} ({dates.count} of them, {FREQUENCY_NAMES[dates.frequency]})",
            f"{len(used)} columns of values: {table.listed(used[:12])}",
            *table.constants(
                [column for column in range(len(names)) if column != at and column not in values]
            ),
        ),
        check=(
            *draft.check,
            *(f"columns named {name!r} are left out: the name repeats" for name in repeated),
            *table.left_out({at, *split, *values}),
        ),
    )


def _observation_per_row(
    table: _ClassifiedTable, at: int, dates: Timeline, values: Sequence[int], split: frozenset[int]
) -> Draft | None:
    """Draft a table whose dates repeat: the fewest columns that distinguish the rows of a date name the series."""
    names = table.names
    others = [column for column, name in enumerate(names) if column != at and column not in split and name]
    value = next((c for c in values if _column_meaning().get(slug(names[c]).lower()) == "value"), values[-1])
    keys = _key_columns(table, [column for column in others if column != value], at)
    if not keys:
        return None
    frequency = _frequency_of_series(table, keys, dates)
    unit = next((c for c in others if _column_meaning().get(names[c].casefold()) == "unit"), None)
    fields = {
        "date_column": names[at],
        "value_column": names[value],
        "code": table.code_template(keys, frequency),
        "unit": UNIT if unit is None else f"{{{names[unit]}}}",
    }
    printed, dates = dates, replace(dates, frequency=frequency, regular=True)
    series = table.frame.select(f"c{column}" for column in keys).n_unique()
    where = f"the column {names[at]}"
    draft = table.draft("long", dates, table.strings([value]), fields, where, _dated(table, at, printed))
    used = {at, value, *keys, *split, *([] if unit is None else [unit])}
    return replace(
        draft,
        footer=table.footer(dates.positions[-1], [at, 0]),
        detected=(
            f"dates in {names[at]!r} ({FREQUENCY_NAMES[frequency]}), values in {names[value]!r}",
            f"{series} series, named by {table.listed(keys)}",
        ),
        check=(*draft.check, *table.left_out(used)),
    )


def _key_columns(table: _ClassifiedTable, candidates: Sequence[int], date: int | None) -> list[int]:
    """Return the fewest columns that, with the date, differ in every row; of equals those with the shortest strings."""
    base = [] if date is None else [f"c{date}"]
    frame = table.frame.drop_nulls(base) if base else table.frame
    usable = []
    for at in candidates:
        cells = frame[f"c{at}"]
        if cells.n_unique() > 1 and cells.null_count() <= (1 - MOSTLY) * frame.height:
            usable.append((table.holds_numbers(at), cells.str.len_chars().mean() or 0, at))
    shortest = [at for *_, at in sorted(usable)][:_MAX_KEY_CANDIDATES]
    for size in range(1, _MAX_KEYS + 1):
        for chosen in itertools.combinations(shortest, size):
            names = [f"c{at}" for at in chosen]
            known = frame.drop_nulls(names)
            if known.height > 1 and known.select(*base, *names).n_unique() == known.height:
                return sorted(chosen)
    return []


def _frequency_of_series(table: _ClassifiedTable, keys: Sequence[int], dates: Timeline) -> str:
    """Return how often dates come within the longest series; never more often than the dates of the file."""
    rows = table.frame.select(*(f"c{column}" for column in keys), day=pl.Series(dates.days, dtype=pl.Date))
    series = rows.drop_nulls("day").group_by(pl.exclude("day")).agg("day")
    longest = series.sort(pl.col("day").list.len(), descending=True).head(1)
    days = [str(day) for day in longest["day"].explode().sort()]
    within = DateReadings(pl.Series(days, dtype=pl.String)).timeline(days)
    return max((one.frequency for one in (dates, within) if one), key=FREQUENCIES.index)


def _with_split_dates(table: Table) -> tuple[Table, frozenset[int]]:
    """Add a last column that puts years and their months or quarters together, named by its template.

    Returns the table, and the columns that were put together: none where the table has no such dates.
    """
    for year, label in enumerate(table.names):
        if not label or not are_years(table.frame[f"c{year}"]):
            continue
        for part, header in enumerate(table.names):
            if part == year or not header:
                continue
            if template := split_date_template(table.frame[f"c{part}"], header):
                name = template.format(year=f"{{{label}}}", part=f"{{{header}}}")
                dated, column, _ = table.dated(name)
                frame = dated.frame.rename({column: f"c{len(table.names)}"})
                return replace(table, names=(*table.names, name), frame=frame), frozenset({year, part})
    return table, frozenset()


def _pattern_of(names: Sequence[str]) -> str:
    """Return a regular expression for names of the same form: digits for digits, letters for letters."""
    forms = {re.sub(r"[^\W\d_]+|\d+", _class_of, re.escape(name).replace("\\ ", " ")): None for name in names}
    return "|".join(forms)


def _class_of(run: re.Match[str]) -> str:
    return rf"\d{{{len(run[0])}}}" if run[0].isdecimal() else "[A-Za-zÀ-ÿ]+"


@cache
def _column_meaning() -> dict[str, str]:
    """Return what columns of these names hold: the value or the unit."""
    with (files(__package__) / "column_names.csv").open(encoding="utf-8") as file:
        return {row["name"]: row["holds"] for row in csv.DictReader(file)}
