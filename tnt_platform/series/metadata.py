"""What a materialization of series shows in the web UI."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from tnt_platform.lake.publishing import PREVIEW_ROWS, Published
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.orchestration.metadata import describe_newest, markdown_table
from tnt_platform.series.plots import MAX_SERIES, series_plot
from tnt_platform.series.spec import NEWEST, OBSERVATIONS, SERIES, SeriesSpec


def series_metadata(spec: SeriesSpec, step: str, published: Published) -> dict[str, Any]:
    """Counts, changes, a preview, reasons of refusals and, of the series, a plot."""
    snapshot, facts = published.snapshot, describe_newest(published)
    if step == SERIES:
        newest = snapshot.scan([NEWEST]).collect()
        facts["preview"] = dg.MetadataValue.md(markdown_table(_newest_rows(newest)))
        facts["by_series"] = dg.MetadataValue.md(markdown_table(_by_series(newest)))
        if newest.height:
            facts["plot"] = dg.MetadataValue.md(series_plot(newest, spec.name))
    elif step == OBSERVATIONS:
        facts |= _history(snapshot, changed=published.changed)
    else:
        facts["preview"] = dg.MetadataValue.md(markdown_table(snapshot.scan().tail(PREVIEW_ROWS).collect()))
    return facts


def _newest_rows(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("period", "internal_series_code", descending=[True, False]).head(PREVIEW_ROWS)


def _by_series(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.sort("period")
        .group_by("internal_series_code")
        .agg(
            pl.col("unit").last(),
            pl.col("frequency").last(),
            observations=pl.len(),
            first=pl.col("period").first(),
            last=pl.col("period").last(),
            newest_value=pl.col("value").last(),
        )
        .sort("internal_series_code")
        .head(MAX_SERIES)
    )


def _history(snapshot: Snapshot, *, changed: bool) -> dict[str, Any]:
    """What the version's manifest says about the change, in words and in a table of corrections."""
    about = snapshot.manifest.about
    facts: dict[str, Any] = {
        "series": about.get("series_count", 0),
        "partitions": snapshot.manifest.partitions - 1,
    }
    if changed:
        log = about.get("changelog", {})
        facts |= {
            "new_series": len(log.get("new_series", [])),
            "updated_series": len(log.get("updated_series", [])),
        }
        if corrections := log.get("corrections"):
            table = pl.DataFrame(corrections[:PREVIEW_ROWS])
            facts["corrections"] = dg.MetadataValue.md(markdown_table(table))
    return facts
