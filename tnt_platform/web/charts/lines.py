"""Line plots over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from tnt_platform.web.charts.axis import HEIGHT, WIDTH, Scale, scale_of, spread

# More points than a screen has columns tell nothing.
MAX_POINTS = 2_000
Points = Sequence[tuple[date, float]]


@dataclass(frozen=True)
class Line:
    """One line: its name, its path (broken at gaps) and its last point."""

    name: str
    path: str
    last: tuple[float, float]


@dataclass(frozen=True)
class LinePlot:
    """What a template draws: lines over one scale."""

    lines: list[Line]
    scale: Scale
    labels: list[str]
    said: str
    width: float = WIDTH
    height: float = HEIGHT


def line_plot(series: Mapping[str, Points], *, longest_gap_days: int | None = None) -> LinePlot | None:
    """The lines of several series; None without a point.

    `longest_gap_days`: two points further apart are not joined, so that a gap is seen.
    """
    filled = {name: thinned(points) for name, points in series.items() if points}
    if not filled:
        return None
    everything = [point for points in filled.values() for point in points]
    first, last = min(day for day, _ in everything), max(day for day, _ in everything)
    scale = scale_of(min(value for _, value in everything), max(value for _, value in everything))
    days = max(1, (last - first).days)

    def place(day: date, value: float) -> tuple[float, float]:
        return round(WIDTH * (day - first).days / days, 2), scale.y(value)

    lines = []
    for name, points in filled.items():
        steps, before = [], None
        for day, value in points:
            x, y = place(day, value)
            broken = before is None or (
                longest_gap_days is not None and (day - before).days > longest_gap_days
            )
            steps.append(f"{'M' if broken else 'L'}{x} {y}")
            before = day
        lines.append(Line(name, " ".join(steps), place(*points[-1])))
    labels = spread([f"{date.fromordinal(first.toordinal() + n * days // 4):%Y-%m-%d}" for n in range(5)])
    said = f"From {first} to {last}; values from {scale.ticks[0].label} to {scale.ticks[-1].label}."
    return LinePlot(lines, scale, list(dict.fromkeys(labels)), said)


def thinned(points: Points) -> list[tuple[date, float]]:
    """Every n-th point and always the last, so that the page stays small."""
    step = -(-len(points) // MAX_POINTS)
    kept = list(points[::step])
    if kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept
