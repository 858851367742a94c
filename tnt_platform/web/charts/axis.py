"""Where the marks of an axis lie, and what is written beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass

HEIGHT = 300.0
WIDTH = 1000.0


@dataclass(frozen=True)
class Tick:
    """One mark of the value axis: its distance from the top, and its label."""

    y: float
    label: str


@dataclass(frozen=True)
class Scale:
    """The value axis from `low` to `high`."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def y(self, value: float) -> float:
        """The distance from the top of the plot."""
        return round(HEIGHT * (self.high - value) / (self.high - self.low), 2)


def scale_of(low: float, high: float, *, wanted: int = 4) -> Scale:
    """A scale of round numbers that holds `low` and `high`."""
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    step = _round_step((high - low) / wanted)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    bottom, top = first * step, last * step
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = tuple(
        Tick(round(HEIGHT * (last - n) / (last - first), 2), f"{n * step:,.{decimals}f}")
        for n in range(first, last + 1)
    )
    return Scale(bottom, top, ticks)


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= rough * (1 - 1e-9))


def spread(labels: list[str], wanted: int = 5) -> list[str]:
    """At most `wanted` labels, evenly chosen, first and last included."""
    if len(labels) <= wanted:
        return labels
    return [labels[round(n * (len(labels) - 1) / (wanted - 1))] for n in range(wanted)]
