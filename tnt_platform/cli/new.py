"""`tnt new` and `tnt import-legacy`: draft the YAML of a dataset from a file or from the legacy system."""

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
from tnt_platform.kinds import DEFS, validate_datasets
from tnt_platform.series.drafting.draft import UNIT, Draft, defs_text
from tnt_platform.series.drafting.files import draft_layout
from tnt_platform.series.legacy.convert import Converted, convert
from tnt_platform.series.legacy.fields import FATES
from tnt_platform.series.reading import NormalizedCapture, read_capture
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.settings import Settings

FILE = "defs.yaml"
SERIES_SHOWN = 40
_TODO = {
    "description": "TODO what it is, in one sentence",
    "owners": "TODO who is responsible for it",
    "provider": "TODO who publishes it",
    "timezone": "TODO the publisher's time zone, such as America/Argentina/Buenos_Aires",
    "source.url": "TODO the publisher's URL; {YYYY}, {YY} and {MM} stand for the latest month that exists",
}
_TO = click.option(
    "--to", type=click.Path(path_type=Path), default=DEFS, help="Folder for NAME/defs.yaml (default: defs/)."
)


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
@click.option("--sheet", help="Draft only from this sheet of the workbook.")
@_TO
def new_series(name: str, file: Path, sheet: str | None, to: Path) -> None:
    """Draft NAME/defs.yaml from a workbook, CSV or JSON file, and show what it reads, for you to check."""
    path = defs_path(name, to)
    data = file.read_bytes()
    draft = draft_layout(data, name, sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draft_text(draft, file), encoding="utf-8")
    for line in draft.detected:
        console.print(f"  {line}", markup=False)
    for line in draft.check:
        console.print(f"  check: {line}", markup=False, style="yellow")
    show_observations(path, data)
    console.print(
        f"\nwrote {path}: compare the table with the file, replace each TODO, then run tnt validate",
        markup=False,
    )


@click.command("import-legacy")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_TO
def import_legacy(file: Path, to: Path) -> None:
    """Convert FILE, a dataset of the legacy series system, to a defs.yaml; show what became of each field."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} is not valid YAML ({error}); give a dataset file of the legacy system"
        ) from error
    dataset = convert(document, file.name)
    path = defs_path(dataset.name, to)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_legacy_text(dataset, file), encoding="utf-8")
    notes = sorted(dataset.notes, key=lambda note: FATES.index(note.fate))
    show_rows(
        ("field", "what became of it", ""), [(note.field, note.fate, note.description) for note in notes]
    )
    faults = validate_datasets(path.parent, Settings.from_environment()).faults
    for fault in faults:
        console.print(str(fault), markup=False, style="red")
    console.print(f"\nwrote {path}" + ("; fix these faults" if faults else ""), markup=False)
    if faults:
        raise click.exceptions.Exit(1)


def _legacy_text(dataset: Converted, file: Path) -> str:
    heading = [f"Converted from {file.name} of the legacy system by `tnt import-legacy`."]
    heading += [f"TODO {note.field}: {note.description}" for note in dataset.notes if note.fate == "to do"]
    return defs_text(heading, dataset.attributes, dataset.comments)


def defs_path(name: str, to: Path) -> Path:
    """Return the path of a new dataset's YAML.

    Raises:
        ConfigError: the name is not valid for a dataset, or the dataset exists.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        suggestion = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "my_series"
        raise ConfigError(
            f"{name!r} is not a valid dataset name; use letters, digits and _, such as {suggestion}"
        )
    path = to / name / FILE
    if path.exists():
        raise ConfigError(f"{path} already exists; choose another name, or delete it first")
    return path


def draft_text(draft: Draft, file: Path) -> str:
    """Return the YAML of a draft."""
    source: dict[str, Any] = {"url": f"file://{file.absolute().as_posix()}"}
    if draft.member is not None:
        source["member"] = draft.member
    attributes: dict[str, Any] = {
        "description": f"Series of {file.name}.",
        "owners": ["team:data"],
        "provider": "TODO",
        "timezone": "UTC",
        "frequency": draft.frequency,
        "source": source,
        "reader": draft.reader,
        **draft.options,
    }
    if draft.footer is not None:
        attributes["footer"] = draft.footer
    if draft.table is not None:
        attributes["table"] = dict(draft.table)
    if draft.series:
        attributes["series"] = [dict(series) for series in draft.series]
    heading = [
        f"Drafted by `tnt new series` from {file.name}. It recognised:",
        *(f"- {line}" for line in draft.detected),
        *(f"- CHECK {line}" for line in draft.check),
        f"TODO: the URL, the time zone, a unit for each {UNIT!r}, and series codes that say what they are.",
        'Once it reads the file correctly, add a schedule: cron: "0 18 * * *"',
    ]
    comments = dict(_TODO)
    if draft.footer is not None:
        comments["footer"] = "the first row that matches, and everything below it, is not data"
    return defs_text(heading, attributes, comments)


def show_observations(path: Path, data: bytes) -> None:
    """Print the first and last observation of each series that the dataset at `path` reads, and what it rejects.

    Raises:
        InvalidInput: the YAML can't read the file; it stays there to be corrected.
    """
    document: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec = SeriesSpec.model_validate(document["attributes"]).placed_in(path.parent)
    try:
        read = read_capture(spec, data)
    except InvalidInput as error:
        raise InvalidInput(
            error.reason_code, f"{path} was written, but it can't read the file: {error}"
        ) from error
    series, counts = read.cells.codes.height, read.counts
    more = f" (the first {SERIES_SHOWN})" if series > SERIES_SHOWN else ""
    console.print(
        f"\n{series} series{more}, {counts.published:,} observations, {counts.quarantined:,} rejected, "
        f"{counts.deduplicated:,} repeated, {counts.filtered:,} not available\n"
    )
    # The code comes last because it may be long: the last column wraps.
    show_rows(
        ("values", "first", "", "last", "", "unit", "series"),
        _ends(read).head(SERIES_SHOWN).rows(),
        numeric=(True, False, True, False, True, False, False),
    )
    if counts.quarantined:
        show_frame(_reasons(read), title="rejected, by reason")


def _ends(read: NormalizedCapture) -> pl.DataFrame:
    """Return the first and last observation of each series in the order of the file, including empty series."""
    ends = (
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
        ends, left_on="series_code", right_on="internal_series_code", how="left", maintain_order="left"
    ).select(
        pl.col("values").fill_null(0), "first", "first_value", "last", "last_value", "unit", "series_code"
    )


def _reasons(read: NormalizedCapture) -> pl.DataFrame:
    columns = ["reason_code", "reason", "place"]
    rejected = [
        read.normalized.rejected,
        read.cells.rejected.with_columns(place=pl.format("line {}", "line_no")),
    ]
    rows = pl.concat([frame.select(columns) for frame in rejected if frame.height])
    return (
        rows.group_by("reason_code", maintain_order=True)
        .agg(rows=pl.len(), reason=pl.col("reason").first(), example=pl.col("place").first())
        .sort("rows", descending=True)
    )
