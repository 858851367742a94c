"""Messages about new captures, and taking those off the queue whose capture is curated."""

from __future__ import annotations

import re
from typing import Any, Final

from tnt_platform.flows.publishing import Place
from tnt_platform.flows.records.capture import CAPTURED, REFUSED, newest_capture
from tnt_platform.flows.records.curation import curated_keys
from tnt_platform.flows.records.spec import RecordsSpec
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.services.capture_queue import CaptureMessage, CaptureQueue
from tnt_platform.services.queue import sqs_client
from tnt_platform.settings import Settings

_SOURCE: Final = re.compile(r"[A-Za-z0-9_]+")


def open_queue(spec: RecordsSpec, settings: Settings) -> CaptureQueue | None:
    """The queue that the dataset names, if it names one."""
    url = settings.resolve(spec.queue)
    return CaptureQueue(url, sqs_client(settings.aws_options("sqs"))) if url else None


def announce_capture(spec: RecordsSpec, place: Place, captures: Snapshot, queue: CaptureQueue | None) -> None:
    """Tell the queue about the newest capture, if it holds something new.

    A run that dies before the message is out loses it, and nothing else: curation looks at the captures themselves.

    Raises:
        TntError: the queue can't be reached; the capture is published all the same.
    """
    row = newest_capture(captures)
    if queue is not None and row is not None and row["status"] in (CAPTURED, REFUSED):
        queue.send(_message(spec, place, row))


def settle_messages(place: Place, queue: CaptureQueue) -> int:
    """Delete the messages whose capture was curated or refused, of whichever source; how many those were.

    The others come back; what nobody understands ends in the dead-letter queue.
    """
    settled = [
        one.receipt for one in queue.receive() if one.message is not None and _is_settled(place, one.message)
    ]
    queue.delete(settled)
    return len(settled)


def _is_settled(place: Place, message: CaptureMessage) -> bool:
    bucket, prefix = _bucket_and_prefix(place)
    if message.bucket != bucket or not _SOURCE.fullmatch(message.source):
        return False
    key = message.key.removeprefix(prefix)
    return key in curated_keys(place.store.current(message.source), message.capturedAt[:10])


def _bucket_and_prefix(place: Place) -> tuple[str, str]:
    """Where the raw files are, as a message says it; a folder is its own bucket."""
    url = place.raw.url.rstrip("/")
    if not url.startswith("s3://"):
        return url, ""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, f"{prefix}/" if prefix else ""


def _message(spec: RecordsSpec, place: Place, row: dict[str, Any]) -> CaptureMessage:
    bucket, prefix = _bucket_and_prefix(place)
    return CaptureMessage(
        source=spec.name,
        type="capture",
        bucket=bucket,
        key=f"{prefix}{row['object_key']}",
        capturedAt=row["captured_at"].isoformat(),
        hash=row["sha256"],
        recordCount=row["records"],
    )
