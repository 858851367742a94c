"""What a blocked publish leaves for readers, and when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tnt_platform.errors import CheckFailed
from tnt_platform.lake.manifest import PartitionChange
from tnt_platform.lake.publishing import CheckOutcome, Workspace, publish_checked
from tnt_platform.lake.retention import GRACE
from tnt_platform.lake.versions import VersionedStore
from tnt_platform.storage.objects import Objects

DAY, OTHER = "2026-01-12", "2026-01-13"
FOUND = CheckOutcome("rejected_share", False, "30 of 64 rows read are rejected")


class Clock:
    now = datetime(2026, 1, 20, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workspace(tmp_path: Path, clock: Clock) -> Workspace:
    lake = Objects.open((tmp_path / "lake").as_uri())
    store = VersionedStore(
        lake,
        clock=clock,
        entropy=lambda size: b"\1" * size,
        code_version="test",
        scratch=tmp_path / "scratch",
    )
    return Workspace(lake, lake, store, tmp_path / "scratch")


def publish(workspace: Workspace, dataset: str, partition: str, value: int, *checks: CheckOutcome) -> None:
    rows = pl.DataFrame({"id": [value]})
    change = PartitionChange.of_rows(partition, rows)
    base = workspace.store.current(dataset)
    publish_checked(workspace, dataset, change, base=base, key=["id"], checks=checks, run_id="run")


def block(workspace: Workspace, dataset: str, partition: str, value: int) -> str:
    with pytest.raises(CheckFailed) as caught:
        publish(workspace, dataset, partition, value, FOUND)
    return str(caught.value)


def test_a_first_publish_that_is_blocked_is_known_without_a_version(workspace: Workspace) -> None:
    said = block(workspace, "a/files", DAY, 1)
    [found] = workspace.store.blocked()
    assert found.text == said
    assert (found.dataset, found.partition, found.run_id) == ("a/files", DAY, "run")
    assert found.checks == {FOUND.name: FOUND.description}
    assert workspace.store.snapshot("a/files", found.version).manifest.rows == 1
    assert workspace.store.blocked("a") == [found]
    assert workspace.store.blocked("b") == []


def test_of_a_date_the_last_one_is_told_until_that_date_is_published(workspace: Workspace) -> None:
    publish(workspace, "a/files", DAY, 1)
    block(workspace, "a/files", DAY, 2)
    last = block(workspace, "a/files", DAY, 3)
    publish(workspace, "a/files", OTHER, 4)
    assert [one.text for one in workspace.store.blocked()] == [last]
    publish(workspace, "a/files", DAY, 5)
    assert workspace.store.blocked() == []


def test_without_dates_any_publish_makes_it_good(workspace: Workspace) -> None:
    block(workspace, "a/series", "newest", 1)
    assert len(workspace.store.blocked()) == 1
    publish(workspace, "a/series", "source", 2)
    assert workspace.store.blocked() == []


def test_a_damaged_dataset_hides_no_blocked_publish(workspace: Workspace) -> None:
    publish(workspace, "a/files", DAY, 1)
    block(workspace, "a/files", DAY, 2)
    block(workspace, "b/files", DAY, 2)
    current = workspace.store.current("a/files")
    assert current is not None
    workspace.lake.put(f"datasets/a/files/versions/{current.version}/manifest.json", b"?")
    assert [one.dataset for one in workspace.store.blocked()] == ["a/files", "b/files"]


def test_an_expiry_forgets_what_was_made_good_and_what_has_no_draft_any_more(
    workspace: Workspace, clock: Clock
) -> None:
    publish(workspace, "a/files", DAY, 1)
    block(workspace, "a/files", DAY, 2)
    block(workspace, "a/files", OTHER, 3)
    publish(workspace, "a/files", OTHER, 4)
    old = timedelta(days=90)
    workspace.store.expire("a/files", keep=20, older_than=old)
    assert workspace.lake.list("blocked/")["key"].to_list() == [f"blocked/a/files/{DAY}.json"]
    clock.now += GRACE * 2
    workspace.store.expire("a/files", keep=20, older_than=old, dry_run=True)
    assert len(workspace.store.blocked()) == 1
    workspace.store.expire("a/files", keep=20, older_than=old)
    assert workspace.lake.list("blocked/").is_empty()
