"""Dagster assets of a dataset of records: one op with the steps capture, records and summary."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from tnt_platform.lake.guard_rails import REJECTED_SHARE, Overrides
from tnt_platform.lake.publishing import PREVIEW_ROWS, Published
from tnt_platform.orchestration.component import DatasetComponent, newest_definitions
from tnt_platform.orchestration.failures import as_dagster_failure
from tnt_platform.orchestration.metadata import describe, markdown_table
from tnt_platform.orchestration.newest_run import materialize_newest
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import StepChecks, dataset_op
from tnt_platform.records.chain import RecordsChain
from tnt_platform.records.spec import CAPTURE, RECORDS, SUMMARY, RecordsSpec

CHECKS = StepChecks(
    blocking={
        CAPTURE: ("rows_conserved", "unique_keys"),
        RECORDS: ("rows_conserved", "items_conserved", "unique_keys", REJECTED_SHARE),
        SUMMARY: ("rows_conserved", "unique_keys", "summary_adds_up"),
    },
    warning={CAPTURE: (), RECORDS: ("captures_accepted",), SUMMARY: ()},
    descriptions={
        "rows_conserved": "Rows in = published + quarantined + deduplicated + filtered.",
        "items_conserved": "Every item of a capture is a record, in quarantine, or a repetition.",
        "unique_keys": "No two rows share the key.",
        REJECTED_SHARE: "At most `max_rejected_share` of a capture's items are rejected; otherwise nothing of it is "
        "published. `accept_rejected` publishes the rest once.",
        "captures_accepted": "Every capture was accepted; a rejected one is in quarantine with all its items.",
        "summary_adds_up": "Each grouping counts every record exactly once.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    CAPTURE: "One row per poll of the API: when, the response, and the stored object; stored once per content.",
    RECORDS: "Every item the API ever returned, typed, with a fingerprint; updated only when its content changes.",
    SUMMARY: "Records by source and by day of their last change, with the oldest and the newest.",
}
STEP_KINDS: dict[str, set[str]] = {
    CAPTURE: {"file"},
    RECORDS: {"polars", "parquet"},
    SUMMARY: {"parquet"},
}

COLUMNS: Mapping[str, str] = {
    "group_kind": "What the row sums up: all records, or those with one value of a column.",
    "group_value": "That value.",
    "id": "The source and the item's own id; it never changes.",
    "source": "The dataset the record belongs to.",
    "item_id": "The id of the item at the source.",
    "fingerprint": "Hash of the record's fields; it changes when the content does.",
    "first_seen_at": "When the record was first captured (UTC).",
    "processed_at": "When this content of the record was curated (UTC).",
    "raw_s3_key": "The capture that brought this content, as a key of the raw files.",
    "item_index": "Position of the item in that capture, counted from 0.",
    "content_digest": "Hash of all records of the capture; empty for a rejected one.",
    "item_ids": "The items of the capture; empty if they are those of the capture before.",
}


class RecordsDataset(DatasetComponent[RecordsSpec]):
    """Records of a JSON API."""

    spec_type = RecordsSpec

    def definitions(self) -> dg.Definitions:
        """Build assets, checks, job and schedule of the dataset."""
        return newest_definitions(records_assets(self.spec), self.spec.name, self.spec.cron, "UTC")


class RecordsRun(dg.Config):
    """Options of one run.

    `accept_rejected`: publish the valid items of a response that was rejected for the others. `by_hand`: publish
    although the dataset is paused after a rollback.
    """

    accept_rejected: bool = False
    by_hand: bool = False


def records_assets(spec: RecordsSpec) -> dg.AssetsDefinition:
    """Return the assets `<dataset>/<step>` with their checks; unpartitioned, since an API has only a latest state."""
    kinds = STEP_KINDS | ({RECORDS: {"polars", "parquet", "dynamodb"}} if spec.dynamodb_table else {})

    @dataset_op(
        spec,
        CHECKS.specs(spec.name),
        descriptions=DESCRIPTIONS,
        kinds=kinds,
        metadata={"source": spec.source.url},
    )
    def materialize(
        context: dg.AssetExecutionContext, config: RecordsRun, platform: Platform
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with (
            as_dagster_failure(spec.name, context),
            RecordsChain(
                spec,
                platform.workspace(),
                platform.settings(),
                run_id=context.run_id,
                overrides=Overrides(accept_rejected=config.accept_rejected),
                by_hand=config.by_hand,
            ) as chain,
        ):
            yield from materialize_newest(context, chain, CHECKS, records_metadata, _log_suffix)

    return materialize


def _log_suffix(published: Published) -> str:
    return f"{published.counts.deduplicated} repeated"


def records_metadata(step: str, published: Published) -> dict[str, Any]:
    """Return counts, changes, the latest rows, and the reasons of rejected items."""
    manifest = published.snapshot.manifest
    facts = describe(published, COLUMNS) | {
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
