"""What a materialization of records shows in the web UI."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from tnt_platform.lake.publishing import PREVIEW_ROWS, Published
from tnt_platform.orchestration.metadata import describe, markdown_table
from tnt_platform.records.spec import CAPTURE, RECORDS, SUMMARY


def records_metadata(step: str, published: Published) -> dict[str, Any]:
    """Counts, changes, the newest rows, and the reasons of refusals."""
    manifest = published.snapshot.manifest
    facts = describe(published) | {
        "dagster/row_count": manifest.rows,
        "size_bytes": manifest.size_bytes,
        "preview": dg.MetadataValue.md(markdown_table(_preview(step, published))),
    }
    if step == RECORDS and published.changed:
        log = manifest.changelog
        facts |= {"rows_added": log.added, "rows_updated": log.updated, "rows_removed": log.removed}
    return {name: value for name, value in facts.items() if value is not None}


def _preview(step: str, published: Published) -> pl.DataFrame:
    rows = published.snapshot.scan()
    if step == SUMMARY:
        return rows.tail(PREVIEW_ROWS).collect()
    if step == CAPTURE:
        day = published.snapshot.scan([published.partition]).drop("item_ids")
        return day.sort("captured_at", descending=True).head(PREVIEW_ROWS).collect()
    if not published.snapshot.manifest.rows:
        return pl.DataFrame()
    if not published.changed:
        return rows.head(PREVIEW_ROWS).collect()
    return rows.sort("captured_at", "id", descending=[True, False]).head(PREVIEW_ROWS).collect()
