"""Datasets of records as Dagster runs them: materializations, checks and what they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tnt_platform.orchestration.platform import Platform
from tnt_platform.records.component import CHECKS, records_assets
from tnt_platform.sandbox.records_api import RecordsApi, RecordsFaults, running_records_api
from tnt_platform_tests.records.scene import records_spec


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordsApi]:
    monkeypatch.setenv("TNT_HOME", str(tmp_path / "home"))
    with running_records_api() as (url, running):
        monkeypatch.setenv("POSTS_URL", f"{url}/posts")
        yield running


def assets(name: str = "posts") -> dg.AssetsDefinition:
    return records_assets(records_spec(name=name))


def run(**options: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize([assets()], resources={"platform": Platform()}, raise_on_error=False, **options)


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    return {
        (one.asset_key.path[-1], one.check_name): one.passed for one in result.get_asset_check_evaluations()
    }


def metadata(result: dg.ExecuteInProcessResult, step: str) -> Mapping[str, Any]:
    [event] = [
        e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(["posts", step])
    ]
    return {name: value.value for name, value in event.materialization.metadata.items()}


@pytest.mark.usefixtures("api")
def test_a_run_materializes_every_step_with_its_checks_and_what_a_person_wants_to_know() -> None:
    result = run()
    assert result.success
    assert checks(result) == {(step, name): True for step in CHECKS.blocking for name in CHECKS.of(step)}
    shown = metadata(result, "records")
    assert (shown["rows_in"], shown["rows_published"], shown["records_added"]) == (100, 100, 100)
    assert shown["dagster/row_count"] == 100
    assert "posts:1" in shown["preview"]
    assert {"cost_usd", "duration_s", "size_bytes", "version", "dagster/uri"} <= set(shown)
    assert metadata(result, "capture")["capture_status"] == "captured"
    assert "2026" in metadata(result, "summary")["preview"] or "all" in metadata(result, "summary")["preview"]


def test_an_unchanged_run_says_so_and_keeps_its_checks(api: RecordsApi) -> None:
    run()
    result = run()
    assert result.success
    assert metadata(result, "records")["changed"] is False
    assert metadata(result, "capture")["capture_status"] == "unchanged"
    assert set(checks(result)) == {(step, name) for step in CHECKS.blocking for name in CHECKS.of(step)}


def test_a_refused_capture_fails_the_run_with_the_reason_after_the_summary(api: RecordsApi) -> None:
    run()
    api.faults = RecordsFaults("duplicates")
    result = run()
    assert not result.success
    [failure] = [e for e in result.all_events if e.is_step_failure or e.is_step_up_for_retry]
    assert failure.is_step_failure
    assert "conflicting_duplicate" in str(failure.event_specific_data)
    assert checks(result)["records", "captures_accepted"] is False
    assert checks(result)["records", "rejected_share"] is False
    assert checks(result)["summary", "summary_adds_up"] is True
    shown = metadata(result, "records")
    assert shown["rows_quarantined"] == 101
    assert "conflicting_duplicate" in shown["quarantined_because"]
    severities = {c.check_name: c.severity for c in result.get_asset_check_evaluations()}
    assert severities["captures_accepted"] is dg.AssetCheckSeverity.WARN
    assert severities["rejected_share"] is dg.AssetCheckSeverity.ERROR
    again = run()
    assert not again.success
    assert checks(again)["records", "rejected_share"] is False, "the source is still in trouble"
    assert checks(again)["records", "unique_keys"] is True


def test_a_source_that_is_not_there_fails_the_run_without_retries(api: RecordsApi) -> None:
    api.faults = RecordsFaults("not_found")
    result = run()
    assert not result.success
    [failure] = [e for e in result.all_events if e.is_step_failure or e.is_step_up_for_retry]
    assert failure.is_step_failure
    assert "`source.url`" in str(failure.event_specific_data)


def test_one_step_can_be_materialized_alone(api: RecordsApi) -> None:
    run()
    result = run(selection=[dg.AssetKey(["posts", "summary"])])
    assert result.success
    assert [e.asset_key.path[-1] for e in result.get_asset_materialization_events()] == ["summary"]
