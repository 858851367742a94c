"""Notify an SNS topic of what was published."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from tnt_platform.errors import ConfigError, NotFound, PermanentError
from tnt_platform.services.aws import aws_client, response_field, translated_aws_errors

MAX_MESSAGE_BYTES = 262_144
_ARN = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}")
_SUBJECT = re.compile(r"[!-~][ -~]{0,99}")
_CREATE = "Create it (terraform apply) or correct the topic ARN (SNS_PROJECTION_TOPIC_ARN) and endpoint"


class SnsNotifier:
    """Publishes JSON messages to one standard topic; `options` are those of `aws_client`.

    Without a region in the options the topic's own is used, whatever the environment says.

    Raises:
        ConfigError: not the ARN of a standard topic, or unusable options.
    """

    def __init__(self, topic_arn: str, options: Mapping[str, str] | None = None) -> None:
        arn = _ARN.fullmatch(topic_arn)
        if arn is None:
            raise ConfigError(
                f"{topic_arn!r} is not the ARN of a standard SNS topic "
                "(arn:aws:sns:<region>:<account>:<name>): correct SNS_PROJECTION_TOPIC_ARN"
            )
        self.topic_arn = topic_arn
        self._client = aws_client("sns", {"region": arn[1], **(options or {})})

    def send(self, subject: str, message: Mapping[str, Any]) -> str:
        """Publish one message and return its id; if a response is lost it may be published twice.

        If the message exceeds 262,144 bytes, the lists and mappings in its `changelog` are cut to as many first
        entries as fit, and `changelog_truncated` is true; the manifest has the full changelog.

        Raises:
            PermanentError: the subject is not 1 to 100 printable ASCII characters, or the message is not JSON
                or is too large without its changelog.
            Unavailable, NotFound, Refused, ConfigError: see `translated_aws_errors`.
        """
        if not _SUBJECT.fullmatch(subject):
            raise PermanentError(
                f"SNS takes a subject of 1 to 100 printable ASCII characters, not {subject[:120]!r}: "
                "shorten the dataset's id"
            )
        text = fitting_json(message, MAX_MESSAGE_BYTES)
        with translated_aws_errors(
            f"publish to SNS topic {self.topic_arn}",
            if_missing=_CREATE,
            if_refused="Give the run's role sns:Publish on it (and kms:GenerateDataKey* if it is encrypted)",
        ):
            try:
                answer = self._client.publish(TopicArn=self.topic_arn, Subject=subject, Message=text)
            except self._client.exceptions.NotFoundException as error:
                raise NotFound(f"SNS topic {self.topic_arn} does not exist. {_CREATE}") from error
            return str(response_field(answer, "MessageId"))


def fitting_json(message: Mapping[str, Any], max_bytes: int) -> str:
    """Encode the message as ASCII JSON of at most `max_bytes`, cutting its changelog if necessary.

    Raises:
        PermanentError: not JSON (NaN included), or too large without its changelog.
    """
    text = _json(message)
    if len(text) <= max_bytes:
        return text
    changelog = message.get("changelog")
    fits, too_many = -1, _longest(changelog) + 1
    while too_many - fits > 1:
        entries = (fits + too_many) // 2
        if len(_json(_cut(message, entries))) <= max_bytes:
            fits = entries
        else:
            too_many = entries
    if fits < 0:
        raise PermanentError(
            f"a message of {len(text):,} bytes exceeds the {max_bytes:,} that SNS accepts, "
            "even without its changelog: shorten its other fields"
        )
    return _json(_cut(message, fits))


def _json(message: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(message), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PermanentError(f"a message for SNS is not JSON: {error}") from error


def _cut(message: Mapping[str, Any], entries: int) -> dict[str, Any]:
    changelog = message.get("changelog")
    # The changelog's own fields stay; their values are cut.
    if isinstance(changelog, Mapping):
        cut: object = {name: _first(value, entries) for name, value in changelog.items()}
    else:
        cut = _first(changelog, entries)
    return {**message, "changelog": cut, "changelog_truncated": True}


def _first(value: object, entries: int) -> object:
    if isinstance(value, Mapping):
        return {name: _first(held, entries) for name, held in islice(value.items(), entries)}
    if isinstance(value, list | tuple):
        return [_first(held, entries) for held in islice(value, entries)]
    return value


def _longest(value: object) -> int:
    """Return the size of the largest list or mapping in the changelog."""
    if isinstance(value, Mapping):
        return max([len(value), *map(_longest, value.values())])
    if isinstance(value, list | tuple):
        return max([len(value), *map(_longest, value)])
    return 0
