"""Commands that look for work and do it, recorded in Dagster like any other run."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from datetime import date, timedelta

import click
import dagster as dg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tnt_platform.cli.tables import console, show_frame, show_rows
from tnt_platform.components.datasets import transit_spec, transit_specs
from tnt_platform.components.local_launcher import this_process
from tnt_platform.components.platform import open_place
from tnt_platform.errors import NotFound
from tnt_platform.flows.publishing import Place
from tnt_platform.flows.transit.reconcile import survey
from tnt_platform.flows.transit.spec import ENRICHED, RESULTS, TransitSpec
from tnt_platform.settings import Settings

POLL_S = 0.5
# Every line is in the web UI; here it would tear the progress bar, and what failed is said at the end.
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


@click.command()
@click.argument("prefix", default="")
@click.option("--run", "do_it", is_flag=True, help="Materialize the dates that differ.")
def scan(prefix: str, do_it: bool) -> None:
    """Compare the files below PREFIX (default: of every dataset) with what is published."""
    place = open_place(Settings.from_environment())
    for spec in transit_specs().values():
        if not (spec.source.prefix.startswith(prefix) or prefix.startswith(spec.source.prefix)):
            continue
        with console.status(f"comparing {spec.name}"):
            found = survey(spec, place)
        work = [item for item in found.work if not prefix or _below(spec, item.date, prefix)]
        seen = (
            f"{spec.name}: {found.files_seen:,} files on {found.dates_seen} dates below {spec.source.prefix}"
        )
        console.print(f"{seen}; {len(work)} dates differ" if work else f"{seen}; nothing to do")
        if work:
            rows = [(item.date, item.new, item.changed, item.vanished, item.reason) for item in work]
            show_rows(["date", "new", "changed", "gone", "why"], rows)
        if work and do_it:
            materialize(spec, [item.date for item in work], {})


def _below(spec: TransitSpec, partition: str, prefix: str) -> bool:
    """A prefix that reaches into the dates names those that start with its last part."""
    tail = prefix.removeprefix(spec.source.prefix).split("/", 1)[0]
    return not tail or len(prefix) <= len(spec.source.prefix) or partition.startswith(tail)


@click.command()
@click.argument("dataset")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="One date.")
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First date of a range.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last date of a range.")
@click.option("--force", is_flag=True, help="Read the files again although nothing changed.")
@click.option("--isolate", is_flag=True, help="Read each file in a process of its own.")
@click.option("--refresh", is_flag=True, help="Ask the API again, also for cases that have an answer.")
def run(
    dataset: str,
    day: date | None,
    first: date | None,
    last: date | None,
    force: bool,
    isolate: bool,
    refresh: bool,
) -> None:
    """Materialize DATASET for a date or a range of dates, from raw files to published results."""
    if (day is None) == (first is None or last is None):
        raise click.UsageError("give either --date, or --from and --to")
    start, end = (day, day) if day else (first, last)
    assert start is not None
    assert end is not None
    dates = [f"{start + timedelta(days=n):%Y-%m-%d}" for n in range((end - start).days + 1)]
    config = {"force": force, "isolate": isolate, "ask_again": "all" if refresh else "none"}
    materialize(transit_spec(dataset), dates, config)


@click.command()
@click.argument("dataset")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="Only this date.")
def replay(dataset: str, day: date | None) -> None:
    """Ask again for the cases of DATASET that are in quarantine, and for those alone."""
    spec = transit_spec(dataset)
    place = open_place(Settings.from_environment())
    refused = place.store.current(spec.dataset(ENRICHED if spec.api else RESULTS))
    if refused is None:
        raise NotFound(f"{dataset} was never published; run it first")
    waiting = refused.quarantine([f"{day:%Y-%m-%d}"] if day else None)
    if waiting.is_empty():
        console.print("nothing is in quarantine")
        return
    show_frame(waiting.group_by("partition", "reason_code").len("rows").sort("partition", "reason_code"))
    materialize(spec, sorted(set(waiting["partition"])), {"ask_again": "quarantined"})
    after = place.store.current(refused.dataset)
    assert after is not None
    left = after.quarantine(sorted(set(waiting["partition"]))).height
    console.print(f"{waiting.height - left:,} of {waiting.height:,} rows left the quarantine")


def materialize(spec: TransitSpec, dates: list[str], config: Mapping[str, object]) -> None:
    """Run the dataset's job here, range by range, with a progress bar; exits 1 if a date failed."""
    from tnt_platform.definitions import defs

    job = defs().resolve_job_def(f"{spec.name}_job")
    place = open_place(Settings.from_environment())
    failed = False
    with dg.DagsterInstance.get() as instance:
        for first, last in contiguous(dates):
            dates_tags = {
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            }
            tags = {**dates_tags, **this_process()}
            failed |= not _execute(job, instance, spec, tags, config, _days(first, last))
    _report(spec, place, dates)
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


def _execute(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    spec: TransitSpec,
    tags: Mapping[str, str],
    config: Mapping[str, object],
    days: int,
) -> bool:
    run_id = str(uuid.uuid4())
    outcome: list[dg.ExecuteInProcessResult] = []

    def work() -> None:
        outcome.append(
            job.execute_in_process(
                instance=instance,
                run_id=run_id,
                tags=dict(tags),
                run_config={"ops": {spec.name: {"config": dict(config)}}, "loggers": QUIET},
                raise_on_error=False,
            )
        )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    thread = threading.Thread(target=work, daemon=True)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"{spec.name} steps", total=days * len(spec.steps))
        thread.start()
        while thread.is_alive():
            time.sleep(POLL_S)
            progress.update(bar, completed=_materialized(instance, run_id))
        progress.update(bar, completed=_materialized(instance, run_id))
    for result in outcome:
        for event in result.all_events:
            if event.is_step_failure:
                said = event.step_failure_data.error_display_string
                # Our failures name the date, what is wrong and how to mend it; the stack is in the web UI.
                said = said.split("\n\nStack Trace:")[0].split("\n\nThe above")[0]
                console.print(said.removeprefix("dagster._core.definitions.events.Failure: "), markup=False)
    return bool(outcome) and outcome[0].success


def _materialized(instance: dg.DagsterInstance, run_id: str) -> int:
    return len(instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION))


def _report(spec: TransitSpec, place: Place, dates: list[str]) -> None:
    snapshot = place.store.current(spec.dataset(RESULTS))
    if snapshot is None:
        return
    done = snapshot.partitions.filter(snapshot.partitions["partition"].is_in(dates))
    show_frame(done, columns=["partition", "rows_in", "published", "quarantined", "deduplicated", "filtered"])
