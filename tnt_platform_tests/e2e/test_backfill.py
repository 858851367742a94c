"""A backfill of 30 dates from the web UI's own GraphQL, one of which can't succeed until its cause is removed."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from tnt_platform.transit.spec import ENRICHED, FILES, RESULTS, SHIPMENTS, SUMMARY
from tnt_platform_tests.e2e import questions
from tnt_platform_tests.e2e.bad_day import RateApiWithABadDay, rate_api_with_a_bad_day
from tnt_platform_tests.e2e.running_dagster import (
    DagsterHome,
    Run,
    RunningDagster,
    running_dagster,
    small_plan,
)

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1200)]

STEPS = (FILES, SHIPMENTS, ENRICHED, RESULTS, SUMMARY)
PLAN = small_plan(dt.date(2026, 1, 1), 30, files=2, rows=6)
DATES = [date.isoformat() for date in PLAN.dates]
# In the middle of the second run of ten dates.
BAD_DAY = PLAN.dates[14]
TIMEOUT_S = 480


@pytest.fixture(scope="module")
def api() -> Iterator[RateApiWithABadDay]:
    with rate_api_with_a_bad_day(BAD_DAY) as running:
        yield running


@pytest.fixture(scope="module")
def dagster(api: RateApiWithABadDay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDagster]:
    home = DagsterHome(tmp_path_factory.mktemp("backfill"))
    home.drop_reference(PLAN)
    with running_dagster(home, api.url) as running:
        running.stop_sensor()
        home.drop_files(PLAN)
        yield running


def test_one_bad_date_of_thirty_shows_failed_alone_and_retrying_failed_runs_only_it(
    dagster: RunningDagster, api: RateApiWithABadDay
) -> None:
    bad = BAD_DAY.isoformat()
    started = time.monotonic()

    first = backfill_done(dagster, launch_backfill(dagster))
    print(f"30 dates: {time.monotonic() - started:.0f} s, {first['status']}")

    assert first["status"] == "COMPLETED_FAILED"
    runs = runs_of(dagster, first["id"])
    assert sorted(run.status for run in runs) == ["FAILURE", "SUCCESS", "SUCCESS"], "three runs of ten dates"
    said = "\n".join(dagster.failure(run.run_id) for run in runs)
    assert f"1 of 10 dates failed ({bad})" in said
    assert "answer_coverage" in said
    for step in (ENRICHED, RESULTS, SUMMARY):
        assert partitions(dagster, step) == (29, 1, {bad}), step
    for step in (FILES, SHIPMENTS):
        assert partitions(dagster, step) == (30, 0, set()), f"{step} of the bad date is in order"
    assert {counts["asset"]: counts["failed"] for counts in counts_of(first)} == {
        step: 0 if step in (FILES, SHIPMENTS) else 1 for step in STEPS
    }
    assert finished_dates(dagster.home) == set(DATES) - {bad}

    before, asked = versions_by_date(dagster.home), dict(api.asked_on)
    api.bad_day = None
    started = time.monotonic()
    second = backfill_done(dagster, retry_failed(dagster, first["id"]))
    print(f"retry of failed: {time.monotonic() - started:.0f} s, {second['status']}")

    assert second["status"] == "COMPLETED_SUCCESS"
    (again,) = runs_of(dagster, second["id"])
    assert dates_of(again) == {bad}
    for step in STEPS:
        assert partitions(dagster, step) == (30, 0, set()), step
    after = versions_by_date(dagster.home)
    assert {key for key in after if after[key] != before.get(key)} == {
        (step, bad) for step in (ENRICHED, RESULTS, SUMMARY)
    }
    assert {day for day in api.asked_on if api.asked_on[day] != asked[day]} == {bad}
    assert finished_dates(dagster.home) == set(DATES)


def launch_backfill(dagster: RunningDagster) -> str:
    """Press "Launch backfill" on the whole dataset."""
    assets = [{"path": ["transit", step]} for step in STEPS]
    params = {"assetSelection": assets, "partitionNames": DATES, "title": "thirty dates"}
    return _launched(dagster.ask(questions.LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"])


def retry_failed(dagster: RunningDagster, backfill: str) -> str:
    """Press "Re-execute from failure"."""
    params = {"parentRunId": backfill, "strategy": "FROM_FAILURE"}
    return _launched(dagster.ask(questions.RETRY_BACKFILL, params=params)["reexecutePartitionBackfill"])


def _launched(answer: dict[str, Any]) -> str:
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return str(answer["backfillId"])


def backfill_done(dagster: RunningDagster, backfill: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = dagster.ask(questions.BACKFILL, id=backfill)["partitionBackfillOrError"]
        assert found["error"] is None, found["error"]
        return found if found["status"].startswith(("COMPLETED", "FAILED", "CANCELED")) else None

    return dagster.wait_for(f"backfill {backfill} to end", ended, TIMEOUT_S)


def counts_of(backfill: dict[str, Any]) -> list[dict[str, Any]]:
    """Per asset, what the backfill's own page shows."""
    return [
        {"asset": counts["assetKey"]["path"][1], "failed": counts["numPartitionsFailed"]}
        for counts in backfill["assetBackfillData"]["assetBackfillStatuses"]
    ]


def runs_of(dagster: RunningDagster, backfill: str) -> list[Run]:
    return [run for run in dagster.runs() if run.tags.get("dagster/backfill") == backfill]


def dates_of(run: Run) -> set[str]:
    """The dates a run was asked for, as its tags say."""
    if one := run.tags.get("dagster/partition"):
        return {one}
    first = run.tags["dagster/asset_partition_range_start"]
    last = run.tags["dagster/asset_partition_range_end"]
    return {date for date in DATES if first <= date <= last}


def partitions(dagster: RunningDagster, step: str) -> tuple[int, int, set[str]]:
    """What the asset's page shows: materialized, failed, and which are failed."""
    asset = {"path": ["transit", step]}

    def settled() -> dict[str, Any] | None:
        found: dict[str, Any] = dagster.ask(questions.PARTITIONS, asset=asset)["assetNodeOrError"]
        return found if not found["partitionStats"]["numMaterializing"] else None

    node = dagster.wait_for(f"partitions of {step}", settled, 240)
    stats = node["partitionStats"]
    failed = [r for r in node["assetPartitionStatuses"]["ranges"] if r["status"] == "FAILED"]
    dates = {date for date in DATES for r in failed if r["startKey"] <= date <= r["endKey"]}
    return stats["numMaterialized"], stats["numFailed"], dates


def finished_dates(home: DagsterHome) -> set[str]:
    summary = home.workspace().store.current(f"transit/{SUMMARY}")
    assert summary is not None
    return set(summary.partitions["partition"])


def versions_by_date(home: DagsterHome) -> dict[tuple[str, str], str]:
    """The version that last changed each date of each step."""
    store = home.workspace().store
    found = {}
    for step in STEPS:
        snapshot = store.current(f"transit/{step}")
        assert snapshot is not None
        rows = snapshot.partitions.select(pl.lit(step), "partition", "changed_by").iter_rows()
        found |= {(step, date): version for step, date, version in rows}
    return found
