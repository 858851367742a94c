from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.errors import ConfigError
from tnt_platform.series.transforms.periods import FREQUENCIES, expected_periods, period_of, period_starts

DAYS = st.dates(date(1800, 1, 1), date(2200, 12, 31))
ANY_FREQUENCY = st.sampled_from(list(FREQUENCIES))


def period(day: date, frequency: str) -> date:
    return pl.select(period_of(pl.lit(day), frequency)).item()


def starts(timezone: str, *days: date) -> pl.DataFrame:
    found = period_starts(pl.Series(days), timezone)
    assert found.schema["obs_time"] == pl.Datetime("us", timezone)
    return found.with_columns(pl.col("obs_time").dt.to_string("%Y-%m-%d %H:%M:%S %z"))


@settings(deadline=None)
@given(DAYS)
def test_a_period_is_named_by_its_first_day(day):
    assert [period(day, frequency) for frequency in "DWMQA"] == [
        day,
        day - timedelta(day.weekday()),
        day.replace(day=1),
        day.replace(month=day.month - (day.month - 1) % 3, day=1),
        day.replace(month=1, day=1),
    ]


@settings(deadline=None)
@given(DAYS, ANY_FREQUENCY)
def test_the_period_of_a_period_is_itself(day, frequency):
    assert period(period(day, frequency), frequency) == period(day, frequency)


@settings(deadline=None)
@given(st.dates(date(1990, 1, 1), date(2030, 1, 1)), st.integers(0, 2000), ANY_FREQUENCY)
def test_expected_periods_are_those_of_all_days_between(first, days, frequency):
    every_day = [first + timedelta(n) for n in range(days + 1)]
    found = expected_periods(first, every_day[-1], frequency, weekends=True)
    assert found.dtype == pl.Date
    every_period = pl.DataFrame({"day": every_day}).select(period_of(pl.col("day"), frequency)).to_series()
    assert found.to_list() == every_period.unique().sort().to_list()


def test_expected_days_are_working_days_unless_weekends_count():
    week = date(2024, 3, 15), date(2024, 3, 19)
    assert [day.day for day in expected_periods(*week, "D")] == [15, 18, 19]
    assert [day.day for day in expected_periods(*week, "D", weekends=True)] == [15, 16, 17, 18, 19]


@pytest.mark.parametrize(
    ("timezone", "day", "start"),
    [
        ("America/Argentina/Buenos_Aires", date(2007, 12, 30), "2007-12-30 01:00:00 -0200"),
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04 01:00:00 -0200"),
        ("America/Asuncion", date(2023, 10, 1), "2023-10-01 01:00:00 -0300"),
        # The gap began before midnight.
        ("America/Toronto", date(1919, 3, 31), "1919-03-31 00:30:00 -0400"),
        # A whole day was left out.
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-31 00:00:00 +1400"),
    ],
)
def test_a_midnight_that_does_not_exist_gives_the_first_instant_after_the_gap(timezone, day, start):
    found = starts(timezone, day, day - timedelta(1), day)
    assert found.select("dst_gap", "dst_repeat").rows() == [(False, False), (True, False)]
    assert found["obs_time"][1] == start


@pytest.mark.parametrize(
    ("timezone", "day", "start"),
    [
        ("America/Havana", date(2023, 11, 5), "2023-11-05 00:00:00 -0400"),
        # At one minute past midnight clocks went back to 23:01.
        ("America/St_Johns", date(2010, 11, 7), "2010-11-07 00:00:00 -0230"),
    ],
)
def test_a_midnight_that_exists_twice_gives_the_first(timezone, day, start):
    assert starts(timezone, day).rows() == [(day, start, False, True)]


@settings(deadline=None)
@given(
    st.lists(st.dates(date(1900, 1, 1), date(2037, 12, 31)), max_size=50),
    st.sampled_from(
        ["America/Argentina/Buenos_Aires", "America/Sao_Paulo", "America/Havana", "UTC", "Asia/Beirut"]
    ),
)
def test_no_instant_of_a_period_comes_before_its_start(days, timezone):
    zone = ZoneInfo(timezone)
    found = period_starts(pl.Series(days, dtype=pl.Date), timezone)
    assert found["period"].to_list() == sorted(set(days))
    for day, start, gap, repeat in found.rows():
        local = start.astimezone(zone)
        just_before = (start.astimezone(UTC) - timedelta(seconds=1)).astimezone(zone)
        assert local.replace(tzinfo=None) >= datetime.combine(day, datetime.min.time())
        assert just_before.date() < day
        assert (local.hour, local.minute) == (0, 0) or gap
        assert not (gap and repeat)


def test_an_unknown_timezone_is_rejected_by_name():
    with pytest.raises(ConfigError, match="'America/Springfield'"):
        period_starts(pl.Series([date(2024, 1, 1)]), "America/Springfield")
