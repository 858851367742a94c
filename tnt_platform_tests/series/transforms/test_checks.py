from collections.abc import Iterable
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.series.transforms.checks import gaps, jumps
from tnt_platform.series.transforms.periods import expected_periods

CODE = "internal_series_code"


def days_of(frequency: str, *days: date, code: str = "X") -> pl.DataFrame:
    frame = pl.DataFrame({"period": days}, schema={"period": pl.Date})
    return frame.select(pl.lit(code).alias(CODE), "period", frequency=pl.lit(frequency))


def gap_rows(observations: pl.DataFrame) -> list[tuple[str, str, str, int]]:
    return gaps(observations).with_columns(pl.col("missing_from", "missing_to").cast(pl.String)).rows()


@pytest.mark.parametrize(
    ("frequency", "days", "gap"),
    [
        ("M", [date(2023, 10, 1), date(2024, 3, 1)], ("2023-11-01", "2024-02-01", 4)),
        ("Q", [date(2023, 10, 1), date(2024, 4, 1)], ("2024-01-01", "2024-01-01", 1)),
        ("A", [date(1999, 1, 1), date(2004, 1, 1)], ("2000-01-01", "2003-01-01", 4)),
        ("W", [date(2024, 2, 26), date(2024, 3, 18)], ("2024-03-04", "2024-03-11", 2)),
        # From Thursday to Tuesday.
        ("D", [date(2024, 3, 14), date(2024, 3, 19)], ("2024-03-15", "2024-03-18", 2)),
    ],
)
def test_a_run_of_missing_periods_is_one_gap(frequency, days, gap):
    assert gap_rows(days_of(frequency, *days)) == [("X", *gap)]


def test_weekends_are_no_gaps_of_a_series_without_weekends():
    week = [date(2024, 3, 11) + timedelta(n) for n in range(14)]
    assert gap_rows(days_of("D", *(day for day in week if day.weekday() < 5))) == []
    assert gap_rows(days_of("D", *(day for day in week if day.weekday() != 5))) == [
        ("X", "2024-03-16", "2024-03-16", 1),
        ("X", "2024-03-23", "2024-03-23", 1),
    ]


def test_a_lone_weekend_day_neither_makes_nor_mends_a_gap():
    friday, saturday, monday, tuesday = (date(2024, 3, n) for n in (15, 16, 18, 19))
    working = expected_periods(date(2024, 1, 1), friday, "D")
    assert gap_rows(days_of("D", *working, saturday, monday)) == []
    assert gap_rows(days_of("D", *working, saturday, tuesday)) == [("X", "2024-03-18", "2024-03-18", 1)]


def test_series_have_their_own_gaps_and_spans():
    january, march, may = (date(2024, n, 1) for n in (1, 3, 5))
    observations = pl.concat(
        [days_of("M", march, january), days_of("M", may, march, code="Y"), days_of("A", january, code="Z")]
    )
    assert gap_rows(observations) == [
        ("X", "2024-02-01", "2024-02-01", 1),
        ("Y", "2024-04-01", "2024-04-01", 1),
    ]


def test_no_observations_have_no_gaps():
    assert gap_rows(days_of("M")) == []


@settings(deadline=None)
@given(st.sampled_from("WMQA"), st.data())
def test_gaps_are_exactly_what_is_missing_between_first_and_last(frequency, data):
    calendar = expected_periods(date(1960, 1, 1), date(1990, 1, 1), frequency).head(30).to_list()
    have = data.draw(st.sets(st.sampled_from(calendar), min_size=1))
    missing: set[date] = set()
    for _, first, last, periods in gaps(days_of(frequency, *have)).rows():
        run = expected_periods(first, last, frequency).to_list()
        assert len(run) == periods
        assert not missing & set(run)
        missing |= set(run)
    assert missing == {day for day in calendar if min(have) < day < max(have)} - have


def values(numbers: Iterable[float], code: str = "X") -> pl.DataFrame:
    rows = [(code, date(2020, 1, 1) + timedelta(n), float(value)) for n, value in enumerate(numbers)]
    return pl.DataFrame(rows, schema={CODE: pl.String, "period": pl.Date, "value": pl.Float64}, orient="row")


def jump_rows(
    observations: pl.DataFrame, added: pl.DataFrame | None = None, limit: float = 10
) -> list[tuple[float, ...]]:
    found = jumps(observations, observations.tail(1) if added is None else added, limit)
    return found.select("value", "previous", "change", "typical_change").rows()


STEADY = [100, 101, 100, 102, 101, 103, 102]


def test_a_change_far_beyond_the_typical_one_is_a_jump():
    assert jump_rows(values([*STEADY, 112])) == []
    assert jump_rows(values([*STEADY, 112.5])) == [(112.5, 102, 10.5, 1)]
    assert jump_rows(values([*STEADY, 91.5])) == [(91.5, 102, -10.5, 1)]


def test_only_added_observations_are_judged_and_only_by_what_came_before():
    observations = values([*STEADY, 500, 102, 101])
    assert jump_rows(observations) == []
    assert [row[0] for row in jump_rows(observations, observations)] == [500, 102]


def test_an_earlier_jump_does_not_hide_a_later_one():
    observations = values([*STEADY, 5000, *STEADY, 5000])
    assert [row[:2] for row in jump_rows(observations)] == [(5000, 102)]


def test_a_series_that_moves_in_steps_is_judged_by_its_steps():
    steps = [level for level in (40, 42, 41, 43, 44, 43) for _ in range(5)]
    assert jump_rows(values([*steps, 45])) == []
    assert jump_rows(values([*steps, 430])) == [(430, 43, 387, 1)]


def test_growth_is_judged_by_recent_changes():
    growth = [1.02**n for n in range(600)]
    assert jump_rows(values(growth), values(growth)) == []


def test_a_short_or_constant_series_is_not_judged():
    assert jump_rows(values([1, 2, 1, 2, 1, 1000])) == []
    assert jump_rows(values([5] * 30 + [1000])) == []


def test_series_are_judged_apart():
    calm, wild = values([*STEADY, 130], "calm"), values([n * 100 % 700 for n in range(1, 9)], "wild")
    both = pl.concat([wild, calm])
    assert jumps(both, both, 10)[CODE].to_list() == ["calm"]
    assert jumps(both, both, 10).columns == [CODE, "period", "value", "previous", "change", "typical_change"]


def test_nothing_added_is_nothing_judged():
    assert jump_rows(values([*STEADY, 999]), values([])) == []
