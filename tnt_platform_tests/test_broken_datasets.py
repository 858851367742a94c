"""One invalid `defs.yaml` is one failing dataset: the others load, run and are scanned as if it were not there."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from tnt_platform.definitions import dataset_definitions
from tnt_platform.errors import ConfigError
from tnt_platform.kinds import dataset_spec, load_datasets
from tnt_platform.orchestration.platform import Platform
from tnt_platform_tests.report.test_validation import SOUND
from tnt_platform_tests.validation.dataset_files import spoilt, write_dataset

BROKEN = {
    "a wrong value": spoilt(SOUND, "empty_days: missing", "empty_days: fine"),
    "an unknown key": spoilt(SOUND, "  totals:", "  total:"),
    "no YAML at all": "type: [",
    "an unknown kind": spoilt(SOUND, "DailyReportDataset", "DailyReports"),
    "no kind": "attributes: {}\n",
    "an empty file": "",
    "not UTF-8": "",
}


@pytest.fixture(params=BROKEN)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two sound datasets with a broken one between them."""
    for name in ("april", "june"):
        write_dataset(tmp_path, name, spoilt(SOUND, "prefix: in/", f"prefix: {name}/"), request=None)
    broken = write_dataset(tmp_path, "may", BROKEN[request.param], request=None)
    if request.param == "not UTF-8":
        (broken / "defs.yaml").write_bytes(b"type: caf\xe9\n")
    return tmp_path


def test_the_others_load_and_the_broken_one_says_file_and_line(folder: Path) -> None:
    found = load_datasets(folder)
    assert set(found.specs) == {"april", "june"}
    assert set(found.broken) == {"may"}
    assert f"{folder / 'may' / 'defs.yaml'}:" in str(found.broken["may"])
    assert dataset_spec("june", folder).name == "june"
    with pytest.raises(ConfigError):
        dataset_spec("may", folder)


def test_dagster_shows_the_broken_one_as_an_asset_that_fails_with_what_validate_prints(folder: Path) -> None:
    loaded = [dataset_definitions(path) for path in sorted(folder.glob("*/defs.yaml"))]
    every = dg.Definitions.merge(*loaded, dg.Definitions(resources={"platform": Platform()}))
    specs = {spec.key.to_user_string(): spec for spec in every.resolve_all_asset_specs()}
    assert {"april/report", "june/report", "may/invalid_defs_yaml"} <= set(specs)
    reason = str(load_datasets(folder).broken["may"])
    assert reason in str(specs["may/invalid_defs_yaml"].description)
    result = dg.materialize(
        [every.get_assets_def(dg.AssetKey(["may", "invalid_defs_yaml"]))], raise_on_error=False
    )
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert reason in failure.step_failure_data.error_display_string
