"""`tnt demo`: the main job on real files, driven by the real sensor and daemon, explained as it goes."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click
import dagster as dg
import polars as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tnt_platform.cli.demo_samples import show_directory, show_records_and_report, show_series
from tnt_platform.cli.serving import dev_is_running, process_group, sandbox_environment, workspace
from tnt_platform.cli.tables import console, show_frame, show_rows
from tnt_platform.errors import ConfigError, Unavailable
from tnt_platform.kinds import transit_spec
from tnt_platform.lake.publishing import Workspace, open_workspace
from tnt_platform.sandbox.generator import SamplePlan, SampleSummary, write_samples
from tnt_platform.sandbox.running import rate_api_process
from tnt_platform.settings import Settings
from tnt_platform.transit.reconcile import survey
from tnt_platform.transit.spec import ENRICHED, FILES, RESULTS, SHIPMENTS, SUMMARY, TransitSpec

DATES = tuple(dt.date(2026, 1, 12) + dt.timedelta(days=n) for n in range(4))
FILES_PER_DATE = 250
ROWS_PER_FILE = 24
TIMEOUT_S = 600
POLL_S = 0.5
SENSOR = "transit_files"


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
    """Make 1,000 shipper files, let the sensor find them, and show what became of every row."""
    settings = Settings.from_environment()
    workspace = open_workspace(settings)
    spec = transit_spec("transit")
    made = write_samples(_plan(spec), _raw_folder(settings))
    console.print(
        f"[bold]1[/] {made.files:,} shipper files with {made.rows.total():,} rows on {len(DATES)} dates "
        f"({made.size_bytes / 1e6:.1f} MB) in {settings.raw_url}/{spec.source.prefix}: "
        + (f"{made.written:,} written now" if made.written else "all there already")
    )
    with rate_api_process("--latency-ms", "20") as api:
        console.print(f"[bold]2[/] a stand-in for the carrier's rate API answers at {api.url} after 20 ms")
        outcome = _let_the_sensor_work(settings, api.url)
    _explain(spec, workspace, settings, made, outcome)
    left = survey(spec, workspace).differences
    for difference in left:
        console.print(
            f"[red]{difference.partition} is not up to date[/] ({difference.reason}); "
            f"the runs' messages are in {settings.home}"
        )
    for run in outcome.runs:
        if not run.is_success:
            console.print(
                f"[red]run {run.run_id} failed[/]: `make dev` shows why; the sensor would try it again"
            )
    if left:
        raise click.exceptions.Exit(1)


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
        raise ConfigError(f"the demo writes to a local folder; unset TNT_RAW_URL (now {settings.raw_url})")
    return Path(url2pathname(urlsplit(settings.raw_url).path))


def _let_the_sensor_work(settings: Settings, api_url: str) -> Outcome:
    """Start the daemon, wait for a tick of the sensor and for the runs it asked for."""
    log = settings.home / "demo-daemon.log"
    command = [sys.executable, "-m", "dagster._daemon", "run", *workspace()]
    started = time.time()
    with dg.DagsterInstance.get() as instance:
        with _daemon(
            settings, command, {**sandbox_environment(api_url), "TNT_SCHEDULES": "stopped"}, log
        ) as alive:
            console.print(
                "[bold]3[/] the Dagster daemon starts; its sensor compares the bucket with what is published"
            )
            tick = _first_tick(instance, started, alive, log)
            tick_s = time.time() - started
            _say_tick(tick)
            runs = _finished_runs(instance, tick.run_ids, alive, log) if tick.run_ids else []
        records = instance.get_run_records(dg.RunsFilter(run_ids=[r.run_id for r in runs])) if runs else []
        task_s = sum((r.end_time or 0) - (r.start_time or 0) for r in records)
    return Outcome(tick_s, tick.skip_reason, runs, time.time() - started, task_s)


@contextlib.contextmanager
def _daemon(
    settings: Settings, command: list[str], environment: dict[str, str], log: Path
) -> Iterator[Callable[[], bool]]:
    """A daemon of our own, or the one of a `tnt dev` that is running."""
    if dev_is_running(settings):
        console.print("  (using the daemon of the `tnt dev` that is running)")
        yield lambda: dev_is_running(settings)
        return
    with process_group(command, environment, log=log) as process:
        yield lambda: process.poll() is None


def _first_tick(
    instance: dg.DagsterInstance, started: float, alive: Callable[[], bool], log: Path
) -> dg._core.scheduler.instigation.InstigatorTick:
    with console.status("waiting for the sensor's first tick"):
        for _ in _patience(alive, log):
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
    raise AssertionError("unreachable: patience ends with an error")


def _say_tick(tick: object) -> None:
    run_ids = tick.run_ids  # type: ignore[attr-defined]
    if run_ids:
        console.print(f"  it asks for {len(run_ids)} runs, one a date")
    else:
        console.print(f"  it finds {tick.skip_reason}")  # type: ignore[attr-defined]


def _finished_runs(
    instance: dg.DagsterInstance, run_ids: list[str], alive: Callable[[], bool], log: Path
) -> list[dg.DagsterRun]:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        steps = progress.add_task("steps published", total=len(run_ids) * 5)
        for _ in _patience(alive, log):
            runs = instance.get_runs(dg.RunsFilter(run_ids=run_ids))
            done = sum(
                len(instance.all_logs(i, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)) for i in run_ids
            )
            progress.update(steps, completed=done)
            if len(runs) == len(run_ids) and all(run.is_finished for run in runs):
                return list(runs)
    raise AssertionError("unreachable: patience ends with an error")


def _patience(alive: Callable[[], bool], log: Path) -> Iterator[None]:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if not alive():
            raise Unavailable(f"the daemon stopped; see {log}")
        yield
        time.sleep(POLL_S)
    raise Unavailable(f"nothing happened for {TIMEOUT_S} s; see {log}")


def _explain(
    spec: TransitSpec, workspace: Workspace, settings: Settings, made: SampleSummary, outcome: Outcome
) -> None:
    if not outcome.runs:
        console.print(
            "[bold]4[/] [green]nothing to do[/]: every file is published already; nothing was run or written"
        )
    else:
        _explain_runs(settings, made, outcome)
    _explain_rows(spec, workspace)
    _explain_pass_rates(spec, workspace)
    show_series(workspace)
    show_directory(workspace)
    show_records_and_report(workspace, _raw_folder(settings))
    console.print("\n[bold]Where to look next[/]")
    console.print(
        "  make dev                         the web UI: asset graph, partitions, plots, sensor ticks"
    )
    console.print("  .venv/bin/tnt versions transit   every version; diff, rollback and show take their ids")
    console.print(
        "  .venv/bin/tnt show transit/shipments --quarantine   refused rows with file, line and reason"
    )
    console.print("  make demo                        again: finds nothing to do")


def _explain_runs(settings: Settings, made: SampleSummary, outcome: Outcome) -> None:
    from tnt_platform.services.cost import Prices

    hour = Prices.load().fargate.x86
    rate = settings.task_vcpu * hour.vcpu_hour + settings.task_memory_gb * hour.memory_gb_hour
    per_1000 = outcome.task_s / 3600 * rate / made.files * 1000
    console.print(
        f"[bold]4[/] {len(outcome.runs)} runs in {outcome.elapsed_s:.0f} s (first tick after {outcome.tick_s:.0f} s); "
        f"{outcome.task_s:.0f} task seconds = ${per_1000:.4f} of Fargate per 1,000 files"
    )


def _explain_rows(spec: TransitSpec, workspace: Workspace) -> None:
    dates = [date.isoformat() for date in DATES]
    rows, reasons = [], []
    for step in (FILES, SHIPMENTS, ENRICHED, RESULTS):
        snapshot = workspace.store.current(spec.dataset(step))
        if snapshot is None:
            continue
        chosen = snapshot.partitions.filter(pl.col("partition").is_in(dates))
        names = ("rows_in", "published", "quarantined", "deduplicated", "filtered")
        rows.append((spec.dataset(step), *(int(chosen[name].sum()) for name in names)))
        refused = snapshot.quarantine(dates)
        reasons.append(
            refused.select("reason_code", "file_key", "line_no", "raw", pl.lit(step).alias("step"))
        )
    header = ["dataset", "rows in", "published", "quarantined", "deduplicated", "blank or not sampled"]
    console.print()
    show_rows(header, rows, title="Every row is accounted for", numeric=[False, *[True] * 5])
    example = pl.format("{}:{}  {}", "file_key", "line_no", pl.col("raw").fill_null("").str.slice(0, 48))
    if not reasons:
        return
    counted = (
        pl.concat(reasons)
        .group_by("step", "reason_code")
        .agg(rows=pl.len(), example=example.sort_by("file_key", "line_no").first())
        .sort("step", "rows", descending=[True, True])
    )
    console.print()
    show_frame(counted, title="Why rows were refused, and where they stand")


def _explain_pass_rates(spec: TransitSpec, workspace: Workspace) -> None:
    summary = workspace.store.current(spec.dataset(SUMMARY))
    if summary is None:
        return
    dates = [date.isoformat() for date in DATES]
    frames = [
        summary.scan([date]).filter(pl.col("group_kind") == "all").with_columns(date=pl.lit(date)).collect()
        for date in dates
    ]
    columns = [
        "date",
        "cases",
        "passed",
        "failed",
        "early",
        "late",
        "pass_rate",
        "latency_p50_ms",
        "latency_p95_ms",
    ]
    console.print()
    show_frame(pl.concat(frames).select(columns), title="Does the API return the promised days?")
