"""A topic with a subscribed queue, on a stand-in for AWS over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from tnt_platform.services.aws import aws_client
from tnt_platform_tests.aws_emulator import KEYS, aws_options, moto_url

__all__ = ["Topic", "aws_options", "moto_url", "topic"]


@cache
def _client(service: str, endpoint: str) -> Any:
    return aws_client(service, {"endpoint": endpoint, **KEYS})


@dataclass
class Topic:
    """`environment`: what a run needs to reach the topic; `received`: every notice since the last look."""

    arn: str
    queue_url: str
    endpoint: str
    environment: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {
            "SNS_PROJECTION_TOPIC_ARN": self.arn,
            "AWS_ENDPOINT_URL_SNS": self.endpoint,
            "AWS_REGION": KEYS["region"],
        }

    def received(self) -> list[tuple[str, dict[str, Any]]]:
        """(subject, message) of each notice that arrived at the queue since the last call."""
        sqs = _client("sqs", self.endpoint)
        notices = []
        while messages := sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                envelope = json.loads(message["Body"])
                notices.append((envelope["Subject"], json.loads(envelope["Message"])))
                sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return notices


@pytest.fixture
def topic(aws_options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Topic:
    endpoint = aws_options["endpoint"]
    # Keys are never part of a dataset's settings: a run finds them as every AWS client does.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secret_access_key"])
    sns, sqs = _client("sns", endpoint), _client("sqs", endpoint)
    arn = sns.create_topic(Name="projections")["TopicArn"]
    queue_url = sqs.create_queue(QueueName="projections")["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=answer["Attributes"]["QueueArn"])
    return Topic(arn, queue_url, endpoint)
