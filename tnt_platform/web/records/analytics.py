"""Counts of records, from two columns of the published files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.records.table import RecordFilters
from tnt_platform.web.rows import reading

_COUNTS = {"source": pl.String(), "day": pl.Date(), "records": pl.UInt32()}
_UTC = pl.Datetime("us", "UTC")


def analytics_of(catalog: Catalog, snapshots: Sequence[Snapshot], filters: RecordFilters) -> str:
    """The answer of `/analytics` as JSON."""
    return json.dumps(
        {
            **analytics(catalog, snapshots, filters.source),
            "versions": {snapshot.dataset: snapshot.version for snapshot in snapshots},
        },
        ensure_ascii=False,
    )


def analytics(catalog: Catalog, snapshots: Sequence[Snapshot], source: str | None = None) -> dict[str, Any]:
    """Summary, by_source, by_date and timeline over the records of some versions."""
    facts = [reading(catalog, snapshot, partial(_counted, snapshot)) for snapshot in snapshots]
    counts = pl.concat([pl.DataFrame(schema=_COUNTS), *(counts for counts, _ in facts)])
    ends = pl.concat([pl.DataFrame(schema=_ENDS), *(ends for _, ends in facts)])
    if source is not None:
        counts, ends = counts.filter(source=source), ends.filter(source=source)
    sources = counts.group_by("source").agg(pl.col("records").sum()).sort("source")
    days = counts.filter(pl.col("day").is_not_null()).group_by("day").agg(pl.col("records").sum()).sort("day")
    by_date = {day.isoformat(): records for day, records in days.iter_rows()}
    oldest, newest = ends.select(pl.col("oldest").min(), pl.col("newest").max()).row(0)
    return {
        "summary": {
            "total_records": int(counts["records"].sum()),
            "total_sources": sources.height,
            "oldest_record": oldest.isoformat() if oldest is not None else None,
            "newest_record": newest.isoformat() if newest is not None else None,
        },
        "by_source": dict(sources.iter_rows()),
        "by_date": by_date,
        "timeline": [{"date": day, "count": records} for day, records in by_date.items()],
    }


_ENDS = {"source": pl.String(), "oldest": _UTC, "newest": _UTC}


@lru_cache(maxsize=64)
def _counted(snapshot: Snapshot) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records by source and day, and the first and last capture of each source."""
    rows = snapshot.scan(columns=["source", "captured_at"]).with_columns(
        pl.col("source").cast(pl.String).fill_null("(none)"), pl.col("captured_at").cast(_UTC)
    )
    day = pl.col("captured_at").dt.date().alias("day")
    counts = rows.group_by("source", day).agg(pl.len().cast(pl.UInt32).alias("records"))
    ends = rows.group_by("source").agg(
        pl.col("captured_at").min().alias("oldest"), pl.col("captured_at").max().alias("newest")
    )
    found = pl.collect_all([counts, ends], engine="streaming")
    return found[0], found[1]
