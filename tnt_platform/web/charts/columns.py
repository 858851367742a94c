"""Upright bars, one a day or so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tnt_platform.web.charts.axis import HEIGHT, WIDTH, Scale, scale_of, spread


@dataclass(frozen=True)
class Column:
    """One bar: its box, what it shows when pointed at, and whether it stands out."""

    x: float
    y: float
    width: float
    height: float
    said: str
    marked: bool


@dataclass(frozen=True)
class ColumnPlot:
    """What a template draws: bars over one scale."""

    columns: list[Column]
    scale: Scale
    labels: list[str]
    said: str
    width: float = WIDTH
    height: float = HEIGHT


def column_plot(
    values: Sequence[tuple[str, float, str]],
    *,
    highest: float | None = None,
    marked_below: float | None = None,
) -> ColumnPlot | None:
    """Bars of (label, value, what to say); None without a value. Bars below `marked_below` stand out."""
    if not values:
        return None
    scale = scale_of(0.0, highest if highest is not None else max(1.0, *(value for _, value, _ in values)))
    slot = WIDTH / len(values)
    columns = []
    for number, (_, value, said) in enumerate(values):
        top = scale.y(value)
        box = (round(number * slot + slot * 0.1, 2), top, round(slot * 0.8, 2), round(HEIGHT - top, 2))
        columns.append(Column(*box, said, marked_below is not None and value < marked_below))
    labels = spread([label for label, _, _ in values])
    return ColumnPlot(columns, scale, labels, f"{len(values)} bars from {values[0][0]} to {values[-1][0]}.")
