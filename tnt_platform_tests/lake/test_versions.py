"""The versioned store: what a publish makes visible, and what it rejects."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tnt_platform.errors import ConfigError, NotFound, PermanentError, PublishConflict
from tnt_platform.lake import naming
from tnt_platform.lake.versions import PartitionChange, RowCounts, VersionedStore, diff, duplicate_keys
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.lake.changes import (
    KEY,
    START,
    Clock,
    change,
    content,
    ledger,
    quarantine,
    rows,
    store_on,
)
from tnt_platform_tests.s3_server import S3Server

DATASET = "transit/shipments"
D1, D2, D3 = "2026-11-18", "2026-11-19", "2026-11-20"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(lake_objects: Objects, tmp_path: Path, clock: Clock) -> VersionedStore:
    return store_on(lake_objects, tmp_path / "scratch", clock=clock)


@pytest.fixture
def objects(lake_objects: Objects) -> Objects:
    return lake_objects


def written(objects: Objects) -> set[str]:
    return set(objects.list("datasets/")["key"])


def test_a_dataset_without_a_publish_has_no_current_version(store: VersionedStore) -> None:
    assert store.current(DATASET) is None
    assert store.datasets() == []
    assert store.versions(DATASET).is_empty()


def test_a_published_partition_is_read_back_with_its_evidence(store: VersionedStore) -> None:
    rejected = quarantine("10022|abc")
    published = store.publish(
        DATASET,
        base=None,
        changes=[change(D1, {"a": 1}, quarantine=rejected)],
        key=KEY,
        run_id="r1",
        note="first",
    )
    current = store.current(DATASET)
    assert current is not None
    assert current.version == published.version
    assert content(current) == {"a": 1}
    assert current.inputs(D1).equals(ledger(f"raw/{D1}/a.txt"))
    assert current.all_inputs().columns[0] == "partition"
    assert current.quarantine().drop("partition").equals(rejected)
    assert current.manifest.counts == RowCounts(rows_in=2, published=1, quarantined=1)
    assert current.partition(D1)["inputs_digest"] == f"digest of {D1}"  # type: ignore[index] # it is there
    assert current.partition(D2) is None
    assert current.inputs(D2).is_empty()
    assert current.inputs(D2).columns == current.inputs(D1).columns
    assert store.verify(current) == []
    assert store.datasets() == [DATASET]


def test_the_pointer_is_exactly_the_version_id(store: VersionedStore, objects: Objects) -> None:
    published = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    assert objects.get(f"datasets/{DATASET}/index/current_version.txt") == published.version.encode()
    manifest = json.loads(objects.get(f"datasets/{DATASET}/versions/{published.version}/manifest.json"))
    assert manifest["version_id"] == published.version
    assert manifest["schema"] == {"id": "String", "value": "Int64"}
    assert manifest["changelog"]["by_partition"] == {D1: {"added": 1, "updated": 0, "removed": 0}}
    assert manifest["date_range"] == [D1, D1]


def test_reading_the_current_version_costs_two_reads(store: VersionedStore, objects: Objects) -> None:
    store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    before = objects.requests.reads
    current = store.current(DATASET)
    assert objects.requests.reads - before == 2
    assert current is not None
    assert current.manifest.rows == 1


def test_an_unchanged_partition_is_shared_with_the_older_version(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1}), change(D2, {"b": 2})], key=KEY)
    second = store.publish(DATASET, base=first, changes=[change(D2, {"b": 3, "c": 4})], key=KEY)
    paths = dict(second.files.select("partition", "path").iter_rows())
    assert first.version in paths[D1]
    assert second.version in paths[D2]
    assert content(second) == {"a": 1, "b": 3, "c": 4}
    assert content(first) == {"a": 1, "b": 2}
    log = second.manifest.changelog
    assert (log.added, log.updated, log.removed, log.partitions_changed) == (1, 1, 0, (D2,))


def test_equal_content_writes_nothing_and_returns_the_base(store: VersionedStore, objects: Objects) -> None:
    rejected = quarantine("10022|abc")
    first = store.publish(
        DATASET, base=None, changes=[change(D1, {"a": 1, "b": 2}, quarantine=rejected)], key=KEY
    )
    before = written(objects)
    seen_again = quarantine("10022|abc", first_seen_at=datetime(2026, 11, 21, tzinfo=UTC))
    draft = store.draft(
        DATASET, base=first, changes=[change(D1, {"b": 2, "a": 1}, quarantine=seen_again)], key=KEY
    )
    assert draft.unchanged
    assert store.commit(draft).version == first.version
    assert written(objects) == before


def test_a_ledger_change_makes_a_version_that_carries_the_data(
    store: VersionedStore, objects: Objects
) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    again = change(D1, {"a": 1}, inputs=ledger("raw/other.txt"), inputs_digest="other")
    second = store.publish(DATASET, base=first, changes=[again], key=KEY)
    assert second.version != first.version
    assert second.files["path"].to_list() == first.files["path"].to_list()
    assert second.inputs(D1)["key"].to_list() == ["raw/other.txt"]
    assert second.manifest.changelog.partitions_changed == (D1,)
    assert second.manifest.changelog.updated == 0
    assert not [key for key in written(objects) if f"{second.version}/data/" in key]


@pytest.mark.parametrize(
    "more",
    [
        {"inputs_digest": "other"},
        {"watermarks": {"S": START}},
        {"counts": RowCounts(rows_in=2, published=1, filtered=1)},
        {"quarantine": quarantine("x")},
        {"inputs": ledger("raw/other.txt")},
    ],
    ids=lambda more: next(iter(more)),
)
def test_any_part_of_the_evidence_alone_makes_a_version(
    store: VersionedStore, more: dict[str, object]
) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    second = store.publish(DATASET, base=first, changes=[change(D1, {"a": 1}, **more)], key=KEY)
    assert second.version != first.version
    assert second.files.equals(first.files)
    assert store.draft(DATASET, base=second, changes=[change(D1, {"a": 1}, **more)], key=KEY).unchanged


def test_a_row_quarantined_before_keeps_the_time_it_was_first_seen(
    store: VersionedStore, clock: Clock
) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {}, quarantine=quarantine("x"))], key=KEY)
    later = datetime(2026, 11, 25, tzinfo=UTC)
    two = change(D1, {}, quarantine=quarantine("x", "y", first_seen_at=later))
    second = store.publish(DATASET, base=first, changes=[two], key=KEY)
    assert second.quarantine().sort("line_no")["first_seen_at"].to_list() == [START, later]


def test_rows_are_appended_without_rewriting_what_is_there(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    appended = change(
        D1,
        {"b": 2},
        keep=first.files["path"].to_list(),
        counts=RowCounts(rows_in=2, published=2),
        inputs_digest="two files",
    )
    second = store.publish(DATASET, base=first, changes=[appended], key=KEY)
    assert content(second) == {"a": 1, "b": 2}
    assert second.files.height == 2
    assert second.manifest.changelog.added == 1
    assert diff(first, second)["id"].to_list() == ["b"]


def test_keeping_a_file_that_is_not_live_is_rejected(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    with pytest.raises(PermanentError, match="nowhere"):
        store.draft(DATASET, base=first, changes=[change(D1, {"a": 1}, keep=["nowhere"])], key=KEY)


def test_parquet_parts_on_disk_are_moved_into_the_version(store: VersionedStore, tmp_path: Path) -> None:
    parts = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path, values in zip(parts, ({"a": 1}, {"b": 2}), strict=True):
        rows(values).write_parquet(path)
    rejected = tmp_path / "rejected.parquet"
    quarantine("bad").write_parquet(rejected)
    given = PartitionChange(
        D1, parts, ledger("k"), [rejected], RowCounts(rows_in=3, published=2, quarantined=1), "digest"
    )
    first = store.publish(DATASET, base=None, changes=[given], key=KEY)
    assert content(first) == {"a": 1, "b": 2}
    assert first.files["key_min"].to_list() == ["a", "b"]
    assert first.quarantine([D1])["raw"].to_list() == ["bad"]
    assert store.verify(first) == []


def test_a_lazy_frame_is_streamed_into_the_version(store: VersionedStore) -> None:
    lazy = change(D1, {"a": 1, "b": 2}, data=rows({"a": 1, "b": 2}).lazy())
    first = store.publish(DATASET, base=None, changes=[lazy], key=KEY)
    assert content(first) == {"a": 1, "b": 2}
    assert store.draft(DATASET, base=first, changes=[lazy], key=KEY).unchanged


def test_a_removed_partition_is_gone_and_counted(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1}), change(D2, {"b": 2})], key=KEY)
    second = store.publish(DATASET, base=first, changes=[PartitionChange.removal(D1)], key=KEY)
    assert content(second) == {"b": 2}
    assert second.manifest.changelog.removed == 1
    assert second.partitions["partition"].to_list() == [D2]
    assert store.draft(DATASET, base=second, changes=[PartitionChange.removal(D1)], key=KEY).unchanged


def test_a_partition_without_rows_keeps_its_ledger(store: VersionedStore) -> None:
    only = store.publish(DATASET, base=None, changes=[change(D1, {})], key=KEY)
    assert only.scan().collect_schema() == pl.Schema({"id": pl.String, "value": pl.Int64})
    assert only.scan().collect().is_empty()
    assert only.inputs(D1).height == 1
    assert only.manifest.partitions == 1


def test_old_partitions_read_a_newer_column_as_null(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    wider = rows({"b": 2}).with_columns(zone=pl.lit("45"))
    second = store.publish(DATASET, base=first, changes=[change(D2, wider)], key=KEY)
    seen = second.scan(columns=["id", "zone"]).sort("id").collect()
    assert seen.rows() == [("a", None), ("b", "45")]
    assert second.scan([D1]).collect().rows() == [("a", 1, None)]


def test_a_wider_number_type_reads_old_partitions_too(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    decimal = rows({"b": 2}).with_columns(pl.col("value") + 0.5)
    second = store.publish(DATASET, base=first, changes=[change(D2, decimal)], key=KEY)
    assert second.scan().sort("id").collect().rows() == [("a", 1.0), ("b", 2.5)]
    assert second.manifest.schema["value"] == "Float64"


def test_text_beside_numbers_in_one_column_is_rejected(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    text = rows({"b": 2}).with_columns(pl.col("value").cast(pl.String))
    with pytest.raises(PermanentError, match=r"column value .*Int64.*String"):
        store.publish(DATASET, base=first, changes=[change(D2, text)], key=KEY)
    replaced = store.publish(DATASET, base=first, changes=[change(D1, text)], key=KEY)
    assert replaced.manifest.schema["value"] == "String"


def test_every_column_type_survives_a_publish(store: VersionedStore) -> None:
    frame = pl.DataFrame(
        {
            "id": ["a"],
            "tags": [["x", None]],
            "where": [{"zone": 1, "name": "n"}],
            "at": [START],
            "day": [START.date()],
            "price": pl.Series(["1.50"]).cast(pl.Decimal(10, 2)),
            "kind": pl.Series(["b"], dtype=pl.Enum(["a", "b"])),
            "nothing": [None],
            "raw": [b"\x00"],
        }
    )
    only = store.publish(DATASET, base=None, changes=[change(D1, frame)], key=KEY)
    assert only.scan().collect().equals(frame)
    assert only.scan([]).collect().schema == frame.schema
    assert diff(None, only)["changed"].list.len().to_list() == [7]


def test_asking_for_an_unknown_column_names_the_known_ones(store: VersionedStore) -> None:
    only = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    with pytest.raises(NotFound, match="value"):
        only.scan(columns=["vlaue"])


@pytest.mark.parametrize(
    ("counts", "numbers"),
    [
        (RowCounts(rows_in=5, published=1), "rows_in=5, published=1"),
        (RowCounts(rows_in=2, published=2), "1 rows.* 2 counted"),
        (RowCounts(rows_in=3, published=1, quarantined=2), "2 rows .* has 0"),
    ],
)
def test_counts_that_lose_rows_are_rejected(
    store: VersionedStore, objects: Objects, counts: RowCounts, numbers: str
) -> None:
    with pytest.raises(PermanentError, match=numbers):
        store.publish(DATASET, base=None, changes=[change(D1, {"a": 1}, counts=counts)], key=KEY)
    assert written(objects) == set()


def test_the_same_partition_twice_is_rejected(store: VersionedStore) -> None:
    with pytest.raises(PermanentError, match=D1):
        store.draft(DATASET, base=None, changes=[change(D1, {"a": 1}), change(D1, {"b": 1})], key=KEY)


@pytest.mark.parametrize("name", ["", "../x", "a//b", "a b", "a%20", "/a"])
def test_invalid_partition_and_dataset_names_are_rejected(store: VersionedStore, name: str) -> None:
    with pytest.raises(ConfigError):
        store.draft(DATASET, base=None, changes=[change(name, {"a": 1})], key=KEY)
    with pytest.raises(ConfigError):
        store.current(name)


def test_a_draft_is_read_before_anyone_else_sees_it(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    draft = store.draft(DATASET, base=first, changes=[change(D1, {"a": 2})], key=KEY)
    assert content(draft) == {"a": 2}
    assert content(store.current(DATASET)) == {"a": 1}  # type: ignore[arg-type] # it was published
    assert content(store.snapshot(DATASET, draft.version)) == {"a": 2}, "the evidence stays readable"
    assert draft.version not in store.versions(DATASET)["version"].to_list()


def test_duplicate_keys_are_found_per_partition(store: VersionedStore) -> None:
    twice = pl.concat([rows({"a": 1}), rows({"a": 2, "b": 1})])
    draft = store.draft(DATASET, base=None, changes=[change(D1, twice), change(D2, {"a": 1})], key=KEY)
    assert duplicate_keys(draft).rows() == [(D1, "a", 2)]
    assert duplicate_keys(draft, [D2]).is_empty()


def test_disjoint_drafts_of_one_base_are_both_published(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    one = store.draft(DATASET, base=first, changes=[change(D2, {"b": 2})], key=KEY)
    two = store.draft(DATASET, base=first, changes=[change(D3, {"c": 3})], key=KEY)
    store.commit(one)
    last = store.commit(two)
    assert content(last) == {"a": 1, "b": 2, "c": 3}
    assert last.manifest.parent == one.version
    assert last.version > one.version
    assert last.partition(D3)["changed_by"] == last.version  # type: ignore[index] # it is there
    assert last.manifest.changelog.partitions_changed == (D3,)
    assert store.verify(last) == []


def test_first_publishes_of_two_writers_are_joined(store: VersionedStore) -> None:
    one = store.draft(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    two = store.draft(DATASET, base=None, changes=[change(D2, {"b": 2})], key=KEY)
    store.commit(one)
    assert content(store.commit(two)) == {"a": 1, "b": 2}


def test_a_stale_writer_cannot_erase_newer_rows(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    stale = store.draft(DATASET, base=first, changes=[change(D1, {"a": 1, "b": 2})], key=KEY)
    newer = store.publish(DATASET, base=first, changes=[change(D1, {"a": 1, "c": 3})], key=KEY)
    with pytest.raises(PublishConflict, match=D1):
        store.commit(stale)
    assert content(store.current(DATASET)) == content(newer)  # type: ignore[arg-type] # it was published


def test_a_base_opened_by_its_id_can_be_published_upon(store: VersionedStore) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    second = store.publish(
        DATASET, base=store.snapshot(DATASET, first.version), changes=[change(D1, {"a": 2})], key=KEY
    )
    stale = store.snapshot(DATASET, first.version)
    with pytest.raises(PublishConflict):
        store.publish(DATASET, base=stale, changes=[change(D1, {"a": 3})], key=KEY)
    assert content(second) == {"a": 2}


def test_a_child_sorts_after_its_parent_when_the_clock_steps_back(
    store: VersionedStore, clock: Clock
) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    clock.advance(hours=-1)
    second = store.publish(DATASET, base=first, changes=[change(D1, {"a": 2})], key=KEY)
    assert second.version > first.version
    assert naming.is_version_id(second.version)


def test_a_draft_too_old_to_be_safe_from_expiry_is_rejected(store: VersionedStore, clock: Clock) -> None:
    draft = store.draft(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    clock.advance(days=2)
    with pytest.raises(PublishConflict, match=f"{draft.version}.*2 days"):
        store.commit(draft)


def test_watermarks_follow_the_live_partitions(store: VersionedStore) -> None:
    early, late = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
    first = store.publish(
        DATASET,
        base=None,
        changes=[
            change("S/year=2026/month=10", {"a": 1}, watermarks={"S": early}),
            change("S/year=2026/month=11", {"b": 2}, watermarks={"S": late}),
        ],
        key=KEY,
    )
    assert first.manifest.watermarks == {"S": late}
    assert first.manifest.date_range == ("2026-10", "2026-11")
    gone = PartitionChange.removal("S/year=2026/month=11")
    assert store.publish(DATASET, base=first, changes=[gone], key=KEY).manifest.watermarks == {"S": early}


def test_a_damaged_list_is_noticed_before_it_is_believed(store: VersionedStore, objects: Objects) -> None:
    first = store.publish(DATASET, base=None, changes=[change(D1, {"a": 1})], key=KEY)
    other = store.publish("other", base=None, changes=[change(D2, {"b": 1})], key=KEY)
    objects.put(
        naming.files_key(DATASET, first.version), objects.get(naming.files_key("other", other.version))
    )
    damaged = store.snapshot(DATASET, first.version)
    with pytest.raises(PermanentError, match=r"files\.parquet"):
        damaged.scan()
    assert store.verify(damaged) != []


def test_publishing_more_partitions_than_one_batch_holds(store: VersionedStore) -> None:
    names = [f"p{number:04d}" for number in range(300)]
    first = store.publish(DATASET, base=None, changes=[change(name, {name: 1}) for name in names], key=KEY)
    assert first.manifest.partitions == 300
    second = store.publish(
        DATASET,
        base=first,
        changes=[change(name, {name: index % 2}) for index, name in enumerate(names)],
        key=KEY,
    )
    assert second.manifest.changelog.updated == 150
    assert len(second.manifest.changelog.partitions_changed) == 150
    assert content(second) == {name: index % 2 for index, name in enumerate(names)}


def test_a_scan_asks_for_the_files_of_its_partitions_and_lists_nothing(
    s3_server: S3Server, s3_objects: Objects, tmp_path: Path
) -> None:
    store = store_on(s3_objects, tmp_path / "scratch")
    names = [f"p{number}" for number in range(20)]
    published = store.publish(
        DATASET, base=None, changes=[change(name, {name: 1}) for name in names], key=KEY
    )
    files = published.files
    s3_server.counts.clear()
    assert published.scan(["p3", "p4"], ["value"]).collect().height == 2
    assert s3_server.counts["ListObjectsV2"] == 0
    assert 0 < s3_server.counts["GetObject"] <= 6
    assert files.filter(pl.col("partition") == "p3")["key_min"].to_list() == ["p3"]


def test_many_changed_rows_are_counted_by_key_whatever_their_order(store: VersionedStore) -> None:
    before = pl.DataFrame({"id": [f"{n}" for n in range(20_000)], "value": range(20_000)})
    after = pl.concat([before[100:].reverse(), pl.DataFrame({"id": ["new"], "value": [1]})])
    after = after.with_columns(pl.when(pl.col("id") == "777").then(-1).otherwise("value").alias("value"))
    first = store.publish(DATASET, base=None, changes=[change(D1, before)], key=KEY)
    second = store.publish(DATASET, base=first, changes=[change(D1, after)], key=KEY)
    log = second.manifest.changelog
    assert (log.added, log.updated, log.removed) == (1, 1, 100)
    assert diff(first, second).height == 102


def test_the_same_rows_become_the_same_bytes(store: VersionedStore) -> None:
    frame = pl.DataFrame({"id": [f"{n % 977}-{n}" for n in range(300_000)], "value": range(300_000)})
    first = store.publish("one", base=None, changes=[change(D1, frame)], key=KEY)
    pieces = pl.concat([frame[:1000], frame[1000:]], rechunk=False)
    second = store.publish("two", base=None, changes=[change(D1, pieces)], key=KEY)
    lazy = [
        store.publish(name, base=None, changes=[change(D1, frame, data=frame.lazy())], key=KEY)
        for name in "ab"
    ]
    assert first.files["sha256"].to_list() == second.files["sha256"].to_list()
    assert lazy[0].files["sha256"].to_list() == lazy[1].files["sha256"].to_list()


def test_a_failed_publish_leaves_no_local_files(store: VersionedStore, tmp_path: Path) -> None:
    broken = change(D1, {"a": 1}, data=rows({"a": 1}).lazy(), counts=RowCounts(rows_in=9, published=9))
    with pytest.raises(PermanentError):
        store.publish(DATASET, base=None, changes=[broken], key=KEY)
    assert list((tmp_path / "scratch").iterdir()) == []
