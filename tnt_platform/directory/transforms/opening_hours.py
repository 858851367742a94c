"""Opening hours as people write them, in English and Thai: read where there is one reading, else refused."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

UNREADABLE: Final = "unreadable_hours"
AMBIGUOUS: Final = "ambiguous_hours"
OVERLAPPING: Final = "overlapping_hours"
HOLIDAYS: Final = "hours_on_holidays"

_MINUTES_A_DAY: Final = 24 * 60
_TO: Final = r"\s*(?:-+|to\b|until\b|till\b|ถึง|จนถึง)\s*"
_TIME: Final = (
    r"(?P<{0}_hour>\d{{1,2}})(?:[:.](?P<{0}_minute>\d{{2}})(?:[:.]00)?)?(?!\d)"
    r"\s*(?P<{0}_half>[ap]\.?\s?m\b\.?)?\s*(?P<{0}_clock>น(?:าฬิกา|\.|(?=[\s,;)-]|$))|h(?:rs?|ours?)?\b\.?)?"
)
_WORDS: Final[Mapping[str, str]] = {
    "closed": r"closed|close\b|ปิดทำการ|ปิด",
    "weekdays": r"weekdays?\b|วันธรรมดา|วันทำงาน",
    "weekend": r"weekends?\b|วันหยุดสุดสัปดาห์|สุดสัปดาห์",
    "holidays": r"(?:public\s+)?holidays?\b|วันหยุดนักขัตฤกษ์|นักขัตฤกษ์|วันหยุด",
    "all_day": (
        r"(?:open\s+)?24\s*(?:/\s*7\b|-?\s*(?:hours?\b|hrs?\b\.?|h\b|ชั่วโมง|ชม\.?))"
        r"|ตลอด\s*24\s*(?:ชั่วโมง|ชม\.?)"
    ),
    "daily": r"every\s*day\b|daily\b|all\s+days\b|7\s+days(?:\s+a\s+week)?\b|ทุกวัน",
    "filler": (
        r"[\s,;:/()\[\]|&+.*-]+|(?:and|opening|opens?|business|service|working|hours?|times?|from|on|every|at)\b"
        r"|และ|เวลาทำการ|เวลาเปิด|เวลา|เปิดบริการ|เปิดทำการ|เปิดให้บริการ|เปิด|ตั้งแต่|น\."
    ),
}


@dataclass(frozen=True)
class Hours:
    """What a text says: `ranges` as JSON (null where it can't be read), and the issue with it, if any.

    ranges: a list of {"days": [...], "open": "10:00", "close": "22:00", "next_day": bool}, in order of the week;
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
        return self.close_minute + self.next_day * _MINUTES_A_DAY


@dataclass
class _Group:
    """Days and the hours of each of them; no days: the text names none."""

    days: set[str] = field(default_factory=set)
    ranges: list[_Range] = field(default_factory=list)
    closed: bool = False


class _Refusal(Exception):
    """Why a text can't be read; never leaves this module."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def hours_of(text: str) -> Hours:
    """Read one text, such as "10.00 - 22:00", "Mon-Fri 10am-9pm, Sat-Sun 9am-10pm" or "ทุกวัน 08:00 - 21:30 น.".

    Days may stand before or after their hours; several ranges and ranges over midnight are understood. Text around
    them, hours of which nobody knows whether they are morning or evening, days that are said twice and ranges that
    overlap are refused: `ranges` is null and the issue says why. Hours on public holidays are left out, with an issue.
    """
    try:
        tokens = list(_tokens(_folded(text)))
        holidays = any(kind == "holidays" for kind, _ in tokens)
        groups = _grouped([token for token in tokens if token[0] != "holidays"])
        ranges = json.dumps(_structured(groups))
    except _Refusal as refusal:
        return Hours(None, refusal.code, f"{refusal}; the text is kept as it is")
    if holidays:
        return Hours(ranges, HOLIDAYS, "hours on public holidays are in the text only")
    return Hours(ranges)


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFC", text).casefold()
    text = re.sub("[\u2010-\u2015\u2212~\u301c\uff5e\uff0d]", "-", text)
    text = re.sub("[\uff1a\u2236]", ":", text)
    text = re.sub(r"เที่ยงคืน|\bmidnight\b", "24:00", text)
    text = re.sub(r"เที่ยงวัน|\bnoon\b", "12:00", text)
    return "".join(str(unicodedata.decimal(char, char)) for char in text).strip()


@cache
def _day_of_name() -> Mapping[str, str]:
    table = files(__package__).joinpath("day_names.csv").read_text(encoding="utf-8")
    return {row["name"]: row["day"] for row in csv.DictReader(table.splitlines())}


@cache
def _token() -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in sorted(_day_of_name(), key=lambda name: -len(name)))
    after = r"s?(?![a-z])\.?"
    hours = _TIME.format("open") + _TO + _TIME.format("close")
    day = f"(?:ทุก)?(?P<first_day>{names}){after}(?:{_TO}(?P<last_day>{names}){after})?"
    words = [f"(?P<{kind}>{pattern})" for kind, pattern in _WORDS.items()]
    return re.compile("|".join([f"(?P<hours>{hours})", *words[:-2], f"(?P<day>{day})", *words[-2:]]))


def _tokens(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    at = 0
    while at < len(text):
        found = _token().match(text, at)
        if found is None:
            raise _Refusal(UNREADABLE, f"{text[at : at + 40]!r} is neither hours nor days")
        at = found.end()
        kind = next(name for name in ("hours", "day", *_WORDS) if found[name])
        if kind != "filler":
            yield kind, found


def _grouped(tokens: Sequence[tuple[str, re.Match[str]]]) -> list[_Group]:
    """The tokens as groups of days and hours; days come all before or all after their hours."""
    if not any(kind in {"hours", "all_day"} for kind, _ in tokens):
        raise _Refusal(UNREADABLE, "it says no hours")
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


def _closing_days(
    tokens: Sequence[tuple[str, re.Match[str]]],
) -> tuple[Sequence[tuple[str, re.Match[str]]], set[str]]:
    """The tokens before "closed on Mondays" at the end of hours, and those days."""
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
    marked = [(found[f"{end}_half"] or "")[:1] for end in ("open", "close")]
    hours = [int(found[f"{end}_hour"]) for end in ("open", "close")]
    twelve_hours = any(mark and hour <= 12 for mark, hour in zip(marked, hours, strict=True))
    bare = not any(
        found[f"{end}_{part}"] for end in ("open", "close") for part in ("minute", "half", "clock")
    )
    if bare or any(
        twelve_hours and not mark and hour <= 12 for mark, hour in zip(marked, hours, strict=True)
    ):
        raise _Refusal(AMBIGUOUS, f"{found['hours'].strip()!r} doesn't say which half of the day is meant")
    opens, closes = (_minute(found, end, mark) for end, mark in zip(("open", "close"), marked, strict=True))
    if opens % _MINUTES_A_DAY == closes:
        raise _Refusal(AMBIGUOUS, f"{found['hours'].strip()!r} opens and closes at the same time")
    return _Range(opens % _MINUTES_A_DAY, closes % _MINUTES_A_DAY)


def _minute(found: re.Match[str], end: str, half: str) -> int:
    hour, minute = int(found[f"{end}_hour"]), int(found[f"{end}_minute"] or 0)
    sound = hour * 60 + minute <= _MINUTES_A_DAY and minute < 60
    # "21:00 pm" is clear, "21:00 am" and "0:30 pm" are not.
    if not sound or (half == "a" and hour > 12) or (half == "p" and not hour):
        raise _Refusal(UNREADABLE, f"{found['hours'].strip()!r} is no time of day")
    if half and hour <= 12:
        hour = hour % 12 + 12 * (half == "p")
    return hour * 60 + minute


def _without_repetition(groups: list[_Group]) -> list[_Group]:
    """The groups without a last one that only repeats the days: "Mon - Sun 10.30 - 21.00 (everyday)"."""
    last = groups[-1]
    if len(groups) > 1 and not last.ranges and not last.closed and last.days == groups[-2].days:
        return groups[:-1]
    return groups


def _refuse_contradictions(groups: Sequence[_Group]) -> None:
    seen: set[str] = set()
    for group in groups:
        if not group.days and len(groups) > 1:
            raise _Refusal(AMBIGUOUS, "it names days for some of the hours only")
        if bool(group.ranges) is group.closed:
            raise _Refusal(AMBIGUOUS, "it names days without hours, or with hours and closed")
        if seen & group.days:
            raise _Refusal(
                AMBIGUOUS, f"it says {', '.join(day for day in DAYS if day in seen & group.days)} twice"
            )
        seen |= group.days
        ordered = sorted(group.ranges, key=lambda each: each.open_minute)
        following = [*ordered[1:], _Range(ordered[0].open_minute, 0)] if len(ordered) > 1 else ordered[1:]
        for at, (one, other) in enumerate(zip(ordered, following, strict=False)):
            starts = other.open_minute + _MINUTES_A_DAY * (at == len(ordered) - 1)
            if one.end > starts:
                raise _Refusal(OVERLAPPING, "its ranges overlap")


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
