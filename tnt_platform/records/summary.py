"""`<dataset>/summary`: count the records by source and day, so that overviews need no scan."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake.publishing import CheckOutcome, Published, Workspace, publish_checked, unique_keys
from tnt_platform.lake.versions import PartitionChange
from tnt_platform.records.spec import RECORDS, SUMMARY, SUMMARY_PARTITION, RecordsSpec
from tnt_platform.records.transforms.records import UTC_TIME

KEY = ("group_kind", "group_value")
COLUMNS: Final[Mapping[str, pl.DataType]] = {
    "group_kind": pl.String(),
    "group_value": pl.String(),
    "records": pl.Int64(),
    "oldest": UTC_TIME,
    "newest": UTC_TIME,
}


def publish_summary(spec: RecordsSpec, workspace: Workspace, run_id: str) -> Published:
    """Count the published records, unless the summary already counts these files.

    Raises:
        NotFound: no capture was curated yet.
    """
    records = workspace.store.current(spec.dataset(RECORDS))
    if records is None:
        raise NotFound(f"{spec.name}: no capture was curated yet; materialize {spec.name}/{RECORDS} first")
    base = workspace.store.current(spec.dataset(SUMMARY))
    live_files = records.files.select("path", "sha256").sort("path").rows()
    digest = hashlib.sha256(repr(live_files).encode()).hexdigest()
    published = base.partition(SUMMARY_PARTITION) if base else None
    if base is not None and published is not None and published["inputs_digest"] == digest:
        return Published.unchanged(base, SUMMARY_PARTITION)
    rows = records_summary(records.scan()) if records.manifest.rows else pl.DataFrame(schema=dict(COLUMNS))
    change = PartitionChange.of_rows(SUMMARY_PARTITION, rows, inputs_digest=digest)
    return publish_checked(
        workspace,
        spec.dataset(SUMMARY),
        change,
        base=base,
        key=KEY,
        checks=[unique_keys(KEY, SUMMARY_PARTITION), _adds_up(rows, records.manifest.rows)],
        run_id=run_id,
        # A reader of one version of the records finds that version's summary by these.
        about={
            "records_version": records.version,
            "records_files_sha256": records.manifest.files_sha256,
        },
    )


def records_summary(records: pl.LazyFrame) -> pl.DataFrame:
    """Return one row per group (COLUMNS); `group_kind` is all, source or date.

    `date` is the UTC day of the capture that last changed the record; `oldest` and `newest` are of `captured_at`.
    """
    groups = records.select(
        "source", "captured_at", date=pl.col("captured_at").dt.strftime("%Y-%m-%d"), all=pl.lit("all")
    )
    counted = [
        groups.group_by(group_value=kind)
        .agg(
            records=pl.len().cast(pl.Int64),
            oldest=pl.col("captured_at").min(),
            newest=pl.col("captured_at").max(),
        )
        .select(pl.lit(kind).alias("group_kind"), pl.all())
        for kind in ("all", "source", "date")
    ]
    return pl.concat(counted).collect().sort(KEY)


def _adds_up(rows: pl.DataFrame, records: int) -> CheckOutcome:
    sums = {kind: int(part["records"].sum()) for (kind,), part in rows.group_by("group_kind")}
    wrong = {str(kind): count for kind, count in sums.items() if count != records}
    description = (
        f"of {records} records, {wrong} are counted" if wrong else f"every grouping counts {records} records"
    )
    return CheckOutcome("summary_adds_up", not wrong, description)
