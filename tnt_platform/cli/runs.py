"""`tnt scan`, `tnt run` and `tnt replay`: find work and do it, as runs that Dagster records like any other."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import dagster as dg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tnt_platform.cli.tables import console, show_frame, show_rows
from tnt_platform.directory.spec import DirectorySpec
from tnt_platform.errors import NotFound
from tnt_platform.kinds import dataset_spec, load_datasets, transit_spec
from tnt_platform.lake.publishing import Workspace, open_workspace
from tnt_platform.orchestration.local_launcher import this_process
from tnt_platform.records.spec import RecordsSpec
from tnt_platform.report.chain import run_date
from tnt_platform.report.spec import ReportSpec
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.settings import Settings
from tnt_platform.transit.reconcile import survey
from tnt_platform.transit.spec import ENRICHED, RESULTS, TransitSpec

OPTIONS: Mapping[type, tuple[str, ...]] = {
    TransitSpec: ("force", "isolate", "refresh"),
    SeriesSpec: ("file", "accept_rejected", "accept_vanished", "accept_revised", "by_hand"),
    DirectorySpec: ("accept_rejected", "accept_vanished", "accept_revised"),
    RecordsSpec: ("accept_rejected", "by_hand"),
    ReportSpec: (),
}
POLL_S = 0.5
# Log lines would break the progress bar. They are all in the web UI, and failures are printed at the end.
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


@click.command()
@click.argument("prefix", default="")
@click.option("--run", "run_dates", is_flag=True, help="Materialize the dates that differ.")
def scan(prefix: str, run_dates: bool) -> None:
    """Compare the files below PREFIX (default: of every dataset) with the published data."""
    workspace = open_workspace(Settings.from_environment())
    datasets = load_datasets()
    for spec in datasets.specs.values():
        if not isinstance(spec, TransitSpec):
            continue
        if spec.source.prefix.startswith(prefix) or prefix.startswith(spec.source.prefix):
            _scan_dataset(spec, workspace, prefix, run_dates=run_dates)
    for reason in datasets.broken.values():
        console.print(str(reason), style="red", markup=False)
    if datasets.broken:
        raise click.exceptions.Exit(1)


def _scan_dataset(spec: TransitSpec, workspace: Workspace, prefix: str, *, run_dates: bool) -> None:
    with console.status(f"comparing {spec.name}"):
        found = survey(spec, workspace)
    differences = [
        item for item in found.differences if not prefix or _is_below(spec, item.partition, prefix)
    ]
    files = f"{spec.name}: {found.files_seen:,} files on {found.dates_seen} dates below {spec.source.prefix}"
    console.print(f"{files}; {len(differences)} dates differ" if differences else f"{files}; nothing to do")
    if not differences:
        return
    rows = [(item.partition, item.new, item.changed, item.vanished, item.reason) for item in differences]
    show_rows(["date", "new", "changed", "gone", "why"], rows)
    if run_dates:
        run_dated(spec, [item.partition for item in differences], {})


def _is_below(spec: TransitSpec, partition: str, prefix: str) -> bool:
    """Whether a date is below `prefix`, which may end inside the date."""
    tail = prefix.removeprefix(spec.source.prefix).split("/", 1)[0]
    return not tail or len(prefix) <= len(spec.source.prefix) or partition.startswith(tail)


@click.command()
@click.argument("dataset")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="One date.")
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First date of a range.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last date of a range.")
@click.option("--force", is_flag=True, help="Transit: read all files again, even if nothing changed.")
@click.option("--isolate", is_flag=True, help="Transit: read each file in a process of its own.")
@click.option("--refresh", is_flag=True, help="Transit: ask the rate API again, even for answered cases.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Series: capture this file instead of the source.",
)
@click.option(
    "--accept-rejected",
    is_flag=True,
    help="Series, records, directory: publish although too much of the source can't be read.",
)
@click.option(
    "--accept-revised",
    is_flag=True,
    help="Series, directory: publish although much of what is published changes at once.",
)
@click.option(
    "--accept-vanished",
    is_flag=True,
    help="Series, directory: override the guard against data that vanished from the source.",
)
@click.option("--by-hand", is_flag=True, help="Series, records: publish although paused after a rollback.")
def run(dataset: str, day: date | None, first: date | None, last: date | None, **options: Any) -> None:
    """Materialize DATASET.

    Shipper files need --date, or --from and --to. A daily report without a date is that of RUN_DATE, or else of
    yesterday (UTC). Other datasets have no dates.
    """
    spec = dataset_spec(dataset)
    given = [name for name, value in options.items() if value]
    _reject_options(dataset, [name for name in given if name not in OPTIONS[type(spec)]])
    has_dates = bool(day or first or last)
    if isinstance(spec, TransitSpec):
        ask_again = "all" if options["refresh"] else "none"
        config = {"force": options["force"], "isolate": options["isolate"], "ask_again": ask_again}
        run_dated(spec, _dates(day, first, last), config)
    elif isinstance(spec, ReportSpec):
        default = [] if has_dates else [run_date(Settings.from_environment(), datetime.now(UTC))]
        run_dated(spec, default or _dates(day, first, last), {})
    else:
        _reject_options(dataset, ["date"] if has_dates else [])
        config = {name: str(options[name].absolute()) if name == "file" else True for name in given}
        _run_undated(spec, config)


def _dates(day: date | None, first: date | None, last: date | None) -> list[str]:
    if (day is None) == (first is None or last is None):
        raise click.UsageError("give either --date, or --from and --to")
    start, end = (day, day) if day else (first, last)
    assert start is not None
    assert end is not None
    return [f"{start + timedelta(days=n):%Y-%m-%d}" for n in range((end - start).days + 1)]


def _reject_options(dataset: str, names: list[str]) -> None:
    if names:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise click.UsageError(
            f"{options} can't be used with {dataset}; its page in docs/datasets lists its options"
        )


def _run_undated(spec: SeriesSpec | DirectorySpec | RecordsSpec, config: Mapping[str, object]) -> None:
    """Run the job of a dataset without dates, and print its current versions; exit with 1 if it failed."""
    with dg.DagsterInstance.get() as instance:
        succeeded = execute_job(instance, spec.name, len(spec.steps), this_process(), config)
    store = open_workspace(Settings.from_environment()).store
    for step in spec.steps:
        snapshot = store.current(spec.dataset(step))
        if snapshot is not None:
            changes = snapshot.manifest.changelog
            console.print(
                f"{spec.name}/{step} {snapshot.version}: {snapshot.manifest.rows:,} rows "
                f"({changes.added:,} added, {changes.updated:,} updated, {changes.removed:,} removed)"
            )
    if not succeeded:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("dataset")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="Only this date.")
def replay(dataset: str, day: date | None) -> None:
    """Ask the rate API again for the quarantined cases of DATASET, and only for those."""
    spec = transit_spec(dataset)
    workspace = open_workspace(Settings.from_environment())
    current = workspace.store.current(spec.dataset(ENRICHED if spec.rate_api else RESULTS))
    if current is None:
        raise NotFound(f"{dataset} was never published; run `tnt run {dataset}` first")
    quarantined = current.quarantine([f"{day:%Y-%m-%d}"] if day else None)
    if quarantined.is_empty():
        console.print("the quarantine is empty")
        return
    show_frame(quarantined.group_by("partition", "reason_code").len("rows").sort("partition", "reason_code"))
    dates = sorted(set(quarantined["partition"]))
    run_dated(spec, dates, {"ask_again": "quarantined"})
    after = workspace.store.current(current.dataset)
    assert after is not None
    answered = quarantined.height - after.quarantine(dates).height
    console.print(f"{answered:,} of {quarantined.height:,} rows left the quarantine")


def run_dated(spec: TransitSpec | ReportSpec, dates: list[str], config: Mapping[str, object]) -> None:
    """Run the dataset's job in this process, one run per range of dates; exit with 1 if a date failed."""
    workspace = open_workspace(Settings.from_environment())
    failed = False
    with dg.DagsterInstance.get() as instance:
        for first, last in contiguous(dates):
            steps = ((date.fromisoformat(last) - date.fromisoformat(first)).days + 1) * len(spec.steps)
            tags = {**range_tags(first, last), **this_process()}
            failed |= not execute_job(instance, spec.name, steps, tags, config)
    last_step = RESULTS if isinstance(spec, TransitSpec) else spec.steps[-1]
    snapshot = workspace.store.current(spec.dataset(last_step))
    if snapshot is not None:
        published = snapshot.partitions.filter(snapshot.partitions["partition"].is_in(dates))
        columns = ["partition", "rows_in", "published", "quarantined", "deduplicated", "filtered"]
        show_frame(published, columns=columns)
    if failed:
        raise click.exceptions.Exit(1)


def contiguous(dates: list[str]) -> list[tuple[str, str]]:
    """Return the ranges without gaps that cover exactly `dates`."""
    ranges: list[tuple[str, str]] = []
    for text in sorted(dates):
        if ranges and date.fromisoformat(text) - date.fromisoformat(ranges[-1][1]) == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], text)
        else:
            ranges.append((text, text))
    return ranges


def range_tags(first: str, last: str) -> dict[str, str]:
    """Return the tags by which Dagster knows the dates of a run."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def execute_job(
    instance: dg.DagsterInstance,
    dataset: str,
    steps: int,
    tags: Mapping[str, str],
    config: Mapping[str, object],
) -> bool:
    """Run `<dataset>_job` in this process with a progress bar of `steps` materializations; print its failures."""
    from tnt_platform.definitions import defs

    job = defs().resolve_job_def(f"{dataset}_job")
    run_id = str(uuid.uuid4())
    results: list[dg.ExecuteInProcessResult] = []
    ops = {"ops": {dataset: {"config": dict(config)}}} if config else {}

    def execute() -> None:
        results.append(
            job.execute_in_process(
                instance=instance,
                run_id=run_id,
                tags=dict(tags),
                run_config={"loggers": QUIET, **ops},
                raise_on_error=False,
            )
        )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    thread = threading.Thread(target=execute, daemon=True)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"{dataset} steps", total=steps)
        thread.start()
        while thread.is_alive():
            time.sleep(POLL_S)
            progress.update(bar, completed=materializations(instance, run_id))
        progress.update(bar, completed=materializations(instance, run_id))
    for result in results:
        _print_failures(result)
    return bool(results) and results[0].success


def _print_failures(result: dg.ExecuteInProcessResult) -> None:
    for event in result.all_events:
        if event.is_step_failure:
            # The platform's failures name the date, what is wrong and how to fix it; the stack is in the web UI.
            message = event.step_failure_data.error_display_string
            message = message.split("\n\nStack Trace:")[0].split("\n\nThe above")[0]
            console.print(message.removeprefix("dagster._core.definitions.events.Failure: "), markup=False)


def materializations(instance: dg.DagsterInstance, run_id: str) -> int:
    """Count the steps that a run has published so far."""
    return len(instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION))
