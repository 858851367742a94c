"""Expiry beside publishes, rollbacks, tags and verification, on hosts whose clocks differ by days."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tnt_platform.errors import ConfigError, NotFound, PermanentError, PublishConflict, TntError
from tnt_platform.lake import naming
from tnt_platform.lake.versions import Snapshot, VersionedStore
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.lake.changes import KEY, Clock, change, content, store_on
from tnt_platform_tests.lake.test_concurrent_publish import SPAWN
from tnt_platform_tests.rounds import rounds
from tnt_platform_tests.s3_server import MemoryBucket

DATASET = "transit/shipments"
D1, D2 = "2026-11-18", "2026-11-19"
KEEP = 5


@pytest.fixture
def clock() -> Clock:
    # The store's own clock is the real one.
    return Clock(datetime.now(UTC) - timedelta(hours=12))


@pytest.fixture
def store(lake_objects: Objects, tmp_path: Path, clock: Clock) -> VersionedStore:
    return store_on(lake_objects, tmp_path / "scratch", clock=clock)


def at_another_time(objects: Objects, folder: Path, now: datetime) -> VersionedStore:
    return store_on(objects, folder / "other", clock=Clock(now), seed=7)


def publish(store: VersionedStore, value: int, *, on: Snapshot | None) -> Snapshot:
    return store.publish(DATASET, base=on, changes=[change(D1, {"a": value})], key=KEY)


def chain(store: VersionedStore, clock: Clock, length: int) -> list[Snapshot]:
    made: list[Snapshot] = []
    for value in range(length):
        made.append(publish(store, value, on=made[-1] if made else None))
        clock.advance(minutes=10)
    return made


def whole(store: VersionedStore) -> dict[str, int]:
    """The rows of the current version, all of whose files are intact."""
    current = store.current(DATASET)
    assert current is not None
    assert store.verify(current) == []
    return content(current)


def just_before_the_first_delete(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]
) -> None:
    """An expiry has read pointer and tags by then, and deletes manifests next."""
    delete = objects.delete

    def interrupted(keys: list[str]) -> None:
        monkeypatch.setattr(objects, "delete", delete)
        act()
        delete(keys)

    monkeypatch.setattr(objects, "delete", interrupted)


def test_a_rollback_during_an_expiry_keeps_the_files_that_it_brought_back(
    store: VersionedStore, clock: Clock, lake_objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = chain(store, clock, 4)
    act = lambda: store.rollback(DATASET, first.version, reason="bad upload")  # noqa: E731
    just_before_the_first_delete(lake_objects, monkeypatch, act)
    store.expire(DATASET, keep=1, older_than=timedelta(0))
    assert whole(store) == {"a": 0}


def test_a_publish_during_an_expiry_that_takes_its_draft_for_an_old_one_stays_whole(
    store: VersionedStore,
    clock: Clock,
    lake_objects: Objects,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    clock.advance(days=-5)
    (first,) = chain(store, clock, 1)
    draft = store.draft(DATASET, base=first, changes=[change(D1, {"a": 9})], key=KEY)
    today = at_another_time(lake_objects, tmp_path, datetime.now(UTC))
    just_before_the_first_delete(lake_objects, monkeypatch, lambda: store.commit(draft))
    today.expire(DATASET, keep=1, older_than=timedelta(0))
    assert whole(store) == {"a": 9}


def test_a_draft_that_was_swept_by_a_host_with_another_clock_is_not_published(
    store: VersionedStore, clock: Clock, lake_objects: Objects, tmp_path: Path
) -> None:
    clock.advance(days=-5)
    (first,) = chain(store, clock, 1)
    draft = store.draft(DATASET, base=first, changes=[change(D2, {"b": 9})], key=KEY)
    at_another_time(lake_objects, tmp_path, datetime.now(UTC)).expire(
        DATASET, keep=1, older_than=timedelta(0)
    )
    with pytest.raises(PublishConflict):
        store.commit(draft)
    assert whole(store) == {"a": 0}
    again = store.publish(DATASET, base=store.current(DATASET), changes=[change(D2, {"b": 9})], key=KEY)
    assert content(again) == whole(store) == {"a": 0, "b": 9}


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=400)])
def test_a_clock_that_is_ahead_neither_sweeps_young_drafts_nor_expires_early(
    store: VersionedStore, clock: Clock, lake_objects: Objects, tmp_path: Path, ahead: timedelta
) -> None:
    first, second = chain(store, clock, 2)
    draft = store.draft(DATASET, base=second, changes=[change(D1, {"a": 9})], key=KEY)
    done = at_another_time(lake_objects, tmp_path, datetime.now(UTC) + ahead).expire(
        DATASET, keep=1, older_than=timedelta(days=1)
    )
    assert (done.versions, done.files) == ((), 0)
    store.commit(draft)
    assert whole(store) == {"a": 9}
    assert content(store.snapshot(DATASET, first.version)) == {"a": 0}


@pytest.mark.parametrize("recorded", [True, False])
def test_a_missing_manifest_that_no_expiry_deleted_stops_the_expiry(
    store: VersionedStore, clock: Clock, lake_objects: Objects, recorded: bool
) -> None:
    made = chain(store, clock, 6)
    if recorded:
        assert store.expire(DATASET, keep=5, older_than=timedelta(0)).versions == (made[0].version,)
    lost = naming.manifest_key(DATASET, made[3].version)
    body = lake_objects.get(lost)
    lake_objects.delete([lost])
    with pytest.raises(PermanentError, match=made[3].version):
        store.expire(DATASET, keep=1, older_than=timedelta(0))
    assert content(store.snapshot(DATASET, made[1].version)) == {"a": 1}
    lake_objects.put(lost, body)
    assert len(store.expire(DATASET, keep=1, older_than=timedelta(0)).versions) == 5 - recorded
    assert whole(store) == {"a": 5}


def test_an_expiry_that_died_after_any_deletion_is_finished_by_the_next(
    store: VersionedStore, clock: Clock, lake_objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.advance(days=-5)
    made = chain(store, clock, 6)
    clock.advance(days=5)
    delete = lake_objects.delete

    def dies(keys: list[str]) -> None:
        delete(keys[:2])
        raise KeyboardInterrupt

    for _ in range(3):
        monkeypatch.setattr(lake_objects, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            store.expire(DATASET, keep=1, older_than=timedelta(0))
    monkeypatch.setattr(lake_objects, "delete", delete)
    store.expire(DATASET, keep=1, older_than=timedelta(0))
    keys = lake_objects.list(naming.versions_folder(DATASET))["key"].to_list()
    # The ledger of the first version is the newest one's too: its files did not change.
    left = {key for key in keys if not key.startswith(naming.version_folder(DATASET, made[-1].version))}
    assert left == {f"{naming.version_folder(DATASET, made[0].version)}inputs/{D1}.parquet"}
    assert whole(store) == {"a": 5}


def test_a_version_that_expires_while_it_is_verified_is_not_called_damaged(
    store: VersionedStore, clock: Clock, lake_objects: Objects
) -> None:
    first, *_ = chain(store, clock, 3)
    read = store.snapshot(DATASET, first.version)
    assert read.files.height == 1
    store.expire(DATASET, keep=1, older_than=timedelta(0))
    with pytest.raises(NotFound):
        store.verify(read)


def test_what_a_publisher_said_about_a_version_survives_rebase_and_rollback(
    store: VersionedStore, clock: Clock
) -> None:
    (first,) = chain(store, clock, 1)
    about = {"new_series": ["b"]}
    draft = store.draft(DATASET, base=first, changes=[change(D2, {"b": 1})], key=KEY, about=about)
    other = publish(store, 7, on=first)
    rebased = store.commit(draft)
    assert rebased.manifest.parent == other.version
    assert rebased.manifest.about == about
    clock.advance(hours=1)
    publish(store, 8, on=rebased)
    clock.advance(hours=1)
    assert store.rollback(DATASET, rebased.version, reason="bad").manifest.about == about


@pytest.mark.parametrize("ignored", ["if_match", "if_none_match"])
def test_a_store_that_ignores_preconditions_is_refused_at_the_first_publish(
    s3_objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: str
) -> None:
    honest = MemoryBucket.put
    monkeypatch.setattr(
        MemoryBucket,
        "put",
        lambda self, key, body, **conditions: honest(self, key, body, **{**conditions, ignored: None}),
    )
    store = store_on(s3_objects, tmp_path / "scratch")
    with pytest.raises(ConfigError) as refused:
        publish(store, 1, on=None)
    assert s3_objects.url in str(refused.value)
    assert store.current(DATASET) is None


class Worker:
    """One process whose clock is off by `off`, and which writes down every version that it was told is published."""

    def __init__(self, url: str, folder: str, number: int, off: timedelta) -> None:
        self.random = random.Random(number)
        self.number = number
        scratch = Path(folder) / f"scratch-{number}"
        self.store = store_on(Objects.open(url), scratch, clock=lambda: datetime.now(UTC) + off, seed=None)
        self.log = Path(folder) / f"log-{number}.jsonl"

    def run(self, operations: int) -> None:
        with self.log.open("w") as log:
            for at in range(operations):
                name = self.random.choice(["publish"] * 4 + ["expire", "roll_back", "tag", "verify"])
                try:
                    found = getattr(self, name)(at)
                except (NotFound, PublishConflict) as error:
                    found = {"refused": str(error)}
                log.write(json.dumps({"operation": name, **found}) + "\n")

    def publish(self, at: int) -> dict[str, Any]:
        partition = self.random.choice(["shared", f"own-{self.number}"])
        snapshot = self.store.publish(
            DATASET, base=self.store.current(DATASET), changes=[change(partition, {"x": at})], key=KEY
        )
        return {"published": snapshot.version}

    def expire(self, at: int) -> dict[str, Any]:
        expired = self.store.expire(DATASET, keep=KEEP, older_than=timedelta(0))
        return {"expired": list(expired.versions)}

    def roll_back(self, at: int) -> dict[str, Any]:
        versions = self.store.versions(DATASET)["version"].to_list()
        snapshot = self.store.rollback(DATASET, self.random.choice(versions), reason="tried")
        return {"published": snapshot.version}

    def tag(self, at: int) -> dict[str, Any]:
        version = self.random.choice(self.store.versions(DATASET)["version"].to_list())
        self.store.tag(DATASET, version, f"kept-{self.number}-{at}")
        return {"tagged": version}

    def verify(self, at: int) -> dict[str, Any]:
        version = self.random.choice(self.store.versions(DATASET)["version"].to_list())
        problems = self.store.verify(self.store.snapshot(DATASET, version))
        return {"problems": problems}


def work(url: str, folder: str, number: int, off_s: float, operations: int) -> None:
    Worker(url, folder, number, timedelta(seconds=off_s)).run(operations)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_of_eight_processes_with_clocks_days_apart_none_loses_a_version_that_was_not_expired(
    tmp_path: Path,
) -> None:
    url, operations = (tmp_path / "lake").as_uri(), rounds(250)
    store = store_on(Objects.open(url), tmp_path / "scratch", clock=lambda: datetime.now(UTC), seed=None)
    store.publish(DATASET, base=None, changes=[change("shared", {"x": -1})], key=KEY)
    offsets = [-number / 7 * timedelta(days=3).total_seconds() for number in range(8)]
    workers = [
        SPAWN.Process(target=work, args=(url, str(tmp_path), number, off, operations))
        for number, off in enumerate(offsets)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8

    log = [json.loads(line) for path in tmp_path.glob("log-*") for line in path.read_text().splitlines()]
    assert len(log) == 8 * operations
    assert [entry["problems"] for entry in log if entry.get("problems")] == []
    published = sorted({entry["published"] for entry in log if "published" in entry})
    tagged = {entry["tagged"] for entry in log if "tagged" in entry}
    expired = {version for entry in log for version in entry.get("expired", ())}
    assert published
    assert expired
    assert not tagged & expired
    newest = set(published[-KEEP:])
    for version in published:
        try:
            problems = store.verify(store.snapshot(DATASET, version))
        except TntError:
            problems = ["gone"]
        if problems:
            assert version in expired, (version, problems)
            assert version not in newest | tagged
    current = store.current(DATASET)
    assert current is not None
    assert current.version == published[-1]
