"""Small line plots of series, as Markdown with the picture inside."""

from __future__ import annotations

import base64
import io

import polars as pl

MAX_SERIES = 60
_COLUMNS = 3
_LINE, _TEXT = "#3b6ea5", "#333333"


def series_plot(observations: pl.DataFrame, title: str) -> str:
    """One small line plot a series (internal_series_code, period, value, unit), the first 60 by code."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure  # lazily: a fifth of a second that only this step should pay

    codes = observations["internal_series_code"].unique().sort()
    shown = codes.head(MAX_SERIES)
    rows = -(-len(shown) // _COLUMNS)
    figure = Figure(figsize=(4.2 * min(_COLUMNS, len(shown)), 1.9 * rows + 0.5), layout="constrained")
    for number, code in enumerate(shown, start=1):
        one = observations.filter(internal_series_code=code).sort("period")
        axes = figure.add_subplot(rows, min(_COLUMNS, len(shown)), number)
        axes.plot(one["period"].to_list(), one["value"].to_list(), color=_LINE, linewidth=1.1)
        if one.height == 1:
            axes.scatter(one["period"].to_list(), one["value"].to_list(), color=_LINE, s=8)
        # matplotlib reads "$" as mathematics; data is text.
        axes.set_title(str(code).replace("$", r"\$"), fontsize=7.5, color=_TEXT, loc="left")
        axes.set_ylabel(str(one["unit"][0])[:18].replace("$", r"\$"), fontsize=6.5)
        locator = AutoDateLocator(minticks=2, maxticks=6)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.tick_params(labelsize=6.5)
        axes.spines[["top", "right"]].set_visible(False)
    more = f" (first {MAX_SERIES} of {len(codes)} series)" if len(codes) > MAX_SERIES else ""
    figure.suptitle(f"{title}{more}", fontweight="bold", fontsize=9)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=90)
    return f"![{title}](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})"
