"""Read the dates of each series by the whole column: one fineness, order, century, epoch and zone for all of them.

A cell alone may be read in a way that its column contradicts. What the column can't decide is a fault, never a guess.
"""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import polars as pl

from tnt_platform.readers.printed_facts import ORDERS, SERIALS_OF_1970, facts_of
from tnt_platform.readers.printed_marks import without_marks
from tnt_platform.series.transforms.fineness import finer_faults
from tnt_platform.series.transforms.periods import period_of

if TYPE_CHECKING:
    from tnt_platform.series.transforms.conventions import Conventions

_SERIES: Final = "series_code"
# The longest pause between two observations that doesn't make another century likelier.
_LONGEST_PAUSE: Final = dt.timedelta(days=3_660)
# Declared forecasts reach this far beyond the capture.
_FORECAST_YEARS: Final = 50
_FEWEST_IN_ORDER: Final = 3
_AFTERNOON: Final = 13


def with_periods(
    rows: pl.DataFrame, conventions: Conventions, captured: dt.date, epoch: int | None
) -> pl.DataFrame:
    """Add period and date_fault, a reason code or null, to the rows of series.

    rows: at, series_code, frequency, date_text, na, in the order of the file; captured: the day of the capture in
    the dataset's time zone; epoch: what serial dates count from, None if nothing tells. The period is null if the
    date has no reading; the fault of a date that is read says why it is no observation.
    """
    rows = _with_facts(rows, conventions)
    rows = _with_serials(rows, conventions.serial_epoch or epoch)
    rows = _with_orders(rows, conventions)
    rows = _with_seasons(rows)
    rows = _with_zones(rows, conventions.timezone)
    rows = _with_centuries(rows, captured, forecasts=conventions.forecasts)
    rows = _with_swaps(rows)
    periods = [
        pl.when(pl.col("frequency") == one).then(period_of(pl.col("day"), one))
        for one in rows["frequency"].unique()
    ]
    rows = rows.with_columns(period=pl.coalesce(periods) if periods else pl.lit(None, pl.Date))
    rows = finer_faults(rows)
    if not conventions.forecasts:
        rows = _faulted(rows, pl.col("period") > captured, "future_period")
    # What a fault hides is not known to be of this period.
    undoubted = pl.when(pl.col("date_fault").is_null() | pl.col("na")).then("period")
    return rows.with_columns(period=undoubted)


def _with_facts(rows: pl.DataFrame, conventions: Conventions) -> pl.DataFrame:
    """Add the facts of each date; each distinct string is read once, as a file prints it for each of its series."""
    texts = rows.filter(pl.col("date_text").is_not_null()).select("date_text", "frequency").unique()
    found = [
        _facts(group["date_text"], frequency, conventions)
        for (frequency,), group in texts.partition_by("frequency", as_dict=True).items()
    ] or [_facts(texts["date_text"], "D", conventions)]
    keys = ["date_text", "frequency"]
    return rows.join(pl.concat(found), on=keys, how="left", maintain_order="left").with_columns(
        date_fault=pl.lit(None, pl.String), counts=~pl.col("na")
    )


def _facts(texts: pl.Series, frequency: str, conventions: Conventions) -> pl.DataFrame:
    facts = facts_of(texts, frequency, conventions.date_order)
    if conventions.marks:
        # Marks are removed only where the string can't be read as it is: the "p" of "sep" is not a mark.
        unread = facts.filter(pl.col("day").is_null(), pl.col("serial").is_null())["text"]
        bare = unread.to_frame().select(without_marks(pl.col("text"), conventions.marks)).to_series()
        marked = facts_of(bare.unique(), frequency, conventions.date_order)
        marked = pl.DataFrame({"text": unread, "bare": bare}).join(
            marked.rename({"text": "bare"}), on="bare", how="left"
        )
        facts = pl.concat([facts.filter(~pl.col("text").is_in(unread.implode())), marked.drop("bare")])
    return facts.rename({"text": "date_text"}).with_columns(frequency=pl.lit(frequency))


def _faulted(rows: pl.DataFrame, which: pl.Expr, code: str) -> pl.DataFrame:
    """Mark dates that have no fault yet."""
    return rows.with_columns(
        date_fault=pl.when(pl.col("date_fault").is_null() & which.fill_null(False))
        .then(pl.lit(code))
        .otherwise("date_fault")
    )


def _with_serials(rows: pl.DataFrame, epoch: int | None) -> pl.DataFrame:
    if not rows["serial"].is_not_null().any():
        return rows
    if epoch is None:
        return _faulted(rows, pl.col("serial").is_not_null(), "serial_date")
    day = (pl.col("serial") - SERIALS_OF_1970[epoch]).cast(pl.Date)
    return rows.with_columns(
        day=pl.coalesce("day", day),
        fineness=pl.when(pl.col("serial").is_not_null()).then(pl.lit("D")).otherwise("fineness"),
    )


def _with_orders(rows: pl.DataFrame, conventions: Conventions) -> pl.DataFrame:
    """Find columns whose all-digit dates are in two orders: those that either order reads can't be decided."""
    orders = [pl.col(order) for order in ORDERS]
    is_digits = pl.any_horizontal(one.is_not_null() for one in orders)
    if not rows.select(is_digits.any()).item():
        return rows
    # With a declared order, one that only another order reads contradicts it.
    sure = [
        one.is_not_null() & pl.all_horizontal(other.is_null() for other in orders if other is not one)
        for one in orders
    ]
    declared = conventions.date_order
    needed = [each for one, each in zip(ORDERS, sure, strict=True) if one != declared]
    if declared is None:
        several = pl.sum_horizontal(each.any().over(_SERIES) for each in sure) > 1
        return _faulted(rows, is_digits & several, "mixed_order")
    breaks = pl.any_horizontal(needed).any().over(_SERIES)
    ambiguous = pl.min_horizontal(orders) != pl.max_horizontal(orders)
    return _faulted(rows, pl.col("day").is_not_null() & ambiguous & breaks, "mixed_order")


def _with_seasons(rows: pl.DataFrame) -> pl.DataFrame:
    """Find columns of fiscal years such as 2004-05, some of which look like months."""
    if not rows["is_season"].any():
        return rows
    season = pl.col("is_season")
    all_seasons = season.all().over(_SERIES)
    several = pl.col("date_text").filter(season).n_unique().over(_SERIES) > 1
    yearly = pl.col("frequency") == "A"
    return _faulted(rows, season & all_seasons & (several | yearly), "fiscal_year")


def _with_zones(rows: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Read times with a zone: as printed, or in the dataset's zone, whichever makes them all midnights.

    Where neither does, only a day that both readings share is certain; and a column of the same afternoon hours in
    UTC is likely to be the midnights of a zone that nobody declared.
    """
    if not rows["moment"].is_not_null().any():
        return rows
    local = pl.col("moment").dt.convert_time_zone(timezone)
    rows = rows.with_columns(local=local.dt.date(), local_clock=local.dt.time())
    midnight = pl.time(0, 0)
    zoned = pl.col("moment").is_not_null()
    clock, here = pl.col("clock"), pl.col("local_clock")
    printed_so = (clock == midnight).filter(zoned).all().over(_SERIES)
    local_so = (here == midnight).filter(zoned).all().over(_SERIES)
    elsewhere = (clock.dt.hour() >= _AFTERNOON) & (clock.dt.minute() == 0) & (clock == here)
    suspicious = (
        elsewhere.filter(zoned).all().over(_SERIES)
        & (clock.filter(zoned).n_unique().over(_SERIES) <= 2)
        & (pl.col("moment").drop_nulls().n_unique().over(_SERIES) > 1)
    )
    differs = zoned & (pl.col("local") != pl.col("day"))
    use_local = zoned & local_so & ~printed_so
    rows = rows.with_columns(
        zone_unknown=zoned & ~use_local & ~printed_so & (differs | suspicious),
        day=pl.when(use_local).then("local").otherwise("day"),
    )
    return _faulted(rows, pl.col("zone_unknown"), "unknown_zone").drop("local", "local_clock", "zone_unknown")


def _with_centuries(rows: pl.DataFrame, captured: dt.date, *, forecasts: bool) -> pl.DataFrame:
    """Read years of two digits: not later than the capture, and in another century where the rows show it."""
    if not rows["new"].is_not_null().any():
        return rows
    latest = captured.replace(day=1, year=captured.year + (_FORECAST_YEARS if forecasts else 0))
    latest = (latest + dt.timedelta(days=31)).replace(day=1)
    recent = pl.when(pl.col("new") < latest).then("new").otherwise(pl.coalesce("old", "new"))
    is_short = pl.col("old").is_not_null() | pl.col("new").is_not_null()
    rows = rows.with_columns(day=pl.when(is_short).then(recent).otherwise("day"))
    broken = rows.filter(pl.col("day").is_not_null()).select(
        pl.col(_SERIES).filter(is_short.any().over(_SERIES) & ~_is_in_order("day")).unique()
    )
    found: list[pl.DataFrame] = []
    for code in broken[_SERIES]:
        of_series = rows.filter(pl.col(_SERIES) == code, pl.col("day").is_not_null())
        days = of_series.select(
            pl.when(is_short).then(pl.concat_list("old", "new")).otherwise(pl.concat_list("day"))
        )
        if unwrapped := _unwrapped(days.to_series().to_list(), latest):
            found.append(of_series.select("at", unwrapped=pl.Series(unwrapped, dtype=pl.Date)))
    if not found:
        return rows
    rows = rows.join(pl.concat(found), on="at", how="left", maintain_order="left")
    return rows.with_columns(day=pl.coalesce("unwrapped", "day")).drop("unwrapped")


def _is_in_order(name: str) -> pl.Expr:
    """Tell of each series whether its days rise, or fall, from row to row."""
    step = pl.col(name).diff().dt.total_days()
    return ((step >= 0).all() | (step <= 0).all()).over(_SERIES)


def _unwrapped(choices: list[list[dt.date | None]], latest: dt.date) -> list[dt.date] | None:
    """Choose a century for each day so that all rise, or fall, without long pauses; None if that can't be."""
    for upwards in (choices, choices[::-1]):
        for first in filter(None, upwards[0]):
            days = [first]
            for some in upwards[1:]:
                later = [day for day in some if day is not None and day >= days[-1]]
                if not later:
                    break
                days.append(min(later))
            pauses = [later - earlier for earlier, later in pairwise(days)]
            if len(days) == len(choices) and days[-1] < latest and max(pauses) < _LONGEST_PAUSE:
                return days if upwards is choices else days[::-1]
    return None


def _with_swaps(rows: pl.DataFrame) -> pl.DataFrame:
    """Find cells that a spreadsheet read in the other order: their rows are in order only with day and month swapped.

    It turns 01/02/2024 into a date where it can, and leaves 13/02/2024 as text.
    """
    day = pl.col("day")
    may_be = pl.col("is_typed") & (day.dt.day() <= 12) & (day.dt.day() != day.dt.month())
    if not rows.select(may_be.any()).item():
        return rows
    swapped = pl.date(day.dt.year(), day.dt.day(), day.dt.month())
    read = rows.filter(day.is_not_null(), pl.col("counts")).with_columns(
        swapped=pl.when(may_be).then(swapped).otherwise("day"), may_be=may_be
    )
    step = pl.col("swapped").diff().dt.total_days()
    in_order_swapped = ((step > 0).all() | (step < 0).all()).over(_SERIES)
    enough = pl.len().over(_SERIES) >= _FEWEST_IN_ORDER
    found = read.filter(enough & ~_is_in_order("day") & in_order_swapped & pl.col("may_be"))
    return _faulted(rows, pl.col("at").is_in(found["at"].implode()), "swapped_date")
