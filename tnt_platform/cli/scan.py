"""`tnt scan`: find the dates that differ from what is published, and the objects that no run reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import click
import polars as pl

from tnt_platform.cli.outcome import RunOutcome
from tnt_platform.cli.runs import finish_with, run_dataset
from tnt_platform.cli.tables import Output, printing
from tnt_platform.discovery.comparison import Reconciliation
from tnt_platform.discovery.unread import UNREAD, outside_every_prefix, summary
from tnt_platform.errors import NotFound
from tnt_platform.kinds import load_datasets
from tnt_platform.lake.publishing import Workspace, open_workspace
from tnt_platform.report.reconcile import survey_reports
from tnt_platform.report.spec import ReportSpec
from tnt_platform.settings import Settings
from tnt_platform.specs.fields import meant
from tnt_platform.transit.reconcile import survey
from tnt_platform.transit.spec import TransitSpec

DatedSpec = TransitSpec | ReportSpec
UNREAD_SHOWN = 20


@click.command()
@printing
@click.argument("prefix", default="")
@click.option("--run", "run_dates", is_flag=True, help="Materialize the dates that differ.")
def scan(out: Output, prefix: str, run_dates: bool) -> None:
    """Compare the files below PREFIX (default: of every dataset) with the published data.

    Also lists the objects that no run reads, with the reason. Exit codes: 1 a dataset's YAML is broken, or no dataset
    reads below PREFIX; with --run also those of `tnt run`.
    """
    settings = Settings.from_environment()
    workspace = open_workspace(settings)
    datasets = load_datasets()
    dated = [spec for spec in datasets.specs.values() if isinstance(spec, TransitSpec | ReportSpec)]
    chosen = [spec for spec in dated if _meets(spec, prefix)]
    if not chosen and not datasets.broken:
        raise NotFound(_nobody_reads(prefix, dated, workspace))
    found = RunOutcome()
    left_out = [pl.DataFrame(schema=UNREAD)]
    scanned: list[Mapping[str, Any]] = []
    for spec in chosen:
        with out.console.status(f"comparing {spec.name}"):
            compared = _survey(spec, workspace)
        dates = _show_dataset(out, spec, compared, prefix, scanned)
        left_out.append(compared.unread)
        if run_dates and dates:
            found += run_dataset(out, spec, dates, {})
    out.put("datasets", scanned)
    if not prefix and not datasets.broken:
        left_out.append(_outside(settings, workspace, dated))
    _show_unread(out, pl.concat(left_out).filter(pl.col("key").str.starts_with(prefix)))
    for reason in datasets.broken.values():
        out.warn(str(reason))
    if run_dates:
        finish_with(out, found)
    if datasets.broken:
        raise click.exceptions.Exit(1)


def _survey(spec: DatedSpec, workspace: Workspace) -> Reconciliation:
    return survey(spec, workspace) if isinstance(spec, TransitSpec) else survey_reports(spec, workspace)


def _meets(spec: DatedSpec, prefix: str) -> bool:
    return spec.source.prefix.startswith(prefix) or prefix.startswith(spec.source.prefix)


def _show_dataset(
    out: Output, spec: DatedSpec, found: Reconciliation, prefix: str, scanned: list[Mapping[str, Any]]
) -> list[str]:
    """Print the dates of a dataset that differ, and return them."""
    differences = [each for each in found.differences if _is_below(spec, each.partition, prefix)]
    rows = [
        {
            "date": each.partition,
            "new": each.new,
            "changed": each.changed,
            "gone": each.vanished,
            "why": each.reason,
        }
        for each in differences
    ]
    scanned.append(
        {
            "dataset": spec.name,
            "prefix": spec.source.prefix,
            "files": found.files_seen,
            "dates": found.dates_seen,
            "paused_because": found.paused_because,
            "differences": rows,
        }
    )
    files = f"{spec.name}: {found.files_seen:,} files on {found.dates_seen} dates below {spec.source.prefix}"
    if found.paused_because:
        out.say(f"{files}; paused after a rollback ({found.paused_because})")
    else:
        out.say(f"{files}; {len(rows)} dates differ" if rows else f"{files}; nothing to do")
    if rows:
        out.show(pl.DataFrame(rows))
    return [each.partition for each in differences]


def _is_below(spec: DatedSpec, partition: str, prefix: str) -> bool:
    """Whether a date is below `prefix`, which may end inside the date."""
    folders = spec.source.date_folders
    before = folders.before if folders else spec.source.prefix
    if folders is None or len(prefix) <= len(before):
        return True
    tail = prefix.removeprefix(before).split("/", 1)[0]
    return date.fromisoformat(partition).strftime(spec.source.date_format).startswith(tail)


def _outside(settings: Settings, workspace: Workspace, dated: Sequence[DatedSpec]) -> pl.DataFrame:
    """List what lies outside every dataset's prefix; the lake may be a folder of the same bucket."""
    root = f"{settings.raw_url.rstrip('/')}/"
    lake = f"{settings.lake_url.rstrip('/')}/"
    without = [lake.removeprefix(root)] if lake.startswith(root) else []
    return outside_every_prefix(workspace.raw, [spec.source.prefix for spec in dated], without=without)


def _show_unread(out: Output, objects: pl.DataFrame) -> None:
    out.put("unread", objects.to_dicts())
    if objects.is_empty():
        return
    out.say(f"\n{objects.height:,} objects that no run reads: {summary(objects)}")
    # Sidecars are as they should be; what somebody has to rename or move comes first.
    shown = objects.sort(pl.col("reason_code") == "sidecar", "reason_code", "key").head(UNREAD_SHOWN)
    out.show(shown.select("key", "reason"))
    if objects.height > shown.height:
        out.say(f"... and {objects.height - shown.height:,} more (--json lists all)")


def _nobody_reads(prefix: str, dated: Sequence[DatedSpec], workspace: Workspace) -> str:
    prefixes = [spec.source.prefix for spec in dated]
    known = f"datasets read below {', '.join(sorted(prefixes))}"
    objects = workspace.raw.list(prefix).height
    return (
        f"no dataset reads below {prefix!r} ({objects:,} objects are there); {meant(prefix, prefixes, known)}"
    )
