"""Print what a command found: as tables for people, as one JSON document for programs, or not at all."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Literal

import click
import polars as pl
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tnt_platform.errors import TntError

# Pipes and logs have no width; at the default of 80 columns every row would wrap.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
# A text column may be folded down to this width; a table that needs more is printed one row below the other.
LEAST_WIDTH = 24
GAP = 2
SHOWN_CHARS = 300


class Output:
    """Where a command prints: tables for people, one JSON document for programs, or nothing but errors."""

    def __init__(self, form: Literal["tables", "json", "quiet"] = "tables") -> None:
        self.form = form
        self.console = console if form == "tables" else Console(quiet=True)
        self._document: dict[str, Any] = {}

    def say(self, text: str, *, style: str | None = None) -> None:
        """Print a sentence for people."""
        self.console.print(text, style=style, markup=False)

    def print(self, text: str) -> None:
        """Print a text for people as it is, never folded: a place in a file that editors link, or Markdown."""
        if self.form == "tables":
            click.echo(text)

    def warn(self, text: str) -> None:
        """Print an error or what needs a look, on standard error, also with --quiet."""
        click.secho(text, fg="red", err=True)

    def put(self, name: str, value: object) -> None:
        """Add a value to the JSON document."""
        self._document[name] = value

    def table(
        self,
        name: str,
        frame: pl.DataFrame,
        *,
        title: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Print a frame, people seeing only `columns`; programs get all of it as a list of objects."""
        self.put(name, frame.to_dicts())
        self.show(frame, title=title, columns=columns)

    def show(
        self, frame: pl.DataFrame, *, title: str | None = None, columns: Sequence[str] | None = None
    ) -> None:
        """Print a frame for people."""
        show_frame(frame, title=title, columns=columns, on=self.console)

    def finish(self) -> None:
        """Print the JSON document."""
        if self.form == "json":
            click.echo(json.dumps(_plain(self._document), ensure_ascii=False, indent=1))


def printing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--json` and `--quiet`, and an `Output` as its first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
    @click.option("--quiet", is_flag=True, help="Print nothing but errors; the exit code says the rest.")
    @functools.wraps(command)
    def printed(*arguments: Any, as_json: bool, quiet: bool, **options: Any) -> None:
        if as_json and quiet:
            raise click.UsageError("give either --json or --quiet")
        out = Output("json" if as_json else "quiet" if quiet else "tables")
        try:
            command(out, *arguments, **options)
        except (TntError, click.exceptions.Exit) as error:
            if isinstance(error, TntError):
                out.put("error", str(error))
            out.finish()
            raise
        out.finish()

    return printed


def show_frame(
    frame: pl.DataFrame,
    *,
    title: str | None = None,
    columns: Sequence[str] | None = None,
    on: Console = console,
) -> None:
    """Print a frame, with numbers right-aligned; nulls are empty, and a column without any value is left out."""
    chosen = frame.select(columns) if columns else frame
    if chosen.height:
        chosen = chosen.select(series for series in chosen if _has_values(series))
    numeric = [dtype.is_numeric() for dtype in chosen.dtypes]
    show_rows(chosen.columns, chosen.iter_rows(), title=title, numeric=numeric, on=on)


def show_rows(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    numeric: Sequence[bool] = (),
    on: Console = console,
) -> None:
    """Print rows under a header, or one below the other where they are too wide; only `numeric` columns go right."""
    cells = [[_text(value) for value in row] for row in rows]
    right = list(numeric) or [False] * len(header)
    widths = _least_widths(header, cells, right)
    if len(header) > 1 and sum(widths) + GAP * (len(widths) - 1) > on.width:
        _show_one_below_the_other(header, cells, title, on)
        return
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for number, name in enumerate(header):
        table.add_column(
            name,
            justify="right" if right[number] else "left",
            overflow="fold",
            no_wrap=number == 0 or right[number],
            min_width=widths[number],
        )
    for row in cells:
        table.add_row(*map(Text, row))
    on.print(table)


def _least_widths(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[int]:
    """Return the width below which each column can't be read: all of a number or of the first column."""
    widths = []
    for number, name in enumerate(header):
        longest = max((cell_len(row[number]) for row in rows), default=0)
        whole = number == 0 or numeric[number]
        widths.append(max(cell_len(name), longest if whole else min(longest, LEAST_WIDTH)))
    return widths


def _show_one_below_the_other(
    header: Sequence[str], rows: Sequence[Sequence[str]], title: str | None, on: Console
) -> None:
    if title:
        on.print(title, style="italic", markup=False)
    for row in rows:
        grid = Table.grid(padding=(0, GAP))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in zip(header, row, strict=True):
            if value:
                grid.add_row(name, Text(value))
        on.print(grid)
        on.print()


def _has_values(series: pl.Series) -> bool:
    if isinstance(series.dtype, pl.List):
        return bool((series.list.len() > 0).any())
    return series.null_count() < len(series) and not (series.dtype == pl.String and (series == "").all())


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        # A whole request or a broken line can be as long as its file.
        return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _plain(value: object) -> Any:
    """Return a value as JSON has it: times in ISO format, exact decimals as text, no NaN."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, date) else str(value)
