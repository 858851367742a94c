"""Draw small line plots of series, as Markdown that contains the picture."""

from __future__ import annotations

import base64
import io
from typing import Any

import polars as pl

MAX_SERIES = 240
_COLUMNS = 3
_LINE, _TEXT, _SOFT = "#3b6ea5", "#333333", "#777777"
# Where the line runs in the cell of a plot, from its lower left corner.
_LEFT, _WIDTH, _BOTTOM, _HEIGHT = 0.16, 0.8, 0.2, 0.55
_SHADES = 8


def series_plot(observations: pl.DataFrame, title: str) -> str:
    """Draw a small line plot per series (internal_series_code, period, value, unit) of the first MAX_SERIES by code.

    All share one pair of axes: with axes of their own, sixty plots take eight seconds of a run.
    """
    from matplotlib.collections import LineCollection  # lazily: only this step should pay for it
    from matplotlib.figure import Figure

    codes = observations["internal_series_code"].unique().sort()
    shown = codes.head(MAX_SERIES)
    across = min(_COLUMNS, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(4.2 * across, 1.5 * down + 0.5))
    axes = figure.add_axes((0, 0, 1, 1 - 0.5 / (1.5 * down + 0.5)))
    axes.set(xlim=(0, across), ylim=(down, 0))
    axes.set_axis_off()
    wanted = observations.filter(pl.col("internal_series_code").is_in(shown.implode()))
    groups = wanted.sort("internal_series_code", "period").partition_by("internal_series_code")
    lines = []
    for number, one in enumerate(groups):
        row, column = divmod(number, across)
        line = _line(one, column, row)
        lines.append(line)
        if one.height == 1:
            axes.plot(line[:, 0], line[:, 1], marker="o", markersize=3, color=_LINE)
        _label(axes, one, column, row)
    axes.add_collection(LineCollection(lines, colors=_LINE, linewidths=1.1), autolim=False)
    more = f" (first {MAX_SERIES} of {len(codes)} series)" if len(codes) > MAX_SERIES else ""
    figure.suptitle(_escaped(f"{title}{more}"), fontweight="bold", fontsize=9)
    return f"![{title}](data:image/png;base64,{base64.b64encode(_png(figure)).decode()})"


def _line(one: pl.DataFrame, column: int, row: int) -> Any:
    """Return the points of a series within its cell, as an array of x and y."""
    x, y = pl.col("period").to_physical().cast(pl.Float64), pl.col("value")
    across, up = x.max() - x.min(), y.max() - y.min()
    points = one.select(
        x=column + _LEFT + _WIDTH * pl.when(across > 0).then((x - x.min()) / across).otherwise(0.5),
        y=row + 1 - _BOTTOM - _HEIGHT * pl.when(up > 0).then((y - y.min()) / up).otherwise(0.5),
    )
    return points.to_numpy()


def _label(axes: Any, one: pl.DataFrame, column: int, row: int) -> None:
    """Write code and unit above a plot, the lowest and highest value beside it, the first and last period below."""
    code, unit = str(one["internal_series_code"][0]), str(one["unit"][0])
    left, right = column + _LEFT, column + _LEFT + _WIDTH
    foot, head = row + 1 - _BOTTOM, row + 1 - _BOTTOM - _HEIGHT
    axes.text(left, head - 0.08, _escaped(f"{code}  ({unit})"), fontsize=7, color=_TEXT)
    low, high = one.select(low=pl.col("value").min(), high=pl.col("value").max()).row(0)
    side = {"fontsize": 6, "color": _SOFT, "ha": "right", "va": "center"}
    axes.text(left - 0.02, head, f"{high:,.5g}", **side)
    axes.text(left - 0.02, foot, f"{low:,.5g}", **side)
    below = {"fontsize": 6, "color": _SOFT, "va": "top"}
    axes.text(left, foot + 0.05, str(one["period"].min()), **below)
    axes.text(right, foot + 0.05, str(one["period"].max()), **below, ha="right")


def _escaped(text: str) -> str:
    # matplotlib reads text between "$" as mathematics.
    return text.replace("$", r"\$")


def _palette() -> Any:
    """Return each colour in a few shades up to white: lines and letters have no others."""
    from PIL import Image

    shades = [
        round(255 - (255 - part) * at / _SHADES)
        for colour in (_LINE, _TEXT, _SOFT)
        for at in range(_SHADES + 1)
        for part in bytes.fromhex(colour[1:])
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette(shades)
    return palette


def _png(figure: Any) -> bytes:
    """Write the figure in the few colours it has: it takes a third of the space in the event log."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(90)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = io.BytesIO()
    picture.convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE).save(image, format="png")
    return image.getvalue()
