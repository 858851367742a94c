"""Results as DynamoDB items for live dashboards, if a table is configured."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tnt_platform.lake.publishing import Published
from tnt_platform.services.dynamodb import ResultsTable, dynamodb_client
from tnt_platform.settings import Settings
from tnt_platform.transit.spec import TransitSpec

# They triple what an item costs, and are in the published results anyway.
PAYLOADS = ("request_payload", "response_payload")


def upsert_results(spec: TransitSpec, published: Published, settings: Settings) -> dict[str, object]:
    """Bring the table up to date with one date's results and say what that changed.

    Items expire `ttl_days` after the date's results were published; unchanged items are not written. A date that
    was published for the first time is written without a look at what is there: nothing can be.
    """
    table_name = settings.resolve(spec.dynamodb.table) if spec.dynamodb else ""
    if spec.dynamodb is None or not table_name:
        return {}
    row = published.snapshot.partition(published.partition)
    assert row is not None, "the date was just published"
    table = ResultsTable(
        table_name,
        dynamodb_client(settings.aws_options("dynamodb")),
        key=("test_id",),
    )
    expires_at = row["changed_at"] + timedelta(days=spec.dynamodb.ttl_days)
    if expires_at <= datetime.now(UTC):
        return {
            "dynamodb_table": table_name,
            "dynamodb_skipped": f"these results expired on {expires_at:%Y-%m-%d}",
        }
    results = published.snapshot.scan([published.partition])
    if not spec.dynamodb.payloads:
        results = results.drop(PAYLOADS, strict=False)
    counts = table.upsert(
        results.collect(), expires_at=expires_at, droppable=PAYLOADS, compare=not _all_new(published, row)
    )
    return {
        "dynamodb_table": table_name,
        "dynamodb_created": counts.created,
        "dynamodb_updated": counts.updated,
        "dynamodb_unchanged": counts.unchanged,
        "dynamodb_write_units": counts.write_units,
        "dynamodb_read_units": counts.read_units,
    }


def _all_new(published: Published, row: Mapping[str, Any]) -> bool:
    """Whether this run published the date and every row of it came with this version."""
    log = published.snapshot.manifest.changelog
    return (
        published.changed
        and list(log.partitions_changed) == [published.partition]
        and (log.added, log.updated, log.removed) == (row["published"], 0, 0)
    )
