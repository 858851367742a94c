"""Announce new captures on an SQS queue, and delete the messages whose capture was curated.

The ledger decides what is curated, so lost and repeated messages are harmless.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

import polars as pl

from tnt_platform.lake import naming
from tnt_platform.lake.publishing import Workspace
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.records.capture import captures_digest, to_curate
from tnt_platform.records.curation import curated_keys
from tnt_platform.records.spec import RecordsSpec
from tnt_platform.services.aws import translated_aws_errors
from tnt_platform.services.queue import sqs_client
from tnt_platform.settings import Settings

# Not longer than the name of a folder may be: anybody may send a message.
_SOURCE: Final = re.compile(r"[A-Za-z0-9_]{1,100}")
_MESSAGES_PER_CALL: Final = 10
_CALLS_A_RUN: Final = 100
_VISIBILITY_TIMEOUT_S: Final = 30
# A run that starts before midnight may publish its capture after one that starts later.
_DAYS_REMEMBERED: Final = 2


@dataclass(frozen=True)
class CaptureMessage:
    """One capture as consumers of the queue read it.

    `capturedAt` is ISO 8601 in UTC; `recordCount` is None for a rejected capture.
    """

    source: str
    type: str
    bucket: str
    key: str
    capturedAt: str  # noqa: N815  (the spelling of the message)
    hash: str
    recordCount: int | None  # noqa: N815


@dataclass(frozen=True)
class ReceivedMessage:
    """A message that returns to the queue unless it is deleted; `message` is None if it is not a capture message."""

    receipt: str
    message: CaptureMessage | None


class CaptureQueue:
    """An SQS queue of captures, whose redrive policy moves messages that nobody deletes to a dead-letter queue.

    Every call raises Unavailable, NotFound or Refused as `translated_aws_errors` says.
    """

    def __init__(self, queue_url: str, client: Any) -> None:
        self.queue_url = queue_url
        self._client = client

    def send(self, message: CaptureMessage) -> None:
        """Send one message."""
        with self._translated("send to"):
            self._client.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps(asdict(message)))

    def receive(self) -> list[ReceivedMessage]:
        """Receive up to ten messages, which other consumers can't see for 30 seconds."""
        with self._translated("receive from"):
            response = self._client.receive_message(
                QueueUrl=self.queue_url,
                MaxNumberOfMessages=_MESSAGES_PER_CALL,
                VisibilityTimeout=_VISIBILITY_TIMEOUT_S,
            )
        return [
            ReceivedMessage(raw["ReceiptHandle"], read_message(raw.get("Body", "")))
            for raw in response.get("Messages", [])
        ]

    def delete(self, receipts: Sequence[str]) -> None:
        """Delete received messages; one that SQS fails to delete is received again, which is harmless."""
        entries = [{"Id": str(at), "ReceiptHandle": receipt} for at, receipt in enumerate(receipts)]
        if entries:
            with self._translated("delete from"):
                self._client.delete_message_batch(QueueUrl=self.queue_url, Entries=entries)

    def _translated(self, operation: str) -> AbstractContextManager[None]:
        return translated_aws_errors(
            f"{operation} SQS queue {self.queue_url}",
            if_missing="Create it (terraform apply) or correct TNT_CAPTURE_QUEUE_URL and the region",
            if_refused="Give the role sqs:SendMessage, sqs:ReceiveMessage and sqs:DeleteMessage on it",
        )


def read_message(body: str) -> CaptureMessage | None:
    """Parse the body of a message; return None if it is not a capture message."""
    names = {field.name for field in fields(CaptureMessage)}
    try:
        content = json.loads(body)
        if not isinstance(content, dict) or set(content) != names:
            return None
        datetime.fromisoformat(content["capturedAt"])
    except (ValueError, TypeError, RecursionError):
        return None
    are_strings = all(isinstance(content[name], str) for name in names - {"recordCount"})
    return CaptureMessage(**content) if are_strings else None


def open_queue(spec: RecordsSpec, settings: Settings) -> CaptureQueue | None:
    """Open the queue that the dataset names, if any."""
    url = settings.resolve(spec.queue)
    return CaptureQueue(url, sqs_client(settings.aws_options("sqs"))) if url else None


def announce_captures(
    spec: RecordsSpec, workspace: Workspace, captures: Snapshot, queue: CaptureQueue
) -> int:
    """Announce every capture with new content that was not announced yet, oldest first; return their number.

    What was announced is written beside the pointer after the messages are sent: the next run sends what this one
    could not, and a run that dies in between sends some twice. A queue that is new to the dataset gets the captures
    of the latest day.

    Raises:
        TntError: the queue can't be reached; the captures are published all the same.
    """
    announced = _read_announced(workspace, captures, queue.queue_url)
    days = captures.partitions.filter(pl.col("partition") >= min(announced))
    behind = [
        day
        for day, digest in days.select("partition", "inputs_digest").rows()
        if digest != captures_digest(announced.get(day, []))
    ]
    if not behind:
        return 0
    rows = to_curate(captures.scan(behind).collect())
    pending = [row for row in rows.to_dicts() if row["object_key"] not in announced.get(_day(row), [])]
    sent: list[dict[str, Any]] = []
    try:
        for row in pending:
            queue.send(_message(spec, workspace, row))
            sent.append(row)
    finally:
        if sent:
            _write_announced(workspace, captures, queue.queue_url, announced, sent)
    return len(sent)


def _announced_key(captures: Snapshot) -> str:
    return f"{naming.dataset_folder(captures.dataset)}index/announced.json"


def _read_announced(workspace: Workspace, captures: Snapshot, queue_url: str) -> dict[str, list[str]]:
    """Map each remembered day to the objects announced on it; all captures of earlier days were announced."""
    pointer = workspace.lake.read_pointer(_announced_key(captures))
    state = json.loads(pointer.value) if pointer else {}
    if state.get("queue") == queue_url:
        return dict(state["days"])
    announced: dict[str, list[str]] = {str(captures.partitions["partition"].max()): []}
    # Written before the first message: if that message is lost, the next run must not start at a later day.
    _write_announced(workspace, captures, queue_url, announced, [])
    return announced


def _write_announced(
    workspace: Workspace,
    captures: Snapshot,
    queue_url: str,
    announced: Mapping[str, list[str]],
    sent: list[dict[str, Any]],
) -> None:
    days = {day: list(keys) for day, keys in announced.items()}
    for row in sent:
        days.setdefault(_day(row), []).append(row["object_key"])
    digests = dict(captures.partitions.select("partition", "inputs_digest").rows())
    for day in sorted(days)[:-_DAYS_REMEMBERED]:
        if digests.get(day) != captures_digest(days[day]):
            break
        del days[day]
    state = json.dumps({"queue": queue_url, "days": days})
    workspace.lake.put(_announced_key(captures), state.encode())


def _day(row: Mapping[str, Any]) -> str:
    return f"{row['captured_at']:%Y-%m-%d}"


def settle_messages(workspace: Workspace, queue: CaptureQueue) -> int:
    """Delete the messages whose capture was curated or rejected, of any source; return their number.

    The others are received again; messages that are not captures end in the dead-letter queue. One run takes all that
    the queue hands out, up to a thousand.
    """
    known: dict[tuple[str, str], set[str]] = {}
    count = 0
    for _ in range(_CALLS_A_RUN):
        received = queue.receive()
        settled = [
            one.receipt
            for one in received
            if one.message is not None and _is_settled(workspace, one.message, known)
        ]
        queue.delete(settled)
        count += len(settled)
        if not received:
            break
    return count


def _is_settled(
    workspace: Workspace, message: CaptureMessage, known: dict[tuple[str, str], set[str]]
) -> bool:
    """Tell whether the capture was curated; `known` remembers what was curated, by source and day."""
    bucket, prefix = _bucket_and_prefix(workspace)
    if message.bucket != bucket or not _SOURCE.fullmatch(message.source):
        return False
    place = message.source, message.capturedAt[:10]
    if place not in known:
        known[place] = curated_keys(workspace.store.current(message.source), message.capturedAt[:10])
    return message.key.removeprefix(prefix) in known[place]


def _bucket_and_prefix(workspace: Workspace) -> tuple[str, str]:
    """Return where the raw files are, as messages name it; a local folder is its own bucket."""
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
