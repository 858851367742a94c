"""Keep the log row of a sync, and the advisory lock that guards it.

A sync's session holds the lock from before its row is RUNNING until after the row has ended. Whoever holds the lock
therefore knows that every other RUNNING row belongs to a session that is gone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from tnt_platform.directory.postgres.staging import content_fingerprint, copy_into
from tnt_platform.directory.postgres.tables import COUNTERS
from tnt_platform.errors import Unavailable

SYNC_LOCK = 0x746E7402  # "tnt" and a 2, as bytes; the migrations use 1
_POLL_S = 0.1
_ERROR_LENGTH_MAX = 10_000


@dataclass(frozen=True)
class LogRow:
    """What an applied sync writes into its log row, in the same transaction as its data."""

    status: str
    counters: Mapping[str, int]
    timings: Mapping[str, float] = field(default_factory=dict)


def lock(connection: Connection, *, timeout_s: float) -> None:
    """Take the lock for the session of `connection`, waiting while another sync holds it.

    Raises:
        Unavailable: it was not released within `timeout_s`; the message names the holder.
    """
    deadline_s = time.monotonic() + timeout_s
    # Poll instead of waiting inside the server, so that signals are handled in between.
    while not try_lock(connection):
        if time.monotonic() >= deadline_s:
            raise Unavailable(
                f"another sync of the directory is running ({_holder(connection)}) and did not end within "
                f"{timeout_s:.0f} s: run again later, or end that sync"
            )
        time.sleep(_POLL_S)


def try_lock(connection: Connection) -> bool:
    """Take the lock if it is free, and tell whether it was."""
    with connection.begin():
        return bool(
            connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": SYNC_LOCK}).scalar_one()
        )


def unlock(connection: Connection) -> None:
    """Release the lock."""
    with connection.begin():
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": SYNC_LOCK})


def open_row(connection: Connection, *, owner: str, now: datetime) -> int:
    """Close rows that dead sessions left RUNNING as FAILED, insert a new RUNNING row and return its id."""
    with connection.begin():
        connection.execute(text(_CLOSE_DEAD), {"now": now})
        return int(connection.execute(text(_OPEN), {"now": now, "owner": owner}).scalar_one())


def status_of(connection: Connection, sync_id: int) -> str | None:
    """Read the status of a log row; None if it does not exist."""
    with connection.begin():
        result = connection.execute(text("SELECT status FROM sync_logs WHERE id = :id"), {"id": sync_id})
        return result.scalar_one_or_none()


def end_applied(connection: Connection, sync_id: int, row: LogRow, *, now: datetime) -> None:
    """End the row in the transaction that wrote the data, so that row and data always agree.

    Raises:
        Unavailable: a later sync has ended the row, believing this one to be dead.
    """
    values = {**dict.fromkeys(COUNTERS, 0), **row.counters, "status": row.status, "now": now, "id": sync_id}
    ended = connection.execute(text(_END_APPLIED), {**values, "timings": json.dumps(dict(row.timings))})
    if ended.rowcount != 1:
        raise Unavailable(f"a later sync closed sync {sync_id} while it was running: run again")


def end(
    connection: Connection,
    sync_id: int,
    *,
    now: datetime,
    error: str | None,
    timings: Mapping[str, float],
    memory_mb: float,
) -> None:
    """Add error, timings and memory; a row that is still RUNNING becomes FAILED, because nothing was applied."""
    values: dict[str, Any] = {
        "id": sync_id,
        "now": now,
        "error": error.replace("\x00", "\\0")[:_ERROR_LENGTH_MAX] if error else None,
        "timings": json.dumps(dict(timings)),
        "memory_mb": memory_mb,
    }
    with connection.begin():
        connection.execute(text(_END), values)


def write_details(connection: Connection, sync_id: int, issues: pl.DataFrame, unmapped: pl.DataFrame) -> None:
    """Store the issues and unmapped values, unless they equal those stored last.

    In that case the row refers to the sync that has them: an hourly sync of an unchanged directory adds one log row.

    Raises:
        PermanentError: PostgreSQL rejects a value.
    """
    fingerprint = content_fingerprint(issues, unmapped)
    newest = connection.execute(text(_NEWEST_DETAILS)).first()
    unchanged = newest is not None and newest.details_fingerprint == fingerprint
    details_of = newest.details_sync_id if newest is not None and unchanged else sync_id
    values = {"id": sync_id, "details_of": details_of, "fingerprint": fingerprint}
    connection.execute(text(_SET_DETAILS), values)
    if not unchanged:
        for table, frame in (("sync_issues", issues), ("sync_unmapped", unmapped)):
            copy_into(connection, table, frame.with_columns(sync_id=pl.lit(sync_id)))


def _holder(connection: Connection) -> str:
    with connection.begin():
        row = connection.execute(text(_HOLDER), {"key": SYNC_LOCK}).first()
    if row is None:
        return "it has just ended"
    return f"owner {row.owner or 'not known yet'}, server process {row.pid}, since {row.started_at or '?'}"


_CLOSE_DEAD = """
UPDATE sync_logs SET status = 'FAILED', completed_at = :now,
    error = 'the process died before the end (closed by the next sync); nothing was applied'
WHERE status = 'RUNNING'
"""
_OPEN = """
INSERT INTO sync_logs (status, started_at, owner, backend_pid)
VALUES ('RUNNING', :now, :owner, pg_backend_pid()) RETURNING id
"""
_END_APPLIED = f"""
UPDATE sync_logs SET status = :status, completed_at = :now, timings = CAST(:timings AS jsonb),
    {", ".join(f"{name} = :{name}" for name in COUNTERS)}
WHERE id = :id AND status = 'RUNNING'
"""  # noqa: S608 - the names are constants
_END = """
UPDATE sync_logs SET error = coalesce(:error, error), memory_mb = :memory_mb,
    timings = timings || CAST(:timings AS jsonb),
    completed_at = coalesce(completed_at, :now),
    status = CASE status WHEN 'RUNNING' THEN 'FAILED' ELSE status END
WHERE id = :id
"""
_NEWEST_DETAILS = """
SELECT details_sync_id, details_fingerprint FROM sync_logs
WHERE details_sync_id IS NOT NULL AND status IN ('COMPLETED', 'PARTIAL') ORDER BY id DESC LIMIT 1
"""
_SET_DETAILS = """
UPDATE sync_logs SET details_sync_id = :details_of, details_fingerprint = :fingerprint WHERE id = :id
"""
_HOLDER = """
SELECT l.pid, s.owner, s.started_at
FROM pg_locks l LEFT JOIN sync_logs s ON s.backend_pid = l.pid AND s.status = 'RUNNING'
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = :key AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
