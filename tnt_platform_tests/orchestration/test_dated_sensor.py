"""Which dates a sensor requests, given the runs that there were before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test, freeze_time

from tnt_platform.discovery.comparison import PartitionDifference, Reconciliation
from tnt_platform.kinds import transit_spec
from tnt_platform.orchestration.dated_sensor import ATTEMPT_TAG, PARTITION, SensorTick
from tnt_platform.orchestration.event_sensor import Named

DAY, OTHER = "2026-01-12", "2026-01-13"
NOW = datetime(2026, 2, 1, tzinfo=UTC)
CONTENTS = {"a": "a" * 64, "b": "b" * 64}
FAILED, DONE = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


class Scene:
    """An instance whose runs end as a test says, and ticks that see one content of one date."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.now = NOW
        self.keys: list[str] = []

    def tick(self, content: str, date: str = DAY, **sensor: Any) -> list[dg.RunRequest]:
        spec = transit_spec("transit")
        spec = spec.model_copy(update={"sensor": spec.sensor.model_copy(update={"backoff_s": 0, **sensor})})
        tick = SensorTick(spec, self.instance, frozenset(), self.now, lambda _: None)
        difference = PartitionDifference(date, CONTENTS[content])
        return list(tick.requests(Reconciliation([difference], 1, 1)))

    def run(self, content: str, status: dg.DagsterRunStatus, **sensor: Any) -> int:
        """Tick, let the run that is requested end with `status`, and return the number of the attempt."""
        [request] = self.tick(content, **sensor)
        assert request.run_key is not None
        assert request.run_key not in self.keys, "Dagster never launches a used run_key again"
        self.keys.append(request.run_key)
        tags = {**request.tags, PARTITION: request.partition_key or "", "dagster/run_key": request.run_key}
        with freeze_time(self.now):
            run = create_run_for_test(self.instance, job_name="transit_job", tags=tags)
            event = dg.DagsterEventType.RUN_SUCCESS if status is DONE else dg.DagsterEventType.RUN_FAILURE
            self.instance.report_dagster_event(
                dg.DagsterEvent(event.value, job_name=run.job_name), run.run_id
            )
        self.now += timedelta(minutes=1)
        return int(request.tags[ATTEMPT_TAG])


@pytest.fixture
def scene() -> Iterator[Scene]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Scene(instance)


def test_a_date_whose_files_alternate_between_two_contents_always_runs_at_once(scene: Scene) -> None:
    assert [scene.run(content, DONE, max_attempts=2) for content in "abababab"] == [1] * 8


def test_failed_attempts_are_remembered_however_old_they_are(scene: Scene) -> None:
    assert [scene.run("a", FAILED, max_attempts=3) for _ in range(3)] == [1, 2, 3]
    scene.now += timedelta(days=400)
    assert scene.tick("a", max_attempts=3) == []


def test_a_success_starts_the_attempts_again(scene: Scene) -> None:
    ends = [FAILED, FAILED, DONE, FAILED, FAILED]
    assert [scene.run("a", end) for end in ends] == [1, 2, 3, 2, 2]


def test_a_success_that_left_a_difference_counts_for_a_day(scene: Scene) -> None:
    assert [scene.run("a", DONE, max_attempts=2) for _ in range(2)] == [1, 2]
    assert scene.tick("a", max_attempts=2) == []
    scene.now += timedelta(days=2)
    assert scene.run("a", DONE, max_attempts=2) == 1


def test_more_runs_than_dagster_returns_at_once_are_all_counted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tnt_platform.orchestration.dated_sensor.RUNS_AT_ONCE", 2)
    assert [scene.run("a", FAILED, max_attempts=9) for _ in range(6)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "cursor", [None, "", "x", "[]", '{"dates": 1, "receipts": []}', '{"dates": {"a": 1}}']
)
def test_a_cursor_that_is_none_of_ours_is_an_empty_one(cursor: str | None) -> None:
    assert Named.from_cursor(cursor) == Named()


def test_a_cursor_reads_back_as_it_was_written() -> None:
    named = Named({"transit": [DAY]}, ["receipt"])
    named.add("transit", [OTHER, DAY])
    named.add("deliveries", [])
    assert Named.from_cursor(named.to_cursor()) == Named({"transit": [DAY, OTHER]}, ["receipt"])
