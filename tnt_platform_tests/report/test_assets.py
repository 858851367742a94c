"""A daily report as Dagster runs it: partitions, checks, days without files, the sensor and the daily schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tnt_platform.orchestration.platform import Platform
from tnt_platform.report.component import CHECKS, DailyReportDataset, report_assets
from tnt_platform.report.spec import ReportSpec
from tnt_platform_tests.report.scene import report_spec

DAY, NEXT = "2026-11-18", "2026-11-19"


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TNT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TNT_RAW_URL", (tmp_path / "raw").as_uri())
    return tmp_path / "raw" / "raw-data"


def put(raw: Path, day: str, text: str = "amount\n1\n", name: str = "a.csv") -> None:
    (raw / day).mkdir(parents=True, exist_ok=True)
    (raw / day / name).write_text(text)


def assets(spec: ReportSpec) -> dg.AssetsDefinition:
    return report_assets(spec)


def run(spec: ReportSpec | None = None, first: str = DAY, last: str = DAY) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return dg.materialize(
        [assets(spec or report_spec())], resources={"platform": Platform()}, tags=tags, raise_on_error=False
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    return {
        (one.asset_key.path[-1], one.check_name): one.passed for one in result.get_asset_check_evaluations()
    }


def materialized(result: dg.ExecuteInProcessResult) -> list[tuple[str, str | None]]:
    return [(e.asset_key.path[-1], e.partition) for e in result.get_asset_materialization_events()]


def metadata(result: dg.ExecuteInProcessResult, step: str) -> Mapping[str, Any]:
    events = [e for e in result.get_asset_materialization_events() if e.asset_key.path[-1] == step]
    return {name: value.value for name, value in events[0].materialization.metadata.items()}


def test_a_run_materializes_a_date_with_its_checks_and_what_a_person_wants_to_know(raw: Path) -> None:
    put(raw, DAY)
    put(raw, DAY, "amount\n5\nsix\n", "b.csv")
    result = run()
    assert result.success
    assert materialized(result) == [("files", DAY), ("report", DAY)]
    assert checks(result) == {(step, name): True for step in CHECKS.blocking for name in CHECKS.of(step)}
    shown = metadata(result, "report")
    assert (shown["file_count"], shown["total_records"], shown["total_amount"]) == (2, 2, 6)
    assert shown["report_object"] == f"reports/{DAY}.json"
    assert "not_a_number" in metadata(result, "files")["quarantined_because"]
    assert {"cost_usd", "duration_s", "version"} <= set(shown)


def test_a_day_without_files_has_no_report_and_a_failed_check_and_the_other_days_go_on(raw: Path) -> None:
    put(raw, NEXT)
    result = run(last=NEXT)
    assert result.success
    assert materialized(result) == [("files", NEXT), ("report", NEXT)]
    assert checks(result)["files", "day_has_files"] is False
    [check] = [one for one in result.get_asset_check_evaluations() if one.check_name == "day_has_files"]
    assert DAY in str(check.description)
    assert NEXT not in str(check.description)
    assert check.severity is dg.AssetCheckSeverity.ERROR


def test_where_days_without_files_are_normal_the_check_passes(raw: Path) -> None:
    result = run(report_spec(empty_days="normal"))
    assert result.success
    assert materialized(result) == []
    assert checks(result) == {("files", "day_has_files"): True}


def test_the_sensor_asks_for_each_date_that_differs_and_then_for_nothing(raw: Path) -> None:
    put(raw, DAY)
    put(raw, NEXT)
    (sensor,) = DailyReportDataset(report_spec()).definitions().sensors or []
    with dg.DagsterInstance.ephemeral() as instance:

        def tick() -> dg.SensorResult:
            context = dg.build_sensor_context(instance=instance, resources={"platform": Platform()})
            found = sensor(context)
            assert isinstance(found, dg.SensorResult)
            return found

        asked = tick().run_requests or []
        config = {"daily": {"config": {"isolate": False}}}
        assert [(one.partition_key, one.run_config["ops"]) for one in asked] == [
            (NEXT, config),
            (DAY, config),
        ]
        assert len({one.run_key for one in asked}) == 2
        run(last=NEXT)
        assert tick().run_requests == []
        put(raw, DAY, "amount\n2\n")
        assert [one.partition_key for one in tick().run_requests or []] == [DAY]
        run()
        # The next day is compared with that one.
        assert [one.partition_key for one in tick().run_requests or []] == [NEXT]


def test_the_daily_schedule_asks_for_the_day_before_also_without_files(raw: Path) -> None:
    spec = report_spec(cron="0 6 * * *")
    resources = dg.Definitions(resources={"platform": Platform()})
    repository = dg.Definitions.merge(DailyReportDataset(spec).definitions(), resources).get_repository_def()
    at = datetime(2026, 11, 20, 6, tzinfo=UTC)
    with dg.instance_for_test() as instance:
        for name, wanted in ((f"{spec.name}_schedule", [NEXT]), (f"{spec.name}_sweep", [])):
            context = dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=at,
                repository_def=repository,
                resources={"platform": Platform()},
            )
            data = repository.get_schedule_def(name).evaluate_tick(context)
            assert [one.partition_key for one in data.run_requests or []] == wanted
        early = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=at - timedelta(days=9_999),
            repository_def=repository,
        )
        assert repository.get_schedule_def(f"{spec.name}_schedule").evaluate_tick(early).skip_message
