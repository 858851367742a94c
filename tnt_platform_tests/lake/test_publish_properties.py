"""Any sequence of publishes, rollbacks and expiries against a plain model; any failed object operation."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tnt_platform.errors import PublishConflict, SwapLost, Unavailable
from tnt_platform.lake import naming
from tnt_platform.lake.versions import PartitionChange, Snapshot, VersionedStore, diff
from tnt_platform.storage.objects import Objects, Pointer
from tnt_platform_tests.lake.changes import KEY, Clock, change, content, quarantine, store_on
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.s3_server import S3Server

DATASET = "model/rows"
PARTITIONS = ["2026-11-18", "2026-11-19", "2026-11-20"]
State = dict[str, dict[str, int]]  # partition -> id -> value
Result = TypeVar("Result")

values = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), max_size=4)
edits = st.dictionaries(st.sampled_from(PARTITIONS), st.none() | values, min_size=1, max_size=3)


@dataclass
class Kept:
    """A version as the model knows it; `stamps` changes whenever a partition is really replaced."""

    snapshot: Snapshot
    state: State
    stamps: dict[str, str]


@dataclass
class Model:
    versions: list[Kept] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


class VersionedStoreAgainstADict(RuleBasedStateMachine):
    """Every rule does the same to the store and to the model; the invariants compare them."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tnt-model-"))
        self.clock = Clock()
        self.objects = Objects.open((self.folder / "lake").as_uri())
        self.store = store_on(self.objects, self.folder / "scratch", clock=self.clock)
        self.model = Model()

    def teardown(self) -> None:
        self._check_every_kept_version()
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(edit=edits, back=st.integers(0, 2))
    def publish(self, edit: dict[str, dict[str, int] | None], back: int) -> None:
        """On the current version, or on one that is up to two versions stale."""
        self.clock.advance(minutes=1)
        kept = self.model.versions
        base = kept[max(len(kept) - 1 - back, 0)] if kept else None
        newest = kept[-1] if kept else None
        changes = [_change(name, rows) for name, rows in edit.items()]
        before, stamps = (base.state, base.stamps) if base else ({}, {})
        after = _edited(before, edit)
        moved = {name for name in edit if before.get(name) != after.get(name)}
        if base is not None and not moved:
            assert self._publish(base, changes).version == base.snapshot.version
            return
        if newest is not base and newest is not None:
            held = newest.snapshot.manifest.paused_because is not None
            if held or any(newest.stamps.get(name) != stamps.get(name) for name in moved):
                with pytest.raises(PublishConflict):
                    self._publish(base, changes)
                return
        snapshot = self._publish(base, changes)
        current = newest.state if newest else {}
        state = _edited(current, {name: after.get(name) for name in moved})
        self._remember(snapshot, state, moved, newest.stamps if newest else {})

    def _publish(self, base: Kept | None, changes: Sequence[PartitionChange]) -> Snapshot:
        return self.store.publish(DATASET, base=base.snapshot if base else None, changes=changes, key=KEY)

    def _remember(self, snapshot: Snapshot, state: State, moved: set[str], stamps: dict[str, str]) -> None:
        stamps = {name: stamp for name, stamp in stamps.items() if name in state}
        stamps |= {name: snapshot.version for name in moved if name in state}
        assert snapshot.manifest.changelog.partitions_changed == tuple(sorted(moved))
        self.model.versions.append(Kept(snapshot, state, stamps))

    @precondition(lambda self: self.model.versions)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        self.clock.advance(minutes=1)
        target = data.draw(st.sampled_from(self.model.versions))
        snapshot = self.store.rollback(DATASET, target.snapshot.version, reason="model")
        assert snapshot.manifest.paused_because == "model"
        self.model.versions.append(Kept(snapshot, dict(target.state), dict(target.stamps)))

    @precondition(lambda self: self.model.versions)
    @rule(data=st.data(), name=st.sampled_from(["golden", "silver"]))
    def tag(self, data: st.DataObject, name: str) -> None:
        version = data.draw(st.sampled_from(self.model.versions)).snapshot.version
        self.store.tag(DATASET, version, name)
        self.model.tags[name] = version

    @rule(name=st.sampled_from(["golden", "silver"]))
    def untag(self, name: str) -> None:
        self.store.untag(DATASET, name)
        self.model.tags.pop(name, None)

    @precondition(lambda self: self.model.versions)
    @rule()
    def abandon_a_draft(self) -> None:
        base = self.model.versions[-1].snapshot
        self.store.draft(DATASET, base=base, changes=[_change("2026-11-30", {"z": 9})], key=KEY)

    @rule(hours=st.sampled_from([1, 100]))
    def wait(self, hours: int) -> None:
        self.clock.advance(hours=hours)

    @precondition(lambda self: self.model.versions)
    @rule(keep=st.integers(1, 3), older_than_h=st.sampled_from([0, 50]))
    def expire(self, keep: int, older_than_h: int) -> None:
        older_than = timedelta(hours=older_than_h)
        tagged = set(self.model.tags.values())
        limit = self.clock() - older_than
        survivors = [
            kept
            for place, kept in enumerate(reversed(self.model.versions))
            if place < keep or kept.snapshot.manifest.created_at >= limit or kept.snapshot.version in tagged
        ][::-1]
        must_survive = {kept.snapshot.version for kept in survivors}
        expired = self.store.expire(DATASET, keep=keep, older_than=older_than)
        assert not must_survive & set(expired.versions)
        self.model.versions = survivors
        self._check_every_kept_version()

    @invariant()
    def the_current_version_is_the_models_last(self) -> None:
        current = self.store.current(DATASET)
        if not self.model.versions:
            assert current is None
            return
        assert current is not None
        assert current.version == self.model.versions[-1].snapshot.version
        state = self.model.versions[-1].state
        assert current.partitions["partition"].to_list() == sorted(state)
        for name, rows in state.items():
            assert content(current, [name]) == rows
        assert self.store.verify(current) == []

    def _check_every_kept_version(self) -> None:
        """By its id, and through the handle a reader has held since it was published."""
        for kept in self.model.versions:
            fresh = self.store.snapshot(DATASET, kept.snapshot.version)
            assert self.store.verify(fresh) == []
            for name, rows in kept.state.items():
                assert content(fresh, [name]) == rows
            assert kept.snapshot.scan().collect().height == sum(map(len, kept.state.values()))

    @precondition(lambda self: len(self.model.versions) > 1)
    @rule(data=st.data())
    def a_diff_is_the_models_diff(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.model.versions))
        two = data.draw(st.sampled_from(self.model.versions))
        found = diff(one.snapshot, two.snapshot)
        seen = {(row["partition"], row["id"]): row["change"] for row in found.iter_rows(named=True)}
        assert seen == _model_diff(one.state, two.state)
        assert len(seen) == found.height


TestVersionedStoreAgainstADict = VersionedStoreAgainstADict.TestCase
TestVersionedStoreAgainstADict.settings = settings(
    max_examples=tries(20), stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)


def _change(name: str, rows: dict[str, int] | None) -> PartitionChange:
    return PartitionChange.removal(name) if rows is None else change(name, rows)


def _edited(state: State, edit: dict[str, dict[str, int] | None]) -> State:
    merged = {**state, **edit}
    return {name: rows for name, rows in merged.items() if rows is not None}


def _model_diff(before: State, after: State) -> dict[tuple[str, str], str]:
    old = {(name, key): value for name, rows in before.items() for key, value in rows.items()}
    new = {(name, key): value for name, rows in after.items() for key, value in rows.items()}
    changed: dict[tuple[str, str], str] = dict.fromkeys(new.keys() - old.keys(), "added")
    changed |= dict.fromkeys(old.keys() - new.keys(), "removed")
    return changed | {place: "updated" for place in old.keys() & new.keys() if old[place] != new[place]}


class FailingObjects(Objects):
    """The real store, whose operation number `fail_at` fails before or after it took effect."""

    fail_at: int = -1
    after: bool = False
    done: int = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.numbers = itertools.count()  # one number an operation, whichever thread takes it

    def _step(self, call: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        number = next(self.numbers)
        self.done = max(self.done, number + 1)
        if number == self.fail_at and not self.after:
            raise Unavailable("injected before")
        result = call(*args, **kwargs)
        if number == self.fail_at:
            raise Unavailable("injected after")
        return result

    def get(self, key: str) -> bytes:
        return self._step(super().get, key)

    def read_pointer(self, key: str) -> Pointer | None:
        return self._step(super().read_pointer, key)

    def put(self, key: str, data: bytes) -> None:
        self._step(super().put, key, data)

    def put_file(self, key: str, path: Path) -> None:
        self._step(super().put_file, key, path)

    def compare_and_swap(self, key: str, *, expected: Pointer | None, new: bytes) -> Pointer:
        return self._step(super().compare_and_swap, key, expected=expected, new=new)


OLD = {"a": 1, "b": 2, "x": 1}
NEW = {"a": 5, "c": 3, "x": 2, "y": 1}


def publish_new(store: VersionedStore) -> Snapshot:
    base = store.current(DATASET)
    lazy = change(PARTITIONS[1], {"x": 2, "y": 1}, quarantine=quarantine("bad"))
    changes = [
        change(PARTITIONS[0], {"a": 5, "c": 3}),
        PartitionChange(**{**vars(lazy), "data": lazy.data.lazy()}),
    ]  # type: ignore[union-attr] # a frame was given
    return store.publish(DATASET, base=base, changes=changes, key=KEY)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A lake whose published version is OLD."""
    store = store_on(Objects.open((tmp_path / "before").as_uri()), tmp_path / "scratch")
    changes = [change(PARTITIONS[0], {"a": 1, "b": 2}), change(PARTITIONS[1], {"x": 1})]
    store.publish(DATASET, base=None, changes=changes, key=KEY)
    return tmp_path / "before"


def operations(before: Path, tmp_path: Path) -> int:
    objects = FailingObjects.open(shutil.copytree(before, tmp_path / "counted").as_uri())
    publish_new(store_on(objects, tmp_path / "scratch"))
    assert isinstance(objects, FailingObjects)
    return objects.done


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_publish_that_dies_at_any_operation_leaves_old_or_new(
    before: Path, tmp_path: Path, after: bool
) -> None:
    total = operations(before, tmp_path)
    assert total == 11, "4 reads, 3 files of rows and evidence, 2 lists, the manifest, the swap"
    outcomes = []
    for number in range(total):
        lake = shutil.copytree(before, tmp_path / f"dies-{number}")
        dying = FailingObjects.open(lake.as_uri())
        assert isinstance(dying, FailingObjects)
        dying.fail_at, dying.after = number, after
        with pytest.raises(Unavailable, match="injected"):
            publish_new(store_on(dying, tmp_path / "scratch", seed=1))
        outcomes.append(_recovers(lake, tmp_path))
    # Only the swap itself, the last operation, may have made the new version visible.
    assert outcomes == [OLD] * (total - 1) + [NEW if after else OLD]


def _recovers(lake: Path, tmp_path: Path) -> dict[str, int]:
    """What readers saw after the crash, once a rerun has converged and the sweep has cleaned up."""
    clock = Clock()
    objects = Objects.open(lake.as_uri())
    store = store_on(objects, tmp_path / "scratch", clock=clock, seed=2)
    crashed = store.current(DATASET)
    assert crashed is not None
    assert store.verify(crashed) == []
    seen = content(crashed)
    again = publish_new(store)
    assert content(again) == NEW
    assert store.versions(DATASET).height == 2, "the crash and the rerun made one version together"
    clock.advance(days=3)
    store.expire(DATASET, keep=2, older_than=timedelta(0))
    assert set(objects.list(naming.versions_folder(DATASET))["key"]) == _needed(store)
    assert not any((tmp_path / "scratch").iterdir())
    return seen


def _needed(store: VersionedStore) -> set[str]:
    needed: set[str] = set()
    for version in store.versions(DATASET)["version"]:
        snapshot = store.snapshot(DATASET, version)
        names = (naming.manifest_key, naming.files_key, naming.partitions_key)
        needed |= {name(DATASET, version) for name in names} | set(snapshot.files["path"])
        needed |= set(snapshot.partitions["ledger_path"].drop_nulls())
        needed |= set(snapshot.partitions["quarantine_path"].drop_nulls())
    return needed


def test_a_swap_that_landed_unnoticed_below_another_is_not_repeated(
    folder_objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_on(folder_objects, tmp_path / "scratch")
    first = store.publish(DATASET, base=None, changes=[change(PARTITIONS[0], {"a": 1})], key=KEY)
    swap = folder_objects.compare_and_swap

    def lose_the_response(key: str, *, expected: Pointer | None, new: bytes) -> Pointer:
        monkeypatch.setattr(folder_objects, "compare_and_swap", swap)
        swap(key, expected=expected, new=new)
        later = [change(PARTITIONS[2], {"c": 3})]
        store.publish(DATASET, base=store.current(DATASET), changes=later, key=KEY)
        raise SwapLost("another writer was first")

    monkeypatch.setattr(folder_objects, "compare_and_swap", lose_the_response)
    second = store.publish(DATASET, base=first, changes=[change(PARTITIONS[1], {"b": 2})], key=KEY)
    history = store.versions(DATASET)["version"].to_list()
    assert history[1:] == [second.version, first.version]
    assert content(store.snapshot(DATASET, history[0])) == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize("kind", ["status", "reset"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_any_single_fault_of_the_network_is_survived(
    s3_server: S3Server, tmp_path: Path, kind: str, when: str
) -> None:
    objects = Objects.open(s3_server.url, options=s3_server.options)
    store = store_on(objects, tmp_path / "scratch", seed=3)
    changes = [change(PARTITIONS[0], {"a": 1, "b": 2}), change(PARTITIONS[1], {"x": 1})]
    faults = [r"current_version", r"manifest\.json", r"files\.parquet", r"/data/", r"/inputs/"]
    for number, key in enumerate(faults):
        s3_server.faults.clear()
        s3_server.faults.add(kind, op="PutObject", key=key, when=when, times=1)  # type: ignore[arg-type] # a Kind
        dataset = f"faulty/{number}"
        published = store.publish(dataset, base=None, changes=changes, key=KEY)
        assert content(published) == OLD
        assert store.versions(dataset)["version"].to_list() == [published.version]
        assert store.verify(published) == []
        assert [fault.hits for fault in s3_server.faults.faults] == [1]
