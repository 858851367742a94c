"""Datasets of series as Dagster runs them: which checks have a result, and which have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tnt_platform.lake.guard_rails import REJECTED_SHARE
from tnt_platform.orchestration.platform import Platform
from tnt_platform.series.component import CHECKS, series_assets
from tnt_platform_tests.series.scene import csv_of, prices

GAP = {"2024-01": (1, 10), "2024-03": (3, 30)}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TNT_HOME", str(tmp_path / "home"))
    file = tmp_path / "prices.csv"
    file.write_bytes(csv_of(GAP))
    return file


def run(source: Path, **config: Any) -> dg.ExecuteInProcessResult:
    assets = series_assets(prices(source={"url": source.as_uri()}))
    return dg.materialize(
        [assets],
        resources={"platform": Platform()},
        run_config={"ops": {"prices": {"config": config}}},
        raise_on_error=False,
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    return {
        (one.asset_key.path[-1], one.check_name): one.passed for one in result.get_asset_check_evaluations()
    }


def test_an_unchanged_run_keeps_each_check_as_it_was(source: Path):
    first, again = checks(run(source)), checks(run(source))
    assert set(first) == {(step, name) for step in CHECKS.blocking for name in CHECKS.of(step)}
    assert again == first
    failed = [key for key, passed in again.items() if not passed]
    assert failed == [("series", "no_gaps"), ("observations", "content_is_fresh")]


def test_a_file_that_is_rejected_whole_fails_one_check_and_the_others_have_no_result(source: Path):
    run(source)
    source.write_bytes(b"day,c\r\n2024-01,1\r\n")
    for _ in range(2):
        result = run(source)
        assert not result.success
        found = {key: passed for key, passed in checks(result).items() if key[0] != "capture"}
        assert found == {("series", REJECTED_SHARE): False}


def test_the_overrides_are_options_of_a_run(source: Path):
    run(source)
    source.write_bytes(csv_of({"2024-01": ("about", "about"), "2024-03": ("about", "about")}))
    assert not run(source).success
    assert run(source, accept_rejected=True).success
