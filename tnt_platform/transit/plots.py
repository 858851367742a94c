"""The plot of a date's summary, as Markdown that holds the image: no file to lose, no request to another host."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_BARS = 12
PASSED, EARLY, LATE = "#2f7d4f", "#3b6ea5", "#b4432f"


def summary_plot(summary: pl.DataFrame, title: str) -> str:
    """Draw horizontal bars of early, on time and late for the largest groups of each kind."""
    from matplotlib.figure import Figure  # only here: it takes a fifth of a second

    kinds = [kind for kind in summary["group_kind"].unique().sort() if kind != "all"] or ["all"]
    # As wide as the web UI's dialog shows without scaling it down.
    figure = Figure(figsize=(5.2 * len(kinds), 4.4), layout="constrained")
    for number, kind in enumerate(kinds, start=1):
        groups = summary.filter(pl.col("group_kind") == kind)
        axes = figure.add_subplot(1, len(kinds), number)
        _bars(axes, groups.sort("cases", "group_value", descending=[True, False]).head(MAX_BARS))
        shown = min(MAX_BARS, groups.height)
        axes.set_title(
            f"by {kind}" + (f" (largest {shown} of {groups.height})" if groups.height > shown else "")
        )
    handles, labels = figure.axes[0].get_legend_handles_labels()
    # Inside the axes it would hide some of the bars.
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title, fontweight="bold")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=90)
    return f"![{title}](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})"


def _bars(axes: Axes, groups: pl.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    # matplotlib reads "$" as the start of a formula.
    names = [value[:24].replace("$", r"\$") for value in groups["group_value"]][::-1]
    left = [0] * groups.height
    for status, color in (("early", EARLY), ("on_time", PASSED), ("late", LATE)):
        cases = groups[status].to_list()[::-1]
        axes.barh(range(len(names)), cases, left=left, color=color, label=status.replace("_", " "))
        left = [a + b for a, b in zip(left, cases, strict=True)]
    for row, (cases, rate) in enumerate(groups.select("cases", "pass_rate").reverse().iter_rows()):
        axes.annotate(
            f"{rate:.0%}" if rate is not None else "",
            (cases, row),
            (3, 0),
            va="center",
            size="small",
            textcoords="offset points",
        )
    axes.set_yticks(range(len(names)), names)
    axes.margins(x=0.12, y=0.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("cases; the figure beside a bar is the share that passed")
