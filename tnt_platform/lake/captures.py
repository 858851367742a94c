"""`<dataset>/capture`: one row per poll of a source, appended to the partition of its time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tnt_platform.lake import naming
from tnt_platform.lake.manifest import PartitionChange
from tnt_platform.lake.publishing import Published, Workspace, publish_checked, unique_keys
from tnt_platform.lake.snapshot import Snapshot

CAPTURE_KEY = ("captured_at",)


def newest_capture(snapshot: Snapshot | None) -> dict[str, Any] | None:
    """Return the row of the last capture; None before the first."""
    if snapshot is None or snapshot.partitions.is_empty():
        return None
    last = str(snapshot.partitions["partition"].max())
    rows = snapshot.scan([last]).sort("captured_at").tail(1).collect()
    return rows.row(0, named=True) if rows.height else None


def capture_time(now: datetime, newest: Mapping[str, Any] | None) -> tuple[datetime, dict[str, object]]:
    """Return when a capture is said to be made: `now`, but after the one before it, as version ids are ordered.

    Otherwise one capture by a clock that ran ahead would be the newest until real time has passed it. Also return a
    fact for the metadata and the log, if the clocks differ.
    """
    if newest is None or now > newest["captured_at"]:
        return now, {}
    behind_s = (newest["captured_at"] - now).total_seconds()
    return newest["captured_at"] + timedelta(microseconds=1), {
        "clock_behind_last_capture_s": round(behind_s, 3)
    }


def append_capture(
    workspace: Workspace,
    dataset: str,
    row: Mapping[str, Any],
    *,
    partition: str,
    schema: Mapping[str, pl.DataType],
    base: Snapshot | None,
    digest: Callable[[pl.DataFrame], str],
    run_id: str,
) -> Published:
    """Publish `partition` with one more row; `digest` computes the inputs_digest from all of its rows.

    Raises:
        PublishConflict: another run captured meanwhile.
    """
    added = pl.DataFrame([row], schema=schema)
    before = base.scan([partition]).collect() if base and base.partition(partition) else added.clear()
    rows = pl.concat([before, added]).sort("captured_at")
    change = PartitionChange.of_rows(partition, rows, inputs_digest=digest(rows))
    checks = [unique_keys(CAPTURE_KEY, partition)]
    return publish_checked(
        workspace, dataset, change, base=base, key=CAPTURE_KEY, checks=checks, run_id=run_id
    )


def asked_whole_recently(
    workspace: Workspace, dataset: str, capture: Mapping[str, Any] | None, now: datetime, days: float
) -> bool:
    """Whether the whole content was asked for in the last `days`, so that "not modified" may be believed meanwhile."""
    # A time in the future is that of a clock that was wrong.
    if capture and timedelta(0) <= now - capture["captured_at"] < timedelta(days=days):
        return True
    stored = workspace.lake.read_pointer(_asked_key(dataset))
    if stored is None:
        return False
    return timedelta(0) <= now - datetime.fromisoformat(stored.value.decode().strip()) < timedelta(days=days)


def record_whole_asked(workspace: Workspace, dataset: str, now: datetime) -> None:
    """Remember that the whole content was asked for; see `asked_whole_recently`."""
    workspace.lake.put(_asked_key(dataset), now.isoformat().encode())


def _asked_key(dataset: str) -> str:
    return f"{naming.dataset_folder(dataset)}index/asked_whole_at.txt"
