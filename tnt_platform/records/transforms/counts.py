"""Counts of records for overviews, so that nobody has to scan them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from tnt_platform.records.transforms.records import UTC_TIME

SUMMARY: Final[Mapping[str, pl.DataType]] = {
    "group_kind": pl.String(),
    "group_value": pl.String(),
    "records": pl.Int64(),
    "oldest": UTC_TIME,
    "newest": UTC_TIME,
}


def records_summary(records: pl.LazyFrame) -> pl.DataFrame:
    """Counts for overviews: group_kind (all, source, date), group_value, records, oldest and newest captured_at.

    `date` is the UTC day of the capture that changed the record last.
    """
    base = records.select(
        "source", "captured_at", date=pl.col("captured_at").dt.strftime("%Y-%m-%d"), all=pl.lit("all")
    )
    counted = (pl.len().cast(pl.Int64).alias("records"), _first("oldest"), _last("newest"))
    groups = [
        base.group_by(group_value=kind)
        .agg(*counted)
        .with_columns(group_kind=pl.lit(kind))
        .select(list(SUMMARY))
        for kind in ("all", "source", "date")
    ]
    return pl.concat(groups).collect().sort("group_kind", "group_value")


def _first(name: str) -> pl.Expr:
    return pl.col("captured_at").min().alias(name)


def _last(name: str) -> pl.Expr:
    return pl.col("captured_at").max().alias(name)
