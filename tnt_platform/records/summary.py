"""`<dataset>/summary`: how many records of which source and day, so that overviews need no scan."""

from __future__ import annotations

import hashlib

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake.publishing import CheckOutcome, Published, Workspace, publish_checked, unique_keys
from tnt_platform.lake.versions import PartitionChange
from tnt_platform.records.spec import RECORDS, SUMMARY, WHOLE, RecordsSpec
from tnt_platform.records.transforms.counts import SUMMARY as COLUMNS
from tnt_platform.records.transforms.counts import records_summary

KEY = ("group_kind", "group_value")


def publish_summary(spec: RecordsSpec, workspace: Workspace, run_id: str) -> Published:
    """Count the published records: group_kind (all, source, date), group_value, records, oldest, newest.

    Raises:
        NotFound: no capture was curated yet.
    """
    records = workspace.store.current(spec.dataset(RECORDS))
    if records is None:
        raise NotFound(f"{spec.name}: nothing is curated yet; materialize {spec.name}/{RECORDS} first")
    base = workspace.store.current(spec.dataset(SUMMARY))
    live = records.files.select("path", "sha256").sort("path").rows()
    digest = hashlib.sha256(repr(live).encode()).hexdigest()
    held = base.partition(WHOLE) if base else None
    if base is not None and held is not None and held["inputs_digest"] == digest:
        return Published.unchanged(base, WHOLE)
    rows = records_summary(records.scan()) if records.manifest.rows else pl.DataFrame(schema=dict(COLUMNS))
    change = PartitionChange.of_rows(WHOLE, rows, inputs_digest=digest)
    return publish_checked(
        workspace,
        spec.dataset(SUMMARY),
        change,
        base=base,
        key=KEY,
        checks=[unique_keys(KEY, WHOLE), _adds_up(rows, records.manifest.rows)],
        run_id=run_id,
        # By these a reader of one version of the records finds the summary of that version.
        about={
            "records_version": records.version,
            "records_files_sha256": records.manifest.files_sha256,
        },
    )


def _adds_up(rows: pl.DataFrame, records: int) -> CheckOutcome:
    sums = {kind: int(part["records"].sum()) for (kind,), part in rows.group_by("group_kind")}
    wrong = {str(kind): found for kind, found in sums.items() if found != records}
    said = (
        f"each grouping counts {records} records"
        if not wrong
        else f"of {records} records {wrong} are counted"
    )
    return CheckOutcome("summary_adds_up", not wrong, said)
