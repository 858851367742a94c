"""Receive S3 event notifications from SQS: hints of which partitions to check first.

The bucket is compared with what was published anyway, so a lost, repeated or late event does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_plus

from tnt_platform.errors import ConfigError
from tnt_platform.services.aws import aws_client, response_field, translated_aws_errors

_MESSAGES_A_CALL = 10  # the most SQS hands out or deletes at once
_LONGEST_WAIT_S = 20
_LONGEST_VISIBILITY_S = 43_200
# An S3 event in a topic in another topic is the deepest seen; the bound stops a crafted body from nesting forever.
_MOST_ENVELOPES = 4
_EVENTBRIDGE_NAMES = {"Object Created": "ObjectCreated", "Object Deleted": "ObjectRemoved"}


def sqs_client(options: Mapping[str, str] | None = None) -> Any:
    """Build the client that `EventQueue` uses (see `aws_client` for the options and errors)."""
    # A long poll holds the connection for up to 20 s before the response comes.
    return aws_client("sqs", options, read_timeout_s=_LONGEST_WAIT_S + 10.0)


@dataclass(frozen=True)
class ObjectEvent:
    """One object was created, removed or otherwise touched; `key` is the object's key as S3 lists it."""

    bucket: str
    key: str
    event_name: str
    receipt: str


@dataclass(frozen=True)
class ObjectEventMessage:
    """One message: its events, and `poison_reason` if some of it could not be parsed.

    A poison message still carries the events of its valid records. `receives` is how often the queue has
    delivered the message, including this time.
    """

    receipt: str
    message_id: str
    events: tuple[ObjectEvent, ...]
    body_sha: str
    poison_reason: str | None
    receives: int

    @property
    def deletable(self) -> bool:
        """Return False for a poison message: the queue's redrive policy moves it to the dead-letter queue."""
        return self.poison_reason is None


@dataclass(frozen=True)
class FailedDelete:
    """A message that stays in the queue and will be delivered again, which does no harm."""

    receipt: str
    code: str
    message: str


@dataclass(frozen=True)
class Deleted:
    """How many messages SQS deleted, and those it did not."""

    deleted: int
    failed: tuple[FailedDelete, ...]


@dataclass(frozen=True)
class QueueDepth:
    """Approximate numbers of messages, as SQS counts them."""

    waiting: int
    in_flight: int
    delayed: int


class EventQueue:
    """An SQS queue of S3 event notifications; `requests` counts the calls made, for the cost."""

    def __init__(self, queue_url: str, client: Any) -> None:
        self.queue_url = queue_url
        self.requests = 0
        self._client = client

    def receive(
        self, max_messages: int, *, wait_s: int = 0, visibility_s: int = 120
    ) -> list[ObjectEventMessage]:
        """Receive up to `max_messages`, hidden from others for `visibility_s`; wait up to `wait_s` for the first.

        Each message is returned once per call, whatever its body holds: as events, or as poison.

        Raises:
            ConfigError: a number that SQS does not allow.
            Unavailable, NotFound, Refused: see `translated_aws_errors`.
        """
        _refuse_outside("max_messages", max_messages, 1, 100_000)
        _refuse_outside("wait_s", wait_s, 0, _LONGEST_WAIT_S)
        _refuse_outside("visibility_s", visibility_s, 1, _LONGEST_VISIBILITY_S)
        # Delivery is at least once: only the newest receipt can delete a message received twice.
        taken: dict[str, ObjectEventMessage] = {}
        while len(taken) < max_messages:
            answer = self._receive_some(
                min(_MESSAGES_A_CALL, max_messages - len(taken)), 0 if taken else wait_s, visibility_s
            )
            fresh = {raw["MessageId"]: _message_of(raw) for raw in answer}
            before = len(taken)
            taken |= fresh
            if len(taken) == before:
                break
        return list(taken.values())

    def delete(self, receipts: Sequence[str]) -> Deleted:
        """Delete messages in batches of 10 and report those that SQS did not delete.

        Raises:
            Unavailable, NotFound, Refused: a whole call failed; see `translated_aws_errors`.
        """
        distinct = list(dict.fromkeys(receipts))
        failed: list[FailedDelete] = []
        for start in range(0, len(distinct), _MESSAGES_A_CALL):
            batch = distinct[start : start + _MESSAGES_A_CALL]
            entries = [{"Id": str(i), "ReceiptHandle": receipt} for i, receipt in enumerate(batch)]
            with self._translated("delete from"):
                self.requests += 1
                answer = self._client.delete_message_batch(QueueUrl=self.queue_url, Entries=entries)
            # Count only what SQS confirms: a response that was cut off confirms nothing.
            left = {str(i) for i in range(len(batch))} - {done["Id"] for done in answer.get("Successful", [])}
            reasons = {fault["Id"]: fault for fault in answer.get("Failed", [])}
            for entry in sorted(left, key=int):
                reason = reasons.get(entry, {"Code": "NoAnswer"})
                failed.append(FailedDelete(batch[int(entry)], reason["Code"], reason.get("Message", "")))
        return Deleted(len(distinct) - len(failed), tuple(failed))

    def depth(self) -> QueueDepth:
        """Return how many messages are waiting, in flight, or delayed.

        Raises:
            Unavailable, NotFound, Refused: see `translated_aws_errors`.
        """
        names = (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        with self._translated("measure"):
            self.requests += 1
            answer = self._client.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=list(names))
        return QueueDepth(*(int(response_field(answer, "Attributes").get(name, 0)) for name in names))

    def _receive_some(self, most: int, wait_s: int, visibility_s: int) -> list[dict[str, Any]]:
        with self._translated("receive from"):
            self.requests += 1
            answer = self._client.receive_message(
                QueueUrl=self.queue_url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=visibility_s,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated_aws_errors(
            f"{doing} SQS queue {self.queue_url}",
            if_missing="Create it (terraform apply) or correct the queue URL and region",
            if_refused="Give the role sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on it",
        )


def read_notification(body: str, receipt: str) -> tuple[tuple[ObjectEvent, ...], str | None]:
    """Parse the events in a message body; the second value says why it, or some record of it, is malformed.

    Accepts S3's own notification, EventBridge's, either of them inside an SNS notification, and the
    test message that S3 sends when notifications are set up (no events, no fault). Never raises.
    """
    try:
        content = json.loads(body)
        for _ in range(_MOST_ENVELOPES):
            if not _is_sns(content):
                break
            content = json.loads(content["Message"])
    except (ValueError, RecursionError) as error:
        return (), f"not JSON: {type(error).__name__}"
    if not isinstance(content, dict):
        return (), f"a JSON object was expected, not {type(content).__name__}"
    if content.get("Event") == "s3:TestEvent":
        return (), None
    if "Records" in content:
        return _events_of_records(content["Records"], receipt)
    if content.get("source") == "aws.s3":
        return _collected([_event_of_eventbridge(content, receipt)])
    known = sorted(name for name in content if name.isidentifier())[:5]
    return (), f"neither an S3 notification nor an EventBridge or SNS envelope of one; it has {known}"


def _is_sns(content: object) -> bool:
    return (
        isinstance(content, dict)
        and content.get("Type") == "Notification"
        and isinstance(content.get("Message"), str)
    )


def _events_of_records(records: object, receipt: str) -> tuple[tuple[ObjectEvent, ...], str | None]:
    if not isinstance(records, list) or not records:
        return (), "Records is not a list of records"
    return _collected([_event_of_record(record, receipt) for record in records])


def _event_of_record(record: object, receipt: str) -> ObjectEvent | str:
    # Emulators call themselves minio:s3 and the like, and leave the s3: in front of the event's name.
    if not str(_at(record, "eventSource")).endswith(":s3"):
        return f"a record's eventSource is {str(_at(record, 'eventSource'))[:40]!r}, not aws:s3"
    key, name = _at(record, "s3", "object", "key"), _at(record, "eventName")
    if not isinstance(key, str) or not isinstance(name, str):
        return "a record lacks eventName or s3.object.key"
    try:
        # S3 encodes keys as a form does: a space is +, a plus is %2B.
        decoded = unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        return f"the key {key[:80]!r} is not URL-encoded UTF-8"
    return _event(_at(record, "s3", "bucket", "name"), decoded, name.removeprefix("s3:"), receipt)


def _event_of_eventbridge(content: Mapping[str, object], receipt: str) -> ObjectEvent | str:
    kind, reason = content.get("detail-type"), _at(content, "detail", "reason")
    if not isinstance(kind, str):
        return "detail-type is missing"
    name = _EVENTBRIDGE_NAMES.get(kind, kind) + (f":{reason}" if isinstance(reason, str) else "")
    # Unlike S3's own notifications, EventBridge's carry the key unencoded: decoding would corrupt a plus.
    return _event(
        _at(content, "detail", "bucket", "name"), _at(content, "detail", "object", "key"), name, receipt
    )


def _event(bucket: object, key: object, name: str, receipt: str) -> ObjectEvent | str:
    if not isinstance(bucket, str) or not bucket or not isinstance(key, str) or not key:
        return "a bucket name or an object key is missing"
    try:
        f"{bucket}{key}{name}".encode()
    except UnicodeEncodeError:
        return f"the key {key[:80]!r} is not valid Unicode"
    return ObjectEvent(bucket, key, name, receipt)


def _collected(found: Sequence[ObjectEvent | str]) -> tuple[tuple[ObjectEvent, ...], str | None]:
    events = tuple(one for one in found if isinstance(one, ObjectEvent))
    faults = dict.fromkeys(one for one in found if isinstance(one, str))
    return events, "; ".join(list(faults)[:3]) or None


def _at(content: object, *path: str) -> object:
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _message_of(raw: Mapping[str, Any]) -> ObjectEventMessage:
    receipt, body = raw["ReceiptHandle"], raw.get("Body", "")
    events, poison_reason = read_notification(body, receipt)
    return ObjectEventMessage(
        receipt=receipt,
        message_id=raw["MessageId"],
        events=events,
        body_sha=sha256(body.encode("utf-8", "surrogatepass")).hexdigest(),
        poison_reason=poison_reason,
        receives=int(raw.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
    )


def _refuse_outside(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} is {value}: SQS accepts {least} to {most}")
