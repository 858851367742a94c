"""Tell dates that stand for a period from finer ones: a month is no observation of a yearly series.

A series may print each of its periods by a finer date, such as a month by its last day. That shows in the column: one
date a period, at the same place in it. Dates that come more often, or beside dates that are as coarse as the series,
belong to another series.
"""

from __future__ import annotations

from typing import Final

import polars as pl

_SERIES: Final = "series_code"
_KEY: Final = (_SERIES, "period")
# From this share of periods with several dates on, the whole column is finer.
_MANY: Final = 0.5
# A clear habit, such as the last days of months, makes another date stand out.
_HABIT: Final = 0.9
_FEWEST_OF_HABIT: Final = 10
_NEAR_DAYS: Final = 7
_FEWEST_DAYS: Final = 4
# Weekly dates keep their weekday apart from holidays.
_ONE_WEEKDAY: Final = 0.5


def finer_faults(rows: pl.DataFrame) -> pl.DataFrame:
    """Add to date_fault finer_date and not_weekly; rows as `with_periods` has them, with period."""
    is_finer = pl.col("fineness") != pl.col("frequency")
    rows = rows.with_columns(
        finer=(pl.col("day").is_not_null() & pl.col("date_fault").is_null() & is_finer).fill_null(False)
    )
    if not rows["finer"].any():
        return rows.drop("finer")
    dates = rows.filter(pl.col("counts"), pl.col("day").is_not_null(), pl.col("date_fault").is_null()).select(
        "at", *_KEY, "frequency", "fineness", "day", "finer"
    )
    found = pl.concat([_beside_coarser(dates), _not_of_the_column(dates), _not_weekly(dates)])
    found = found.unique("at", keep="first", maintain_order=True)
    return (
        rows.drop("finer")
        .join(found, on="at", how="left", maintain_order="left")
        .with_columns(date_fault=pl.coalesce("date_fault", "found"))
        .drop("found")
    )


def _faults(dates: pl.DataFrame, which: pl.Expr, code: str) -> pl.DataFrame:
    return dates.filter(pl.col("finer") & which).select("at", found=pl.lit(code))


def _beside_coarser(dates: pl.DataFrame) -> pl.DataFrame:
    """Find finer dates beside ones as coarse as the series; spreadsheets store a month as its first day."""
    finer = pl.col("finer")
    own, others = (~finer).sum().over(_SERIES), finer.sum().over(_SERIES)
    is_first = (pl.col("day") == pl.col("period")) & (pl.col("fineness") == "D")
    all_first = is_first.filter(finer).all().over(_SERIES)
    return _faults(dates, (own > 0) & (own >= others) & ~all_first, "finer_date")


def _not_of_the_column(dates: pl.DataFrame) -> pl.DataFrame:
    """Find finer dates where periods have several, and those at another place in the period than most."""
    dates = dates.filter("finer")
    usual = pl.col("fineness").mode().sort().first().over(_SERIES)
    several = pl.col("day").n_unique().over(_KEY) > 1
    periods = pl.col("period").n_unique().over(_SERIES)
    crowded = pl.col("period").filter(several).n_unique().over(_SERIES)
    is_finer_column = crowded >= _MANY * periods
    return _faults(
        dates.with_columns(several=several),
        (pl.col("fineness") != usual)
        | pl.col("several")
        | ((crowded > 0) & is_finer_column)
        | _is_out_of_place(),
        "finer_date",
    )


def _is_out_of_place() -> pl.Expr:
    month = pl.col("day").dt.month()
    # The month of the year, or of the quarter.
    at = pl.when(pl.col("frequency") == "Q").then((month - 1) % 3).otherwise(month)
    counted = pl.col("frequency").is_in(["Q", "A"])
    usual_month, share = at.mode().first().over(_SERIES), at.mode().len().over(_SERIES)
    of_month = (at == usual_month).sum().over(_SERIES)
    rows = pl.len().over(_SERIES)
    other_month = counted & (((at != usual_month) | (share > 1)) | (of_month <= rows / 2))
    day = pl.col("day")
    near = (
        pl.when(day.dt.day() <= _NEAR_DAYS)
        .then(0)
        .when((day.dt.month_end() - day).dt.total_days() < _NEAR_DAYS)
        .then(2)
        .otherwise(1)
    )
    usual_near = near.mode().first().over(_SERIES)
    habit = (near == usual_near).sum().over(_SERIES)
    is_monthly = (pl.col("frequency") == "M") & (rows >= _FEWEST_OF_HABIT)
    # Months typed by hand slip by days; but of the newest period there may be a part only.
    newest = pl.col("period") == pl.col("period").max().over(_SERIES)
    return other_month | (is_monthly & newest & (habit >= _HABIT * rows) & (near != usual_near))


def _not_weekly(dates: pl.DataFrame) -> pl.DataFrame:
    """Find days that don't keep to a weekday, as those that follow the calendar month."""
    weekday = pl.col("day").dt.weekday()
    usual = weekday.mode().first().over(_SERIES)
    kept = (weekday == usual).sum().over(_SERIES)
    enough = pl.col("day").n_unique().over(_SERIES) >= _FEWEST_DAYS
    is_weekly = pl.col("frequency") == "W"
    return _faults(dates, is_weekly & enough & (kept <= _ONE_WEEKDAY * pl.len().over(_SERIES)), "not_weekly")
