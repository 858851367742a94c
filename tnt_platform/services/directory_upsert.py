"""A whole state of the mall directory into its tables, set-based, inside the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from tnt_platform.errors import CheckFailed, PermanentError, PublishConflict
from tnt_platform.services import directory_statements as sql
from tnt_platform.services.directory_tables import KINDS


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


def upsert(connection: Connection, *, records: int, complete: bool, now: datetime) -> SyncCounts:
    """Make the tables hold the staged tenants (`incoming` and its lookups, see `directory_staging`).

    Only rows that differ are written. With `complete`, rows that are neither staged nor held back are
    withdrawn; without it nothing is.

    Raises:
        PermanentError: one unique_id is a shop and a dining in the tables; a moved record's slug was given
            to another row by hand; or a complete input is empty while the tables are not.
        PublishConflict: other rows were written than planned, as after somebody's edit in between.
        CheckFailed: the records don't add up to the input. The caller rolls back on any of these.
    """
    # Hash joins in memory; compiling plans costs more than it saves here.
    connection.execute(text("SET LOCAL work_mem = '64MB'"))
    connection.execute(text("SET LOCAL jit = off"))
    for statement in (sql.UPSERT_CATEGORIES, sql.UPSERT_FLOORS, sql.PLAN_CHANGES, sql.ANALYZE_CHANGES):
        connection.execute(text(statement))
    _refuse_both_kinds(connection)
    _choose_slugs(connection)
    _take_out_moved(connection)
    connection.execute(text(sql.MAKE_WRITTEN_ROWS))
    for kind in KINDS:
        for statement in (sql.INSERT_ROWS, sql.UPDATE_ROWS):
            connection.execute(text(sql.for_kind(kind, statement)), {"now": now})
        for statement in (sql.INSERT_TRANSLATIONS, sql.DROP_TRANSLATIONS, sql.UPSERT_TRANSLATIONS):
            connection.execute(text(sql.for_kind(kind, statement)))
    withdrawn = _withdraw(connection, records, now) if complete else 0
    return _reconciled(connection, records, withdrawn)


def _withdraw(connection: Connection, records: int, now: datetime) -> int:
    withdrawn = 0
    for kind in KINDS:
        withdrawn += connection.execute(text(sql.for_kind(kind, sql.WITHDRAW)), {"now": now}).rowcount
    if withdrawn and not records:
        raise PermanentError(
            f"a complete directory without a single record would withdraw all {withdrawn:,} rows: "
            "look at the source; to empty the directory on purpose, set withdrawn_at by hand"
        )
    return withdrawn


def _reconciled(connection: Connection, records: int, withdrawn: int) -> SyncCounts:
    planned = {(row.kind, row.action): row.records for row in connection.execute(text(sql.COUNT_PLANNED))}
    written = {(row.kind, row.inserted): row.records for row in connection.execute(text(sql.COUNT_WRITTEN))}

    def total(action: str) -> int:
        return sum(planned.get((kind, action), 0) for kind in KINDS)

    for kind in KINDS:
        inserted = planned.get((kind, "created"), 0) + planned.get((kind, "moved"), 0)
        updated = planned.get((kind, "updated"), 0)
        found = written.get((kind, True), 0), written.get((kind, False), 0)
        if found != (inserted, updated):
            raise PublishConflict(
                f"{KINDS[kind]}: {inserted:,} rows were to be inserted and {updated:,} updated, but "
                f"{found[0]:,} and {found[1]:,} were; nothing is kept. Somebody "
                "else changed the table at the same time: run again"
            )
    counts = SyncCounts(
        created=total("created"),
        updated=total("updated"),
        unchanged=total("unchanged"),
        moved=total("moved"),
        withdrawn=withdrawn,
        shops=sum(number for (kind, _), number in planned.items() if kind == "shop"),
        dinings=sum(number for (kind, _), number in planned.items() if kind == "dining"),
    )
    if counts.records != records or counts.shops + counts.dinings != records:
        raise CheckFailed(f"{records:,} records went in, but {counts} don't add up to them; nothing is kept")
    return counts


def _refuse_both_kinds(connection: Connection) -> None:
    if row := connection.execute(text(sql.FIND_BOTH_KINDS)).first():
        raise PermanentError(
            f"the record {row.unique_id!r} is a row of shops and of dinings, which no sync makes: delete one"
        )


def _choose_slugs(connection: Connection) -> None:
    """Slugs for new rows: the base for its first claimant, then -2, -3 ... in the order of unique_id."""
    connection.execute(text(sql.MAKE_SLUGS))
    first = connection.execute(text(sql.CHOOSE_BASE_SLUGS)).rowcount
    new: int = connection.execute(text(sql.COUNT_CREATED)).scalar_one()
    if first < new:
        connection.execute(text(sql.CHOOSE_NUMBERED_SLUGS))


def _take_out_moved(connection: Connection) -> None:
    """Delete moved rows from the table they leave, keeping what belongs to the editors."""
    connection.execute(text(sql.MAKE_MOVED_ROWS))
    for kind in KINDS:
        connection.execute(text(sql.for_kind(kind, sql.TAKE_OUT_MOVED)))
    for kind in KINDS:
        if row := connection.execute(text(sql.for_kind(kind, sql.FIND_TAKEN_SLUGS))).first():
            raise PermanentError(
                f"the record {row.unique_id!r} becomes a {kind} and keeps its slug {row.slug!r}, but "
                f"{row.taken_by!r} in {KINDS[kind]} was given the same slug by hand: change one of them"
            )
