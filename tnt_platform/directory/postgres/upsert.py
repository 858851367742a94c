"""Bring the tables of the mall directory to a given state, set-based, inside the caller's transaction.

The stored rows are read once, the plan is made in frames (`plan.py`), and only differences are sent: new rows by COPY
straight into their table, changed ones by COPY into a temporary table and one UPDATE. SQL for PostgreSQL 13 to 18.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from string import Template

import polars as pl
from sqlalchemy import Connection, text

from tnt_platform.directory.postgres import staging
from tnt_platform.directory.postgres.plan import STORED, Plan, new_slugs, plan_of, refuse_taken_slugs
from tnt_platform.directory.postgres.tables import KINDS, LOCALES
from tnt_platform.errors import CheckFailed, PublishConflict

# The columns that every sync sets from the source; the others are keys, times, and the columns of the editors.
CONTENT = (
    "tenant_id",
    *(f"{part}_{locale}" for part in ("title", "description") for locale in LOCALES),
    "zone",
    "unit",
    "opening_hours_text",
    "opening_hours",
    "tel",
    "website",
    "logo",
    "gallery",
    "source_active",
    "starts_on",
    "ends_on",
    "tenant_last_update",
    "mall_last_update",
    "attributes",
    "fingerprint",
    "category_id",
    "floor_id",
)


def for_kind(kind: str, statement: str) -> str:
    """Fill in `statement` for the table of `kind`."""
    return Template(statement).substitute(
        kind=kind, table=KINDS[kind], assignments=", ".join(f"{name} = i.{name}" for name in CONTENT)
    )


UPSERT_CATEGORIES = """
INSERT INTO categories AS t (code, name_en, name_th, name_zh)
SELECT i.* FROM incoming_categories i LEFT JOIN categories c USING (code)
WHERE c.code IS NULL OR (c.name_en, c.name_th, c.name_zh) IS DISTINCT FROM (i.name_en, i.name_th, i.name_zh)
ON CONFLICT (code) DO UPDATE
SET name_en = excluded.name_en, name_th = excluded.name_th, name_zh = excluded.name_zh
"""

UPSERT_FLOORS = """
INSERT INTO floors AS t (code, name, sort_order)
SELECT i.* FROM incoming_floors i LEFT JOIN floors f USING (code)
WHERE f.code IS NULL OR (f.name, f.sort_order) IS DISTINCT FROM (i.name, i.sort_order)
ON CONFLICT (code) DO UPDATE SET name = excluded.name, sort_order = excluded.sort_order
"""

READ_CATEGORIES = "SELECT code, id FROM categories"

READ_FLOORS = "SELECT code, id FROM floors"

# A single statement sees a single moment: a row that somebody moves meanwhile is read once, not twice or never.
READ_STORED = " UNION ALL ".join(
    for_kind(
        kind,
        "SELECT '${kind}', id, unique_id, slug, fingerprint, CAST(withdrawn_at IS NOT NULL AS text) FROM ${table}",
    )
    for kind in KINDS
)

TAKE_OUT_MOVED = """
DELETE FROM ${table} t USING leaving l WHERE l.kind = '${kind}' AND t.id = l.id AND t.unique_id = l.unique_id
RETURNING t.unique_id, t.slug, t.status, t.is_featured, t.sort_order, CAST(t.created_at AS text) AS created_at
"""

UPDATE_ROWS = """
UPDATE ${table} t SET ${assignments}, updated_at = :now, withdrawn_at = NULL
FROM changed_${table} i
WHERE t.id = i.id AND t.unique_id = i.unique_id
    AND (t.fingerprint IS DISTINCT FROM i.fingerprint OR t.withdrawn_at IS NOT NULL)
"""

WITHDRAW = """
UPDATE ${table} t SET withdrawn_at = :now, updated_at = :now
FROM gone g WHERE g.kind = '${kind}' AND t.id = g.id AND t.unique_id = g.unique_id AND t.withdrawn_at IS NULL
"""

_BIGINT = (pl.Int64(), "bigint")
_CHANGED = staging.Staged(
    "changed",
    {
        "id": _BIGINT,
        "unique_id": (pl.String(), "text"),
        **{name: staging.TENANTS.columns.get(name, _BIGINT) for name in CONTENT},
    },
    required=(),
)
_ROWS = {"kind": (pl.String(), "text"), "id": _BIGINT, "unique_id": (pl.String(), "text")}
_LEAVING = staging.Staged("leaving", _ROWS, required=())
_GONE = staging.Staged("gone", _ROWS, required=())
# What a row keeps when it moves to the other table; created_at as the server prints it.
_MOVED_COLUMNS = {
    "unique_id": pl.String(),
    "slug": pl.String(),
    "status": pl.String(),
    "is_featured": pl.Boolean(),
    "sort_order": pl.Int64(),
    "created_at": pl.String(),
}


def lock_tables(connection: Connection, *, timeout_s: float) -> None:
    """Keep others from writing to the tables until the transaction ends, or they and a sync would deadlock.

    Readers are not affected; an editor waits for the sync, which takes a second or two.

    Raises:
        sqlalchemy.exc.OperationalError: an editor's transaction did not end in `timeout_s`.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = {int(timeout_s * 1000)}"))
    connection.execute(text(f"LOCK TABLE {', '.join(KINDS.values())} IN SHARE ROW EXCLUSIVE MODE"))


@dataclass(frozen=True)
class SyncCounts:
    """The outcome of a sync: created + updated + unchanged + moved = records in.

    `withdrawn` rows are not among the records. A record that returns counts as updated, or as moved if it returns as
    the other kind.
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
    connection: Connection, frames: staging.Frames, *, records: int, complete: bool, now: datetime
) -> SyncCounts:
    """Write the tenants and lookups that differ from the stored rows.

    With `complete`, rows that are neither among the tenants nor held back are withdrawn; otherwise none are.

    Raises:
        PermanentError: a unique_id is in both tables; the slug of a moved record was given to another row by hand; a
            complete input is empty although the tables are not; or PostgreSQL rejects a value.
        PublishConflict: the server wrote other rows than planned, as after somebody's edit in between.
        CheckFailed: the counts do not add up to the records. The caller rolls back on any of these.
    """
    # Keep hash joins in memory; compiling plans costs more than it saves here.
    connection.execute(text("SET LOCAL work_mem = '64MB'"))
    connection.execute(text("SET LOCAL jit = off"))
    tenants = _with_lookup_ids(connection, frames)
    stored = staging.copy_out(connection, READ_STORED, STORED)
    plan = plan_of(tenants, stored, held_back=frames.held_back, complete=complete)
    with ThreadPoolExecutor(1) as aside:  # choose slugs while the server stores the changed rows
        chosen = aside.submit(new_slugs, plan.records("created"), stored["slug"])
        kept = _take_out_moved(connection, plan, stored)
        for kind in KINDS:
            _update(connection, plan.records("updated", kind), kind, now)
        slugs = chosen.result()
    for kind in KINDS:
        _insert(connection, plan, kind, slugs, kept, now)
    withdrawn = _withdraw(connection, plan.withdrawals, now)
    return _counted(plan, records, withdrawn)


def _with_lookup_ids(connection: Connection, frames: staging.Frames) -> pl.DataFrame:
    """Upsert the lookups, and add category_id and floor_id to the tenants."""
    tenants = frames.tenants
    staging.stage(connection, frames.categories, staging.CATEGORIES)
    staging.stage(connection, frames.floors, staging.FLOORS)
    for name, statement, read in (
        ("category", UPSERT_CATEGORIES, READ_CATEGORIES),
        ("floor", UPSERT_FLOORS, READ_FLOORS),
    ):
        connection.execute(text(statement))
        codes = staging.copy_out(connection, read, {name: pl.String(), f"{name}_id": pl.Int64()})
        tenants = tenants.join(codes, on=name, how="left", maintain_order="left")
    return tenants


def _take_out_moved(connection: Connection, plan: Plan, stored: pl.DataFrame) -> pl.DataFrame:
    """Delete moved rows from the table they leave, and return what they keep (`_MOVED_COLUMNS`)."""
    moved = plan.records("moved")
    kept: list[tuple[object, ...]] = []
    if moved.height:
        leaving = moved.select("unique_id", "id", kind="was").select(*_ROWS)
        staging.stage(connection, leaving, _LEAVING)
        for kind in KINDS:
            kept += map(tuple, connection.execute(text(for_kind(kind, TAKE_OUT_MOVED))))
    rows = pl.DataFrame(kept, schema=_MOVED_COLUMNS, orient="row")
    refuse_taken_slugs(rows.join(moved.select("unique_id", "kind"), on="unique_id"), stored)
    return rows


def _insert(
    connection: Connection, plan: Plan, kind: str, slugs: pl.DataFrame, kept: pl.DataFrame, now: datetime
) -> None:
    """Insert new rows, with defaults in the editors' columns, and moved rows, with the editors' values."""
    defaults = slugs.with_columns(
        status=pl.lit("INACTIVE"),
        is_featured=pl.lit(False),
        sort_order=pl.lit(0, pl.Int64),
        created_at=pl.lit(now.isoformat()),
    )
    own = pl.concat([defaults, kept])
    wanted = plan.changes.filter(pl.col("action").is_in(["created", "moved"]), kind=kind)
    # A row that is not there any more to be moved has nothing to keep.
    rows = wanted.select("unique_id", *CONTENT).join(own, on="unique_id", maintain_order="left")
    rows = rows.with_columns(updated_at=pl.lit(now.isoformat()))
    written = staging.copy_into(connection, KINDS[kind], rows) if rows.height else 0
    _refuse_other_rows(KINDS[kind], "inserted", wanted.height, written)


def _update(connection: Connection, changed: pl.DataFrame, kind: str, now: datetime) -> None:
    if changed.is_empty():
        return
    staged = replace(_CHANGED, table=f"changed_{KINDS[kind]}")
    # Roughly the order of the rows on disk.
    staging.stage(connection, changed.select(*staged.columns).sort("id"), staged)
    written = connection.execute(text(for_kind(kind, UPDATE_ROWS)), {"now": now}).rowcount
    _refuse_other_rows(KINDS[kind], "updated", changed.height, written)


def _withdraw(connection: Connection, withdrawals: pl.DataFrame, now: datetime) -> int:
    if withdrawals.is_empty():
        return 0
    staging.stage(connection, withdrawals.select(*_ROWS), _GONE)
    for kind, table in KINDS.items():
        written = connection.execute(text(for_kind(kind, WITHDRAW)), {"now": now}).rowcount
        _refuse_other_rows(table, "withdrawn", withdrawals.filter(kind=kind).height, written)
    return withdrawals.height


def _refuse_other_rows(table: str, what: str, planned: int, written: int) -> None:
    if written != planned:
        raise PublishConflict(
            f"{table}: {planned:,} rows should have been {what}, but {written:,} were. Everything was rolled back, "
            "as somebody else changed the table at the same time: run again"
        )


def _counted(plan: Plan, records: int, withdrawn: int) -> SyncCounts:
    """Count the records of a plan that was written in full."""
    actions, kinds = plan.changes["action"], plan.changes["kind"]
    counts = SyncCounts(
        **{name: int((actions == name).sum()) for name in ("created", "updated", "unchanged", "moved")},
        withdrawn=withdrawn,
        shops=int((kinds == "shop").sum()),
        dinings=int((kinds == "dining").sum()),
    )
    if counts.records != records or counts.shops + counts.dinings != records:
        raise CheckFailed(
            f"{counts} do not add up to the {records:,} records of the input; everything was rolled back"
        )
    return counts
