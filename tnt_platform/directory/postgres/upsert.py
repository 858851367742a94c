"""A whole state of the mall directory into its tables, set-based, inside the caller's transaction.

What is there is read once, the plan is made in frames (`directory_plan`), and only what differs is sent: new rows
by COPY straight into their table, changed ones by COPY into a temporary table and one UPDATE.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, text

from tnt_platform.directory.postgres import staging as staging
from tnt_platform.directory.postgres import statements as sql
from tnt_platform.directory.postgres.input import Frames
from tnt_platform.directory.postgres.plan import STORED, Plan, new_slugs, plan_of, refuse_taken_slugs
from tnt_platform.directory.postgres.tables import KINDS
from tnt_platform.errors import CheckFailed, PublishConflict

_BIGINT = (pl.Int64(), "bigint")
_CHANGED = staging.Staged(
    "changed",
    {
        "id": _BIGINT,
        "unique_id": (pl.String(), "text"),
        **{name: staging.TENANTS.columns.get(name, _BIGINT) for name in sql.CONTENT},
    },
    required=(),
)
_ROWS = {"kind": (pl.String(), "text"), "id": _BIGINT, "unique_id": (pl.String(), "text")}
_LEAVING = staging.Staged("leaving", _ROWS, required=())
_GONE = staging.Staged("gone", _ROWS, required=())
# What a row keeps when it moves to the other table; created_at as the server writes it.
_KEPT = {
    "unique_id": pl.String(),
    "slug": pl.String(),
    "status": pl.String(),
    "is_featured": pl.Boolean(),
    "sort_order": pl.Int64(),
    "created_at": pl.String(),
}


@dataclass(frozen=True)
class SyncCounts:
    """What became of the records: created + updated + unchanged + moved = records in.

    `withdrawn` rows are not among the records; a record that comes back counts as updated, or as moved
    when it comes back as the other kind.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    moved: int = 0
    withdrawn: int = 0
    shops: int = 0
    dinings: int = 0

    @property
    def records(self) -> int:
        return self.created + self.updated + self.unchanged + self.moved


def upsert(
    connection: Connection, frames: Frames, *, records: int, complete: bool, now: datetime
) -> SyncCounts:
    """Make the tables hold the tenants and lookups.

    Only rows that differ are written. With `complete`, rows that are neither among the tenants nor held back
    are withdrawn; without it nothing is.

    Raises:
        PermanentError: one unique_id is a shop and a dining in the tables; a moved record's slug was given
            to another row by hand; a complete input is empty while the tables are not; or PostgreSQL refuses
            a value.
        PublishConflict: other rows were written than planned, as after somebody's edit in between.
        CheckFailed: the records don't add up to the input. The caller rolls back on any of these.
    """
    # Hash joins in memory; compiling plans costs more than it saves here.
    connection.execute(text("SET LOCAL work_mem = '64MB'"))
    connection.execute(text("SET LOCAL jit = off"))
    tenants = _with_lookup_ids(connection, frames)
    stored = staging.copy_out(connection, sql.READ_STORED, STORED)
    plan = plan_of(tenants, stored, held_back=frames.held_back, complete=complete)
    with ThreadPoolExecutor(1) as aside:  # slugs are chosen while the server takes in the changed rows
        chosen = aside.submit(new_slugs, plan.records("created"), stored["slug"])
        kept = _take_out_moved(connection, plan, stored)
        for kind in KINDS:
            _update(connection, plan.records("updated", kind), kind, now)
        slugs = chosen.result()
    for kind in KINDS:
        _insert(connection, plan, kind, slugs, kept, now)
    withdrawn = _withdraw(connection, plan.withdrawals, now)
    return _counted(plan, records, withdrawn)


def _with_lookup_ids(connection: Connection, frames: Frames) -> pl.DataFrame:
    """The tenants with category_id and floor_id, after the lookups were added and renamed."""
    tenants = frames.tenants
    staging.stage(connection, frames.categories, staging.CATEGORIES)
    staging.stage(connection, frames.floors, staging.FLOORS)
    for name, statement, read in (
        ("category", sql.UPSERT_CATEGORIES, sql.READ_CATEGORIES),
        ("floor", sql.UPSERT_FLOORS, sql.READ_FLOORS),
    ):
        connection.execute(text(statement))
        codes = staging.copy_out(connection, read, {name: pl.String(), f"{name}_id": pl.Int64()})
        tenants = tenants.join(codes, on=name, how="left", maintain_order="left")
    return tenants


def _take_out_moved(connection: Connection, plan: Plan, stored: pl.DataFrame) -> pl.DataFrame:
    """Delete moved rows from the table they leave; returns what they keep, `_KEPT`."""
    moved = plan.records("moved")
    kept: list[tuple[object, ...]] = []
    if moved.height:
        leaving = moved.select("unique_id", "id", kind="was").select(*_ROWS)
        staging.stage(connection, leaving, _LEAVING)
        for kind in KINDS:
            kept += map(tuple, connection.execute(text(sql.for_kind(kind, sql.TAKE_OUT_MOVED))))
    rows = pl.DataFrame(kept, schema=_KEPT, orient="row")
    refuse_taken_slugs(rows.join(moved.select("unique_id", "kind"), on="unique_id"), stored)
    return rows


def _insert(
    connection: Connection, plan: Plan, kind: str, slugs: pl.DataFrame, kept: pl.DataFrame, now: datetime
) -> None:
    """New rows, with the editors' columns as they begin, and moved ones with theirs."""
    begun = slugs.with_columns(
        status=pl.lit("INACTIVE"),
        is_featured=pl.lit(False),
        sort_order=pl.lit(0, pl.Int64),
        created_at=pl.lit(now.isoformat()),
    )
    own = pl.concat([begun, kept])
    wanted = plan.changes.filter(pl.col("action").is_in(["created", "moved"]), kind=kind)
    # A row that is not there any more to be moved has nothing to keep.
    rows = wanted.select("unique_id", *sql.CONTENT).join(own, on="unique_id", maintain_order="left")
    rows = rows.with_columns(updated_at=pl.lit(now.isoformat()))
    written = staging.copy_into(connection, KINDS[kind], rows) if rows.height else 0
    _refuse_other_rows(KINDS[kind], "inserted", wanted.height, written)


def _update(connection: Connection, changed: pl.DataFrame, kind: str, now: datetime) -> None:
    if changed.is_empty():
        return
    staged = replace(_CHANGED, table=f"changed_{KINDS[kind]}")
    # In the order of the rows on disk, more or less.
    staging.stage(connection, changed.select(*staged.columns).sort("id"), staged)
    written = connection.execute(text(sql.for_kind(kind, sql.UPDATE_ROWS)), {"now": now}).rowcount
    _refuse_other_rows(KINDS[kind], "updated", changed.height, written)


def _withdraw(connection: Connection, withdrawals: pl.DataFrame, now: datetime) -> int:
    if withdrawals.is_empty():
        return 0
    staging.stage(connection, withdrawals.select(*_ROWS), _GONE)
    for kind, table in KINDS.items():
        written = connection.execute(text(sql.for_kind(kind, sql.WITHDRAW)), {"now": now}).rowcount
        _refuse_other_rows(table, "withdrawn", withdrawals.filter(kind=kind).height, written)
    return withdrawals.height


def _refuse_other_rows(table: str, what: str, planned: int, written: int) -> None:
    if written != planned:
        raise PublishConflict(
            f"{table}: {planned:,} rows were to be {what}, but {written:,} were; nothing is kept. Somebody "
            "else changed the table at the same time: run again"
        )


def _counted(plan: Plan, records: int, withdrawn: int) -> SyncCounts:
    """The counts of a plan whose every part was found to be written."""
    actions, kinds = plan.changes["action"], plan.changes["kind"]
    counts = SyncCounts(
        **{name: int((actions == name).sum()) for name in ("created", "updated", "unchanged", "moved")},
        withdrawn=withdrawn,
        shops=int((kinds == "shop").sum()),
        dinings=int((kinds == "dining").sum()),
    )
    if counts.records != records or counts.shops + counts.dinings != records:
        raise CheckFailed(f"{records:,} records went in, but {counts} don't add up to them; nothing is kept")
    return counts
