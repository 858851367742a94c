"""Records as DynamoDB items for live readers, if a table is configured."""

from __future__ import annotations

import polars as pl

from tnt_platform.lake import naming
from tnt_platform.lake.publishing import Workspace
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.records.spec import RECORDS, RecordsSpec
from tnt_platform.services.dynamodb import ResultsTable, dynamodb_client
from tnt_platform.settings import Settings

# The partition key is the source, so that the table itself is the index by source.
TABLE_KEY = ("source", "item_id")
# `fingerprint` is a column of the records; this one is of everything an item holds.
FINGERPRINT = "item_fingerprint"


def upsert_records(spec: RecordsSpec, workspace: Workspace, settings: Settings) -> dict[str, object]:
    """Bring the table up to date with the published records and say what that changed.

    Which version the table holds stands beside the pointer and is written after the items are: a run that dies between
    commit and table leaves a difference that the next run sees. Only buckets that changed since are looked at. Items
    don't expire; after a rollback items of records that came later stay.

    Raises:
        TntError: the table can't be reached or refuses; the published data is not affected.
    """
    name = settings.resolve(spec.dynamodb_table) if spec.dynamodb_table else ""
    current = workspace.store.current(spec.dataset(RECORDS))
    if not name or current is None:
        return {}
    key = f"{naming.dataset_folder(current.dataset)}index/dynamodb_version.txt"
    pointer = workspace.lake.read_pointer(key)
    table_held, _, version = pointer.value.decode().strip().rpartition("@") if pointer else ("", "", "")
    if (table_held, version) == (name, current.version):
        return {"dynamodb_table": name}
    buckets = _changed_since(current, version if table_held == name else "")
    facts = _upserted(name, current, buckets, settings) if buckets else {}
    workspace.lake.put(key, f"{name}@{current.version}".encode())
    return {"dynamodb_table": name, **facts}


def _changed_since(current: Snapshot, version: str) -> list[str]:
    """The buckets that a later version than `version` wrote; all of them if it was rolled back since."""
    buckets = current.partitions.filter(pl.col("partition").str.starts_with("bucket="))
    if current.manifest.rolled_back_to is None:
        # Version ids sort by time.
        buckets = buckets.filter(pl.col("changed_by") > version)
    return buckets["partition"].sort().to_list()


def _upserted(name: str, current: Snapshot, buckets: list[str], settings: Settings) -> dict[str, object]:
    client = dynamodb_client(settings.aws_options("dynamodb"))
    table = ResultsTable(name, client, key=TABLE_KEY, fingerprint_attribute=FINGERPRINT)
    counts = table.upsert(current.scan(buckets).collect(), expires_at=None)
    return {
        "dynamodb_created": counts.created,
        "dynamodb_updated": counts.updated,
        "dynamodb_unchanged": counts.unchanged,
        "dynamodb_write_units": counts.write_units,
        "dynamodb_read_units": counts.read_units,
    }
