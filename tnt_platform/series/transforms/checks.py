"""Find what looks wrong in valid observations: missing periods and sudden changes."""

from __future__ import annotations

from typing import Final

import polars as pl

from tnt_platform.series.transforms.observations import KEY
from tnt_platform.series.transforms.periods import SATURDAY, expected_periods

# Of a series that has every day, two days in seven are a weekend; from half of that on they are expected.
WEEKENDS_FROM_SHARE: Final = 1 / 7
# Recent enough that inflation hasn't outgrown it, and long enough to know what is typical.
TYPICAL_OVER_CHANGES: Final = 60
FEWEST_CHANGES: Final = 5

_CODE: Final = "internal_series_code"


def gaps(observations: pl.DataFrame) -> pl.DataFrame:
    """Find runs of missing periods between the first and the last observation of each series.

    observations: internal_series_code, period, frequency, each key once. Returns internal_series_code, missing_from
    Date, missing_to Date, periods Int64; sorted. Daily series have Monday to Friday, and weekends too if at least
    one in seven of their observations is on one; holidays count as gaps.
    """
    weekend = (pl.col("period").dt.weekday() >= SATURDAY).mean().over(_CODE) >= WEEKENDS_FROM_SHARE
    rows = observations.select(*KEY, "frequency", weekends=weekend & (pl.col("frequency") == "D"))
    found = [_gaps_on_calendar(group) for group in rows.partition_by("frequency", "weekends")]
    return pl.concat([_NO_GAPS, *found]).sort(_CODE, "missing_from")


def jumps(observations: pl.DataFrame, added_keys: pl.DataFrame, limit_mads: float) -> pl.DataFrame:
    """Find added observations that changed much more than their series typically did before them.

    observations: internal_series_code, period, value, each key once, with the added ones; added_keys:
    internal_series_code, period of those to judge. The typical change is the median of the absolute changes but zeros
    among the TYPICAL_OVER_CHANGES before; with fewer than FEWEST_CHANGES of them nothing is judged. Returns
    internal_series_code, period, value, previous, change, typical_change (Float64, in the series' unit) where the
    change is more than limit_mads typical ones; sorted.
    """
    judged = observations.join(added_keys.select(_CODE).unique(), on=_CODE, how="semi")
    change = pl.col("value") - pl.col("previous")
    size = pl.when(change != 0).then(change.abs())
    typical = size.shift().rolling_median(TYPICAL_OVER_CHANGES, min_samples=FEWEST_CHANGES)
    return (
        judged.select(*KEY, "value")
        .sort(KEY)
        .with_columns(previous=pl.col("value").shift().over(_CODE))
        .with_columns(change=change, typical_change=typical.over(_CODE))
        .join(added_keys.select(KEY), on=list(KEY), how="semi", maintain_order="left")
        .filter(pl.col("change").abs() > limit_mads * pl.col("typical_change"))
    )


def _gaps_on_calendar(rows: pl.DataFrame) -> pl.DataFrame:
    """Find the gaps of series that share a frequency."""
    frequency, weekends = rows["frequency"][0], rows["weekends"][0]
    first, last = rows.select(first=pl.col("period").min(), last=pl.col("period").max()).row(0)
    calendar = expected_periods(first, last, frequency, weekends=weekends)
    places = (
        pl.DataFrame({"period": calendar})
        .with_row_index("place")
        .with_columns(pl.col("place").cast(pl.Int64))
    )
    # A lone weekend day of a series without weekends has no place, and can't end or begin a gap.
    placed = rows.join(places, on="period").sort(KEY)
    after = pl.col("place").shift().over(_CODE) + 1
    missing = placed.select(_CODE, after=after, until=pl.col("place") - 1).filter(
        pl.col("after") <= pl.col("until")
    )
    return missing.select(
        _CODE,
        missing_from=pl.lit(calendar).gather(pl.col("after")),
        missing_to=pl.lit(calendar).gather(pl.col("until")),
        periods=pl.col("until") - pl.col("after") + 1,
    )


_NO_GAPS: Final = pl.DataFrame(
    schema={_CODE: pl.String, "missing_from": pl.Date, "missing_to": pl.Date, "periods": pl.Int64}
)
