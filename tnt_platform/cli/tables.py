"""Print frames as tables in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import polars as pl
from rich.console import Console
from rich.table import Table

# Pipes and logs have no width; at the default of 80 columns every row would wrap.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def show_frame(
    frame: pl.DataFrame, *, title: str | None = None, columns: Sequence[str] | None = None
) -> None:
    """Print a frame, with numbers right-aligned and nulls empty."""
    chosen = frame.select(columns) if columns else frame
    show_rows(
        chosen.columns, chosen.iter_rows(), title=title, numeric=[t.is_numeric() for t in chosen.dtypes]
    )


def show_rows(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    numeric: Sequence[bool] = (),
) -> None:
    """Print rows under a header; columns that are not `numeric` are left-aligned."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for number, name in enumerate(header):
        right = bool(numeric) and numeric[number]
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    console.print(table)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        return text.replace("[", "\\[")
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
