"""Messages about new captures, and taking those off the queue whose capture is curated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from tnt_platform.lake import naming
from tnt_platform.lake.publishing import Workspace
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.records.capture import captures_digest, to_curate
from tnt_platform.records.capture_queue import CaptureMessage, CaptureQueue
from tnt_platform.records.curation import curated_keys
from tnt_platform.records.spec import RecordsSpec
from tnt_platform.services.queue import sqs_client
from tnt_platform.settings import Settings

_SOURCE: Final = re.compile(r"[A-Za-z0-9_]+")
_DAYS_KEPT = 2


def open_queue(spec: RecordsSpec, settings: Settings) -> CaptureQueue | None:
    """The queue that the dataset names, if it names one."""
    url = settings.resolve(spec.queue)
    return CaptureQueue(url, sqs_client(settings.aws_options("sqs"))) if url else None


def announce_captures(
    spec: RecordsSpec, workspace: Workspace, captures: Snapshot, queue: CaptureQueue | None
) -> int:
    """Tell the queue about every capture with a new content that it was not told of yet, oldest first; how many.

    Which ones it was told of stands beside the pointer and is written after they are sent: what a run could not send
    the next one does, and a run that dies in between tells some twice, which is harmless. A queue that is new to the
    dataset is told of the newest day.

    Raises:
        TntError: the queue can't be reached; the captures are published all the same.
    """
    if queue is None:
        return 0
    told = _read_told(workspace, captures, queue.queue_url)
    days = captures.partitions.filter(pl.col("partition") >= min(told)).select("partition", "inputs_digest")
    behind = [day for day, digest in days.rows() if digest != captures_digest(told.get(day, []))]
    if not behind:
        return 0
    rows = to_curate(captures.scan(behind).collect())
    pending = [row for row in rows.to_dicts() if row["object_key"] not in told.get(_day(row), [])]
    sent: list[dict[str, Any]] = []
    try:
        for row in pending:
            queue.send(_message(spec, workspace, row))
            sent.append(row)
    finally:
        if sent:
            _write_told(workspace, captures, queue.queue_url, told, sent)
    return len(sent)


def _told_key(captures: Snapshot) -> str:
    return f"{naming.dataset_folder(captures.dataset)}index/announced.json"


def _read_told(workspace: Workspace, captures: Snapshot, queue_url: str) -> dict[str, list[str]]:
    """Day -> objects of the captures that the queue was told of; of earlier days it was told of all."""
    pointer = workspace.lake.read_pointer(_told_key(captures))
    held = json.loads(pointer.value) if pointer else {}
    if held.get("queue") == queue_url:
        return dict(held["days"])
    newest: dict[str, list[str]] = {str(captures.partitions["partition"].max()): []}
    # Before the first message: were it lost, the next run must not begin at a later day.
    _write_told(workspace, captures, queue_url, newest, [])
    return newest


def _write_told(
    workspace: Workspace,
    captures: Snapshot,
    queue_url: str,
    told: Mapping[str, list[str]],
    sent: list[dict[str, Any]],
) -> None:
    days = {day: list(keys) for day, keys in told.items()}
    for row in sent:
        days.setdefault(_day(row), []).append(row["object_key"])
    done = [
        day
        for day, digest in captures.partitions.select("partition", "inputs_digest").rows()
        if day in days and digest == captures_digest(days[day])
    ]
    # A run that began before midnight may note its capture after one that began later: two days are kept.
    for day in sorted(days)[:-_DAYS_KEPT]:
        if day in done:
            del days[day]
        else:
            break
    text = json.dumps({"queue": queue_url, "days": days})
    workspace.lake.put(_told_key(captures), text.encode())


def _day(row: Mapping[str, Any]) -> str:
    return f"{row['captured_at']:%Y-%m-%d}"


def settle_messages(workspace: Workspace, queue: CaptureQueue) -> int:
    """Delete the messages whose capture was curated or refused, of whichever source; how many those were.

    The others come back; what nobody understands ends in the dead-letter queue.
    """
    settled = [
        one.receipt
        for one in queue.receive()
        if one.message is not None and _is_settled(workspace, one.message)
    ]
    queue.delete(settled)
    return len(settled)


def _is_settled(workspace: Workspace, message: CaptureMessage) -> bool:
    bucket, prefix = _bucket_and_prefix(workspace)
    if message.bucket != bucket or not _SOURCE.fullmatch(message.source):
        return False
    key = message.key.removeprefix(prefix)
    return key in curated_keys(workspace.store.current(message.source), message.capturedAt[:10])


def _bucket_and_prefix(workspace: Workspace) -> tuple[str, str]:
    """Where the raw files are, as a message says it; a folder is its own bucket."""
    url = workspace.raw.url.rstrip("/")
    if not url.startswith("s3://"):
        return url, ""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, f"{prefix}/" if prefix else ""


def _message(spec: RecordsSpec, workspace: Workspace, row: dict[str, Any]) -> CaptureMessage:
    bucket, prefix = _bucket_and_prefix(workspace)
    return CaptureMessage(
        source=spec.name,
        type="capture",
        bucket=bucket,
        key=f"{prefix}{row['object_key']}",
        capturedAt=row["captured_at"].isoformat(),
        hash=row["sha256"],
        recordCount=row["records"],
    )
