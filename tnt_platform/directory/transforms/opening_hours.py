"""Read opening hours as people write them, in English and Thai, wherever the text has exactly one meaning."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from tnt_platform.directory.transforms.words import word_list

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

UNREADABLE: Final = "unreadable_hours"
AMBIGUOUS: Final = "ambiguous_hours"
OVERLAPPING: Final = "overlapping_hours"
HOLIDAYS: Final = "hours_on_holidays"

_MINUTES_PER_DAY: Final = 24 * 60
_TIME: Final = (
    r"(?P<{0}_hour>\d{{1,2}})(?:[:.](?P<{0}_minute>\d{{2}})(?:[:.]00)?)?(?!\d)"
    r"\s*(?P<{0}_half>[ap]\.?\s?m\b\.?)?\s*(?P<{0}_clock>น(?:าฬิกา|\.|(?=[\s,;)-]|$))|h(?:rs?|ours?)?\b\.?)?"
)
# The kinds of words around days and hours, in the order in which they are tried.
_KINDS_BEFORE_DAYS: Final = ("closed", "weekdays", "weekend", "holidays", "all_day")
_KINDS_AFTER_DAYS: Final = ("daily", "filler")

# kind ("hours", "day" or one of the above) and where it was found
_Token = tuple[str, re.Match[str]]


@dataclass(frozen=True)
class Hours:
    """The opening hours in a text as JSON (`ranges`, null if they cannot be read), and the issue with it, if any.

    ranges: a list of {"days": [...], "open": "10:00", "close": "22:00", "next_day": bool}, in the order of the week;
    a whole day is 00:00 to 00:00 of the next day.
    """

    ranges: str | None
    issue_code: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class _Range:
    open_minute: int
    close_minute: int

    @property
    def next_day(self) -> bool:
        return self.close_minute <= self.open_minute

    @property
    def end(self) -> int:
        return self.close_minute + self.next_day * _MINUTES_PER_DAY


@dataclass
class _Group:
    """Days with the hours that each of them has; no days if the text names none."""

    days: set[str] = field(default_factory=set)
    ranges: list[_Range] = field(default_factory=list)
    closed: bool = False


class _CannotRead(Exception):
    """Why a text cannot be read; never leaves this module."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def hours_of(text: str) -> Hours:
    """Read a text such as "10.00 - 22:00", "Mon-Fri 10am-9pm, Sat-Sun 9am-10pm" or "ทุกวัน 08:00 - 21:30 น.".

    Days may come before or after their hours; several ranges a day and ranges past midnight are understood. A text
    is not read, and the issue says why, if it contains other words, hours that could be morning or evening, a day
    named twice, or ranges that overlap. Hours on public holidays are left out, with an issue.
    """
    try:
        tokens = list(_tokens(_folded(text)))
        holidays = any(kind == "holidays" for kind, _ in tokens)
        groups = _grouped([token for token in tokens if token[0] != "holidays"])
        ranges = json.dumps(_structured(groups))
    except _CannotRead as error:
        return Hours(None, error.code, f"{error}; only the text is kept")
    if holidays:
        return Hours(ranges, HOLIDAYS, "hours on public holidays are kept in the text only")
    return Hours(ranges)


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFC", text).casefold()
    text = re.sub("[\u2010-\u2015\u2212~\u301c\uff5e\uff0d]", "-", text)
    text = re.sub("[\uff1a\u2236]", ":", text)
    text = re.sub(_patterns("midnight"), "24:00", text)
    text = re.sub(_patterns("noon"), "12:00", text)
    return "".join(str(unicodedata.decimal(char, char)) for char in text).strip()


@cache
def _day_of_name() -> Mapping[str, str]:
    return {row["name"]: row["day"] for row in word_list("day_names")}


@cache
def _patterns(kind: str) -> str:
    return "|".join(row["pattern"] for row in word_list("hours_words") if row["kind"] == kind)


@cache
def _token_pattern() -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in sorted(_day_of_name(), key=lambda name: -len(name)))
    after = r"s?(?![a-z])\.?"
    to = rf"\s*(?:{_patterns('to')})\s*"
    hours = _TIME.format("open") + to + _TIME.format("close")
    day = f"(?:ทุก)?(?P<first_day>{names}){after}(?:{to}(?P<last_day>{names}){after})?"
    before_days = [f"(?P<{kind}>{_patterns(kind)})" for kind in _KINDS_BEFORE_DAYS]
    after_days = [f"(?P<{kind}>{_patterns(kind)})" for kind in _KINDS_AFTER_DAYS]
    return re.compile("|".join([f"(?P<hours>{hours})", *before_days, f"(?P<day>{day})", *after_days]))


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _token_pattern().match(text, at)
        if found is None:
            raise _CannotRead(UNREADABLE, f"{text[at : at + 40]!r} is neither hours nor days")
        at = found.end()
        kind = next(kind for kind in ("hours", "day", *_KINDS_BEFORE_DAYS, *_KINDS_AFTER_DAYS) if found[kind])
        if kind != "filler":
            yield kind, found


def _grouped(tokens: Sequence[_Token]) -> list[_Group]:
    """Group the tokens into days and their hours; the days come before the hours in every group, or after them."""
    if not any(kind in {"hours", "all_day"} for kind, _ in tokens):
        raise _CannotRead(UNREADABLE, "it names no hours")
    tokens, closed = _closing_days(tokens)
    days_first = _days(*tokens[0]) is not None
    groups = [_Group()]
    previous_was_days = days_first
    for kind, found in tokens:
        days = _days(kind, found)
        starts = previous_was_days is not days_first and (days is not None) is days_first
        if starts and (groups[-1].days and (groups[-1].ranges or groups[-1].closed)):
            groups.append(_Group())
        previous_was_days = days is not None
        group = groups[-1]
        if days is not None:
            group.days |= days
        elif kind == "closed":
            group.closed = True
        else:
            group.ranges.append(_range(kind, found))
    groups = _without_repetition(groups)
    _refuse_contradictions(groups)
    if closed:
        groups = [_Group((group.days or set(DAYS)) - closed, group.ranges) for group in groups]
    return groups


def _closing_days(tokens: Sequence[_Token]) -> tuple[Sequence[_Token], set[str]]:
    """Split off "closed on Mondays" at the end of hours: return the tokens before it, and its days."""
    kinds = [kind for kind, _ in tokens]
    at = kinds.index("closed") if kinds.count("closed") == 1 else 0
    rest = [_days(*token) for token in tokens[at + 1 :]]
    if not at or not rest or None in rest or _days(*tokens[at - 1]) is not None:
        return tokens, set()
    return tokens[:at], set().union(*(days for days in rest if days))


def _days(kind: str, found: re.Match[str]) -> set[str] | None:
    if kind == "daily":
        return set(DAYS)
    if kind == "weekdays":
        return set(DAYS[:5])
    if kind == "weekend":
        return set(DAYS[5:])
    if kind != "day":
        return None
    first = DAYS.index(_day_of_name()[found["first_day"]])
    last = DAYS.index(_day_of_name()[found["last_day"]]) if found["last_day"] else first
    return {DAYS[at % 7] for at in range(first, last + 1 + 7 * (last < first))}


def _range(kind: str, found: re.Match[str]) -> _Range:
    if kind == "all_day":
        return _Range(0, 0)
    ends = ("open", "close")
    marks = [(found[f"{end}_half"] or "")[:1] for end in ends]
    hours = [int(found[f"{end}_hour"]) for end in ends]
    bare = not any(found[f"{end}_{part}"] for end in ends for part in ("minute", "half", "clock"))
    # With one time marked am or pm, an unmarked 9:00 could be either; an unmarked 21:00 could not.
    is_twelve_hour = [hour <= 12 for hour in hours]
    any_marked = any(mark and twelve for mark, twelve in zip(marks, is_twelve_hour, strict=True))
    any_unmarked = any(not mark and twelve for mark, twelve in zip(marks, is_twelve_hour, strict=True))
    if bare or (any_marked and any_unmarked):
        raise _CannotRead(AMBIGUOUS, f"{found['hours'].strip()!r} could be morning or evening")
    opens, closes = (_minute(found, end, mark) for end, mark in zip(ends, marks, strict=True))
    if opens % _MINUTES_PER_DAY == closes:
        raise _CannotRead(AMBIGUOUS, f"{found['hours'].strip()!r} opens and closes at the same time")
    return _Range(opens % _MINUTES_PER_DAY, closes % _MINUTES_PER_DAY)


def _minute(found: re.Match[str], end: str, half: str) -> int:
    hour, minute = int(found[f"{end}_hour"]), int(found[f"{end}_minute"] or 0)
    is_valid = hour * 60 + minute <= _MINUTES_PER_DAY and minute < 60
    # "21:00 pm" has one meaning; "21:00 am" and "0:30 pm" have none.
    if not is_valid or (half == "a" and hour > 12) or (half == "p" and not hour):
        raise _CannotRead(UNREADABLE, f"{found['hours'].strip()!r} is not a time of day")
    if half and hour <= 12:
        hour = hour % 12 + 12 * (half == "p")
    return hour * 60 + minute


def _without_repetition(groups: list[_Group]) -> list[_Group]:
    """Drop a last group that only repeats the days, as in "Mon - Sun 10.30 - 21.00 (everyday)"."""
    last = groups[-1]
    if len(groups) > 1 and not last.ranges and not last.closed and last.days == groups[-2].days:
        return groups[:-1]
    return groups


def _refuse_contradictions(groups: Sequence[_Group]) -> None:
    seen: set[str] = set()
    for group in groups:
        if not group.days and len(groups) > 1:
            raise _CannotRead(AMBIGUOUS, "it names days for some of the hours only")
        if bool(group.ranges) is group.closed:
            raise _CannotRead(AMBIGUOUS, "it names days without hours, or as open and closed")
        if repeated := [day for day in DAYS if day in seen & group.days]:
            raise _CannotRead(AMBIGUOUS, f"it names {', '.join(repeated)} more than once")
        seen |= group.days
        if _overlap(group.ranges):
            raise _CannotRead(OVERLAPPING, "its ranges overlap")


def _overlap(ranges: Sequence[_Range]) -> bool:
    """Tell whether ranges of one day overlap each other, or the first of them on the next day."""
    if len(ranges) < 2:
        return False
    in_order = sorted(ranges, key=lambda each: each.open_minute)
    starts = [each.open_minute for each in in_order[1:]] + [in_order[0].open_minute + _MINUTES_PER_DAY]
    return any(each.end > start for each, start in zip(in_order, starts, strict=True))


def _structured(groups: Sequence[_Group]) -> list[dict[str, object]]:
    entries = [
        ([day for day in DAYS if day in (group.days or DAYS)], each)
        for group in groups
        for each in sorted(group.ranges, key=lambda each: each.open_minute)
    ]
    return [
        {
            "days": days,
            "open": _clock(each.open_minute),
            "close": _clock(each.close_minute),
            "next_day": each.next_day,
        }
        for days, each in sorted(entries, key=lambda entry: (DAYS.index(entry[0][0]), entry[1].open_minute))
    ]


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
