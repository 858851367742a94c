from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tnt_platform.discovery.comparison import (
    FilePlan,
    PartitionDifference,
    differing_partitions,
    inputs_digest,
    plan_files,
)
from tnt_platform.discovery.listing import list_all, list_partition, list_since, partitions_named_by
from tnt_platform.discovery.raw_source import RawSource, located
from tnt_platform.storage.objects import LISTING_SCHEMA, Objects
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.s3_server import S3Server

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DATED = re.compile(r"raw/(?P<date>\d{4}-\d{2}-\d{2})/(?P<shipper_id>[^/]+)\.txt")
LEDGER = {**LISTING_SCHEMA, "status": pl.String()}


def source(pattern: re.Pattern[str] | str = DATED, **settings: str) -> RawSource:
    """The pattern is of whole keys here, as the tests read best."""
    text = pattern if isinstance(pattern, str) else pattern.pattern
    return RawSource(prefix="raw/", key_pattern=text.removeprefix("raw/"), **settings)


@dataclass(frozen=True)
class Assigned:
    """A listing with partitions; `unmatched` are the objects whose key cannot be read."""

    files: pl.DataFrame
    unmatched: pl.DataFrame


def assign_partitions(
    listing: pl.DataFrame, source: RawSource, homes: Mapping[str, str] | None = None
) -> Assigned:
    everything = located(listing, source, homes or {})
    readable = everything["problem"].is_null()
    return Assigned(everything.filter(readable).drop("problem"), everything.filter(~readable))


def listed(*rows: tuple[str, str] | tuple[str, str, datetime]) -> pl.DataFrame:
    """Objects of one byte: (key, etag) or (key, etag, last_modified)."""
    full = [(row[0], row[1], 1, row[2] if len(row) == 3 else NOON) for row in rows]
    return pl.DataFrame(full, schema=LISTING_SCHEMA, orient="row")


def ledger_of(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(key, etag, 1, NOON, status) for key, etag, status in rows], schema=LEDGER, orient="row"
    )


def recorded(plan: FilePlan, ledger: pl.DataFrame) -> pl.DataFrame:
    """The ledger that a run leaves when it does exactly what the plan says."""
    fresh = pl.concat([plan.new, plan.changed.drop("previous_etag")]).select(list(LEDGER))
    kept = plan.vanished.filter(status="kept")
    rest = ledger.join(pl.concat([fresh, plan.vanished], how="diagonal"), on="key", how="anti")
    return pl.concat([fresh, kept.select(list(LEDGER)), rest])


def keys(frame: pl.DataFrame) -> list[str]:
    return frame["key"].to_list()


# Which partition a key belongs to


def test_the_date_in_the_key_is_the_partition_and_other_groups_are_columns() -> None:
    assigned = assign_partitions(listed(("raw/2026-11-19/A7.txt", "1")), source())
    assert assigned.files.select("key", "partition", "shipper_id").rows() == [
        ("raw/2026-11-19/A7.txt", "2026-11-19", "A7")
    ]
    assert assigned.unmatched.is_empty()


def test_a_key_without_a_date_belongs_to_the_utc_day_it_was_last_modified() -> None:
    late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    assigned = assign_partitions(listed(("raw/A.txt", "1", late)), source(r"raw/(?P<shipper_id>\w+)\.txt"))
    assert assigned.files["partition"].to_list() == ["2026-11-20"]


def test_an_overwritten_key_without_a_date_stays_where_it_was() -> None:
    listing = listed(("raw/A.txt", "2", NOON + timedelta(days=3)), ("raw/B.txt", "1", NOON))
    assigned = assign_partitions(listing, source(r"raw/\w+\.txt"), {"raw/A.txt": "2026-11-20"})
    assert assigned.files["partition"].to_list() == ["2026-11-20", "2026-11-20"]


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("raw/2026-02-31/A.txt", "'2026-02-31'"),
        ("raw/2026-13-01/A.txt", "'2026-13-01'"),
        ("raw/2026-11-20/A.csv", repr(DATED.pattern)),
        ("raw/2026-11-20/x/A.txt", repr(DATED.pattern)),
        ("raw/2026-11-20//A.txt", "empty"),
        ("raw/2026-11-20/A\n.txt", "control character"),
    ],
)
def test_a_key_that_cannot_be_read_has_a_problem(key: str, named: str) -> None:
    assigned = assign_partitions(listed((key, "1"), ("raw/2026-11-20/B.txt", "1")), source())
    assert keys(assigned.files) == ["raw/2026-11-20/B.txt"]
    assert keys(assigned.unmatched) == [key]
    assert named in assigned.unmatched["problem"][0]


def test_a_leap_day_and_another_date_format_are_read() -> None:
    found = assign_partitions(
        listed(("raw/20240229_A.txt", "1"), ("raw/20230229_B.txt", "1")),
        source(r"raw/(?P<date>\d{8})_\w\.txt", date_format="%Y%m%d"),
    )
    assert found.files["partition"].to_list() == ["2024-02-29"]
    assert keys(found.unmatched) == ["raw/20230229_B.txt"]


@pytest.mark.parametrize("pattern", [r"raw/(?P<key>\w+)", r"raw/(?P<partition>\w+)", r"raw/(?P<etag>\w+)"])
def test_a_group_named_like_a_column_of_the_listing_is_a_config_error(pattern: str) -> None:
    with pytest.raises(ValidationError):
        source(pattern)


@pytest.mark.parametrize("date_format", ["%Y-%m", "%d", "%H:%M", "day"])
def test_a_date_format_that_names_no_single_day_is_a_config_error(date_format: str) -> None:
    with pytest.raises(ValidationError):
        source(date_format=date_format)


# Listing


OPTIONAL = r"raw/(?:(?P<date>\d{4}-\d{2}-\d{2})/)?(?P<shipper_id>[^/]+)\.txt"
LAYOUTS = {
    "folders": DATED.pattern,
    "hive": r"raw/date=(?P<date>\d{4}-\d{2}-\d{2})/(?P<shipper_id>[^/]+)\.(txt|csv)",
    "optional": OPTIONAL,
    "flat": r"raw/(?P<date>\d{4}-\d{2}-\d{2})_(?P<shipper_id>[^/]+)\.txt",
    "deep": r"raw/(?P<shipper_id>[^/]+)/(?P<date>\d{4}-\d{2}-\d{2})\.txt",
    "undated": r"raw/(?P<shipper_id>[^/]+)\.txt",
}
STORED = [
    *[
        f"raw/{name}"
        for day in ("2026-10-01", "2026-11-19", "2026-11-20", "2026-02-31")
        for name in (f"{day}/A.txt", f"{day}/readme.md", f"date={day}/B.txt", f"{day}_C.txt", f"D/{day}.txt")
    ],
    "raw/loose.txt",
    "raw/notes.md",
    "raw/archive/2026-11-20/old.txt",
    "rawer/2026-11-20/A.txt",
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_way_of_listing_gives_a_partition_the_same_rows(lake_objects: Objects, layout: str) -> None:
    """Else a sweep and a tick would compute different digests, and launch runs for ever."""
    for key in STORED:
        lake_objects.put(key, b"1")
    raw = source(LAYOUTS[layout])
    homes = {"raw/loose.txt": "2026-11-19"}
    everything = list_all(lake_objects, raw, homes).files
    assert everything.height == len(STORED) - 1
    matched = everything.filter(pl.col("problem").is_null())
    assert not matched.is_empty()
    for day in everything["partition"].drop_nulls().unique():
        expected = everything.filter(pl.col("partition") == day)
        assert list_partition(lake_objects, raw, day, homes).files.equals(expected)
    since = list_since(lake_objects, raw, "2026-11-19", homes).files
    assert since.equals(everything.filter(pl.col("partition") >= "2026-11-19"))


def test_old_date_folders_are_not_listed(s3_server: S3Server) -> None:
    objects = Objects.open(s3_server.url, options=s3_server.options)
    for day in range(1, 31):
        s3_server.put(f"raw/2026-11-{day:02}/A.txt", b"1")
    for pattern in (LAYOUTS["folders"], r"raw/(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})/(?P<id>.+)\.(txt|csv)$"):
        before = s3_server.counts["ListObjectsV2"]
        assert list_since(objects, source(pattern), "2026-11-29").files.height == 2
        assert s3_server.counts["ListObjectsV2"] - before == 3  # the folders, and two of them


@pytest.mark.parametrize(
    "pattern",
    [
        r"raw/.*(?P<date>\d{4}-\d{2}-\d{2})/x\.txt",  # the date may be deeper
        r"raw/(?P<date>\d{4}-\d{2}-\d{2})/x|raw/\w+\.txt",  # the other branch has no date
        r"raw/(?P<date>\d{4}/\d{2}/\d{2})/x",
        r"raw/(?i:x)?(?P<date>\d{4}-\d{2}-\d{2})/x",
        r"raw/(?P<date>\d{4}-\d{2}-\d{2})?/x",
        r"(raw|other)/(?P<date>\d{4}-\d{2}-\d{2})/x",
    ],
)
def test_a_pattern_that_does_not_prove_date_folders_is_listed_whole(pattern: str) -> None:
    assert source(pattern).date_folders is None


# The plan


def plan_of(listing: pl.DataFrame, ledger: pl.DataFrame, **settings: str) -> FilePlan:
    return plan_files(listing, ledger, **{"on_overwrite": "latest", "on_delete": "keep", **settings})


def test_new_changed_vanished_and_unchanged_files_are_distinguished() -> None:
    plan = plan_of(
        listed(("a", "1"), ("b", "2"), ("d", "1")),
        ledger_of(("a", "1", "accepted"), ("b", "1", "accepted"), ("c", "1", "accepted")),
    )
    assert keys(plan.new) == ["d"]
    assert plan.changed.select("key", "etag", "previous_etag", "status").rows() == [
        ("b", "2", "1", "accepted")
    ]
    assert plan.vanished.select("key", "status").rows() == [("c", "kept")]
    assert keys(plan.unchanged) == ["a"]
    assert plan.has_work


def test_a_file_that_expired_is_no_work_unless_deletions_count() -> None:
    ledger = ledger_of(("a", "1", "accepted"))
    assert not plan_of(listed(), ledger).has_work
    removed = plan_of(listed(), ledger, on_delete="remove")
    assert removed.has_work
    assert removed.vanished["status"].to_list() == ["removed"]


def test_an_overwrite_that_is_not_allowed_is_reported_once_as_rejected() -> None:
    ledger = ledger_of(("a", "1", "accepted"))
    plan = plan_of(listed(("a", "2")), ledger, on_overwrite="reject")
    assert plan.changed.select("key", "status").rows() == [("a", "rejected")]
    assert plan.has_work
    after = recorded(plan, ledger)
    assert not plan_of(listed(("a", "2")), after, on_overwrite="reject").has_work
    assert keys(plan_of(listed(("a", "3")), after, on_overwrite="reject").changed) == ["a"]


def test_a_file_overwritten_within_the_same_second_is_changed() -> None:
    assert keys(plan_of(listed(("a", "2", NOON)), ledger_of(("a", "1", "accepted"))).changed) == ["a"]


def test_a_file_that_arrives_with_an_older_time_than_the_ledger_is_new() -> None:
    plan = plan_of(
        listed(("a", "1"), ("late", "1", NOON - timedelta(days=9))), ledger_of(("a", "1", "accepted"))
    )
    assert keys(plan.new) == ["late"]


def test_a_key_listed_twice_counts_once_as_last_modified() -> None:
    plan = plan_of(
        listed(("a", "2", NOON), ("a", "1", NOON - timedelta(hours=1)), ("a", "2", NOON)), ledger_of()
    )
    assert plan.new.select("key", "etag").rows() == [("a", "2")]


objects_in_bucket = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from("123"),
        st.integers(-2, 2).map(lambda seconds: NOON + timedelta(seconds=seconds)),
    ),
    max_size=12,
)
ledgers = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(st.sampled_from("123"), st.sampled_from(["accepted", "rejected", "kept"])),
).map(lambda rows: ledger_of(*[(key, etag, status) for key, (etag, status) in rows.items()]))
policies = st.fixed_dictionaries(
    {"on_overwrite": st.sampled_from(["latest", "reject"]), "on_delete": st.sampled_from(["keep", "remove"])}
)


@settings(max_examples=tries(200), deadline=None)
@given(objects_in_bucket, ledgers, policies)
def test_applying_a_plan_leaves_no_work(rows: list, ledger: pl.DataFrame, policy: dict[str, str]) -> None:
    listing = listed(*rows)
    after = recorded(plan_files(listing, ledger, **policy), ledger)
    assert after["key"].is_unique().all()
    again = plan_files(listing, after, **policy)
    assert not again.has_work
    assert again.new.is_empty()
    assert again.changed.is_empty()
    assert again.vanished.is_empty()


@settings(max_examples=tries(150), deadline=None)
@given(objects_in_bucket, ledgers, policies)
def test_every_object_and_every_ledger_row_has_exactly_one_place_in_the_plan(
    rows: list, ledger: pl.DataFrame, policy: dict[str, str]
) -> None:
    plan = plan_files(listed(*rows), ledger, **policy)
    places = [*keys(plan.new), *keys(plan.changed), *keys(plan.unchanged)]
    assert sorted(places) == sorted({key for key, *_ in rows})
    gone = set(keys(ledger)) - set(places)
    expected = gone if policy["on_delete"] == "remove" else gone & set(keys(ledger.filter(status="accepted")))
    assert set(keys(plan.vanished)) == expected


@settings(max_examples=tries(100), deadline=None)
@given(objects_in_bucket, ledgers, policies, st.randoms(use_true_random=False))
def test_the_order_and_repetition_of_a_listing_decide_nothing(
    rows: list, ledger: pl.DataFrame, policy: dict[str, str], shuffling: object
) -> None:
    again = [*rows, *rows[:3]]
    shuffling.shuffle(again)
    one, other = (plan_files(listed(*order), ledger, **policy) for order in (rows, again))
    for name in ("new", "changed", "vanished", "unchanged"):
        assert getattr(one, name).equals(getattr(other, name))
    assert inputs_digest(listed(*rows)) == inputs_digest(listed(*again))


@settings(max_examples=tries(100), deadline=None)
@given(objects_in_bucket, objects_in_bucket)
def test_digests_are_equal_exactly_for_equal_sets(one: list, other: list) -> None:
    def as_set(rows: list) -> set:
        return {(key, etag) for key, etag, _ in rows}

    assert (inputs_digest(listed(*one)) == inputs_digest(listed(*other))) == (as_set(one) == as_set(other))


# Which partitions differ


def publish(listing: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """partitions and ledgers as if every file of the listing were published."""
    ledger = listing.with_columns(status=pl.lit("accepted"))
    rows = [(day, inputs_digest(files)) for (day,), files in listing.group_by("partition")]
    published = pl.DataFrame(rows, schema={"partition": pl.String, "inputs_digest": pl.String}, orient="row")
    return published, ledger


class Ledgers:
    """Remembers which partitions were asked for."""

    def __init__(self, ledger: pl.DataFrame) -> None:
        self.ledger = ledger
        self.asked: list[list[str]] = []

    def __call__(self, partitions: Sequence[str]) -> pl.DataFrame:
        self.asked.append(list(partitions))
        return self.ledger.filter(pl.col("partition").is_in(partitions))


def assigned(*rows: tuple) -> pl.DataFrame:
    return assign_partitions(listed(*rows), source()).files


def test_equal_digests_cost_no_reading_of_ledgers() -> None:
    listing = assigned(("raw/2026-11-19/A.txt", "1"), ("raw/2026-11-20/A.txt", "1"))
    published, ledger = publish(listing)
    ledgers = Ledgers(ledger)
    assert differing_partitions(listing, published, ledgers) == []
    assert ledgers.asked == []


def test_only_partitions_with_work_are_named_with_their_counts() -> None:
    published, ledger = publish(
        assigned(
            ("raw/2026-11-17/A.txt", "1"),
            ("raw/2026-11-18/A.txt", "1"),
            ("raw/2026-11-18/B.txt", "1"),
            ("raw/2026-11-19/A.txt", "1"),
            ("raw/2026-11-19/B.txt", "1"),
        )
    )
    listing = assigned(
        ("raw/2026-11-17/A.txt", "1"),
        ("raw/2026-11-18/A.txt", "1"),  # B expired: no work
        ("raw/2026-11-19/A.txt", "2"),  # overwritten, B expired, C is new
        ("raw/2026-11-19/C.txt", "1"),
        ("raw/2026-11-20/A.txt", "1"),  # a new date
    )
    ledgers = Ledgers(ledger)
    digest = {day: inputs_digest(files) for (day,), files in listing.group_by("partition")}
    assert differing_partitions(listing, published, ledgers) == [
        PartitionDifference("2026-11-19", digest["2026-11-19"], new=1, changed=1, vanished=1),
        PartitionDifference("2026-11-20", digest["2026-11-20"], new=1, changed=0, vanished=0),
    ]
    assert ledgers.asked == [["2026-11-18", "2026-11-19"]]


def test_before_the_first_publish_everything_is_new() -> None:
    listing = assigned(("raw/2026-11-19/A.txt", "1"), ("raw/2026-11-20/A.txt", "1"))
    found = differing_partitions(listing, None, Ledgers(pl.DataFrame()))
    assert [(each.partition, each.new) for each in found] == [("2026-11-19", 1), ("2026-11-20", 1)]


def test_a_listing_of_one_window_never_removes_the_dates_outside_it() -> None:
    everything = assigned(("raw/2026-10-01/A.txt", "1"), ("raw/2026-11-20/A.txt", "1"))
    published, ledger = publish(everything)
    removing = {"on_delete": "remove"}
    window = everything.filter(pl.col("partition") >= "2026-11-01")
    assert differing_partitions(window, published, Ledgers(ledger), **removing) == []
    assert (
        differing_partitions(window, published, Ledgers(ledger), **removing, complete_since="2026-11-01")
        == []
    )


def test_a_date_whose_files_were_all_deleted_is_found_where_deletions_count() -> None:
    everything = assigned(("raw/2026-10-01/A.txt", "1"), ("raw/2026-11-20/A.txt", "1"))
    published, ledger = publish(everything)
    left = everything.filter(pl.col("partition") == "2026-11-20")
    found = differing_partitions(left, published, Ledgers(ledger), on_delete="remove", complete_since="")
    assert [(each.partition, each.vanished) for each in found] == [("2026-10-01", 1)]
    assert found[0].digest == inputs_digest(listed())
    assert differing_partitions(left, published, Ledgers(ledger), complete_since="") == []


def test_the_same_key_may_be_in_the_ledgers_of_two_partitions() -> None:
    """A key without a date that was published under one day and uploaded again on another."""
    raw = source(r"raw/\w+\.txt")
    listing = assign_partitions(listed(("raw/A.txt", "2", NOON + timedelta(days=1))), raw).files
    published, ledger = publish(assign_partitions(listed(("raw/A.txt", "1", NOON)), raw).files)
    found = differing_partitions(listing, published, Ledgers(ledger))
    assert [(each.partition, each.new, each.changed) for each in found] == [("2026-11-21", 1, 0)]


def test_three_changes_among_100_000_keys_are_found_in_a_moment() -> None:
    first = date(2026, 1, 1)
    days = [(first + timedelta(days=number)).isoformat() for number in range(365)]
    rows = [(f"raw/{days[number % 365]}/{number:06}.txt", "1", 1, NOON) for number in range(100_000)]
    listing = pl.DataFrame(rows, schema=LISTING_SCHEMA, orient="row")
    published, ledger = publish(assign_partitions(listing, source()).files)
    changed = [rows[7][0], rows[500][0], rows[99_999][0]]
    touched = pl.when(pl.col("key").is_in(changed)).then(pl.lit("2")).otherwise("etag")
    listing = listing.with_columns(etag=touched)
    started = time.process_time()
    found = differing_partitions(
        assign_partitions(listing, source()).files, published, Ledgers(ledger), complete_since=""
    )
    took_s = time.process_time() - started
    assert [each.changed for each in found] == [1, 1, 1]
    assert took_s < 4  # of the processor; it takes 0.6 s


# Events


def test_events_name_the_partitions_to_list_first() -> None:
    found = partitions_named_by(
        [
            "raw/2026-11-20/A B+ü.txt",
            "raw/2026-11-18/C.txt",
            "raw/2026-11-20/D.txt",
            "raw/2026-02-31/E.txt",
            "datasets/x/index/current_version.txt",
        ],
        source(),
    )
    assert found == ["2026-11-18", "2026-11-20"]


def test_an_undated_key_of_an_event_names_the_partition_it_was_published_in() -> None:
    found = partitions_named_by(["raw/A.txt", "raw/new.txt"], source(OPTIONAL), {"raw/A.txt": "2026-11-02"})
    assert found == ["2026-11-02"]
