"""Read dates as publishers print them, in Spanish and English: those with exactly one reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, Literal, get_args

import polars as pl

DateOrder = Literal["dmy", "mdy", "ymd"]

FIRST_YEAR: Final = 1800
LAST_YEAR: Final = 2200
# Serial numbers of spreadsheets for days from 1954 to 2099; other numbers are more likely something else.
FIRST_SERIAL: Final = 20_000
LAST_SERIAL: Final = 73_050
SERIAL_OF_1970: Final = 25_569
# As Python does: 69 to 99 are 1969 to 1999.
PIVOT: Final = 69

EXPECTED_DATES: Final[Mapping[str, str]] = {
    "D": "a day such as 2024-03-15, 15-mar-24 or 15/03/2024",
    "W": "a week or a day in it such as 2024-W11, 2024-03-15 or 15-mar-24",
    "M": "a month or a day in it such as 2024-03, Marzo-24, mar 2024 or 2024-03-15",
    "Q": "a quarter or a month or day in it such as 2024-Q1, 1T2024, I-2024 or 2024-03-15",
    "A": "a year or a day in it such as 2024 or 2024-12-31",
}

_YEAR: Final = "([0-9]{4})"
_SHORT_YEAR: Final = "([0-9]{2})"
_ONE_OR_TWO: Final = "([0-9]{1,2})"
_TWO: Final = "([0-9]{2})"
_NAME: Final = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[.]?"
_BETWEEN: Final = "(?: del? |, ?|[ ./-])?"
_CLOCK: Final = "(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.][0-9]+)?)?(?: ?[ap][.]? ?m[.]?)?"
_TIME: Final = f"(?:[ t]{_CLOCK}(?: ?(?:z|utc|[+-][0-9]{{2}}(?::?[0-9]{{2}})?))?)?"
_ISO_DAY: Final = f"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}){_TIME}"
_QUARTER_WORD: Final = "(?:trimestre|trim|tri|quarter|qtr|t|q)[.]?"
_ROMAN: Final = "(i|ii|iii|iv)"
# A year and its quarter, as in 2024-Q1, 2024 : 1T and 2024Q1.
_APART: Final = "(?: ?[:-] ?| )?"
# What follows the first month where a quarter is printed as jan-mar.
_UNTIL: Final[Mapping[str, str]] = {
    first: f"[.]?(?: ?[-/–] ?| a | to ){last}[.]?"
    for first, last in (("jan", "mar"), ("apr", "jun"), ("jul", "sep"), ("oct", "dec"))
}
# Starts a string that a form has rewritten: no form matches it again, and no cell starts with it.
_READ: Final = "\x1f"
_SEPARATORS: Final = ("-", "/", "[.]")


@dataclass(frozen=True)
class _Form:
    """A way to print a date, its spelling as year-month-day, and the frequencies it is fine enough for."""

    pattern: str
    iso: str
    frequencies: str = "DWMQA"


def dates_of(text: pl.Expr, frequency: str, order: DateOrder | None = None, *, pivot: int = PIVOT) -> pl.Expr:
    """Read a string as the day, or the first day of the week, month, quarter or year, that it names.

    text: String; frequency: D, W, M, Q or A; order: the order of day and month in all-digit dates (dates that start
    with a four-digit year need none); pivot: years of two digits from it on are of the 20th century, others of the
    21st. Returns Date: null where a string has no reading or several, is coarser than
    the frequency (a month in a daily series), doesn't follow `order`, or is not in FIRST_YEAR to LAST_YEAR. See
    EXPECTED_DATES for what is understood. Each distinct string is read once.
    """
    # Not one expression: it would plan and run every form for every string, also those that are read already.
    return text.map_batches(
        lambda texts: _days_of(texts, frequency, order, pivot), return_dtype=pl.Date, is_elementwise=True
    )


def _days_of(texts: pl.Series, frequency: str, order: DateOrder | None, pivot: int) -> pl.Series:
    tidy = pl.col("text").str.strip_chars().str.replace_all(r"\s+", " ").str.to_lowercase()
    iso = pl.col("tidy").str.extract(f"^{_ISO_DAY}$").str.to_date("%Y-%m-%d", strict=False)
    known = pl.DataFrame({"text": texts.unique()}).with_columns(tidy=tidy).with_columns(day=iso)
    rest = known.filter(pl.col("day").is_null(), pl.col("text").is_not_null())
    if rest.height:
        known = pl.concat(
            [known.filter(pl.col("day").is_not_null()), _with_other_days(rest, frequency, order, pivot)]
        )
    is_near = pl.col("day").dt.year().is_between(FIRST_YEAR, LAST_YEAR)
    known = known.select("text", day=pl.when(is_near).then("day"))
    return texts.to_frame("text").join(known, on="text", how="left", maintain_order="left")["day"]


def _with_other_days(rest: pl.DataFrame, frequency: str, order: DateOrder | None, pivot: int) -> pl.DataFrame:
    """Read the strings that aren't ISO days."""
    text = pl.col("tidy")
    named = text.str.replace_many(dict(_month_names()), leftmost=True)
    orders: tuple[DateOrder, ...] = get_args(DateOrder) if order is None else (order,)
    readings = rest.with_columns(
        _in_forms(named, [form for form in _forms() if frequency in form.frequencies], pivot).alias("form"),
        (_week(text) if frequency == "W" else pl.lit(None, pl.Date)).alias("week"),
        (_serial(text) if frequency != "A" else pl.lit(None, pl.Date)).alias("serial"),
        *(_in_forms(text, _digit_forms(each), pivot).alias(each) for each in orders),
    )
    first = pl.min_horizontal(orders)
    agreed = pl.when(first == pl.max_horizontal(orders)).then(first)
    return readings.select("text", "tidy", day=pl.coalesce("form", "week", "serial", agreed))


def _in_forms(text: pl.Expr, forms: Iterable[_Form], pivot: int) -> pl.Expr:
    # A chain of replacements, each reading the one before: a choice among forms would copy the expression for each
    # of them, and take longer to plan than to run.
    for form in forms:
        text = text.str.replace(f"^{form.pattern}$", f"{_READ}{form.iso}")
    recent = "|".join(f"{year:02d}" for year in range(pivot))
    for years, century in ((recent, 20), ("[0-9]{2}", 19)):
        if years:
            text = text.str.replace(f"^{_READ}({years})-", f"{_READ}{century}${{1}}-")
    return text.str.replace_many(dict(_numbers_of_names())).str.to_date(f"{_READ}%Y-%m-%d", strict=False)


def _week(text: pl.Expr) -> pl.Expr:
    week = text.str.extract("^([0-9]{4}-?w[0-9]{1,2})$").str.replace("-?w", "-w")
    return (week + "-1").str.to_date("%G-w%V-%u", strict=False)


def _serial(text: pl.Expr) -> pl.Expr:
    days = text.str.extract("^([0-9]{5})(?:[.][0-9]+)?$").cast(pl.Int32)
    return pl.when(days.is_between(FIRST_SERIAL, LAST_SERIAL)).then((days - SERIAL_OF_1970).cast(pl.Date))


@cache
def _month_names() -> Mapping[str, str]:
    """Return names and abbreviations of months with the English abbreviation, the longest first, as they are tried."""
    return dict(sorted(_rows("month_names.csv"), key=lambda row: -len(row[0])))


@cache
def _numbers_of_names() -> Mapping[str, str]:
    """Map what a form leaves between hyphens instead of a month: its name, or a quarter for its first month."""
    months = dict.fromkeys(month for _, month in _rows("month_names.csv"))
    names = [(name, number) for number, name in enumerate(months, 1)]
    names += [(f"q{name}", 3 * int(quarter) - 2) for name, quarter in _rows("quarter_names.csv")]
    return {f"-{name}-": f"-{month:02d}-" for name, month in names}


def _rows(table: str) -> list[list[str]]:
    text = files(__package__).joinpath(table).read_text(encoding="utf-8")
    return [line.split(",") for line in text.splitlines()[1:]]


@cache
def _digit_forms(order: DateOrder) -> tuple[_Form, ...]:
    """Return the forms of 01/02/2024 and 01/02/24, whose parts only the order tells apart."""
    iso = "-".join(f"${{{order.index(part) + 1}}}" for part in "ymd")
    years = (_SHORT_YEAR,) if order == "ymd" else (_YEAR, _SHORT_YEAR)
    return tuple(
        _Form(mark.join({"d": _ONE_OR_TWO, "m": _ONE_OR_TWO, "y": year}[part] for part in order) + _TIME, iso)
        for mark in _SEPARATORS
        for year in years
    )


@cache
def _forms() -> tuple[_Form, ...]:
    year = _Form(f"{_YEAR}(?:[.]0+)?", "${1}-01-01", "A")
    return (*_day_forms(), *_month_forms(), *_quarter_forms(), year)


def _day_forms() -> Iterator[_Form]:
    for mark in _SEPARATORS:
        yield _Form(f"{_YEAR}{mark}{_ONE_OR_TWO}{mark}{_ONE_OR_TWO}{_TIME}", "${1}-${2}-${3}")
    yield _Form(f"{_YEAR}{_TWO}{_TWO}{_TIME}", "${1}-${2}-${3}")
    day = f"{_ONE_OR_TWO}(?:st|nd|rd|th|[º°])?"
    for year in (_YEAR, _SHORT_YEAR):
        yield _Form(f"{day}{_BETWEEN}{_NAME}{_BETWEEN}{year}{_TIME}", "${3}-${2}-${1}")
    yield _Form(f"{_NAME}{_BETWEEN}{day}(?:, ?|[ /-]){_YEAR}{_TIME}", "${3}-${1}-${2}")
    yield _Form(f"{_YEAR}{_BETWEEN}{_NAME}{_BETWEEN}{day}{_TIME}", "${1}-${2}-${3}")


def _month_forms() -> Iterator[_Form]:
    # For a yearly series 2001-02 may be the season 2001/02; for a quarterly one 2001-2 may be the second quarter.
    yield _Form(f"{_YEAR}[:/-]{_TWO}", "${1}-${2}-01", "MQ")
    yield _Form(f"{_YEAR}[:/-]([0-9])", "${1}-${2}-01", "M")
    yield _Form(f"{_YEAR}{_TWO}(?:[.]0+)?", "${1}-${2}-01", "M")
    yield _Form(f"{_YEAR}-?m{_ONE_OR_TWO}", "${1}-${2}-01", "MQA")
    yield _Form(f"{_TWO}[./-]{_YEAR}", "${2}-${1}-01", "MQA")
    yield _Form(f"([0-9])[/-]{_YEAR}", "${2}-${1}-01", "M")
    yield _Form(f"{_NAME}{_BETWEEN}{_YEAR}", "${2}-${1}-01", "MQA")
    yield _Form(f"{_NAME}(?:{_BETWEEN}|')?{_SHORT_YEAR}", "${2}-${1}-01", "MQA")
    yield _Form(f"{_YEAR}{_BETWEEN}{_NAME}", "${1}-${2}-01", "MQA")


def _quarter_forms() -> Iterator[_Form]:
    numeral = "([1-4])(?:(?:er|ro|do|to|st|nd|rd|th)[.]?|[º°])?"
    word = f"({'|'.join(name for name, _ in _rows('quarter_names.csv') if len(name) > 3)})"
    yield _Form(f"{_YEAR}{_APART}[qt]([1-4])", "${1}-q${2}-01", "QA")
    yield _Form(f"{_YEAR}{_APART}([1-4])[qt]", "${1}-q${2}-01", "QA")
    for year in (_YEAR, _SHORT_YEAR):
        yield _Form(f"[qt]([1-4])(?:{_BETWEEN}|'){year}", "${2}-q${1}-01", "QA")
        yield _Form(f"(?:{numeral}|{word}) ?{_QUARTER_WORD}(?:{_BETWEEN}|'){year}", "${3}-q${1}${2}-01", "QA")
        # Without the word, iv-24 may also be the start of a date.
        yield _Form(f"{_ROMAN}[ ./-]?{_QUARTER_WORD}{_BETWEEN}{year}", "${2}-q${1}-01", "QA")
        yield _Form(f"{_QUARTER_WORD} ?(?:{_ROMAN}|{numeral})[ ./-]{year}", "${3}-q${1}${2}-01", "QA")
        for first in ("jan", "apr", "jul", "oct"):
            yield _Form(f"{first}{_UNTIL[first]}{_BETWEEN}{year}", f"${{1}}-{first}-01", "QA")
    yield _Form(f"{_ROMAN}{_BETWEEN}{_YEAR}", "${2}-q${1}-01", "QA")
    yield _Form(f"{_YEAR}(?:[ ./-]| - ){_ROMAN}", "${1}-q${2}-01", "QA")
