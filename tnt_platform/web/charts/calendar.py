"""Months as weeks of days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class Month:
    """A month: its name and its weeks, Monday first; None where the week has a day of another month."""

    name: str
    weeks: list[list[date | None]]


def months_of(days: Mapping[date, object], *, most: int = 12) -> list[Month]:
    """The months from the first to the last of `days`, newest first, at most `most`."""
    if not days:
        return []
    month, first = max(days).replace(day=1), min(days).replace(day=1)
    found: list[Month] = []
    while month >= first and len(found) < most:
        found.append(Month(f"{month:%B %Y}", _weeks(month)))
        month = (month - timedelta(days=1)).replace(day=1)
    return found


def _weeks(month: date) -> list[list[date | None]]:
    start = month - timedelta(days=month.weekday())
    weeks: list[list[date | None]] = []
    while start < month or start.month == month.month:
        days = [start + timedelta(days=n) for n in range(7)]
        weeks.append([day if day.month == month.month else None for day in days])
        start += timedelta(days=7)
    return weeks
