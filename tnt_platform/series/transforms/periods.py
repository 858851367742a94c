"""Canonical periods: the one day that stands for a day, week, month, quarter or year, and when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import polars as pl

from tnt_platform.errors import ConfigError

SATURDAY: Final = 6
# A frequency and the step polars knows it by: day, ISO week, month, quarter, year.
FREQUENCIES: Final[Mapping[str, str]] = {"D": "1d", "W": "1w", "M": "1mo", "Q": "1q", "A": "1y"}

_DAY_S: Final = 86_400
# Halving three days 18 times leaves less than two seconds, so one more leaves one.
_HALVINGS: Final = 19


def period_of(day: pl.Expr, frequency: str) -> pl.Expr:
    """Return the first day of the period a Date is in: the day, Monday, or the first of month, quarter or year."""
    return day.dt.truncate(FREQUENCIES[frequency])


def expected_periods(first: date, last: date, frequency: str, *, weekends: bool = False) -> pl.Series:
    """Return every period from the first to the last one, sorted, as Date; days are Monday to Friday.

    first, last: any days of the first and the last period. With `weekends` a daily series has all seven days.
    """
    step = FREQUENCIES[frequency]
    ends = pl.Series([first, last], dtype=pl.Date).dt.truncate(step)
    periods = pl.date_range(ends[0], ends[1], step, eager=True).alias("period")
    return periods if frequency != "D" or weekends else periods.filter(periods.dt.weekday() < SATURDAY)


def period_starts(periods: pl.Series, timezone: str) -> pl.DataFrame:
    """Find the instant at which each period starts in a timezone: its local midnight.

    Returns one row for each different period: period Date, obs_time Datetime("us", timezone), dst_gap Boolean
    (there is no such midnight: obs_time is the first instant after the gap), dst_repeat Boolean (there are two:
    obs_time is the first).

    Raises:
        ConfigError: the timezone is not in the tz database.
    """
    days = pl.DataFrame({"period": periods.unique().sort().cast(pl.Date)})
    midnight = pl.col("period").cast(pl.Datetime("us"))
    try:
        starts = days.with_columns(
            _local(midnight, timezone, "earliest").alias("obs_time"),
            _local(midnight, timezone, "latest").alias("last"),
        )
    except pl.exceptions.ComputeError as error:
        raise ConfigError(
            f"timezone: {timezone!r} is not in the tz database; write a name such as "
            "America/Argentina/Buenos_Aires or UTC"
        ) from error
    gaps = starts.filter(pl.col("obs_time").is_null())["period"]
    after = pl.DataFrame({"period": gaps, "after": _after_gaps(gaps, timezone)})
    return starts.join(after, on="period", how="left", maintain_order="left").select(
        "period",
        pl.coalesce("obs_time", "after"),
        dst_gap=pl.col("obs_time").is_null(),
        dst_repeat=(pl.col("obs_time") != pl.col("last")).fill_null(False),
    )


def _local(time: pl.Expr, timezone: str, ambiguous: str) -> pl.Expr:
    return time.dt.replace_time_zone(timezone, ambiguous=pl.lit(ambiguous), non_existent="null")


def _after_gaps(days: pl.Series, timezone: str) -> pl.Series:
    """Search the first second whose local time is not before midnight of each day.

    A gap may have begun before midnight, and it may last a whole day, so no offset leads there.
    """
    midnight = days.cast(pl.Datetime("us"))
    low = midnight.dt.epoch("s") - _DAY_S
    high = low + 3 * _DAY_S
    for _ in range(_HALVINGS):
        middle = (low + high) // 2
        reached = _instant(middle, timezone).dt.replace_time_zone(None) >= midnight
        low, high = middle.zip_with(~reached, low), middle.zip_with(reached, high)
    return _instant(high, timezone)


def _instant(epoch_s: pl.Series, timezone: str) -> pl.Series:
    utc = pl.from_epoch(epoch_s, "s").cast(pl.Datetime("us", "UTC"))
    return utc.dt.convert_time_zone(timezone)
