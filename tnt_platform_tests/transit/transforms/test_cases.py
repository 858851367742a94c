"""Which cases count, how they compare and what they add up to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.transit.transforms.cases import (
    QUARANTINE_SCHEMA,
    DistinctCases,
    compare_dates,
    compare_days,
    distinct_cases,
    identify,
    rejected_files,
    rejected_rows,
    sample_rows,
    summarise,
)
from tnt_platform_tests.rounds import tries

NOON = datetime(2026, 1, 12, 12, tzinfo=UTC)
CASES = {"file_key": pl.Utf8, "line_no": pl.Int64, "shipper": pl.Utf8, "to": pl.Utf8, "days": pl.Int64}
FILES = {"file_key": pl.Utf8, "last_modified": pl.Datetime("us", "UTC")}
IDENTITY = ["shipper", "to"]

Row = tuple[str, int, str, str, int | None]


def cases(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=CASES, orient="row")


def files(**seconds: int) -> pl.DataFrame:
    rows = [(key, NOON + timedelta(seconds=at)) for key, at in seconds.items()]
    return pl.DataFrame(rows, schema=FILES, orient="row")


def distinct(rows: Sequence[Row], **seconds: int) -> DistinctCases:
    return distinct_cases(cases(*rows), files(**seconds), IDENTITY)


def test_the_newest_file_of_a_date_wins_case_by_case() -> None:
    rows: list[Row] = [("old", 1, "s", "x", 1), ("old", 2, "s", "y", 1), ("new", 1, "s", "x", 2)]
    for order in (rows, rows[::-1]):
        found = distinct(order, old=0, new=1)
        assert found.kept.rows() == [("new", 1, "s", "x", 2), ("old", 2, "s", "y", 1)]
        assert (found.rejected.height, found.deduplicated) == (0, 1)


def test_of_files_of_the_same_second_the_last_name_wins() -> None:
    found = distinct([("b", 1, "s", "x", 1), ("a", 1, "s", "x", 2)], a=0, b=0)
    assert found.kept["file_key"].to_list() == ["b"]


def test_equal_rows_of_a_file_count_once_and_the_first_line_stands_for_them() -> None:
    found = distinct([("a", 2, "s", "x", 1), ("a", 7, "s", "x", 1), ("a", 5, "s", "x", 1)], a=0)
    assert found.kept["line_no"].to_list() == [2]
    assert found.deduplicated == 2


def test_rows_of_a_file_that_contradict_each_other_are_all_rejected_with_their_lines() -> None:
    found = distinct(
        [("a", 9, "s", "x", 1), ("a", 4, "s", "x", None), ("a", 5, "s", "y", 1), ("old", 1, "s", "x", 1)],
        a=1,
        old=0,
    )
    assert found.kept["to"].to_list() == ["y"]
    assert found.deduplicated == 1
    assert found.rejected["line_no"].to_list() == [9, 4]
    assert set(found.rejected["reason_code"]) == {"conflicting_case"}
    assert all("lines 4, 9" in reason for reason in found.rejected["reason"])
    assert found.rejected["raw"].to_list() == ["shipper=s|to=x|days=1", "shipper=s|to=x|days="]


@settings(max_examples=tries(60), deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("st"), st.sampled_from("xy"), st.integers(0, 2)),
        max_size=14,
    ),
    st.permutations([0, 1, 1]),
    st.randoms(use_true_random=False),
)
def test_no_row_is_lost_and_the_order_of_rows_decides_nothing(
    drawn: list[tuple[str, str, str, int]], ages: list[int], chance: random.Random
) -> None:
    rows: list[Row] = [(key, line, *rest) for line, (key, *rest) in enumerate(drawn, start=1)]  # type: ignore[misc]
    seconds = dict(zip("abc", ages, strict=True))
    found = distinct(rows, **seconds)
    assert found.kept.height + found.rejected.height + found.deduplicated == len(rows)

    wanted: dict[tuple[str, str], int | None] = {}
    for key in sorted(seconds, key=lambda key: (seconds[key], key)):
        says: dict[tuple[str, str], set[int | None]] = {}
        for row in rows:
            if row[0] == key:
                says.setdefault((row[2], row[3]), set()).add(row[4])
        wanted |= {case: days.pop() if len(days) == 1 else None for case, days in says.items()}
    assert {(row[2], row[3]): row[4] for row in found.kept.iter_rows()} == {
        case: days for case, days in wanted.items() if days is not None
    }

    shuffled = chance.sample(rows, len(rows))
    again = distinct(shuffled, **seconds)
    assert again.kept.equals(found.kept)
    assert again.rejected.sort("file_key", "line_no").equals(found.rejected.sort("file_key", "line_no"))


def test_no_case_at_all_is_fine() -> None:
    found = distinct([])
    assert (found.kept.height, found.rejected.height, found.deduplicated) == (0, 0, 0)
    assert found.rejected.schema == QUARANTINE_SCHEMA


def test_a_sample_is_the_same_for_its_seed_whatever_other_files_there_are() -> None:
    many = cases(*[(key, line, "s", str(line), 1) for key in "ab" for line in range(1, 31)])
    alone = sample_rows(many.filter(file_key="a"), rows_per_file=5, seed=3)
    assert alone.height == 5
    assert (
        sample_rows(many.sample(fraction=1, shuffle=True, seed=1), rows_per_file=5, seed=3)
        .filter(file_key="a")
        .equals(alone)
    )
    assert not sample_rows(many, rows_per_file=5, seed=4).filter(file_key="a").equals(alone)


def test_a_file_smaller_than_the_sample_is_taken_whole() -> None:
    few = cases(("a", 1, "s", "x", 1), ("a", 2, "s", "y", 1))
    assert sample_rows(few, rows_per_file=5, seed=0).equals(few)
    assert sample_rows(few.clear(), rows_per_file=5, seed=0).is_empty()


def test_an_id_comes_from_the_values_alone_and_tells_all_of_them_apart() -> None:
    rows = cases(("a", 1, "s", "x", 1), ("b", 9, "s", "x", 1), ("a", 2, "sx", "", 1), ("a", 3, "s", "x", 2))
    ids = identify(rows, IDENTITY)
    assert ids[0] == ids[1] == ids[3]
    assert ids[2] != ids[0]
    assert ids.to_list() == identify(rows[::-1], IDENTITY).to_list()[::-1]
    assert identify(rows, [*IDENTITY, "days"]).n_unique() == 3
    assert all(len(text) == 32 for text in ids)
    # Published ids must never change: another algorithm would publish every result a second time.
    assert ids[0] == "2d183a124b0e0b1a47c0eb668b00fec0"


@pytest.mark.parametrize(
    ("expected", "actual", "lag", "status", "equal", "not_late"),
    [
        (3, 2, -1, "early", False, True),
        (3, 3, 0, "on_time", True, True),
        (3, 5, 2, "late", False, False),
        (0, 0, 0, "on_time", True, True),
    ],
)
def test_days_compare(expected: int, actual: int, lag: int, status: str, equal: bool, not_late: bool) -> None:
    frame = pl.DataFrame({"expected_transit_days": [expected], "actual_transit_days": [actual]})
    for rule, passed in (("equal", equal), ("not_late", not_late)):
        row = compare_days(frame, passes_when=rule).row(0, named=True)  # type: ignore[arg-type]  # both rules
        assert (row["lag_days"], row["status"], row["success"]) == (lag, status, passed)


def test_dates_compare_by_whole_days_over_month_ends_and_leap_days() -> None:
    frame = pl.DataFrame(
        {
            "expected_date": [date(2024, 2, 28), date(2023, 12, 31), date(2024, 3, 31)],
            "actual_date": [date(2024, 3, 1), date(2024, 1, 1), date(2024, 3, 1)],
        }
    )
    assert compare_dates(frame, passes_when="not_late")["lag_days"].to_list() == [2, 1, -30]


@settings(max_examples=tries(40), deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["x", "y", None]), st.integers(-3, 3), st.floats(0, 100)),
        min_size=1,
        max_size=20,
    )
)
def test_a_summary_counts_every_result_once_in_each_grouping(
    rows: list[tuple[str | None, int, float]],
) -> None:
    schema = {"state": pl.Utf8, "lag": pl.Int64, "time_taken_ms": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        expected_transit_days=pl.lit(5), actual_transit_days=pl.col("lag") + 5
    )
    results = compare_days(frame, passes_when="not_late")
    summary = summarise(results, ["state"])

    groups: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for state, lag, took in rows:
        for group in (("all", "all"), ("state", state if state is not None else "(none)")):
            groups.setdefault(group, []).append((lag, took))
    found = {(row["group_kind"], row["group_value"]): row for row in summary.iter_rows(named=True)}
    assert found.keys() == groups.keys()
    for group, members in groups.items():
        row, signs = found[group], Counter((lag > 0) - (lag < 0) for lag, _ in members)
        assert (row["early"], row["on_time"], row["late"]) == (signs[-1], signs[0], signs[1])
        assert row["cases"] == len(members) == row["passed"] + row["failed"]
        assert row["failed"] == signs[1]
        assert row["pass_rate"] == pytest.approx((signs[-1] + signs[0]) / len(members))
        assert row["mean_lag_days"] == pytest.approx(sum(lag for lag, _ in members) / len(members))
        times = sorted(took for _, took in members)
        assert (
            times[0] <= row["latency_p50_ms"] <= row["latency_p95_ms"] <= row["latency_p99_ms"] <= times[-1]
        )
        assert {row[f"latency_p{n}_ms"] for n in (50, 95, 99)} <= set(times)


def test_a_summary_of_nothing_has_no_rate() -> None:
    nothing = pl.DataFrame(schema={"expected_transit_days": pl.Int64, "actual_transit_days": pl.Int64})
    summary = summarise(compare_days(nothing, passes_when="equal"), [])
    assert summary.select("group_kind", "cases", "pass_rate").rows() == [("all", 0, None)]


def test_a_summary_without_requests_has_no_latency() -> None:
    dates = {"expected_date": [date(2026, 1, 1)], "actual_date": [date(2026, 1, 2)]}
    summary = summarise(compare_dates(pl.DataFrame(dates), passes_when="equal"), [])
    assert summary.select("group_kind", "cases", "latency_p50_ms").rows() == [("all", 1, None)]


def test_rejected_rows_and_files_say_where_what_and_why() -> None:
    rows = cases(("a", 4, "s", "x", None))
    rejected = rejected_rows(rows, ["to", "days"], pl.lit("odd"), pl.format("{} is odd", "to"))
    assert rejected.schema == QUARANTINE_SCHEMA
    assert rejected.rows() == [("a", 4, "to=x|days=", "odd", "x is odd", None)]
    whole = rejected_files(["a", "b"], "empty", ["no a", "no b"])
    assert whole.schema == QUARANTINE_SCHEMA
    assert whole.select("file_key", "line_no", "reason").rows() == [("a", 0, "no a"), ("b", 0, "no b")]
    assert rejected_files([], "empty", "nothing").schema == QUARANTINE_SCHEMA
