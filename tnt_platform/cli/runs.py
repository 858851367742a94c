"""Commands that look for work and do it, recorded in Dagster like any other run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import dagster as dg

from tnt_platform.cli.execution import execute_job
from tnt_platform.cli.tables import console, show_frame
from tnt_platform.directory.spec import DirectorySpec
from tnt_platform.errors import NotFound
from tnt_platform.kinds import dataset_spec, transit_spec
from tnt_platform.lake.publishing import Workspace, open_workspace
from tnt_platform.orchestration.local_launcher import this_process
from tnt_platform.records.spec import RecordsSpec
from tnt_platform.report.chain import run_date
from tnt_platform.report.spec import ReportSpec
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.settings import Settings
from tnt_platform.transit.spec import ENRICHED, RESULTS, TransitSpec

OPTIONS: Mapping[type, tuple[str, ...]] = {
    TransitSpec: ("force", "isolate", "refresh"),
    SeriesSpec: ("file", "accept_vanished", "by_hand"),
    DirectorySpec: ("accept_vanished",),
    RecordsSpec: ("by_hand",),
    ReportSpec: (),
}


@click.command()
@click.argument("dataset")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="One date.")
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First date of a range.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last date of a range.")
@click.option("--force", is_flag=True, help="Read the files again although nothing changed.")
@click.option("--isolate", is_flag=True, help="Read each file in a process of its own.")
@click.option("--refresh", is_flag=True, help="Ask the API again, also for cases that have an answer.")
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Series: capture this file."
)
@click.option("--accept-vanished", is_flag=True, help="Series, directory: let go what the source withdrew.")
@click.option("--by-hand", is_flag=True, help="Series, records: go on although the dataset was rolled back.")
def run(dataset: str, day: date | None, first: date | None, last: date | None, **options: Any) -> None:
    """Materialize DATASET: files of a date or a range of dates; others from their source, series also from --file.

    A daily report without --date is that of RUN_DATE, else of yesterday (UTC).
    """
    spec = dataset_spec(dataset)
    known = OPTIONS[type(spec)]
    wanted = [name for name, value in options.items() if value]
    _refuse_options(dataset, [name for name in wanted if name not in known])
    if isinstance(spec, TransitSpec):
        ask_again = "all" if options["refresh"] else "none"
        config = {"force": options["force"], "isolate": options["isolate"], "ask_again": ask_again}
        materialize(spec, _dates(day, first, last), config)
        return
    if isinstance(spec, ReportSpec):
        named = day or first or last
        dates = (
            _dates(day, first, last) if named else [run_date(Settings.from_environment(), datetime.now(UTC))]
        )
        materialize(spec, dates, {})
        return
    _refuse_options(dataset, ["date"] if day or first or last else [])
    values = {name: str(options[name].absolute()) if name == "file" else options[name] for name in wanted}
    _run_newest(spec, values)


def _dates(day: date | None, first: date | None, last: date | None) -> list[str]:
    if (day is None) == (first is None or last is None):
        raise click.UsageError("give either --date, or --from and --to")
    start, end = (day, day) if day else (first, last)
    assert start is not None
    assert end is not None
    return [f"{start + timedelta(days=n):%Y-%m-%d}" for n in range((end - start).days + 1)]


def _refuse_options(dataset: str, odd: list[str]) -> None:
    if odd:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in odd)
        raise click.UsageError(f"{names} says nothing to {dataset}; see its page in docs/datasets")


def _run_newest(spec: SeriesSpec | DirectorySpec | RecordsSpec, config: Mapping[str, object]) -> None:
    """Run the job of a dataset that has only a newest state, and say what is current; exits 1 if it failed."""
    with dg.DagsterInstance.get() as instance:
        done = execute_job(instance, spec.name, len(spec.steps), this_process(), config)
    store = open_workspace(Settings.from_environment()).store
    for step in spec.steps:
        snapshot = store.current(spec.dataset(step))
        if snapshot is not None:
            changes = snapshot.manifest.changelog
            console.print(
                f"{spec.name}/{step} {snapshot.version}: {snapshot.manifest.rows:,} rows; that version: "
                f"{changes.added:,} added, {changes.updated:,} updated, {changes.removed:,} removed"
            )
    if not done:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("dataset")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="Only this date.")
def replay(dataset: str, day: date | None) -> None:
    """Ask again for the cases of DATASET that are in quarantine, and for those alone."""
    spec = transit_spec(dataset)
    workspace = open_workspace(Settings.from_environment())
    refused = workspace.store.current(spec.dataset(ENRICHED if spec.rate_api else RESULTS))
    if refused is None:
        raise NotFound(f"{dataset} was never published; run it first")
    waiting = refused.quarantine([f"{day:%Y-%m-%d}"] if day else None)
    if waiting.is_empty():
        console.print("nothing is in quarantine")
        return
    show_frame(waiting.group_by("partition", "reason_code").len("rows").sort("partition", "reason_code"))
    materialize(spec, sorted(set(waiting["partition"])), {"ask_again": "quarantined"})
    after = workspace.store.current(refused.dataset)
    assert after is not None
    left = after.quarantine(sorted(set(waiting["partition"]))).height
    console.print(f"{waiting.height - left:,} of {waiting.height:,} rows left the quarantine")


def materialize(spec: TransitSpec | ReportSpec, dates: list[str], config: Mapping[str, object]) -> None:
    """Run the dataset's job here, range by range, with a progress bar; exits 1 if a date failed."""
    workspace = open_workspace(Settings.from_environment())
    failed = False
    with dg.DagsterInstance.get() as instance:
        for first, last in contiguous(dates):
            dates_tags = {
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            }
            steps = _days(first, last) * len(spec.steps)
            failed |= not execute_job(instance, spec.name, steps, {**dates_tags, **this_process()}, config)
    _report(spec, workspace, dates)
    if failed:
        raise click.exceptions.Exit(1)


def contiguous(dates: list[str]) -> list[tuple[str, str]]:
    """Ranges without gaps that cover exactly `dates`."""
    ranges: list[tuple[str, str]] = []
    for text in sorted(dates):
        if ranges and date.fromisoformat(text) - date.fromisoformat(ranges[-1][1]) == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], text)
        else:
            ranges.append((text, text))
    return ranges


def _days(first: str, last: str) -> int:
    return (date.fromisoformat(last) - date.fromisoformat(first)).days + 1


def _report(spec: TransitSpec | ReportSpec, workspace: Workspace, dates: list[str]) -> None:
    last = RESULTS if isinstance(spec, TransitSpec) else spec.steps[-1]
    snapshot = workspace.store.current(spec.dataset(last))
    if snapshot is None:
        return
    done = snapshot.partitions.filter(snapshot.partitions["partition"].is_in(dates))
    show_frame(done, columns=["partition", "rows_in", "published", "quarantined", "deduplicated", "filtered"])
