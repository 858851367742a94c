"""The real daemon: files that are dropped into the folder become published results by themselves."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pytest

from tnt_platform.sandbox.generator import SamplePlan, made_files, summarize
from tnt_platform.sandbox.running import RunningRateApi, rate_api_process
from tnt_platform.transit.spec import FILES, RESULTS, SHIPMENTS
from tnt_platform_tests.e2e.running_dagster import (
    DagsterHome,
    Run,
    RunningDagster,
    processes_of,
    running_dagster,
    small_plan,
)

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1200)]

RUNS_TIMEOUT_S = 300
TICK_TIMEOUT_S = 300


@pytest.fixture(scope="module")
def api() -> Iterator[RunningRateApi]:
    with rate_api_process() as running:
        yield running


@pytest.fixture(scope="module")
def dagster(api: RunningRateApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDagster]:
    """One Dagster for this module; every test has dates of its own and leaves it at rest."""
    home = DagsterHome(tmp_path_factory.mktemp("daemon"))
    home.drop_reference(small_plan(dt.date(2026, 1, 5), 1, files=5))
    with running_dagster(home, api.url) as running:
        yield running


def test_files_dropped_into_the_folder_are_published_and_the_next_tick_has_nothing_to_do(
    dagster: RunningDagster,
) -> None:
    plan = small_plan(dt.date(2026, 1, 5), 3)

    dagster.home.drop_files(plan)
    runs = published_by_the_sensor(dagster, dates_of(plan))

    assert [run.tags["tnt/attempt"] for run in runs] == ["1", "1", "1"]
    assert_published_as_made(dagster.home, plan)
    after = dagster.next_tick()
    assert after["runIds"] == []
    assert re.findall(r"\d+", after["skipReason"])[:2] == ["9", "3"]


def test_a_late_file_and_an_overwritten_one_are_one_run_each_and_touch_no_other_date(
    dagster: RunningDagster,
) -> None:
    plan = small_plan(dt.date(2026, 2, 2), 3)
    dagster.home.drop_files(plan)
    published_by_the_sensor(dagster, dates_of(plan))
    before = changed_by(dagster.home)
    late, overwritten, untouched = dates_of(plan)

    dagster.home.drop_files(small_plan(plan.dates[0], 1, files=4))
    other = small_plan(plan.dates[1], 1, files=1, rows=11)
    dagster.home.drop_files(other)
    runs = published_by_the_sensor(dagster, [late, overwritten])

    assert {run.tags["dagster/partition"]: run.tags["tnt/reason"] for run in runs} == {
        late: "1 new",
        overwritten: "1 changed",
    }
    after = changed_by(dagster.home)
    assert {date for date in after if after[date] != before.get(date)} == {late, overwritten}
    assert_published_as_made(dagster.home, small_plan(plan.dates[0], 1, files=4))
    rows = rows_of(dagster.home, SHIPMENTS, overwritten).group_by("file_key").len().sort("file_key")
    assert rows["len"].to_list()[0] > rows["len"].to_list()[1], "the overwritten file has its new rows"
    assert after[untouched] == before[untouched]


def test_a_date_that_is_under_way_waits_for_its_run_before_it_gets_another(
    dagster: RunningDagster, api: RunningRateApi
) -> None:
    day = dt.date(2026, 3, 2)
    date = day.isoformat()
    api.reset()
    api.set_faults(latency_ms=8_000)
    try:
        dagster.home.drop_files(small_plan(day, 1, files=2, rows=200))
        # By its first question the run has listed the date's files: what comes now comes too late for it.
        dagster.wait_for("a run that asks", lambda: api.stats()["requests"], RUNS_TIMEOUT_S)
        dagster.home.drop_files(small_plan(day, 1, files=3, rows=200))
        tick = dagster.next_tick()
        (first,) = dagster.runs(dagster_partition=date)
        assert not first.finished, "400 questions, 64 at a time, take 8 s each"
    finally:
        api.set_faults(latency_ms=0)
    assert tick["runIds"] == []
    assert "1 dates" in tick["skipReason"]
    runs = dagster.wait_for("a second run", lambda: two_finished(dagster, date), RUNS_TIMEOUT_S)

    assert runs[0].run_id == first.run_id
    assert [run.status for run in runs] == ["SUCCESS", "SUCCESS"]
    assert runs[0].ended <= runs[1].started
    assert_published_as_made(dagster.home, small_plan(day, 1, files=3, rows=200))


def test_a_date_that_fails_is_tried_again_with_a_higher_attempt_and_recovers(dagster: RunningDagster) -> None:
    plan = small_plan(dt.date(2026, 4, 6), 1)
    (date,) = dates_of(plan)
    reference = dagster.home.raw / plan.reference_key
    content = reference.read_bytes()
    reference.unlink()

    dagster.home.drop_files(plan)
    failed = dagster.wait_for("a failed run", lambda: finished(dagster, date), RUNS_TIMEOUT_S)
    dagster.home.drop(plan.reference_key, content)
    runs = dagster.wait_for("a second run", lambda: two_finished(dagster, date), RUNS_TIMEOUT_S)

    said = dagster.failure(failed[0].run_id)
    assert plan.reference_key in said
    assert date in said
    assert [(run.tags["tnt/attempt"], run.status) for run in runs] == [("1", "FAILURE"), ("2", "SUCCESS")]
    assert runs[1].created >= runs[0].ended + 30, "the back-off of the YAML's default"
    assert_published_as_made(dagster.home, plan)


def test_a_date_whose_dagster_was_killed_is_taken_up_again_after_the_restart(
    api: RunningRateApi, tmp_path_factory: pytest.TempPathFactory
) -> None:
    day = dt.date(2026, 5, 4)
    plan, date = small_plan(day, 1, files=2, rows=200), day.isoformat()
    home = DagsterHome(tmp_path_factory.mktemp("killed"))
    home.drop_reference(plan)
    home.drop_files(plan)
    api.reset()
    api.set_faults(latency_ms=8_000)
    try:
        with running_dagster(home, api.url) as dagster:
            dagster.wait_for("a run that asks", lambda: api.stats()["requests"], RUNS_TIMEOUT_S)
            (killed,) = dagster.runs(dagster_partition=date)
            dagster.kill()
    finally:
        api.set_faults(latency_ms=0)

    with running_dagster(home, api.url) as dagster:
        started = time.monotonic()
        runs = dagster.wait_for("a second run", lambda: two_finished(dagster, date), RUNS_TIMEOUT_S)
        print(f"killed with its Dagster, published {time.monotonic() - started:.0f} s after the restart")

        assert [run.status for run in runs] == ["FAILURE", "SUCCESS"]
        assert runs[0].run_id == killed.run_id
        assert_published_as_made(home, plan)


def test_a_second_tnt_demo_finds_nothing_to_do_and_leaves_no_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = DagsterHome(tmp_path_factory.mktemp("demo"))

    first, first_s = tnt_demo(home)
    second, second_s = tnt_demo(home)

    # Stage 4 counts the runs and what they cost, if there were any.
    assert "4 runs in" in first
    assert "per 1,000 files" in first
    assert "per 1,000 files" not in second
    print(f"tnt demo: {first_s:.0f} s, then {second_s:.0f} s")


def tnt_demo(home: DagsterHome) -> tuple[str, float]:
    environment = {**os.environ, **home.environment(""), "COLUMNS": "200"}
    started = time.monotonic()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("tnt")), "demo"],
        cwd=home.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert processes_of(process.pid) == []
    daemons = [line for line in _commands() if "dagster._daemon" in line and str(home.folder) in line]
    assert daemons == []
    return " ".join(output.split()), time.monotonic() - started


def _commands() -> list[str]:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return found.stdout.splitlines()


def published_by_the_sensor(dagster: RunningDagster, dates: Sequence[str]) -> list[Run]:
    """Wait for the sensor to ask for runs; exactly one on each of `dates`, and all succeed."""
    known = {run.run_id for run in dagster.runs()}

    def asked() -> list[Run] | None:
        fresh = [run for run in dagster.runs() if run.run_id not in known]
        return fresh if len(fresh) >= len(dates) else None

    fresh = dagster.wait_for(f"runs on {', '.join(dates)}", asked, TICK_TIMEOUT_S)
    ended = dagster.finished_runs([run.run_id for run in fresh], RUNS_TIMEOUT_S)
    assert sorted(run.tags["dagster/partition"] for run in ended) == sorted(dates)
    assert {run.status for run in ended} == {"SUCCESS"}, [dagster.failure(run.run_id) for run in ended]
    assert {run.tags["dagster/sensor_name"] for run in ended} == {"transit_files"}
    return ended


def finished(dagster: RunningDagster, date: str) -> list[Run]:
    return [run for run in dagster.runs(dagster_partition=date) if run.finished]


def two_finished(dagster: RunningDagster, date: str) -> list[Run] | None:
    runs = finished(dagster, date)
    return runs if len(runs) == 2 else None


def dates_of(plan: SamplePlan) -> list[str]:
    return [date.isoformat() for date in plan.dates]


def rows_of(home: DagsterHome, step: str, date: str) -> pl.DataFrame:
    snapshot = home.workspace().store.current(f"transit/{step}")
    assert snapshot is not None
    return snapshot.scan([date]).collect()


def changed_by(home: DagsterHome) -> dict[str, list[str]]:
    """Which version last changed each date, for every step."""
    store = home.workspace().store
    found: dict[str, list[str]] = {}
    for step in (FILES, SHIPMENTS, RESULTS):
        snapshot = store.current(f"transit/{step}")
        assert snapshot is not None
        for date, version in (
            snapshot.partitions.sort("partition").select("partition", "changed_by").iter_rows()
        ):
            found.setdefault(date, []).append(version)
    return found


def assert_published_as_made(home: DagsterHome, plan: SamplePlan) -> None:
    """The generator knows how many of its rows must pass, fail, be refused or not be there at all."""
    made = summarize(plan)
    for date in dates_of(plan):
        kinds = made.rows_by_date[date]
        assert rows_of(home, FILES, date).height == sum(1 for file in made_files(plan) if file.date == date)
        results = rows_of(home, RESULTS, date)
        assert results["success"].sum() == kinds["passes"]
        assert results.height == kinds["passes"] + kinds["fails"]
