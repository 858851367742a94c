"""Items become records: what an id is, what a field may hold, what a fingerprint tells, and what is refused whole."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.records.summary import records_summary
from tnt_platform.records.transforms.records import (
    BUCKETS,
    RecordField,
    RecordMapping,
    bucket_of,
    changed_records,
    content_digest,
    map_items,
)

FIELDS = (
    RecordField(name="title"),
    RecordField(name="size", type="integer"),
    RecordField(name="price", path="cost.price", type="number"),
    RecordField(name="sold", type="boolean"),
)
THINGS = RecordMapping(item_id="id", fields=FIELDS)
NEEDED = RecordMapping(item_id="id", fields=(RecordField(name="title", required=True),))


def codes(items: list[Any], mapping: RecordMapping = THINGS) -> list[str]:
    mapped = map_items(items, mapping, "things")
    assert mapped.records.is_empty() or mapped.rejected.is_empty()
    return mapped.rejected["reason_code"].to_list()


def captured(hour: int) -> dict[str, pl.Expr]:
    moment = pl.lit(datetime(2026, 11, 21, hour, tzinfo=UTC)).cast(pl.Datetime("us", "UTC"))
    return {"captured_at": moment, "processed_at": moment, "raw_s3_key": pl.lit(f"capture {hour}")}


NOTHING = changed_records(
    map_items([], THINGS, "things").records,
    pl.DataFrame(
        schema={
            "id": pl.String(),
            "fingerprint": pl.String(),
            "first_seen_at": pl.Datetime("us", "UTC"),
            "captured_at": pl.Datetime("us", "UTC"),
        }
    ),
    captured(0),
)


def apply(known: pl.DataFrame, items: list[Any], hour: int) -> pl.DataFrame:
    """The records after a capture."""
    columns = known.select("id", "fingerprint", "first_seen_at", "captured_at")
    changed = changed_records(map_items(items, THINGS, "things").records, columns, captured(hour))
    return pl.concat([known.join(changed, on="id", how="anti"), changed]).sort("id")


def test_every_type_is_taken_as_the_json_has_it() -> None:
    item = {"id": 7, "title": 64265, "size": -3, "cost": {"price": 2}, "sold": False}
    row = map_items([item], THINGS, "things").records.row(0, named=True)
    assert (row["id"], row["item_id"], row["item_index"]) == ("things:7", "7", 0)
    assert (row["title"], row["size"], row["price"], row["sold"]) == ("64265", -3, 2.0, False)


def test_a_value_that_is_absent_or_null_is_null() -> None:
    row = map_items([{"id": "a", "title": None}], THINGS, "things").records.row(0, named=True)
    assert [row[field.name] for field in FIELDS] == [None] * 4


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"title": "x"}, "missing_id"),
        ({"id": ""}, "missing_id"),
        ({"id": None}, "missing_id"),
        ("no object", "missing_id"),
        ({"id": 1.5}, "bad_id"),
        ({"id": True}, "bad_id"),
        ({"id": ["a"]}, "bad_id"),
        ({"id": 1, "title": 1.5}, "not_text"),
        ({"id": 1, "title": {"en": "x"}}, "not_text"),
        ({"id": 1, "title": True}, "not_text"),
        ({"id": 1, "size": "3"}, "not_integer"),
        ({"id": 1, "size": True}, "not_integer"),
        ({"id": 1, "size": 2**63}, "not_integer"),
        ({"id": 1, "cost": {"price": "cheap"}}, "not_number"),
        ({"id": 1, "cost": {"price": 2**53 + 1}}, "not_number"),
        ({"id": 1, "sold": 1}, "not_boolean"),
        ({"id": 1, "title": "\ud800"}, "bad_text"),
        ({"id": "\ud800"}, "bad_text"),
    ],
)
def test_an_item_that_does_not_fit_refuses_the_whole_capture(item: Any, code: str) -> None:
    assert codes([{"id": 100}, item, {"id": 101}]) == ["capture_refused", code, "capture_refused"]


def test_a_required_field_without_value_refuses_the_capture() -> None:
    assert codes([{"id": 1, "title": None}], NEEDED) == ["missing_value"]


def test_a_path_that_cannot_be_applied_refuses_the_capture() -> None:
    joined = RecordMapping(item_id="id", fields=(RecordField(name="name", path="join(' ', [first, last])"),))
    assert codes([{"id": 1, "first": "Ana", "last": None}], joined) == ["unmappable"]
    assert map_items([{"id": 1, "first": "Ana", "last": "Gil"}], joined, "things").records[
        "name"
    ].to_list() == ["Ana Gil"]


def test_a_refusal_shows_the_item_its_place_and_the_reason() -> None:
    refused = map_items([{"id": 1}, {"title": "x"}], THINGS, "things").rejected
    assert refused["line_no"].to_list() == [1, 2]
    assert refused["raw"].to_list() == ['{"id": 1}', '{"title": "x"}']
    assert refused["reason_code"].to_list() == ["capture_refused", "missing_id"]
    assert "'id'" in refused["reason"][1]
    assert "2 (missing_id)" in refused["reason"][0]


def test_equal_duplicates_are_one_record_and_others_refuse_the_capture() -> None:
    same = {"id": 1, "title": "x"}
    mapped = map_items([same, {"id": 2}, same], THINGS, "things")
    assert (mapped.records["item_id"].to_list(), mapped.deduplicated) == (["1", "2"], 1)
    assert codes([same, {"id": 2}, {"id": "1", "title": "y"}]) == [
        "conflicting_duplicate",
        "capture_refused",
        "conflicting_duplicate",
    ]


def test_a_fingerprint_is_of_the_mapped_fields_alone() -> None:
    one = map_items([{"id": 1, "title": "x", "seen": 1}], THINGS, "things").records
    same = map_items([{"seen": 2, "title": "x", "id": 1}, {"id": 2}], THINGS, "things").records
    other = map_items([{"id": 1, "title": "y", "seen": 1}], THINGS, "things").records
    assert one["fingerprint"][0] == same["fingerprint"][0] != other["fingerprint"][0]
    assert len(one["fingerprint"][0]) == 64


def test_a_record_keeps_when_it_was_first_seen_and_says_which_capture_changed_it() -> None:
    first = apply(NOTHING, [{"id": 1, "title": "x"}, {"id": 2}], 1)
    again = apply(first, [{"id": 1, "title": "y"}, {"id": 2}], 2)
    rows = {row["item_id"]: row for row in again.to_dicts()}
    assert (rows["1"]["first_seen_at"].hour, rows["1"]["captured_at"].hour) == (1, 2)
    assert rows["1"]["raw_s3_key"] == "capture 2"
    assert rows["2"] == first.row(1, named=True)


def test_a_capture_that_comes_late_changes_nothing_that_a_later_one_showed() -> None:
    now = apply(NOTHING, [{"id": 1, "title": "new"}], 5)
    assert apply(now, [{"id": 1, "title": "old"}], 4).equals(now)


ITEMS = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 8), "title": st.text(st.characters(codec="utf-8"), max_size=3)}
    ),
    max_size=6,
    unique_by=lambda item: item["id"],
)


@settings(deadline=None)
@given(captures=st.lists(ITEMS, max_size=5))
def test_after_any_captures_each_record_holds_what_the_last_one_that_had_it_showed(
    captures: list[list[dict[str, Any]]],
) -> None:
    known = NOTHING
    last: dict[str, str] = {}
    for hour, items in enumerate(captures, start=1):
        known = apply(known, items, hour)
        last |= {str(item["id"]): item["title"] for item in items}
    assert dict(known.select("item_id", "title").iter_rows()) == last


@settings(deadline=None)
@given(items=ITEMS, seed=st.randoms(use_true_random=False))
def test_the_digest_of_a_capture_ignores_the_order_of_its_items(
    items: list[dict[str, Any]], seed: Any
) -> None:
    shuffled = [dict(reversed(item.items())) for item in items]
    seed.shuffle(shuffled)
    one, other = map_items(items, THINGS, "things"), map_items(shuffled, THINGS, "things")
    assert content_digest(one.records) == content_digest(other.records)


@settings(deadline=None)
@given(
    items=st.lists(st.fixed_dictionaries({"id": st.none() | st.integers(0, 3), "title": st.integers(0, 1)}))
)
def test_every_item_is_a_record_a_repetition_or_refused(items: list[dict[str, Any]]) -> None:
    mapped = map_items(items, THINGS, "things")
    assert mapped.records.height + mapped.rejected.height + mapped.deduplicated == len(items)


def test_buckets_are_sixteen_and_hold_about_the_same() -> None:
    found = pl.Series([bucket_of(f"posts:{n}") for n in range(16_000)]).value_counts()
    assert found.height == BUCKETS
    assert set(found[""]) == {f"bucket={n:02d}" for n in range(16)}
    assert found["count"].min() > 850
    assert bucket_of("posts:1") == "bucket=07", "a record never moves: other versions must find it there"


def test_a_summary_counts_by_source_and_day() -> None:
    known = apply(apply(NOTHING, [{"id": 1}, {"id": 2}], 1), [{"id": 3}], 2)
    rows = {(kind, value): n for kind, value, n, *_ in records_summary(known.lazy()).iter_rows()}
    assert rows == {("all", "all"): 3, ("source", "things"): 3, ("date", "2026-11-21"): 3}
