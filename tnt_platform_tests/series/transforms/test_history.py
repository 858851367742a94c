import hashlib
import struct
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.errors import ConfigError
from tnt_platform.series.transforms.history import (
    PARTITION_STRATEGIES,
    merge_observations,
    partition_digests,
    vanished,
)
from tnt_platform.series.transforms.observations import KEY, observation_schema

SCHEMA = {**observation_schema("UTC"), "collection_date": pl.Date, "capture": pl.String}
CONTENT = [*KEY, "value", "unit", "frequency"]


def rows(capture: str, *observations: tuple[str, date, float], unit: str = "ARS") -> pl.DataFrame:
    frame = pl.DataFrame(
        observations, schema={KEY[0]: pl.String, KEY[1]: pl.Date, "value": pl.Float64}, orient="row"
    )
    return frame.select(
        *KEY,
        pl.col("period").cast(pl.Datetime("us", "UTC")).alias("obs_time"),
        "value",
        unit=pl.lit(unit),
        frequency=pl.lit("D"),
        printed_date=pl.lit("text of " + capture),
        place=pl.lit("cell of " + capture),
        line_no=pl.lit(1, pl.Int64),
        collection_date=pl.lit(date(2026, 1, 1)),
        capture=pl.lit(capture),
    )


def keys(*pairs: tuple[str, int]) -> pl.DataFrame:
    days = [(code, date(2024, 1, day)) for code, day in pairs]
    return pl.DataFrame(days, schema={KEY[0]: pl.String, KEY[1]: pl.Date}, orient="row")


def shown(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return frame.select(KEY[0], pl.col("period").dt.day(), "value", "capture").rows()


DAY = [date(2024, 1, n) for n in range(1, 32)]


def test_new_keys_are_added_changed_ones_replaced_and_the_others_stay():
    before = rows("old", ("X", DAY[0], 1.0), ("X", DAY[1], 2.0), ("Y", DAY[0], 5.0))
    fresh = rows("new", ("X", DAY[2], 3.0), ("X", DAY[1], 2.5), ("X", DAY[0], 1.0))
    merged = merge_observations(before, fresh)
    assert dict(merged.schema) == SCHEMA
    assert shown(merged) == [
        ("X", 1, 1.0, "old"),
        ("X", 2, 2.5, "new"),
        ("X", 3, 3.0, "new"),
        ("Y", 1, 5.0, "old"),
    ]
    assert merged["place"][0] == "cell of old"


@pytest.mark.parametrize(("value", "unit"), [(0.1 + 0.2, "ARS"), (0.3, "USD"), (-0.3, "ARS")])
def test_one_bit_or_another_unit_is_a_correction(value, unit):
    merged = merge_observations(rows("old", ("X", DAY[0], 0.3)), rows("new", ("X", DAY[0], value), unit=unit))
    assert shown(merged) == [("X", 1, value, "new")]


def test_the_order_of_columns_does_not_matter():
    before, fresh = rows("old", ("X", DAY[0], 1.0)), rows("new", ("X", DAY[1], 2.0))
    assert merge_observations(before, fresh.select(reversed(fresh.columns))).columns == before.columns


def test_another_timezone_is_rejected_by_name():
    before = rows("old", ("X", DAY[0], 1.0))
    fresh = before.with_columns(pl.col("obs_time").dt.convert_time_zone("America/Havana"))
    with pytest.raises(ConfigError, match=r"obs_time: .*UTC.*America/Havana"):
        merge_observations(before, fresh)
    with pytest.raises(ConfigError, match="capture: String"):
        merge_observations(before, before.drop("capture"))


CAPTURES = st.dictionaries(
    st.tuples(st.sampled_from(["X", "Y"]), st.sampled_from(DAY[:5])),
    st.sampled_from([0.0, -0.0, 1.0, 1.5]),
    max_size=8,
)


def captured(name: str, values: dict[tuple[str, date], float]) -> pl.DataFrame:
    return rows(name, *((code, day, value) for (code, day), value in values.items()))


@settings(deadline=None)
@given(CAPTURES, CAPTURES)
def test_merging_says_for_every_key_what_a_dict_would(before, fresh):
    merged = merge_observations(captured("old", before), captured("new", fresh))
    same = {
        key
        for key in before
        if key not in fresh or struct.pack("d", before[key]) == struct.pack("d", fresh[key])
    }
    expected = {
        key: (repr(value), "old" if key in same else "new")
        for key, value in sorted({**before, **fresh}.items())
    }
    found = merged.select(*KEY, "value", "capture").rows()
    assert {(code, day): (repr(value), capture) for code, day, value, capture in found} == expected
    assert [row[:2] for row in found] == list(expected)


@settings(deadline=None)
@given(CAPTURES, CAPTURES)
def test_merging_again_changes_nothing(before, fresh):
    once = merge_observations(captured("old", before), captured("new", fresh))
    assert merge_observations(once, captured("new", fresh)).equals(once)
    assert merge_observations(once, captured("again", fresh)).equals(once)
    assert merge_observations(once, once).equals(once)


@pytest.mark.parametrize(
    ("strategy", "partition"),
    [
        ("series_year_month", "X/year=2024/month=01"),
        ("series_year", "X/year=2024"),
        ("year", "year=2024"),
        ("date", "2024-01-31"),
    ],
)
def test_each_strategy_names_partitions_its_way(strategy, partition):
    found = partition_digests(rows("a", ("X", DAY[30], 1.0)), strategy)
    assert dict(found.schema) == {"partition": pl.String, "digest": pl.String, "rows": pl.Int64}
    assert found.select("partition", "rows").rows() == [(partition, 1)]


def test_rows_of_all_series_share_the_partition_of_a_year():
    found = partition_digests(
        rows("a", ("X", DAY[0], 1.0), ("Y", DAY[0], 1.0), ("X", date(2023, 1, 1), 1.0)), "year"
    )
    assert found.select("partition", "rows").rows() == [("year=2023", 1), ("year=2024", 2)]


def test_a_digest_is_the_same_in_every_process_and_release():
    found = partition_digests(rows("a", ("X", DAY[0], 1.5), ("X", DAY[1], -0.0)), "year")
    bits = [struct.unpack("<Q", struct.pack("<d", value))[0] for value in (1.5, -0.0)]
    text = f"X\x1f19723\x1f{bits[0]}\x1fARS\x1fD\nX\x1f19724\x1f{bits[1]}\x1fARS\x1fD"
    assert found["digest"].to_list() == [hashlib.sha256(text.encode()).hexdigest()]


def test_nothing_has_no_partitions():
    assert partition_digests(rows("a"), "year").rows() == []


@settings(deadline=None)
@given(CAPTURES, st.randoms(), st.sampled_from(list(PARTITION_STRATEGIES)))
def test_digests_do_not_depend_on_the_order_of_rows_nor_on_where_they_came_from(values, shuffle, strategy):
    items = list(values.items())
    shuffle.shuffle(items)
    assert partition_digests(captured("a", values), strategy).equals(
        partition_digests(captured("b", dict(items)), strategy)
    )


@settings(deadline=None)
@given(CAPTURES, CAPTURES, st.sampled_from(list(PARTITION_STRATEGIES)))
def test_digests_differ_exactly_where_the_content_does(one, other, strategy):
    def contents(values: dict[tuple[str, date], float]) -> dict[str, list[tuple[Any, ...]]]:
        frame = captured("a", values).with_columns(partition=PARTITION_STRATEGIES[strategy]())
        parts = frame.sort(KEY).partition_by("partition", as_dict=True)
        return {
            str(name): [tuple(map(repr, row)) for row in part.select(CONTENT).rows()]
            for (name,), part in parts.items()
        }

    digests = [
        dict(partition_digests(captured("a", v), strategy).select("partition", "digest").rows())
        for v in (one, other)
    ]
    differing = {name for name in {*digests[0], *digests[1]} if digests[0].get(name) != digests[1].get(name)}
    left, right = contents(one), contents(other)
    assert differing == {name for name in {*left, *right} if left.get(name) != right.get(name)}


BEFORE = keys(("X", 1), ("X", 2), ("X", 3), ("Y", 1), ("Z", 1))
FRESH = keys(("X", 2), ("X", 4), ("Y", 1))


def test_a_complete_history_that_lacks_a_key_has_lost_it():
    assert vanished(BEFORE, FRESH, keys()).equals(keys(("X", 1), ("X", 3), ("Z", 1)))


def test_a_window_may_leave_what_is_older_behind():
    assert vanished(BEFORE, FRESH, keys(), "window").equals(keys(("X", 3)))


def test_a_rejected_key_has_not_vanished_and_belongs_to_the_window():
    assert vanished(BEFORE, FRESH, keys(("X", 3)), "window").equals(keys())
    assert vanished(BEFORE, FRESH, keys(("X", 1)), "window").equals(keys(("X", 3)))


def test_nothing_vanishes_from_a_first_publish():
    assert vanished(keys(), FRESH, keys()).equals(keys())
