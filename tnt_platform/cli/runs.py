"""`tnt run` and `tnt replay`: materialize datasets as runs that Dagster records like any other."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import dagster as dg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tnt_platform.cli.outcome import RunOutcome, read_outcome, show_outcome
from tnt_platform.cli.tables import Output, printing
from tnt_platform.errors import NotFound
from tnt_platform.kinds import Spec, dataset_spec, transit_spec
from tnt_platform.lake.publishing import open_workspace
from tnt_platform.orchestration.local_launcher import this_process
from tnt_platform.report.chain import run_date
from tnt_platform.report.spec import ReportSpec
from tnt_platform.settings import Settings
from tnt_platform.transit.spec import ENRICHED, RESULTS, TransitSpec

# The option of the command, where it is not spelled like the option of the run that it sets.
RUN_OPTIONS = {"refresh": "ask_again"}
POLL_S = 0.5
# Log lines would break the progress bar. They are all in the web UI, and failures are printed at the end.
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


@click.command()
@printing
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
    help="Publish although more is rejected than the limits allow, also new content that is rejected whole.",
)
@click.option(
    "--accept-revised",
    is_flag=True,
    help="Series, directory: publish although much of what is published changes at once.",
)
@click.option(
    "--accept-vanished",
    is_flag=True,
    help="Publish although more published data would go than the limits allow.",
)
@click.option("--by-hand", is_flag=True, help="Series, records: publish although paused after a rollback.")
def run(
    out: Output,
    dataset: str,
    day: datetime | None,
    first: datetime | None,
    last: datetime | None,
    **options: Any,
) -> None:
    """Materialize DATASET, and print what became of the rows of each step and date.

    Shipper files need --date, or --from and --to. A daily report without a date is that of RUN_DATE, or else of
    yesterday (UTC). Other datasets have no dates.

    Exit codes: 0 all is well, 1 the run failed, 3 rows or files were rejected beyond the limits.
    """
    spec = dataset_spec(dataset)
    given = [name for name, value in options.items() if value]
    known = run_options(spec.name)
    _reject_options(dataset, [name for name in given if RUN_OPTIONS.get(name, name) not in known])
    config = {RUN_OPTIONS.get(name, name): _as_config(name, options[name]) for name in given}
    has_dates = bool(day or first or last)
    if isinstance(spec, ReportSpec) and not has_dates:
        dates: list[str] | None = [run_date(Settings.from_environment(), datetime.now(UTC))]
    elif isinstance(spec, TransitSpec | ReportSpec):
        dates = _dates(spec, day, first, last)
    else:
        _reject_options(dataset, ["date"] if has_dates else [])
        dates = None
    finish_with(out, run_dataset(out, spec, dates, config))


def run_options(dataset: str) -> set[str]:
    """Return the options of a run of this dataset, as its kind declares them for the launchpad."""
    from tnt_platform.definitions import defs

    op = defs().resolve_job_def(f"{dataset}_job").graph.node_named(dataset).definition
    assert isinstance(op, dg.OpDefinition), "each dataset is one op"
    return set(getattr(op.config_schema.config_type, "fields", {}))


def _as_config(name: str, value: object) -> object:
    if name == "refresh":
        return "all"
    return str(value.absolute()) if isinstance(value, Path) else value


def _dates(
    spec: TransitSpec | ReportSpec, day: datetime | None, first: datetime | None, last: datetime | None
) -> list[str]:
    if (day is None) == (first is None or last is None):
        raise click.UsageError("give either --date, or --from and --to")
    start, end = (day, day) if day else (first, last)
    assert start is not None
    assert end is not None
    if start > end:
        raise click.UsageError(f"--from {start:%Y-%m-%d} is after --to {end:%Y-%m-%d}; swap them")
    if start.date() < spec.start_date or end.date() > datetime.now(UTC).date():
        raise click.UsageError(
            f"{spec.name} has the dates from {spec.start_date} (start_date in its YAML) to today (UTC); "
            f"{start:%Y-%m-%d} to {end:%Y-%m-%d} is not in it"
        )
    return [f"{start + timedelta(days=n):%Y-%m-%d}" for n in range((end - start).days + 1)]


def _reject_options(dataset: str, names: list[str]) -> None:
    if names:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise click.UsageError(
            f"{options} can't be used with {dataset}; its page in docs/datasets lists its options"
        )


@click.command()
@printing
@click.argument("dataset")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="Only this date.")
def replay(out: Output, dataset: str, day: date | None) -> None:
    """Ask the rate API again for the quarantined cases of DATASET, and only for those."""
    spec = transit_spec(dataset)
    workspace = open_workspace(Settings.from_environment())
    current = workspace.store.current(spec.dataset(ENRICHED if spec.rate_api else RESULTS))
    if current is None:
        raise NotFound(f"{dataset} was never published; run `tnt run {dataset}` first")
    quarantined = current.quarantine([f"{day:%Y-%m-%d}"] if day else None)
    reasons = quarantined.group_by("partition", "reason_code").len("rows").sort("partition", "reason_code")
    out.put("quarantined_before", reasons.to_dicts())
    if quarantined.is_empty():
        out.say("the quarantine is empty")
        return
    out.table("quarantined_before", reasons)
    dates = sorted(set(quarantined["partition"]))
    found = run_dataset(out, spec, dates, {"ask_again": "quarantined"})
    after = workspace.store.current(current.dataset)
    assert after is not None
    answered = quarantined.height - after.quarantine(dates).height
    out.put("left_quarantine", answered)
    out.say(f"{answered:,} of {quarantined.height:,} rows left the quarantine")
    finish_with(out, found)


def finish_with(out: Output, found: RunOutcome) -> None:
    """Print what runs did, and exit with their code."""
    show_outcome(out, found)
    if found.exit_code:
        raise click.exceptions.Exit(found.exit_code)


def run_dataset(out: Output, spec: Spec, dates: list[str] | None, config: Mapping[str, object]) -> RunOutcome:
    """Run the dataset's job in this process: one run per range of `dates`, or one if the dataset has none."""
    found = RunOutcome()
    with dg.DagsterInstance.get() as instance:
        for first, last in contiguous(dates) if dates is not None else [("", "")]:
            days = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1 if first else 1
            tags = {**(range_tags(first, last) if first else {}), **this_process()}
            found += execute_job(instance, spec.name, days * len(spec.steps), tags, config, out)
            if found.stopped:
                break
    return found


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
    out: Output,
) -> RunOutcome:
    """Run `<dataset>_job` in this process with a progress bar of `steps` materializations; return what it did."""
    from tnt_platform.definitions import defs

    job = defs().resolve_job_def(f"{dataset}_job")
    run_id = str(uuid.uuid4())
    ops = {"ops": {dataset: {"config": dict(config)}}} if config else {}

    def execute() -> None:
        job.execute_in_process(
            instance=instance,
            run_id=run_id,
            tags=dict(tags),
            run_config={"loggers": QUIET, **ops},
            raise_on_error=False,
        )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    over = threading.Event()
    with Progress(*columns, console=out.console) as progress:
        bar = progress.add_task(f"{dataset} steps", total=steps)

        def show_progress() -> None:
            while not over.wait(POLL_S):
                progress.update(bar, completed=materializations(instance, run_id))

        watcher = threading.Thread(target=show_progress, daemon=True)
        watcher.start()
        try:
            # In the main thread, where Ctrl-C and SIGTERM arrive: Dagster records the end of a run that they stop.
            execute()
        finally:
            over.set()
            watcher.join()
        progress.update(bar, completed=materializations(instance, run_id))
    return read_outcome(instance, run_id, open_workspace(Settings.from_environment()).store)


def materializations(instance: dg.DagsterInstance, run_id: str) -> int:
    """Count the steps that a run has published so far."""
    return len(instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION))
