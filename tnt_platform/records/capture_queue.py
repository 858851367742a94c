"""A queue that is told of each new capture; what counts is the ledger, so a lost or repeated message does no harm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from tnt_platform.services.aws import translated_aws_errors

_MESSAGES_A_CALL = 10
_HIDDEN_S = 30


@dataclass(frozen=True)
class CaptureMessage:
    """One capture: who was asked, where the answer lies, when it was taken, its hash and how many items it has.

    `capturedAt` is ISO 8601 in UTC; `recordCount` is None for an answer that can't be read.
    """

    source: str
    type: str
    bucket: str
    key: str
    capturedAt: str  # noqa: N815  (the spelling of the message)
    hash: str
    recordCount: int | None  # noqa: N815


@dataclass(frozen=True)
class Received:
    """A message that was taken from the queue and comes back unless it is deleted; None for one nobody understands."""

    receipt: str
    message: CaptureMessage | None


class CaptureQueue:
    """An SQS queue of captures; its redrive policy takes messages that nobody settles to the dead-letter queue."""

    def __init__(self, queue_url: str, client: Any) -> None:
        self.queue_url = queue_url
        self._client = client

    def send(self, message: CaptureMessage) -> None:
        """Put one message into the queue.

        Raises:
            Unavailable, NotFound, Refused: see `translated_aws_errors`.
        """
        with self._translated("send to"):
            self._client.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps(asdict(message)))

    def receive(self) -> list[Received]:
        """Take up to ten messages, hidden from others for half a minute.

        Raises:
            Unavailable, NotFound, Refused: see `translated_aws_errors`.
        """
        with self._translated("receive from"):
            answer = self._client.receive_message(
                QueueUrl=self.queue_url, MaxNumberOfMessages=_MESSAGES_A_CALL, VisibilityTimeout=_HIDDEN_S
            )
        return [
            Received(raw["ReceiptHandle"], read_message(raw.get("Body", "")))
            for raw in answer.get("Messages", [])
        ]

    def delete(self, receipts: Sequence[str]) -> None:
        """Take settled messages off the queue; one that SQS keeps comes back, which does no harm.

        Raises:
            Unavailable, NotFound, Refused: see `translated_aws_errors`.
        """
        entries = [{"Id": str(at), "ReceiptHandle": receipt} for at, receipt in enumerate(receipts)]
        if entries:
            with self._translated("delete from"):
                self._client.delete_message_batch(QueueUrl=self.queue_url, Entries=entries)

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated_aws_errors(
            f"{doing} SQS queue {self.queue_url}",
            if_missing="Create it (terraform apply) or correct TNT_CAPTURE_QUEUE_URL and the region",
            if_refused="Give the role sqs:SendMessage, sqs:ReceiveMessage and sqs:DeleteMessage on it",
        )


def read_message(body: str) -> CaptureMessage | None:
    """Pure: the capture a message tells of; None when it is no such message. Never raises."""
    names = {field.name for field in fields(CaptureMessage)}
    try:
        content = json.loads(body)
        if not isinstance(content, dict) or set(content) != names:
            return None
        datetime.fromisoformat(content["capturedAt"])
    except (ValueError, TypeError, RecursionError):
        return None
    texts = all(isinstance(content[name], str) for name in names - {"recordCount"})
    return CaptureMessage(**content) if texts else None
