"""Last steps: the comparison of expected and actual, and its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from tnt_platform.lake.publishing import (
    Check,
    CheckOutcome,
    Published,
    Workspace,
    publish_checked,
    unique_keys,
    values_in_range,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.upstream import Upstream, published_unchanged
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.services.dynamodb import ResultsTable, dynamodb_client
from tnt_platform.settings import Settings
from tnt_platform.transit.spec import (
    ENRICHED,
    MAX_TRANSIT_DAYS,
    RESULTS,
    SHIPMENTS,
    SUMMARY,
    TransitSpec,
)
from tnt_platform.transit.transforms.cases import (
    QUARANTINE_SCHEMA,
    compare_dates,
    compare_days,
    distinct_cases,
    identify,
    summarise,
)

RESULTS_KEY = ("test_id",)
SUMMARY_KEY = ("group_kind", "group_value")
# A delivery may be years late; beyond ten years a date is a typing error.
MAX_LAG_DAYS = 3_660
# They triple the cost of an item, and are in the published results anyway.
PAYLOADS = ("request_payload", "response_payload")


def publish_results(
    spec: TransitSpec, date: str, workspace: Workspace, settings: Settings, run_id: str
) -> Published:
    """Compare expected with actual for each case of the date and publish one row per case.

    Columns: test_id, timestamp (when the API answered; absent without one), the columns of the step before,
    lag_days, status, success. Key: test_id, which depends on no clock and no file, so that a replay overwrites and
    never duplicates.
    """
    upstream = Upstream.read(workspace.store, spec.dataset(ENRICHED if spec.rate_api else SHIPMENTS), date)
    base = workspace.store.current(spec.dataset(RESULTS))
    recipe = f"{spec.passes_when} {spec.identity}"
    if unchanged := published_unchanged(base, upstream, date, recipe):
        return unchanged.with_facts(upsert_results(spec, unchanged, settings))
    cases = upstream.frame
    frame, rejected, deduplicated = _compared(spec, cases, upstream)
    change = PartitionChange(
        partition=date,
        data=frame,
        inputs=upstream.ledger(recipe),
        quarantine=rejected,
        counts=RowCounts(
            rows_in=cases.height,
            published=frame.height,
            quarantined=rejected.height,
            deduplicated=deduplicated,
        ),
        inputs_digest=upstream.inputs_digest,
    )
    lowest, highest = (
        (-MAX_TRANSIT_DAYS, MAX_TRANSIT_DAYS) if spec.rate_api else (-MAX_LAG_DAYS, MAX_LAG_DAYS)
    )
    checks = [unique_keys(RESULTS_KEY, date), values_in_range(date, "lag_days", lowest, highest)]
    published = publish_checked(
        workspace, spec.dataset(RESULTS), change, base=base, key=RESULTS_KEY, checks=checks, run_id=run_id
    )
    # After the publish: if the table fails, running the date again brings it up to date.
    return published.with_facts(upsert_results(spec, published, settings))


def _compared(
    spec: TransitSpec, cases: pl.DataFrame, upstream: Upstream
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    if spec.rate_api:
        compared = compare_days(cases, passes_when=spec.passes_when).rename({"asked_at": "timestamp"})
        ids = identify(compared, [*spec.identity, "ship_profile"])
        frame = compared.drop("ship_profile").insert_column(0, ids.alias("test_id"))
        return frame, pl.DataFrame(schema=QUARANTINE_SCHEMA), 0
    distinct = distinct_cases(cases, upstream.file_times, spec.identity)
    compared = compare_dates(distinct.kept, passes_when=spec.passes_when)
    ids = identify(compared, spec.identity)
    return compared.insert_column(0, ids.alias("test_id")), distinct.rejected, distinct.deduplicated


def publish_summary(spec: TransitSpec, date: str, workspace: Workspace, run_id: str) -> Published:
    """Publish pass rate, counts and latency percentiles by each column of `summary_by`; see `summarise`."""
    upstream = Upstream.read(workspace.store, spec.dataset(RESULTS), date)
    base = workspace.store.current(spec.dataset(SUMMARY))
    recipe = " ".join(spec.summary_by)
    if unchanged := published_unchanged(base, upstream, date, recipe):
        return unchanged
    results = upstream.frame
    frame = summarise(results, spec.summary_by)
    change = PartitionChange.of_rows(
        date, frame, inputs=upstream.ledger(recipe), inputs_digest=upstream.inputs_digest
    )
    return publish_checked(
        workspace,
        spec.dataset(SUMMARY),
        change,
        base=base,
        key=SUMMARY_KEY,
        checks=[unique_keys(SUMMARY_KEY, date), _adds_up(date, spec.summary_by, results.height)],
        run_id=run_id,
    )


def _adds_up(date: str, kinds: Sequence[str], results: int) -> Check:
    """Check that each grouping counts every result exactly once."""

    def check(draft: Snapshot) -> CheckOutcome:
        totals = draft.scan([date]).group_by("group_kind").agg(pl.col("cases").sum()).collect()
        counted = dict(totals.iter_rows())
        wrong = [
            f"{kind}: {counted.get(kind, 0)}" for kind in ("all", *kinds) if counted.get(kind, 0) != results
        ]
        description = (
            f"not {results}: {', '.join(wrong)}" if wrong else f"every grouping has {results} results"
        )
        return CheckOutcome("summary_adds_up", not wrong, description)

    return check


def upsert_results(spec: TransitSpec, published: Published, settings: Settings) -> dict[str, object]:
    """Bring the DynamoDB table, if one is configured, up to date with one date; return what that changed.

    Items expire `ttl_days` after the date's results were published; unchanged items are not written. The items of a
    date that is published for the first time are written without reading: they can't be there.
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
    """Tell whether this run published the date and every row of it is new in this version."""
    log = published.snapshot.manifest.changelog
    return (
        published.changed
        and list(log.partitions_changed) == [published.partition]
        and (log.added, log.updated, log.removed) == (row["published"], 0, 0)
    )
