"""Which texts are dates, how they are printed, and how often they come."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Final

import polars as pl

from tnt_platform.readers.printed_dates import DateOrder, dates_of
from tnt_platform.readers.printed_marks import parted
from tnt_platform.series.drafting.numbers import commonest_marks

FREQUENCIES: Final = ("D", "W", "M", "Q", "A")
MIN_DATES: Final = 3
_ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy", "ymd")
NAMES: Final = {"D": "daily", "W": "weekly", "M": "monthly", "Q": "quarterly", "A": "yearly"}
# The longest step, in days, of each frequency; a half-year step is nearest to quarters.
_STEPS: Final = (("D", 4), ("W", 15), ("M", 60), ("Q", 200))
# A finer reading is right if it explains nearly as many texts as a coarser one, which explains them all.
_NEARLY: Final = 0.8
_MOSTLY: Final = 0.9
_HALF: Final = 0.5
_CANDIDATE: Final = r"^.*[0-9].*$"
_NO_DATE: Final = r"^[+-]?[0-9]*[.,][0-9]+$|^[+-]?[0-9]{7}$|^[+-]?[0-9]{9,}$|^-"
_DATE_WITH_POINT: Final = r"^(?:[0-9]{1,2}[.](?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}[.]0+)$"
_IN_DIGITS: Final = r"^[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}"
_IN_DIGITS_ALONE: Final = r"^[+-]?[0-9.,]+$"
_MAX_CHARS: Final = 40


@dataclass(frozen=True)
class Timeline:
    """Texts read as dates, in order, None where a text is none.

    regular: nearly all steps are alike. digits: they are plain numbers, such as years, which may mean anything.
    marks: what stands at the ends of some, such as "(p)".
    """

    days: tuple[date | None, ...]
    frequency: str
    order: DateOrder | None
    regular: bool
    digits: bool = False
    marks: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many of the texts are dates."""
        return sum(day is not None for day in self.days)

    @property
    def places(self) -> list[int]:
        """Where the dates stand."""
        return [at for at, day in enumerate(self.days) if day is not None]


class DateTexts:
    """Every text of a sheet or table that may be a date, read once in each way."""

    def __init__(self, texts: pl.Series) -> None:
        kept = (
            pl.col("text").str.contains(_CANDIDATE)
            & (pl.col("text").str.len_chars() <= _MAX_CHARS)
            & (~pl.col("text").str.contains(_NO_DATE) | pl.col("text").str.contains(_DATE_WITH_POINT))
        )
        plain = texts.rename("text").drop_nulls().unique(maintain_order=True)
        odd = plain.filter((plain.str.len_chars() <= _MAX_CHARS) & ~plain.str.contains(_IN_DIGITS_ALONE))
        marked = {text: parts for text in odd if (parts := parted(text))[1]}
        bare = pl.Series("text", [rest for rest, _ in marked.values()], pl.String)
        unique = pl.concat([plain, bare]).unique(maintain_order=True).to_frame().filter(kept)
        self._read: dict[tuple[str, DateOrder | None], dict[str, date]] = {
            (frequency, None): _days(unique, frequency, None) for frequency in FREQUENCIES
        }
        self._orders: tuple[DateOrder | None, ...] = (None,)
        known = {text for days in self._read.values() for text in days}
        in_digits = unique.filter(pl.col("text").str.contains(_IN_DIGITS))
        if set(in_digits["text"]) - known:
            self._orders = (None, *_ORDERS)
            for order, frequency in itertools.product(_ORDERS, FREQUENCIES):
                others = {
                    text: day for text, day in self._read[frequency, None].items() if not _has_order(text)
                }
                self._read[frequency, order] = others | _days(in_digits, frequency, order)
        marked = {text: parts for text, parts in marked.items() if text not in known}
        for days in self._read.values():
            days |= {text: days[rest] for text, (rest, _) in marked.items() if rest in days}
        self._marks = {text: marks for text, (_, marks) in marked.items()}
        self._known = known.union(*self._read.values())

    def is_date(self, text: str | None) -> bool:
        """Whether any reading takes the text for a date."""
        return text in self._known

    def timeline(self, texts: Sequence[str | None], *, repeats: bool = False) -> Timeline | None:
        """Read texts as one column or row of dates; None if they are none.

        Plain numbers must come one after the other like dates; with `repeats`, each may occur several times.
        """
        some = [text for text in texts if text is not None and self.is_date(text)]
        if len(some) < MIN_DATES:
            return None
        order = self._order(some)
        counts = {
            frequency: sum(text in self._read[frequency, order] for text in some) for frequency in FREQUENCIES
        }
        most = max(counts.values())
        printed = next(
            frequency for frequency in ("D", "M", "Q", "A", "W") if counts[frequency] >= _NEARLY * most
        )
        days = tuple(self._read[printed, order].get(text) if text is not None else None for text in texts)
        found = [day for day in days if day is not None]
        if len(found) < MIN_DATES:
            return None
        step, regular = _step(found)
        frequency = max(printed, step, key=FREQUENCIES.index)
        is_digits = sum(_in_digits(text) for text in some) > _HALF * len(some)
        line = sorted(set(found)) if repeats else found
        if is_digits and not (regular and _in_order(line) and len(line) >= MIN_DATES):
            return None
        # A column of days may have months in words among them, which the coarser reading knows.
        days = tuple(self._read[frequency, order].get(text) if text is not None else None for text in texts)
        marks = commonest_marks(
            self._marks.get(text, ()) for text in some if text in self._read[frequency, order]
        )
        return Timeline(days, frequency, order, regular, is_digits, marks)

    def _order(self, texts: Sequence[str]) -> DateOrder | None:
        """The order of day and month that reads most; None if every text says it itself."""
        counts: dict[DateOrder | None, int] = {
            order: max(
                sum(text in self._read[frequency, order] for text in texts) for frequency in FREQUENCIES
            )
            for order in self._orders
        }
        return max(counts, key=lambda order: counts[order])


def surest(lines: Mapping[int, Timeline]) -> dict[int, Timeline]:
    """The lines that are dates for sure; those of plain numbers only where there are no others."""
    sure = {at: line for at, line in lines.items() if not line.digits}
    return sure or dict(lines)


def _days(texts: pl.DataFrame, frequency: str, order: DateOrder | None) -> dict[str, date]:
    return dict(texts.with_columns(day=dates_of(pl.col("text"), frequency, order)).drop_nulls().iter_rows())


def _in_digits(text: str) -> bool:
    return parted(text)[0].removesuffix(".0").isdecimal()


def _has_order(text: str) -> bool:
    return re.match(_IN_DIGITS, text) is not None


def _step(days: Sequence[date]) -> tuple[str, bool]:
    """The frequency of the usual step between dates, and whether nearly all steps are like it."""
    sorted_days = sorted(set(days))
    steps = [(later - earlier).days for earlier, later in itertools.pairwise(sorted_days)] or [1]
    usual = median(steps)
    frequency = next((name for name, longest in _STEPS if usual <= longest), "A")
    like = [step for step in steps if next((n for n, most in _STEPS if step <= most), "A") == frequency]
    return frequency, len(like) >= _MOSTLY * len(steps)


def _in_order(days: Sequence[date]) -> bool:
    up = sum(later > earlier for earlier, later in itertools.pairwise(days))
    return max(up, len(days) - 1 - up) >= _MOSTLY * (len(days) - 1) and len(set(days)) == len(days)
