"""What happens to versions after they were published: differences, rollback, tags, checks and expiry."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tnt_platform.errors import ConfigError, NotFound, PermanentError, PublishConflict
from tnt_platform.lake import history, naming
from tnt_platform.lake.manifest import RowChanges
from tnt_platform.lake.version_diff import count_changes
from tnt_platform.lake.versions import PartitionChange, Snapshot, VersionedStore, diff
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.lake.changes import KEY, Clock, change, content, quarantine, rows, store_on

DATASET = "transit/shipments"
D1, D2, D3 = "2026-11-18", "2026-11-19", "2026-11-20"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(lake_objects: Objects, tmp_path: Path, clock: Clock) -> VersionedStore:
    return store_on(lake_objects, tmp_path / "scratch", clock=clock)


def published(store: VersionedStore, clock: Clock, *states: dict[str, int]) -> list[Snapshot]:
    """One version a state of partition D1, an hour apart."""
    snapshots: list[Snapshot] = []
    for state in states:
        base = snapshots[-1] if snapshots else None
        snapshots.append(store.publish(DATASET, base=base, changes=[change(D1, state)], key=KEY))
        clock.advance(hours=1)
    return snapshots


def current(store: VersionedStore) -> Snapshot:
    snapshot = store.current(DATASET)
    assert snapshot is not None
    return snapshot


def test_a_diff_tells_every_row_by_key_with_its_values(store: VersionedStore) -> None:
    first = store.publish(
        DATASET, base=None, changes=[change(D1, {"a": 1, "b": 2}), change(D2, {"x": 1})], key=KEY
    )
    second = store.publish(DATASET, base=first, changes=[change(D1, {"b": 3, "c": 4})], key=KEY)
    assert diff(first, second).to_dicts() == [
        {"partition": D1, "change": "removed", "id": "a", "changed": [_value("1", None)]},
        {"partition": D1, "change": "updated", "id": "b", "changed": [_value("2", "3")]},
        {"partition": D1, "change": "added", "id": "c", "changed": [_value(None, "4")]},
    ]
    assert diff(first, second, [D2]).is_empty()
    assert diff(second, second).is_empty()
    assert diff(None, first)["change"].to_list() == ["added"] * 3


def _value(before: str | None, after: str | None) -> dict[str, str | None]:
    return {"column": "value", "before": before, "after": after}


def test_versions_with_other_keys_are_not_compared(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    second = store.publish(DATASET, base=first, changes=[change(D1, {"a": 2})], key=["id", "value"])
    with pytest.raises(PermanentError, match=r"\('id',\).*\('id', 'value'\)"):
        diff(first, second)


def test_counting_in_several_passes_gives_what_one_pass_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pl.LazyFrame({"p": ["x"] * 50, "id": range(50), "v": [0] * 50})
    after = pl.LazyFrame({"p": ["x"] * 50, "id": range(10, 60), "v": [0] * 40 + [1] * 10})
    expected = {("x",): RowChanges(added=10, updated=0, removed=10)}
    assert count_changes(before, after, by=["p"], key=["id"], rows=100) == expected
    monkeypatch.setattr("tnt_platform.lake.version_diff._KEYS_PER_PASS", 7)
    assert count_changes(before, after, by=["p"], key=["id"], rows=100) == expected


def test_the_history_lists_published_versions_newest_first(store: VersionedStore, clock: Clock) -> None:
    first, second = published(store, clock, {"a": 1}, {"a": 2, "b": 1})
    store.draft(DATASET, base=second, changes=[change(D1, {"z": 1})], key=KEY)
    store.tag(DATASET, first.version, "golden")
    table = store.versions(DATASET)
    assert table["version"].to_list() == [second.version, first.version]
    assert table["tags"].to_list() == [[], ["golden"]]
    assert table["parent"].to_list() == [first.version, None]
    assert table.select("rows", "partitions_changed", "added", "updated", "removed").rows() == [
        (2, 1, 1, 1, 0),
        (1, 1, 1, 0, 0),
    ]


def test_an_unknown_version_or_tag_names_those_that_exist(store: VersionedStore, clock: Clock) -> None:
    (only,) = published(store, clock, {"a": 1})
    store.tag(DATASET, only.version, "golden")
    assert store.snapshot(DATASET, "golden").version == only.version
    with pytest.raises(NotFound, match=f"{only.version}.*golden"):
        store.snapshot(DATASET, "silver")
    with pytest.raises(NotFound):
        store.tag(DATASET, "20260101T000000000000Z-00000000", "bronze")
    with pytest.raises(ConfigError):
        store.tag(DATASET, only.version, "a/b")
    store.untag(DATASET, "golden")
    assert store.tags(DATASET) == {}


def test_a_rollback_publishes_the_old_content_and_holds_it(
    store: VersionedStore, clock: Clock, lake_objects: Objects
) -> None:
    first, second = published(store, clock, {"a": 1}, {"a": 2, "b": 1})
    files = {key for key in lake_objects.list("datasets/")["key"] if "/data/" in key}
    back = store.rollback(DATASET, first.version, reason="bad upload")
    assert content(current(store)) == {"a": 1}
    assert back.version > second.version
    assert back.manifest.parent == second.version
    assert back.manifest.paused_because == "bad upload"
    assert back.manifest.rolled_back_to == first.version
    log = back.manifest.changelog
    assert (log.added, log.updated, log.removed, log.partitions_changed) == (0, 1, 1, (D1,))
    assert {key for key in lake_objects.list("datasets/")["key"] if "/data/" in key} == files
    assert store.tags(DATASET) == {}
    forward = store.publish(DATASET, base=back, changes=[change(D1, {"a": 3})], key=KEY)
    assert forward.manifest.paused_because is None
    assert store.verify(forward) == []


def test_a_publish_in_flight_does_not_lift_a_rollback(store: VersionedStore, clock: Clock) -> None:
    first, second = published(store, clock, {"a": 1}, {"a": 2})
    draft = store.draft(DATASET, base=second, changes=[change(D2, {"b": 1})], key=KEY)
    store.rollback(DATASET, first.version, reason="bad upload")
    with pytest.raises(PublishConflict, match="bad upload"):
        store.commit(draft)


def test_a_rollback_reverts_partitions_that_came_later(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    store.publish(DATASET, base=first, changes=[change(D2, {"b": 1})], key=KEY)
    back = store.rollback(DATASET, first.version, reason="not yet")
    assert back.partitions["partition"].to_list() == [D1]
    assert back.manifest.changelog.removed == 1


def test_a_dataset_never_published_cannot_be_rolled_back(store: VersionedStore) -> None:
    draft = store.draft(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    with pytest.raises(NotFound, match=DATASET):
        store.rollback(DATASET, draft.version, reason="why not")


def test_verify_names_what_is_damaged(store: VersionedStore, clock: Clock, lake_objects: Objects) -> None:
    snapshot = store.publish(
        DATASET,
        base=None,
        changes=[change(D1, {"a": 1}, quarantine=quarantine("x")), change(D2, {"b": 1})],
        key=KEY,
    )
    assert store.verify(snapshot) == []
    one, two = snapshot.files["path"].to_list()
    lake_objects.put(one, lake_objects.get(two))
    lake_objects.delete([two, snapshot.partition(D1)["quarantine_path"]])  # type: ignore[index] # it is there
    problems = sorted(store.verify(snapshot))
    assert len(problems) == 3
    (rehashed,) = [problem for problem in problems if one in problem]
    assert snapshot.files["sha256"][0] in rehashed
    assert snapshot.files["sha256"][1] in rehashed
    assert sum(two in problem or "quarantine/" in problem for problem in problems) == 2


def test_expiry_removes_old_versions_and_nothing_that_is_needed(store: VersionedStore, clock: Clock) -> None:
    base = store.publish(DATASET, base=None, changes=[change(D2, {"x": 9})], key=KEY)
    versions = [base]
    for value in range(5):
        clock.advance(hours=1)
        versions.append(
            store.publish(DATASET, base=versions[-1], changes=[change(D1, {"a": value})], key=KEY)
        )
    store.tag(DATASET, versions[1].version, "golden")
    clock.advance(hours=1)
    planned = store.expire(DATASET, keep=2, older_than=timedelta(0), dry_run=True)
    assert len(store.versions(DATASET)) == 6
    expired = store.expire(DATASET, keep=2, older_than=timedelta(0))
    assert expired == planned
    assert expired.versions == tuple(s.version for s in (versions[0], versions[2], versions[3]))
    assert expired.size_bytes > 0
    for kept, value in ((versions[1], 0), (versions[4], 3), (versions[5], 4)):
        assert content(store.snapshot(DATASET, kept.version)) == {"x": 9, "a": value}
        assert store.verify(store.snapshot(DATASET, kept.version)) == []
    with pytest.raises(NotFound):
        store.snapshot(DATASET, versions[2].version)
    assert store.expire(DATASET, keep=2, older_than=timedelta(0)).files == 0
    clock.advance(days=3)
    store.expire(DATASET, keep=2, older_than=timedelta(0))
    assert store.verify(store.snapshot(DATASET, "golden")) == [], (
        "kept by its tag alone, its neighbours are gone"
    )


def test_expiry_leaves_young_versions_and_always_the_current_one(store: VersionedStore, clock: Clock) -> None:
    published(store, clock, {"a": 1}, {"a": 2}, {"a": 3})
    assert store.expire(DATASET, keep=1, older_than=timedelta(hours=4)).versions == ()
    assert len(store.expire(DATASET, keep=1, older_than=timedelta(hours=2.5)).versions) == 1
    clock.advance(days=365)
    store.expire(DATASET, keep=1, older_than=timedelta(0))
    assert content(current(store)) == {"a": 3}
    with pytest.raises(ConfigError):
        store.expire(DATASET, keep=0, older_than=timedelta(0))
    assert store.expire("never/published", keep=1, older_than=timedelta(0)).files == 0


def test_abandoned_drafts_are_swept_only_after_the_grace_period(
    store: VersionedStore, clock: Clock, lake_objects: Objects
) -> None:
    (first,) = published(store, clock, {"a": 1})
    draft = store.draft(DATASET, base=first, changes=[change(D1, {"a": 2})], key=KEY)
    store.expire(DATASET, keep=1, older_than=timedelta(0))
    assert content(draft) == {"a": 2}
    clock.advance(days=3)
    assert store.expire(DATASET, keep=1, older_than=timedelta(0)).files == 4, (
        "data, two lists and the manifest"
    )
    assert lake_objects.list(naming.version_folder(DATASET, draft.version)).is_empty()
    assert store.verify(current(store)) == []


def test_data_of_a_rebased_draft_outlives_its_own_folder_name(store: VersionedStore, clock: Clock) -> None:
    (first,) = published(store, clock, {"a": 1})
    draft = store.draft(DATASET, base=first, changes=[change(D2, {"b": 2})], key=KEY)
    store.publish(DATASET, base=first, changes=[change(D3, {"c": 3})], key=KEY)
    rebased = store.commit(draft)
    assert rebased.version != draft.version
    clock.advance(days=3)
    store.expire(DATASET, keep=1, older_than=timedelta(0))
    assert content(current(store)) == {"a": 1, "b": 2, "c": 3}
    assert store.verify(current(store)) == []


def test_a_version_tagged_while_an_expiry_runs_is_given_back(
    store: VersionedStore, clock: Clock, lake_objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = published(store, clock, {"a": 1}, {"a": 2})
    delete = lake_objects.delete

    def tag_just_before(keys: list[str]) -> None:
        monkeypatch.setattr(lake_objects, "delete", delete)
        store.tag(DATASET, first.version, "late")
        delete(keys)

    monkeypatch.setattr(lake_objects, "delete", tag_just_before)
    assert store.expire(DATASET, keep=1, older_than=timedelta(0)).versions == ()
    assert content(store.snapshot(DATASET, "late")) == {"a": 1}
    assert store.verify(store.snapshot(DATASET, "late")) == []


def test_a_version_expired_while_it_is_tagged_is_not_tagged(
    store: VersionedStore, clock: Clock, lake_objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = published(store, clock, {"a": 1}, {"a": 2})
    put = lake_objects.put

    def expire_just_before(key: str, data: bytes) -> None:
        monkeypatch.setattr(lake_objects, "put", put)
        store.expire(DATASET, keep=1, older_than=timedelta(0))
        put(key, data)

    monkeypatch.setattr(lake_objects, "put", expire_just_before)
    with pytest.raises(NotFound, match=first.version):
        store.tag(DATASET, first.version, "late")
    assert store.tags(DATASET) == {}


def test_a_folder_that_is_no_version_is_never_swept(
    store: VersionedStore, clock: Clock, lake_objects: Objects
) -> None:
    published(store, clock, {"a": 1})
    stray = f"{naming.versions_folder(DATASET)}by-hand/notes.txt"
    lake_objects.put(stray, b"mine")
    clock.advance(days=30)
    store.expire(DATASET, keep=1, older_than=timedelta(0))
    assert lake_objects.exists(stray)


def test_a_reader_overtaken_by_publish_and_expiry_gets_the_newer_version(
    store: VersionedStore, clock: Clock, lake_objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = published(store, clock, {"a": 1})
    read_pointer = lake_objects.read_pointer

    def be_overtaken(key: str) -> object:
        monkeypatch.setattr(lake_objects, "read_pointer", read_pointer)
        seen = read_pointer(key)
        store.publish(DATASET, base=first, changes=[change(D1, {"a": 2})], key=KEY)
        clock.advance(hours=1)
        store.expire(DATASET, keep=1, older_than=timedelta(0))
        return seen

    monkeypatch.setattr(lake_objects, "read_pointer", be_overtaken)
    assert content(current(store)) == {"a": 2}


def test_datasets_are_found_at_any_depth(store: VersionedStore) -> None:
    for name in ("a", "transit/shipments", "transit/results", "x/y/z"):
        store.publish(name, base=None, changes=[change(D1, rows({"a": 1}))], key=KEY)
    store.draft("only/a/draft", base=None, changes=[change(D1, {"a": 1})], key=KEY)
    assert store.datasets() == ["a", "transit/results", "transit/shipments", "x/y/z"]


def test_a_removal_alone_makes_an_empty_version(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    empty = store.publish(DATASET, base=first, changes=[PartitionChange.removal(D1)], key=KEY)
    assert empty.scan().collect().is_empty()
    assert empty.scan().collect_schema() == first.scan().collect_schema()
    assert store.verify(empty) == []
    assert diff(first, empty)["change"].to_list() == ["removed"]


def test_a_dataset_below_another_is_listed_too(tmp_path: Path) -> None:
    """`indec_ipc` is published, and so are its steps `indec_ipc/series` and `indec_ipc/capture`."""
    objects = Objects.open(tmp_path.as_uri())
    for dataset in ("prices", "prices/series", "transit/results"):
        objects.put(naming.pointer_key(dataset), b"20260101T000000000000Z-00000000")
    objects.put("datasets/prices/versions/20260101T000000000000Z-00000000/manifest.json", b"{}")
    assert history.dataset_ids(objects) == ["prices", "prices/series", "transit/results"]
