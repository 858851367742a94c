"""Step `<dataset>/database`: sync the tenants with PostgreSQL, and publish in the lake what the sync did."""

from __future__ import annotations

import time
from dataclasses import asdict

import polars as pl

from tnt_platform.directory.postgres.sync import DirectorySync
from tnt_platform.directory.postgres.upsert import SyncCounts
from tnt_platform.directory.spec import DATABASE, NEWEST, TENANTS, DirectorySpec
from tnt_platform.directory.tenants import Reading, read_directory
from tnt_platform.lake.publishing import CheckOutcome, Published, Workspace, publish_checked
from tnt_platform.lake.upstream import Upstream
from tnt_platform.lake.versions import PartitionChange

SYNC_KEY = ("kind",)


def sync_database(spec: DirectorySpec, workspace: Workspace, sync: DirectorySync, run_id: str) -> Published:
    """Bring the tables to the published tenants, in one transaction, and publish the outcome in the lake.

    The lake gets a version only if tables or tenants changed: a sync without changes adds a log row to the database
    and nothing else.

    Raises:
        CheckFailed: the counts of the database do not add up to the tenants.
        TntError: see `DirectorySync.apply`; the tables are unchanged.
    """
    started = time.monotonic()
    upstream = Upstream.read(workspace.store, spec.dataset(TENANTS), NEWEST)
    # The pages that these tenants were made from, which need not be the newest: what was quarantined with them counts.
    reading = read_directory(spec, workspace, version=upstream.snapshot.inputs(NEWEST)["etag"][0])
    counts = _apply(sync, reading, upstream.frame)
    base = workspace.store.current(spec.dataset(DATABASE))
    facts = {
        **{f"records_{name}": value for name, value in asdict(counts).items()},
        "sync_id": sync.sync_id,
        "seconds_in_database": round(time.monotonic() - started, 3),
    }
    in_tables = {"shop": counts.shops, "dining": counts.dinings}
    rows = pl.DataFrame({"kind": list(in_tables), "rows": list(in_tables.values())}).sort("kind")
    change = PartitionChange.of_rows(
        NEWEST, rows, inputs=upstream.ledger("postgresql"), inputs_digest=upstream.inputs_digest
    )
    published = publish_checked(
        workspace,
        spec.dataset(DATABASE),
        change,
        base=base,
        key=SYNC_KEY,
        checks=[_reconciled(counts, upstream.frame)],
        run_id=run_id,
        about={"sync": {**asdict(counts), "sync_id": sync.sync_id}},
    )
    return published.with_facts(facts)


def _apply(sync: DirectorySync, reading: Reading, tenants: pl.DataFrame) -> SyncCounts:
    directory = reading.directory
    # Quarantined records are still in the source, so their rows must not be withdrawn.
    held_back = directory.quarantine["unique_id"].drop_nulls().unique().sort().to_list()
    return sync.apply(
        tenants,
        categories=reading.lookups.categories.select("code", "name_en", "name_th", "name_zh"),
        floors=reading.lookups.floors.select("code", "name", "sort_order"),
        issues=directory.issues,
        unmapped=directory.unmapped,
        complete=True,
        held_back=held_back,
        records_failed=directory.quarantine.height,
        pages=reading.pages.manifest.rows,
    )


def _reconciled(counts: SyncCounts, tenants: pl.DataFrame) -> CheckOutcome:
    description = (
        f"{tenants.height} tenants = {counts.created} created + {counts.updated} updated "
        f"+ {counts.unchanged} unchanged + {counts.moved} moved; {counts.withdrawn} withdrawn"
    )
    return CheckOutcome("sync_adds_up", counts.records == tenants.height, description)
