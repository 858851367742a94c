"""The part of the demo about economic series: five samples, from a web server to published observations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from tnt_platform.cli.execution import execute_job
from tnt_platform.cli.serving import sample_sources
from tnt_platform.cli.tables import console, show_rows
from tnt_platform.components.datasets import dataset_specs
from tnt_platform.components.local_launcher import this_process
from tnt_platform.flows.publishing import Place
from tnt_platform.flows.series.spec import OBSERVATIONS, SERIES, SeriesSpec


def show_series(place: Place) -> None:
    """Publish the samples of every series dataset and show what each holds; again, they are found unchanged."""
    console.print(
        "\n[bold]5[/] economic series: a workbook, a legacy workbook, CSV and JSON, each one YAML file"
    )
    specs = [spec for spec in dataset_specs().values() if isinstance(spec, SeriesSpec)]
    rows = []
    with sample_sources() as variables, dg.DagsterInstance.get() as instance, _environment(variables):
        for spec in specs:
            before = place.store.current(spec.dataset(OBSERVATIONS))
            done = execute_job(instance, spec.name, len(spec.steps), this_process(), {})
            rows.append(_row(spec, place, before.version if before else None, done=done))
    header = ["dataset", "series", "observations", "first", "last", "quarantined", "no value", "this time"]
    show_rows(header, rows, numeric=[False, True, True, False, False, True, True, False])


def _row(spec: SeriesSpec, place: Place, before: str | None, *, done: bool) -> tuple[object, ...]:
    history, newest = (
        place.store.current(spec.dataset(OBSERVATIONS)),
        place.store.current(spec.dataset(SERIES)),
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
