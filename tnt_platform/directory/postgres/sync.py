"""One sync of the mall directory with PostgreSQL: alone, in one transaction, always ended in its log."""

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

from tnt_platform.directory.postgres import log as log
from tnt_platform.directory.postgres.input import Frames, checked_frames
from tnt_platform.directory.postgres.upsert import SyncCounts, upsert
from tnt_platform.errors import PermanentError, PublishConflict, TntError, Unavailable
from tnt_platform.services.postgres import Database, translated_errors

LOCK_TIMEOUT_S = 300.0
_LOST_SESSION_TIMEOUT_S = 30.0
_UNIQUE_VIOLATION = "23505"


def utc_now() -> datetime:
    return datetime.now(UTC)


class DirectorySync:
    """A sync from its RUNNING row to its end, as a context manager.

        with DirectorySync(database, owner="run 7f3a") as sync:
            ...                                # capture and transform
            counts = sync.apply(tenants, ...)
            sync.finish(timings={"capture_s": 12.5})

    Its log row ends as COMPLETED or PARTIAL in the transaction that writes the data, or as FAILED, and then
    the tables are as they were. Leaving the block without `apply` is FAILED, whatever the reason. A process
    that is killed leaves RUNNING; the next sync turns it into FAILED.
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
        # What stopped the sync is more telling than a log row that could not be written because of it.
        with suppress(TntError):
            self.finish(f"{type(error).__name__}: {error}")

    def begin(self) -> int:
        """Wait for other syncs, close the rows of dead ones and write a RUNNING row; returns its id.

        Raises:
            Unavailable: another sync did not end in time (its owner is named), or the database is away.
            ConfigError: the tables are not there; run the migrations.
            Refused: the user lacks a privilege.
        """
        with self._translated():
            self._connection = self._database.engine.connect()
            try:
                log.lock(self._connection, timeout_s=self._lock_timeout_s)
                self.sync_id = log.open_row(self._connection, owner=self._owner, now=self._clock())
            except BaseException:
                self._let_go()
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
        """Make the tables hold `tenants`, in one transaction, and end the log row in it; once a sync.

        Rows that differ are written, unchanged ones are not touched. With `complete`, rows whose record is
        neither in `tenants` nor in `held_back` (in the source, but quarantined) are withdrawn. The row ends
        as COMPLETED, or as PARTIAL when the input was not complete or records failed. New slugs go by the
        order of unique_id, whatever the order of the frame.

        Frames, each with at least these columns: tenants, issues and unmapped as
        `directory_staging.TENANTS`, `ISSUES` and `UNMAPPED` list them (one row a unique_id); categories
        (code, name_en, name_th, name_zh String, key code); floors (code, name String, sort_order Int64,
        key code). Rows of the lookups are added and renamed, never removed.

        Raises:
            PermanentError: a frame or value that can't be stored (the record is named), or tables that hold
                what no sync makes (see `upsert`).
            PublishConflict: somebody edited the same rows or took a slug in between; run again.
            CheckFailed: the records don't add up to the input.
            Unavailable, Refused, ConfigError: see `translated_errors`.
            The tables are as before after each of these.
        """
        if self._connection is None or self.sync_id is None or self.counts is not None:
            raise PermanentError("apply works once, between begin and finish: use the sync in a with block")
        frames = checked_frames(
            tenants,
            categories=categories,
            floors=floors,
            issues=issues,
            unmapped=unmapped,
            held_back=held_back,
        )
        counters = {"pages": pages, "records_failed": records_failed, **frames.detail_counters}
        counts: SyncCounts | None = None
        try:
            with self._translated(), _conflicts(), self._connection.begin():
                counts = self._write(self._connection, self.sync_id, frames, counters, complete=complete)
        except Unavailable:
            # A connection lost in the commit: the row, written by the same transaction, knows the outcome.
            if counts is None or self._status_after_loss() not in ("COMPLETED", "PARTIAL"):
                raise
        self.counts = counts
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
        """Everything that `apply` does inside its transaction."""
        started_s = time.monotonic()
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
        """End the log row (FAILED unless `apply` has succeeded), add timings and memory, let others sync.

        A lost connection is replaced for it.

        Raises:
            Unavailable, Refused: the row can't be reached; the next sync ends it.
        """
        if self.sync_id is None or self._ended:
            return
        self._ended = True
        if error is None and self.counts is None:
            error = "the sync ended without applying anything"
        try:
            self._write_end(error, timings or {})
        finally:
            self._let_go()

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
        """The row's status once the lost session can't change it any more: its lock is free or another's."""
        self._let_go()
        assert self.sync_id is not None
        deadline_s = time.monotonic() + _LOST_SESSION_TIMEOUT_S
        with self._translated(), self._database.engine.connect() as connection:
            while time.monotonic() < deadline_s:
                gone = log.try_lock(connection)
                status = log.status_of(connection, self.sync_id)
                if gone:
                    log.unlock(connection)
                if gone or status != "RUNNING":
                    return status
                time.sleep(0.05)
        raise Unavailable(
            f"the lost session of sync {self.sync_id} does not end; the next sync closes its row"
        )

    def _let_go(self) -> None:
        """Give the lock and the connection back; the connection is closed when it does not answer."""
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


@contextmanager
def _conflicts() -> Iterator[None]:
    """A slug or unique_id that is taken now was free when the sync looked: somebody wrote it meanwhile."""
    try:
        yield
    except (IntegrityError, psycopg2.IntegrityError) as error:  # a statement's, a COPY's
        said = error.orig if isinstance(error, IntegrityError) else error
        if getattr(said, "pgcode", None) != _UNIQUE_VIOLATION:
            raise
        detail = getattr(getattr(said, "diag", None), "message_detail", None) or str(said)
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
