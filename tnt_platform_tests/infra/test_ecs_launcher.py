"""Runs as ECS tasks: the real EcsRunLauncher with infra/dagster's settings, against the stand-in's ECS."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from moto.core.exceptions import JsonRESTError
from moto.ecs.responses import EC2ContainerServiceResponse

from tnt_platform.sandbox.running import running_rate_api
from tnt_platform_tests.e2e import questions
from tnt_platform_tests.e2e.running_dagster import DagsterHome, Run, small_plan
from tnt_platform_tests.e2e.test_backfill import STEPS, backfill_done, finished_dates, runs_of
from tnt_platform_tests.infra.dagster_on_ecs import OnEcs, dagster_on_ecs

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

PLAN = small_plan(dt.date(2026, 1, 1), 31, files=1, rows=4)
DATES = [date.isoformat() for date in PLAN.dates]
TERMINATE = """
mutation ($run: String!) {
  terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) { __typename ... on PythonError { message } }
}"""
CANCEL = """
mutation ($runs: [String!]!) {
  terminateRuns(runIds: $runs, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename }
}"""
MOST_CHARACTERS = 8_192  # of a task's overrides, by ECS
MOST_AT_ONCE = 10  # infra/dagster/dagster.yaml
ASKED = 13


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, stand_in: str) -> Iterator[OnEcs]:
    home = DagsterHome(tmp_path_factory.mktemp("ecs"))
    home.drop_reference(PLAN)
    with running_rate_api() as api, dagster_on_ecs(home, stand_in, api.url) as running:
        running.dagster.stop_sensor()
        home.drop_files(PLAN)
        yield running


def test_thirty_dates_are_published_by_tasks_of_an_explicit_revision(platform: OnEcs) -> None:
    backfill = launched(platform, DATES[:30])
    assert backfill_done(platform.dagster, backfill)["status"] == "COMPLETED_SUCCESS"
    assert finished_dates(platform.dagster.home) == set(DATES[:30])
    assert 1 <= platform.agent.most_at_once <= MOST_AT_ONCE
    runs, tasks = runs_of(platform.dagster, backfill), platform.tasks()
    assert {run.tags["ecs/task_arn"] for run in runs} == {task["taskArn"] for task in tasks}
    assert all(task["taskDefinitionArn"].endswith(":task-definition/tnt-test-run:1") for task in tasks)
    sizes = [len(json.dumps(task["overrides"])) for task in tasks]
    print(f"{len(tasks)} tasks, overrides of {max(sizes)} characters")
    assert max(sizes) < MOST_CHARACTERS


def test_a_task_that_is_killed_is_noticed_and_its_run_is_started_again(platform: OnEcs) -> None:
    before, tasks = {run.run_id for run in platform.dagster.runs()}, set(platform.agent.processes)
    backfill = launched(platform, DATES[30:])
    arn = platform.dagster.wait_for("a task", lambda: new_task(platform, tasks), 120)
    platform.agent.kill(arn)

    assert platform.dagster.wait_for("the run and its retry", lambda: ended(platform, before, 2), 400) == [
        "FAILURE",
        "SUCCESS",
    ]
    assert backfill_done(platform.dagster, backfill)["status"].startswith("COMPLETED")
    assert finished_dates(platform.dagster.home) == set(DATES)


def test_a_task_that_never_starts_is_given_up_and_its_run_is_started_again(platform: OnEcs) -> None:
    before = {run.run_id for run in platform.dagster.runs()}
    platform.agent.never_start = 1
    launched(platform, DATES[:1])
    assert platform.dagster.wait_for("the run and its retry", lambda: ended(platform, before, 2), 400) == [
        "FAILURE",
        "SUCCESS",
    ]


def test_a_throttled_launch_is_tried_again_and_terminating_the_run_stops_its_task(
    platform: OnEcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = ["first", "second"]
    run_task = EC2ContainerServiceResponse.run_task

    def throttled(self: EC2ContainerServiceResponse) -> Any:
        if refusals:
            refusals.pop()
            raise JsonRESTError("ThrottlingException", "Rate exceeded")
        return run_task(self)

    monkeypatch.setattr(EC2ContainerServiceResponse, "run_task", throttled)
    before, tasks = {run.run_id for run in platform.dagster.runs()}, set(platform.agent.processes)
    launched(platform, DATES[:1])
    arn = platform.dagster.wait_for("a task", lambda: new_task(platform, tasks), 120)
    assert refusals == []
    run = platform.dagster.wait_for("the run to begin", lambda: begun(platform, before), 120)
    answer = platform.dagster.ask(TERMINATE, run=run)["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    assert platform.dagster.wait_for("the run to end", lambda: ended(platform, before, 1), 240) == [
        "CANCELED"
    ]
    platform.dagster.wait_for("its process to end", lambda: arn not in platform.agent.running(), 120)


def test_no_more_than_ten_tasks_are_open_at_once_and_the_others_wait(platform: OnEcs) -> None:
    """Tasks that never start cost no processor; more runs than that ask for one each."""
    before = {run.run_id for run in platform.dagster.runs()}
    # Dagster leaves the task of a run that it gave up while it was to start.
    stuck = platform.agent.open_tasks()
    platform.agent.never_start = 1_000
    platform.agent.most_at_once = 0
    for date in DATES[:ASKED]:
        launched(platform, [date])

    def fresh() -> list[Run]:
        return [run for run in platform.dagster.runs() if run.run_id not in before]

    platform.dagster.wait_for("every run", lambda: len(fresh()) >= ASKED, 120)
    platform.dagster.wait_for("ten tasks", lambda: platform.agent.most_at_once >= stuck + MOST_AT_ONCE, 120)
    # A few more looks of the daemon at its queue; on a slow machine some runs are given up and replaced meanwhile.
    time.sleep(15)
    most = platform.agent.most_at_once - stuck
    states = [run.status for run in fresh()]
    assert MOST_AT_ONCE <= most <= MOST_AT_ONCE + states.count("FAILURE")
    assert MOST_AT_ONCE <= len(states) - states.count("QUEUED") <= MOST_AT_ONCE + states.count("FAILURE")

    def cancelled() -> bool:
        open_runs = [run.run_id for run in fresh() if not run.finished]
        if open_runs:
            platform.dagster.ask(CANCEL, runs=open_runs)
        return not open_runs

    # While they are cancelled a queued run may start before the task of a cancelled one has stopped.
    platform.dagster.wait_for("the runs to be cancelled", cancelled, 120)


def new_task(platform: OnEcs, known: set[str]) -> str | None:
    """A task that wasn't known before and runs."""
    return next((arn for arn in platform.agent.running() if arn not in known), None)


def begun(platform: OnEcs, before: set[str]) -> str | None:
    """The new run once it works."""
    fresh = [run for run in platform.dagster.runs() if run.run_id not in before and run.status == "STARTED"]
    return fresh[0].run_id if fresh else None


def ended(platform: OnEcs, before: set[str], runs: int) -> list[str] | None:
    """How the runs that weren't there before ended, once `runs` of them have."""
    fresh = [run for run in platform.dagster.runs() if run.run_id not in before]
    return (
        [run.status for run in fresh] if len(fresh) == runs and all(run.finished for run in fresh) else None
    )


def launched(platform: OnEcs, dates: list[str]) -> str:
    """Press "Launch backfill"."""
    assets = [{"path": ["transit", step]} for step in STEPS]
    params = {"assetSelection": assets, "partitionNames": dates, "title": "on ECS"}
    answer = platform.dagster.ask(questions.LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return str(answer["backfillId"])
