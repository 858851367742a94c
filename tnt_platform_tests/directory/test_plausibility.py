"""A directory that answers in full, with status 200, and wrongly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from tnt_platform.directory.chain import DirectoryChain
from tnt_platform.directory.spec import DirectorySource, DirectorySpec
from tnt_platform.errors import CheckFailed
from tnt_platform.kinds import DEFS
from tnt_platform.lake.guard_rails import Overrides
from tnt_platform.lake.publishing import Published, open_workspace
from tnt_platform.sandbox.directory_api import APP_CODE, PATH, DirectoryApi, running_directory
from tnt_platform.sandbox.directory_records import directory_records
from tnt_platform.settings import Settings

Record = dict[str, Any]
START = datetime(2026, 3, 1, 6, tzinfo=UTC)


class Mall:
    """A directory API of 300 tenants and a lake; each sync takes place an hour after the one before."""

    def __init__(self, folder: Path, api: DirectoryApi, url: str) -> None:
        self.api, self.now = api, START
        self.settings = Settings.from_environment({"TNT_HOME": str(folder)})
        source = DirectorySource(
            url=url.removesuffix(PATH) + PATH, headers={"X-Apig-AppCode": APP_CODE}, page_size=50, pause_s=0
        )
        self.spec = DirectorySpec(source=source).placed_in(DEFS / "mall_directory")

    def sync(self, **overrides: bool) -> dict[str, Published]:
        """Read the API and publish its tenants, without the database."""
        self.now += timedelta(hours=1)
        workspace = open_workspace(self.settings, clock=lambda: self.now)
        chain = DirectoryChain(
            self.spec, workspace, self.settings, database=False, overrides=Overrides(**overrides)
        )
        with chain:
            return {step: chain.publish(step) for step in ("pages", "tenants")}

    def change(self, change: Callable[[Record], object], share: float = 1) -> None:
        """Change the first records that the API serves."""
        records = [dict(record) for record in self.api.records]
        for record in records[: round(share * len(records))]:
            change(record)
        self.api.serve(records)

    def tenants(self) -> pl.DataFrame:
        current = open_workspace(self.settings).store.current(self.spec.dataset("tenants"))
        assert current is not None
        return current.scan().collect()


@pytest.fixture
def mall(tmp_path: Path):
    api = DirectoryApi(directory_records(300, Random(3), dirt=0))
    with running_directory(api) as running:
        made = Mall(tmp_path, api, running.url)
        made.sync()
        yield made


def failed_checks(error: CheckFailed) -> set[str]:
    return {outcome.name for outcome in error.outcomes if outcome.blocking and not outcome.passed}  # type: ignore[attr-defined]


def without(*names: str) -> Callable[[Record], object]:
    return lambda record: [record.pop(name, None) for name in names]


WRONG = {
    "no categories": (
        without("categoryNameEn", "categoryNameTh", "subCategoryEn", "subCategoryTh"),
        "few_tenants_moved",
    ),
    "no floors": (without("floor", "floors", "floorName"), "few_tenants_moved"),
    "every name is test": (
        lambda record: record.update(shopNameEnglish="test", shopNameThai="test"),
        "few_tenants_renamed",
    ),
    "no descriptions": (
        lambda record: record.update(dict.fromkeys([n for n in record if n.startswith("description")], "")),
        "few_values_emptied",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_whole_answer_that_is_wrong_is_blocked_and_an_override_is_recorded(mall: Mall, name: str) -> None:
    change, check = WRONG[name]
    before = mall.tenants()
    mall.change(change)
    with pytest.raises(CheckFailed) as blocked:
        mall.sync()
    assert check in failed_checks(blocked.value)
    assert mall.tenants().equals(before)
    published = mall.sync(accept_revised=True, accept_rejected=True)["tenants"]
    assert "accept_revised" in published.snapshot.manifest.about["overrides"]


@pytest.mark.parametrize("name", WRONG)
def test_a_few_such_changes_are_news(mall: Mall, name: str) -> None:
    mall.change(WRONG[name][0], share=0.1)
    assert mall.sync()["tenants"].changed


def test_a_directory_that_shrinks_a_little_in_each_sync_is_blocked_within_the_day(mall: Mall) -> None:
    kept = list(mall.api.records)
    mall.api.serve(kept[:255])
    mall.sync()
    mall.api.serve(kept[:219])
    with pytest.raises(CheckFailed) as blocked:
        mall.sync()
    assert failed_checks(blocked.value) == {"directory_not_emptied"}
    assert mall.tenants().height == 255

    mall.now += timedelta(days=1)
    mall.sync()
    assert mall.tenants().height == 219


def test_tenants_that_closed_today_and_are_back_do_not_count(mall: Mall) -> None:
    kept = list(mall.api.records)
    for served in (kept[:255], kept, kept[45:]):
        mall.api.serve(served)
        mall.sync()
    assert mall.tenants().height == 255


def test_a_floor_removed_from_the_lookup_is_blocked(mall: Mall, tmp_path: Path) -> None:
    floors = mall.tenants().group_by("floor").len().drop_nulls().sort("len", descending=True)
    largest = [code for code, _ in floors.iter_rows()][:4]
    folder = tmp_path / "mall_directory"
    folder.mkdir()
    for path in (DEFS / "mall_directory").glob("*.csv"):
        lines = path.read_text().splitlines(keepends=True)
        if path.name.startswith("floor"):
            lines = [
                line
                for line in lines
                if not any(f"{code}," in line or f",{code}" in line for code in largest)
            ]
        (folder / path.name).write_text("".join(lines))
    mall.spec = replace_folder(mall.spec, folder)
    with pytest.raises(CheckFailed) as blocked:
        mall.sync()
    assert failed_checks(blocked.value) & {"few_tenants_moved", "few_values_emptied"}


def replace_folder(spec: DirectorySpec, folder: Path) -> DirectorySpec:
    return spec.placed_in(folder)
