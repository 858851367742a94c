"""Recognise dates: which strings are dates, in which order of day and month, and how often they come."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from statistics import median
from typing import Final

import polars as pl

from tnt_platform.readers.printed_dates import DateOrder, dates_of
from tnt_platform.readers.printed_marks import parted
from tnt_platform.series.drafting.numbers import commonest
from tnt_platform.series.readers.cells import slug

FREQUENCIES: Final = ("D", "W", "M", "Q", "A")
FREQUENCY_NAMES: Final = {"D": "daily", "W": "weekly", "M": "monthly", "Q": "quarterly", "A": "yearly"}
MIN_DATES: Final = 3
# How much of a column must be dates, or of the steps between dates alike.
MOSTLY: Final = 0.9
_ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy", "ymd")
# The longest step of each frequency but years; half a year is nearest to quarters.
_LONGEST_STEP_DAYS: Final = {"D": 4, "W": 15, "M": 60, "Q": 200}
# A finer frequency is right if it reads nearly as many strings as a coarser one, which reads them all.
_FINEST_FIRST: Final = ("D", "M", "Q", "A", "W")
_NEARLY: Final = 0.8
_MAX_CHARS: Final = 40
_NOT_A_DATE: Final = r"^[+-]?[0-9]*[.,][0-9]+$|^[+-]?[0-9]{7}$|^[+-]?[0-9]{9,}$|^-"
_DATE_WITH_POINT: Final = r"^(?:[0-9]{1,2}[.](?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}[.]0+)$"
_NEEDS_ORDER: Final = r"^[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}"
_NUMBER: Final = r"^[+-]?[0-9.,]+$"
_SERIAL: Final = r"^[0-9]{5}(?:[.][0-9]+)?$"
_ZONED: Final = r"(?i)[0-9]:[0-9]{2}(?:[.][0-9]+)? ?(?:z|utc|[+-][0-9]{2}:?(?:[0-9]{2})?)$"
_YEAR: Final = r"^(?:19|20)[0-9]{2}(?:[.]0+)?$"


@dataclass(frozen=True)
class Timeline:
    """The cells of a row or column, read as dates; None where a cell is not a date.

    regular: nearly all steps are alike. are_numbers: most are plain numbers, such as years, which may mean anything.
    marks: what is printed beside some of them, such as "(p)". are_serials: most count days, as spreadsheets do.
    """

    days: tuple[date | None, ...]
    frequency: str
    order: DateOrder | None
    regular: bool
    are_numbers: bool = False
    marks: tuple[str, ...] = ()
    are_serials: bool = False

    @property
    def count(self) -> int:
        """The number of dates."""
        return len(self.positions)

    @property
    def positions(self) -> list[int]:
        """The positions of the dates."""
        return [at for at, day in enumerate(self.days) if day is not None]


class DateReadings:
    """The days that the strings of a grid mean, by frequency and by order of day and month."""

    def __init__(self, strings: pl.Series) -> None:
        distinct = strings.rename("text").drop_nulls().unique(maintain_order=True)
        worded = distinct.filter((distinct.str.len_chars() <= _MAX_CHARS) & ~distinct.str.contains(_NUMBER))
        marked = {text: parts for text in worded if (parts := parted(text))[1]}
        bare = pl.Series("text", [rest for rest, _ in marked.values()], pl.String)
        candidates = _candidates(pl.concat([distinct, bare]).unique(maintain_order=True))
        self._days: dict[tuple[str, DateOrder | None], dict[str | None, date]] = {
            (frequency, None): _days(candidates, frequency, None) for frequency in FREQUENCIES
        }
        self._orders: tuple[DateOrder | None, ...] = (None,)
        known = set().union(*self._days.values())
        need_order = candidates.filter(pl.col("text").str.contains(_NEEDS_ORDER))
        if set(need_order["text"]) - known:
            self._orders = (None, *_ORDERS)
            for frequency, order in itertools.product(FREQUENCIES, _ORDERS):
                need_none = {
                    text: day
                    for text, day in self._days[frequency, None].items()
                    if not re.match(_NEEDS_ORDER, text or "")
                }
                self._days[frequency, order] = need_none | _days(need_order, frequency, order)
        marked = {text: parts for text, parts in marked.items() if text not in known}
        for days in self._days.values():
            days |= {text: days[rest] for text, (rest, _) in marked.items() if rest in days}
        self._marks = {text: marks for text, (_, marks) in marked.items()}
        self._known = known.union(*self._days.values())

    def timeline(self, cells: Sequence[str | None], *, repeats: bool = False) -> Timeline | None:
        """Read the cells of a row or column as dates; None if they aren't dates.

        Plain numbers must follow each other as dates do; with `repeats`, each may occur several times.
        """
        dates = [text for text in cells if text is not None and text in self._known]
        if len(dates) < MIN_DATES:
            return None
        order = max(self._orders, key=lambda order: max(self._counts(dates, order).values()))
        counts = self._counts(dates, order)
        printed = next(name for name in _FINEST_FIRST if counts[name] >= _NEARLY * max(counts.values()))
        found = [day for text in dates if (day := self._days[printed, order].get(text))]
        step, regular = _usual_step(found)
        if step == "W" and not _keep_a_weekday(found):
            # Days that follow the calendar month: no frequency has them.
            step, regular = "D", False
        are_numbers = 2 * sum(parted(text)[0].removesuffix(".0").isdecimal() for text in dates) > len(dates)
        if are_numbers and not (regular and _follow_each_other(sorted(set(found)) if repeats else found)):
            return None
        # Among days there may be months in words, which only the coarser frequency reads.
        frequency = max(printed, step, key=FREQUENCIES.index)
        days = self._days[frequency, order]
        marks = commonest(self._marks.get(text, ()) for text in dates if text in days)
        are_serials = 2 * sum(re.match(_SERIAL, text) is not None for text in dates) > len(dates)
        line = Timeline(
            tuple(map(days.get, cells)), frequency, order, regular, are_numbers, marks, are_serials
        )
        return line if min(len(found), line.count) >= MIN_DATES else None

    def _counts(self, dates: Sequence[str], order: DateOrder | None) -> dict[str, int]:
        """Count the strings that each frequency reads."""
        return {name: sum(text in self._days[name, order] for text in dates) for name in FREQUENCIES}


def surest(timelines: Mapping[int, Timeline]) -> dict[int, Timeline]:
    """Return those that are certainly dates; those of plain numbers only where there are no others, serials last."""
    sure = {at: line for at, line in timelines.items() if not line.are_numbers}
    years = {at: line for at, line in timelines.items() if not line.are_serials}
    return sure or years or dict(timelines)


def are_years(strings: pl.Series) -> bool:
    """Tell whether nearly all strings are years."""
    return len(strings) >= MIN_DATES and strings.str.contains(_YEAR).sum() >= MOSTLY * len(strings)


def split_date_template(strings: pl.Series, header: str) -> str | None:
    """Return the template of `{year}` and `{part}` by which nearly all strings are months or quarters of a year.

    Digits may mean anything, so the header must name what they are.
    """
    parts = strings.drop_nulls().unique()
    in_digits = bool(parts.str.contains("^[0-9]").any())
    for row in _split_dates():
        if in_digits and slug(header) not in row["digits_need_name"].split():
            continue
        printed = pl.concat_str(pl.lit(row["template"].removesuffix("{part}").format(year=2024)), "part")
        days = parts.to_frame("part").select(day=dates_of(printed, row["frequency"]))["day"]
        if len(days) and days.count() >= MOSTLY * len(days):
            return row["template"]
    return None


def months_across_years(frequency: str, headers: Iterable[str | None]) -> list[str]:
    """Return the headers that are months or quarters, if most are, under years that run down.

    Each month as a series of its own years is not what the publisher means, and no reader combines them.
    """
    named = list(headers)
    months = [name for name in named if name and split_date_template(pl.Series([name]), "") is not None]
    return months if frequency == "A" and len(months) >= max(MIN_DATES, len(named) / 2) else []


@cache
def _split_dates() -> tuple[dict[str, str], ...]:
    with (files(__package__) / "split_dates.csv").open(encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def _candidates(distinct: pl.Series) -> pl.DataFrame:
    text = pl.col("text")
    is_date_like = ~text.str.contains(_NOT_A_DATE) | text.str.contains(_DATE_WITH_POINT)
    return distinct.to_frame("text").filter(
        text.str.contains("[0-9]"), text.str.len_chars() <= _MAX_CHARS, is_date_like
    )


def _days(texts: pl.DataFrame, frequency: str, order: DateOrder | None) -> dict[str | None, date]:
    return dict(texts.with_columns(day=dates_of(pl.col("text"), frequency, order)).drop_nulls().iter_rows())


def _usual_step(days: Sequence[date]) -> tuple[str, bool]:
    """Return the frequency of the median step between dates, and whether nearly all steps have it."""
    steps = [(later - earlier).days for earlier, later in itertools.pairwise(sorted(set(days)))] or [1]
    usual = _frequency_of(median(steps))
    return usual, sum(_frequency_of(step) == usual for step in steps) >= MOSTLY * len(steps)


def _keep_a_weekday(days: Sequence[date]) -> bool:
    """Tell whether most days are the same day of the week."""
    weekdays = [day.weekday() for day in set(days)]
    return 2 * max(map(weekdays.count, weekdays)) > len(weekdays)


def date_checks(texts: Iterable[str | None]) -> tuple[dict[str, int], list[str]]:
    """Return the fields of a `defs.yaml` that dates need, and what a person must check of those that hide a part."""
    printed = list(dict.fromkeys(text.strip() for text in texts if text is not None))
    checks: list[str] = []
    fields: dict[str, int] = {}
    if any(re.match(_SERIAL, text) for text in printed):
        fields["serial_epoch"] = 1900
        checks.append(
            "the dates are serial numbers, counted from 1900: compare one (old Macs count from 1904)"
        )
    if short := [text for text in printed if not re.search("[0-9]{4}", text)]:
        checks.append(
            f"the years have two digits ({short[0]!r} to {short[-1]!r}); none is read as later than the capture: "
            "compare the first and the last year"
        )
    if zoned := next((text for text in printed if re.search(_ZONED, text)), None):
        checks.append(
            f"the dates are moments with a time zone ({zoned!r}): declare as timezone the one in which the "
            "publisher's days begin, and compare a date"
        )
    return fields, checks


def _frequency_of(step_days: float) -> str:
    return next((name for name, longest in _LONGEST_STEP_DAYS.items() if step_days <= longest), "A")


def _follow_each_other(days: Sequence[date]) -> bool:
    """Tell whether nearly all dates rise, or nearly all fall, and none occurs twice."""
    up = sum(later > earlier for earlier, later in itertools.pairwise(days))
    steps = len(days) - 1
    return steps + 1 >= MIN_DATES and max(up, steps - up) >= MOSTLY * steps and len(set(days)) == len(days)
