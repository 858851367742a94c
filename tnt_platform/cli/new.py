"""`tnt new`: look at a file and draft the YAML that reads it, with what it would give."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import polars as pl
import yaml

from tnt_platform.cli.tables import console, show_frame, show_rows
from tnt_platform.errors import ConfigError, InvalidInput
from tnt_platform.kinds import DEFS
from tnt_platform.series.drafting.draft import UNIT, Draft, defs_text
from tnt_platform.series.drafting.files import draft_layout
from tnt_platform.series.normalized import NormalizedCapture, read_capture
from tnt_platform.series.spec import SeriesSpec

FILE = "defs.yaml"
SERIES_SHOWN = 40
_TODO = {
    "description": "TODO what it is, in one sentence",
    "owners": "TODO who answers for it",
    "provider": "TODO who publishes it",
    "timezone": "TODO where the publisher is, such as America/Argentina/Buenos_Aires",
    "source.url": "TODO the publisher's address; {YYYY}, {YY} and {MM} stand for the newest month that exists",
}


@click.group()
def new() -> None:
    """Draft a new dataset."""


@new.command("series")
@click.argument("name")
@click.option(
    "--from",
    "file",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The publisher's file.",
)
@click.option("--sheet", help="Look at this sheet of the workbook alone.")
@click.option(
    "--to", type=click.Path(path_type=Path), default=DEFS, help="Where NAME/defs.yaml goes (default: defs/)."
)
def new_series(name: str, file: Path, sheet: str | None, to: Path) -> None:
    """Draft NAME/defs.yaml from a workbook, CSV or JSON, and show what it reads: look at it before you trust it."""
    path = defs_path(name, to)
    data = file.read_bytes()
    drafted = draft_layout(data, name, sheet)
    text = draft_text(drafted, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    for line in drafted.detected:
        console.print(f"  {line}", markup=False)
    for line in drafted.check:
        console.print(f"  check: {line}", markup=False, style="yellow")
    show_reading(path, data)
    console.print(
        f"\nwrote {path}: compare the table with the file, replace each TODO, then run tnt validate",
        markup=False,
    )


def defs_path(name: str, to: Path) -> Path:
    """Where the dataset's YAML goes.

    Raises:
        ConfigError: the name can't be a dataset's, or there is such a dataset.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        fitting = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "my_series"
        raise ConfigError(f"{name!r} can't name a dataset: use letters, digits and _, such as {fitting}")
    path = to / name / FILE
    if path.exists():
        raise ConfigError(
            f"{path} exists already and is not overwritten; choose another name, or delete it first"
        )
    return path


def draft_text(drafted: Draft, file: Path) -> str:
    """The YAML of a draft."""
    source: dict[str, Any] = {"url": f"file://{file.absolute().as_posix()}"}
    if drafted.member is not None:
        source["member"] = drafted.member
    attributes: dict[str, Any] = {
        "description": f"Series of {file.name}.",
        "owners": ["team:data"],
        "provider": "TODO",
        "timezone": "UTC",
        "frequency": drafted.frequency,
        "source": source,
        "reader": drafted.reader,
        **drafted.options,
    }
    if drafted.footer is not None:
        attributes["footer"] = drafted.footer
    if drafted.table is not None:
        attributes["table"] = dict(drafted.table)
    if drafted.series:
        attributes["series"] = [dict(one) for one in drafted.series]
    heading = [
        f"Drafted by `tnt new series` from {file.name}. What was recognised:",
        *(f"- {line}" for line in drafted.detected),
        *(f"- CHECK {line}" for line in drafted.check),
        f"TODO: the address, the time zone, a unit for each {UNIT!r}, and codes that say what the series are.",
        'When it is right, add a schedule: cron: "0 18 * * *"',
    ]
    comments = dict(_TODO)
    if drafted.footer is not None:
        comments["footer"] = "the first row that matches and all below it are no data"
    return defs_text(heading, attributes, comments)


def show_reading(path: Path, data: bytes) -> None:
    """Print the first and last observations that the dataset at `path` finds in a file, and what it refuses.

    Raises:
        InvalidInput: the file can't be read as the YAML says; the YAML stays, to be corrected.
    """
    document: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec = SeriesSpec.model_validate(document["attributes"]).placed_in(path.parent)
    try:
        read = read_capture(spec, data)
    except InvalidInput as fault:
        raise InvalidInput(
            fault.reason_code, f"{path} was written, but the file can't be read by it: {fault}"
        ) from fault
    series = read.cells.codes.height
    counts = read.counts
    more = f" (the first {SERIES_SHOWN})" if series > SERIES_SHOWN else ""
    console.print(
        f"\n{series} series{more}, {counts.published:,} observations, {counts.quarantined:,} rejected, "
        f"{counts.deduplicated:,} repeated, {counts.filtered:,} not available\n"
    )
    # The code comes last: it may be long, and only the last column folds.
    show_rows(
        ("values", "first", "", "last", "", "unit", "series"),
        _ends(read).head(SERIES_SHOWN).rows(),
        numeric=(True, False, True, False, True, False, False),
    )
    if counts.quarantined:
        show_frame(_reasons(read), title="rejected, by reason")


def _ends(read: NormalizedCapture) -> pl.DataFrame:
    """The first and the last observation of each series, those without any included, in the order of the file."""
    found = (
        read.normalized.observations.sort("period")
        .group_by("internal_series_code")
        .agg(
            values=pl.len(),
            first=pl.col("period").first().cast(pl.String),
            first_value=pl.col("value").first().cast(pl.String),
            last=pl.col("period").last().cast(pl.String),
            last_value=pl.col("value").last().cast(pl.String),
        )
    )
    return read.cells.codes.join(
        found, left_on="series_code", right_on="internal_series_code", how="left", maintain_order="left"
    ).select(
        pl.col("values").fill_null(0), "first", "first_value", "last", "last_value", "unit", "series_code"
    )


def _reasons(read: NormalizedCapture) -> pl.DataFrame:
    shown = ["reason_code", "reason", "place"]
    rejected = [
        read.normalized.rejected,
        read.cells.rejected.with_columns(place=pl.format("line {}", "line_no")),
    ]
    rows = pl.concat([frame.select(shown) for frame in rejected if frame.height])
    return (
        rows.group_by("reason_code", maintain_order=True)
        .agg(rows=pl.len(), reason=pl.col("reason").first(), example=pl.col("place").first())
        .sort("rows", descending=True)
    )
