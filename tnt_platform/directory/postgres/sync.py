"""Sync the mall directory with PostgreSQL: one sync at a time, in one transaction, with its outcome in the log."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import polars as pl
import psycopg2
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from tnt_platform.directory.postgres import log
from tnt_platform.directory.postgres.staging import Frames, checked_frames
from tnt_platform.directory.postgres.upsert import SyncCounts, lock_tables, upsert
from tnt_platform.errors import PermanentError, PublishConflict, TntError, Unavailable
from tnt_platform.services.postgres import Database, translated_errors

LOCK_TIMEOUT_S = 300.0
_LOST_SESSION_TIMEOUT_S = 30.0
# Of the tables, per attempt: so long an editor may have a transaction open, and so long others may queue behind us.
TABLE_LOCK_TIMEOUT_S = 5.0
LOCK_ATTEMPTS = 12
_UNIQUE_VIOLATION = "23505"
# Lock not available, deadlock detected, serialization failure.
_LOST_TO_OTHERS = frozenset({"55P03", "40P01", "40001"})


def utc_now() -> datetime:
    """Return the time, for runs without a clock of their own."""
    return datetime.now(UTC)


class DirectorySync:
    """One sync from its RUNNING log row to its end, as a context manager.

        with DirectorySync(database, owner="run 7f3a") as sync:
            ...                                # capture and transform
            counts = sync.apply(tenants, ...)
            sync.finish(timings={"capture_s": 12.5})

    The log row ends as COMPLETED or PARTIAL in the transaction that writes the data. Otherwise it ends as FAILED and
    the tables are unchanged; that includes leaving the block without `apply`, for whatever reason. A killed process
    leaves the row RUNNING, and the next sync turns it into FAILED.
    """

    def __init__(
        self,
        database: Database,
        *,
        owner: str,
        clock: Callable[[], datetime] = utc_now,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        self.sync_id: int | None = None
        self.counts: SyncCounts | None = None
        self._database = database
        self._owner = owner
        self._clock = clock
        self._lock_timeout_s = lock_timeout_s
        self._connection: Connection | None = None
        self._ended = False

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._ended:
            return
        if error is None:
            self.finish(None if self.counts else "the sync ended without applying anything")
            return
        # Raise what stopped the sync, rather than a failure to write the log row that followed from it.
        with suppress(TntError):
            self.finish(f"{type(error).__name__}: {error}")

    def begin(self) -> int:
        """Wait for other syncs, close the rows of dead ones, insert a RUNNING row and return its id.

        Raises:
            Unavailable: another sync did not end in time (its owner is named), or the database cannot be reached.
            ConfigError: the tables do not exist; run the migrations.
            Refused: the user lacks a privilege.
        """
        with self._translated():
            self._connection = self._database.engine.connect()
            try:
                log.lock(self._connection, timeout_s=self._lock_timeout_s)
                self.sync_id = log.open_row(self._connection, owner=self._owner, now=self._clock())
            except BaseException:
                self._release()
                raise
        return self.sync_id

    def apply(
        self,
        tenants: pl.DataFrame,
        *,
        categories: pl.DataFrame,
        floors: pl.DataFrame,
        issues: pl.DataFrame,
        unmapped: pl.DataFrame,
        complete: bool,
        held_back: Sequence[str] = (),
        records_failed: int = 0,
        pages: int = 0,
    ) -> SyncCounts:
        """Bring the tables to the state of `tenants`, and end the log row, in one transaction; once per sync.

        Only rows that differ are written. With `complete`, rows whose record is neither in `tenants` nor in
        `held_back` (in the source, but quarantined) are withdrawn. The log row ends as COMPLETED, or as PARTIAL if
        the input was not complete or records failed. New slugs do not depend on the order of the rows.

        The frames have at least the columns of `staging.TENANTS`, `CATEGORIES`, `FLOORS`, `ISSUES` and `UNMAPPED`.
        Categories and floors are added and renamed, never removed.

        Raises:
            PermanentError: a frame or value cannot be stored (the record is named), or the tables are in a state
                that no sync leaves (see `upsert`).
            PublishConflict: somebody edited the same rows or took a slug in between; run again.
            CheckFailed: the counts do not add up to the records of the input.
            Unavailable, Refused, ConfigError: see `translated_errors`.
            The tables are unchanged after each of these.
        """
        if self._connection is None or self.sync_id is None or self.counts is not None:
            raise PermanentError(
                "apply works once per sync, between begin and finish: use the sync in a with block"
            )
        frames = checked_frames(
            tenants,
            categories=categories,
            floors=floors,
            issues=issues,
            unmapped=unmapped,
            held_back=held_back,
        )
        counters = {"pages": pages, "records_failed": records_failed, **frames.detail_counters}
        self.counts = self._commit(self._connection, self.sync_id, frames, counters, complete=complete)
        return self.counts

    def _commit(
        self,
        connection: Connection,
        sync_id: int,
        frames: Frames,
        counters: Mapping[str, int],
        *,
        complete: bool,
    ) -> SyncCounts:
        counts: SyncCounts | None = None
        for attempt in range(1, LOCK_ATTEMPTS + 1):
            try:
                with self._translated(), _conflicts(), connection.begin():
                    counts = self._write(connection, sync_id, frames, counters, complete=complete)
                break
            except Unavailable as error:
                if counts is None and attempt < LOCK_ATTEMPTS and _lost_to_others(error):
                    continue
                # If the connection was lost during the commit, the log row of the same transaction has the outcome.
                if counts is None or self._status_after_loss() not in ("COMPLETED", "PARTIAL"):
                    raise
                break
        assert counts is not None
        return counts

    def _write(
        self,
        connection: Connection,
        sync_id: int,
        frames: Frames,
        counters: Mapping[str, int],
        *,
        complete: bool,
    ) -> SyncCounts:
        """Do everything that `apply` does inside its transaction."""
        started_s = time.monotonic()
        lock_tables(connection, timeout_s=TABLE_LOCK_TIMEOUT_S)
        counts = upsert(
            connection, frames, records=frames.tenants.height, complete=complete, now=self._clock()
        )
        written_s = time.monotonic()
        log.write_details(connection, sync_id, frames.issues, frames.unmapped)
        failed = counters["records_failed"]
        row = log.LogRow(
            "COMPLETED" if complete and not failed else "PARTIAL",
            {**counters, **_record_counters(counts, failed)},
            {
                "rows_s": round(written_s - started_s, 3),
                "details_s": round(time.monotonic() - written_s, 3),
            },
        )
        log.end_applied(connection, sync_id, row, now=self._clock())
        return counts

    def finish(self, error: str | None = None, *, timings: Mapping[str, float] | None = None) -> None:
        """End the log row (FAILED unless `apply` succeeded), add timings and memory, and release the lock.

        If the connection was lost, a new one is opened for this.

        Raises:
            Unavailable, Refused: the row cannot be written; the next sync ends it.
        """
        if self.sync_id is None or self._ended:
            return
        self._ended = True
        if error is None and self.counts is None:
            error = "the sync ended without applying anything"
        try:
            self._write_end(error, timings or {})
        finally:
            self._release()

    def _write_end(self, error: str | None, timings: Mapping[str, float]) -> None:
        assert self.sync_id is not None
        values: dict[str, Any] = {
            "now": self._clock(),
            "error": error,
            "timings": timings,
            "memory_mb": _peak_memory_mb(),
        }
        if self._connection is not None:
            with suppress(TntError), self._translated():
                log.end(self._connection, self.sync_id, **values)
                return
        status = self._status_after_loss()
        with self._translated(), self._database.engine.connect() as connection:
            if status is not None:
                log.end(connection, self.sync_id, **values)

    def _status_after_loss(self) -> str | None:
        """Read the row's status once the lost session can no longer change it: when it no longer has the lock."""
        self._release()
        assert self.sync_id is not None
        deadline_s = time.monotonic() + _LOST_SESSION_TIMEOUT_S
        with self._translated(), self._database.engine.connect() as connection:
            while time.monotonic() < deadline_s:
                is_free = log.try_lock(connection)
                status = log.status_of(connection, self.sync_id)
                if is_free:
                    log.unlock(connection)
                if is_free or status != "RUNNING":
                    return status
                time.sleep(0.05)
        raise Unavailable(
            f"the lost session of sync {self.sync_id} has not ended yet; the next sync closes its row"
        )

    def _release(self) -> None:
        """Release the lock and return the connection to the pool, or discard one that does not respond."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            log.unlock(connection)
        except BaseException as error:
            with suppress(SQLAlchemyError):
                connection.invalidate()
            if not isinstance(error, SQLAlchemyError):
                raise
        finally:
            with suppress(SQLAlchemyError):
                connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated_errors(f"the directory in {self._database}"):
            yield


def _lost_to_others(error: Unavailable) -> bool:
    """Return whether the transaction only lost against another: a lock not granted in time, a deadlock."""
    cause = error.__cause__
    return getattr(getattr(cause, "orig", cause), "pgcode", None) in _LOST_TO_OTHERS


@contextmanager
def _conflicts() -> Iterator[None]:
    """Translate unique violations: the slug or unique_id was free when the sync read the tables."""
    try:
        yield
    except (IntegrityError, psycopg2.IntegrityError) as error:  # from a statement, from COPY
        cause = error.orig if isinstance(error, IntegrityError) else error
        if getattr(cause, "pgcode", None) != _UNIQUE_VIOLATION:
            raise
        detail = getattr(getattr(cause, "diag", None), "message_detail", None) or str(cause)
        raise PublishConflict(
            f"somebody edited the directory during the sync ({detail}): run again"
        ) from error


def _record_counters(counts: SyncCounts, records_failed: int) -> dict[str, int]:
    return {
        "records_processed": counts.records + records_failed,
        "records_created": counts.created,
        "records_updated": counts.updated,
        "records_unchanged": counts.unchanged,
        "records_moved": counts.moved,
        "records_withdrawn": counts.withdrawn,
        "shops_processed": counts.shops,
        "dinings_processed": counts.dinings,
    }


def _peak_memory_mb() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, bytes on macOS
    return round(used / (1024**2 if sys.platform == "darwin" else 1024), 1)
