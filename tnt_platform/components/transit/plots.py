"""The plot of a date's summary, as Markdown with the picture inside: no file to lose, no outside request."""

from __future__ import annotations

import base64
import io

import polars as pl

MAX_BARS = 12
PASSED, EARLY, LATE = "#2f7d4f", "#3b6ea5", "#b4432f"


def summary_plot(summary: pl.DataFrame, title: str) -> str:
    """Horizontal bars of early, on time and late for the largest groups of each kind."""
    from matplotlib.figure import Figure  # lazily: a fifth of a second that only this step should pay

    kinds = [kind for kind in summary["group_kind"].unique().sort() if kind != "all"] or ["all"]
    figure = Figure(figsize=(4.6 * len(kinds), 3.6), layout="constrained")
    for number, kind in enumerate(kinds, start=1):
        groups = summary.filter(pl.col("group_kind") == kind)
        axes = figure.add_subplot(1, len(kinds), number)
        _bars(axes, groups.sort("cases", "group_value", descending=[True, False]).head(MAX_BARS))
        shown = min(MAX_BARS, groups.height)
        axes.set_title(
            f"by {kind}" + (f" (largest {shown} of {groups.height})" if groups.height > shown else "")
        )
    figure.axes[0].legend(loc="lower right", fontsize="small")
    figure.suptitle(title)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=90)
    return f"![{title}](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})"


def _bars(axes: object, groups: pl.DataFrame) -> None:
    # matplotlib reads "$" as mathematics; data is text.
    names = [value[:24].replace("$", r"\$") for value in groups["group_value"]][::-1]
    left = [0] * groups.height
    for status, color in (("on_time", PASSED), ("early", EARLY), ("late", LATE)):
        cases = groups[status].to_list()[::-1]
        axes.barh(range(len(names)), cases, left=left, color=color, label=status.replace("_", " "))  # type: ignore[attr-defined]
        left = [a + b for a, b in zip(left, cases, strict=True)]
    axes.set_yticks(range(len(names)), names, fontsize="small")  # type: ignore[attr-defined]
    axes.set_xlabel("cases")  # type: ignore[attr-defined]
