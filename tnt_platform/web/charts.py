"""Compute the geometry of charts: numbers in, SVG coordinates out; the templates draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

HEIGHT = 300.0
WIDTH = 1000.0
# A screen has no room for more points.
MAX_POINTS = 2_000
Points = Sequence[tuple[date, float]]


@dataclass(frozen=True)
class Tick:
    """One tick of the value axis: its distance from the top, and its label."""

    y: float
    label: str


@dataclass(frozen=True)
class Scale:
    """The value axis from `low` to `high`."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def y(self, value: float) -> float:
        """Return the distance of a value from the top of the plot."""
        return round(HEIGHT * (self.high - value) / (self.high - self.low), 2)


def scale_of(low: float, high: float, *, wanted: int = 4) -> Scale:
    """Return a scale of round numbers that covers `low` to `high` in about `wanted` steps."""
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    step = _round_step((high - low) / wanted)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = tuple(
        Tick(round(HEIGHT * (last - n) / (last - first), 2), f"{n * step:,.{decimals}f}")
        for n in range(first, last + 1)
    )
    return Scale(first * step, last * step, ticks)


def _round_step(rough: float) -> float:
    """Round up to 1, 2, 5 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= rough * (1 - 1e-9))


def _spread(labels: list[str], wanted: int = 5) -> list[str]:
    """Choose at most `wanted` labels evenly, including the first and the last."""
    if len(labels) <= wanted:
        return labels
    return [labels[round(n * (len(labels) - 1) / (wanted - 1))] for n in range(wanted)]


@dataclass(frozen=True)
class Column:
    """One bar: its box, its tooltip, and whether it is highlighted."""

    x: float
    y: float
    width: float
    height: float
    tooltip: str
    marked: bool


@dataclass(frozen=True)
class ColumnPlot:
    """Upright bars over one scale; `description` is for screen readers."""

    columns: list[Column]
    scale: Scale
    labels: list[str]
    description: str
    width: float = WIDTH
    height: float = HEIGHT


def column_plot(
    values: Sequence[tuple[str, float, str]],
    *,
    highest: float | None = None,
    marked_below: float | None = None,
) -> ColumnPlot | None:
    """Plot bars of (label, value, tooltip), highlighting those below `marked_below`; None without values."""
    if not values:
        return None
    scale = scale_of(0.0, highest if highest is not None else max(1.0, *(value for _, value, _ in values)))
    slot = WIDTH / len(values)
    columns = []
    for number, (_, value, tooltip) in enumerate(values):
        top = scale.y(value)
        box = (round(number * slot + slot * 0.1, 2), top, round(slot * 0.8, 2), round(HEIGHT - top, 2))
        columns.append(Column(*box, tooltip, marked_below is not None and value < marked_below))
    labels = _spread([label for label, _, _ in values])
    return ColumnPlot(columns, scale, labels, f"{len(values)} bars from {values[0][0]} to {values[-1][0]}.")


@dataclass(frozen=True)
class Line:
    """One line: its name, its path (interrupted at gaps) and its last point."""

    name: str
    path: str
    last: tuple[float, float]


@dataclass(frozen=True)
class LinePlot:
    """Lines over one scale; `description` is for screen readers."""

    lines: list[Line]
    scale: Scale
    labels: list[str]
    description: str
    width: float = WIDTH
    height: float = HEIGHT


def line_plot(series: Mapping[str, Points], *, longest_gap_days: int | None = None) -> LinePlot | None:
    """Plot several series over time; None without points.

    Points further apart than `longest_gap_days` are not joined, so that gaps are visible.
    """
    filled = {name: thinned(points) for name, points in series.items() if points}
    if not filled:
        return None
    points = [point for line in filled.values() for point in line]
    first, last = min(day for day, _ in points), max(day for day, _ in points)
    scale = scale_of(min(value for _, value in points), max(value for _, value in points))
    days = max(1, (last - first).days)

    def position(day: date, value: float) -> tuple[float, float]:
        return round(WIDTH * (day - first).days / days, 2), scale.y(value)

    lines = []
    for name, line in filled.items():
        commands, previous = [], None
        for day, value in line:
            x, y = position(day, value)
            is_gap = longest_gap_days is not None and previous and (day - previous).days > longest_gap_days
            commands.append(f"{'M' if previous is None or is_gap else 'L'}{x} {y}")
            previous = day
        lines.append(Line(name, " ".join(commands), position(*line[-1])))
    labels = _spread([f"{first + timedelta(days=n * days // 4):%Y-%m-%d}" for n in range(5)])
    description = f"From {first} to {last}; values from {scale.ticks[0].label} to {scale.ticks[-1].label}."
    return LinePlot(lines, scale, list(dict.fromkeys(labels)), description)


def thinned(points: Points) -> list[tuple[date, float]]:
    """Return every n-th point and the last, at most about MAX_POINTS."""
    step = -(-len(points) // MAX_POINTS)
    chosen = list(points[::step])
    if chosen[-1] != points[-1]:
        chosen.append(points[-1])
    return chosen


@dataclass(frozen=True)
class Month:
    """A month: its name and its weeks, Monday first; days of other months are None."""

    name: str
    weeks: list[list[date | None]]


def months_of(days: Mapping[date, object], *, most: int = 12) -> list[Month]:
    """Return the months from the first to the last of `days`, latest first, at most `most`."""
    if not days:
        return []
    month, first = max(days).replace(day=1), min(days).replace(day=1)
    months: list[Month] = []
    while month >= first and len(months) < most:
        months.append(Month(f"{month:%B %Y}", _weeks(month)))
        month = (month - timedelta(days=1)).replace(day=1)
    return months


def _weeks(month: date) -> list[list[date | None]]:
    start = month - timedelta(days=month.weekday())
    weeks: list[list[date | None]] = []
    while start < month or start.month == month.month:
        days = [start + timedelta(days=n) for n in range(7)]
        weeks.append([day if day.month == month.month else None for day in days])
        start += timedelta(days=7)
    return weeks
