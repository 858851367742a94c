"""`<dataset>/database`: the tenants in PostgreSQL, with an audit log; in the lake, what each sync did."""

from __future__ import annotations

import time
from dataclasses import asdict

import polars as pl

from tnt_platform.directory.postgres.sync import DirectorySync
from tnt_platform.directory.postgres.upsert import SyncCounts
from tnt_platform.directory.spec import DATABASE, NEWEST, TENANTS, DirectorySpec
from tnt_platform.directory.tenants import Reading, read_directory
from tnt_platform.lake.publishing import CheckOutcome, Place, Published, publish_checked
from tnt_platform.lake.upstream import Upstream
from tnt_platform.lake.versions import PartitionChange, RowCounts

SYNC_KEY = ("kind",)


def sync_database(spec: DirectorySpec, place: Place, sync: DirectorySync, run_id: str) -> Published:
    """Make the tables hold the published tenants, in one transaction, and say in the lake what came of it.

    The lake's row changes only when the tables or the tenants did: a sync that finds everything as it is leaves a log
    row in the database and nothing else.

    Raises:
        CheckFailed: the counts of the database don't add up to the tenants.
        TntError: see `DirectorySync.apply`; the tables are as they were.
    """
    started = time.monotonic()
    upstream = Upstream.read(place.store, spec.dataset(TENANTS), NEWEST)
    reading = read_directory(spec, place)
    counts = _apply(sync, reading, upstream.frame)
    base = place.store.current(spec.dataset(DATABASE))
    facts = {**{f"records_{name}": value for name, value in asdict(counts).items()}, "sync_id": sync.sync_id}
    facts["seconds_in_database"] = round(time.monotonic() - started, 3)
    in_tables = {"shop": counts.shops, "dining": counts.dinings}
    rows = pl.DataFrame({"kind": list(in_tables), "rows": list(in_tables.values())}).sort("kind")
    change = PartitionChange(
        partition=NEWEST,
        data=rows,
        inputs=upstream.ledger("postgresql"),
        quarantine=pl.DataFrame(),
        counts=RowCounts(rows_in=rows.height, published=rows.height),
        inputs_digest=upstream.inputs_digest,
    )
    published = publish_checked(
        place,
        base=base,
        dataset=spec.dataset(DATABASE),
        change=change,
        key=SYNC_KEY,
        checks=[_reconciled(counts, upstream.frame)],
        run_id=run_id,
        about={"sync": {**asdict(counts), "sync_id": sync.sync_id}},
    )
    return published.with_facts(facts)


def _apply(sync: DirectorySync, reading: Reading, tenants: pl.DataFrame) -> SyncCounts:
    directory = reading.directory
    # Quarantined records are in the source: their rows are not withdrawn.
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
    said = (
        f"{tenants.height} tenants = {counts.created} created + {counts.updated} updated "
        f"+ {counts.unchanged} unchanged + {counts.moved} moved; {counts.withdrawn} withdrawn"
    )
    return CheckOutcome("sync_adds_up", counts.records == tenants.height, said)
