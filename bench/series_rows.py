"""The observations that the bench publishes, their corrections, and one question about them."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

FIRST_YEAR = 2005
SCHEMA_ZONE = "America/Argentina/Buenos_Aires"


def observations(series: int, months: int, a_series: int) -> pl.DataFrame:
    """`a_series` working days for each series, spread over `months`; the columns of a published series."""
    last = date(FIRST_YEAR + months // 12, 1, 1)
    days = pl.date_range(date(FIRST_YEAR, 1, 1), last, "1d", closed="left", eager=True)
    days = days.filter(days.dt.weekday() <= 5)
    kept = np.linspace(0, len(days) - 1, min(a_series, len(days))).round().astype(int)
    chosen = days.gather(kept)
    codes = [f"BENCH_SERIES_{number:03d}_D" for number in range(series)]
    values = np.random.default_rng(7).normal(100, 15, (series, len(chosen))).cumsum(axis=1).round(4)
    frame = pl.DataFrame(
        {
            "internal_series_code": pl.Series(codes).repeat_by(len(chosen)).explode(),
            "period": pl.concat([chosen] * series),
            "value": values.ravel(),
        }
    )
    zone = (
        pl.col("period")
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone(SCHEMA_ZONE, non_existent="null", ambiguous="earliest")
    )
    line = (pl.int_range(pl.len()) % len(chosen)) + 11
    return frame.select(
        "internal_series_code",
        "period",
        obs_time=zone,
        value="value",
        unit=pl.lit("ARS"),
        frequency=pl.lit("D"),
        printed_date=pl.col("period").cast(pl.String),
        place=pl.format("RESERVAS!P{}", line),
        line_no=line.cast(pl.Int64),
        collection_date=pl.lit(date(2026, 11, 21)),
        capture=pl.lit("0123456789abcdef"),
    )


def corrected(rows: pl.DataFrame, partitions: int) -> pl.DataFrame:
    """One value changed in each of `partitions` months, spread over all series and months."""
    firsts = (
        rows.with_row_index("at")
        .group_by("internal_series_code", pl.col("period").dt.truncate("1mo"))
        .agg(pl.col("at").min())
    )
    at = firsts["at"].sort()
    step = max(1, len(at) // partitions)
    # A step that doesn't divide the months of a series, so that the changes are not all in one January.
    chosen = at.gather([(number * step + number % 7) % len(at) for number in range(min(partitions, len(at)))])
    hit = pl.int_range(pl.len()).is_in(chosen.implode())
    return rows.with_columns(value=pl.when(hit).then(pl.col("value") + 1).otherwise("value"))


def with_month(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the partition columns of a table format, and no time zone that it does not know."""
    plain = rows.with_columns(pl.col("obs_time").dt.convert_time_zone("UTC"))
    return plain.with_columns(month=pl.col("period").dt.to_string("%Y-%m"))


def changed_months(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    moved = after.join(before, on=["internal_series_code", "period", "value"], how="anti")
    keys = with_month(moved).select("internal_series_code", "month").unique()
    return with_month(after).join(keys, on=["internal_series_code", "month"], how="semi")


def question(rows: pl.DataFrame) -> tuple[str, list[str], int]:
    """One series in the last three years: its code, the 36 months, and how many rows that are."""
    code = str(rows["internal_series_code"][rows.height // 2])
    found = with_month(rows.filter(internal_series_code=code))
    months = found["month"].unique().sort().tail(36).to_list()
    return code, months, found.filter(pl.col("month").is_in(months)).height
