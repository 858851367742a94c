"""Notices reach a queue through a topic exactly as they were given, and never fail for their size."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.errors import ConfigError, NotFound, PermanentError, Unavailable
from tnt_platform.services.aws import aws_client
from tnt_platform.services.notify import MAX_MESSAGE_BYTES, SnsNotifier, fitting_json
from tnt_platform_tests.aws_emulator import KEYS

MESSAGE = {
    "event": "projection_update",
    "dataset_id": "bcra_infomondia_series",
    "bucket": "lake",
    "version_manifest_path": "datasets/bcra_infomondia_series/versions/v1/manifest.json",
    "projections_path": "datasets/bcra_infomondia_series/versions/v1/files.parquet",
    "changelog": {"data_points_added": 3, "new_series": ["BCRA_TASA_BAIBAR_TNA_D"], "note": "Variación ñ"},
}


@cache
def shared_client(service: str, endpoint: str) -> Any:
    return aws_client(service, {"endpoint": endpoint, **KEYS})


@pytest.fixture
def subscribed(aws_options: dict[str, str]) -> tuple[str, str]:
    """A topic's ARN, and the URL of a queue that is subscribed to it."""
    endpoint = aws_options["endpoint"]
    sns, sqs = shared_client("sns", endpoint), shared_client("sqs", endpoint)
    topic_arn = sns.create_topic(Name="projections")["TopicArn"]
    queue_url = sqs.create_queue(QueueName="projections")["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=answer["Attributes"]["QueueArn"])
    return topic_arn, queue_url


def received(aws_options: dict[str, str], queue_url: str) -> dict[str, Any]:
    answer = shared_client("sqs", aws_options["endpoint"]).receive_message(QueueUrl=queue_url)
    (message,) = answer["Messages"]
    envelope: dict[str, Any] = json.loads(message["Body"])
    return envelope


def test_a_subscribed_queue_receives_the_subject_and_the_message(
    subscribed: tuple[str, str], aws_options: dict[str, str]
) -> None:
    topic_arn, queue_url = subscribed
    message_id = SnsNotifier(topic_arn, aws_options).send("projection_update:bcra_infomondia_series", MESSAGE)
    envelope = received(aws_options, queue_url)
    assert envelope["Subject"] == "projection_update:bcra_infomondia_series"
    assert json.loads(envelope["Message"]) == MESSAGE
    assert (envelope["Type"], envelope["MessageId"]) == ("Notification", message_id)


def test_the_topics_own_region_is_used_when_none_is_given(
    subscribed: tuple[str, str], aws_options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    del aws_options["region"]
    topic_arn, queue_url = subscribed
    SnsNotifier(topic_arn, aws_options).send("projection_update:x", MESSAGE)
    assert received(aws_options, queue_url)["Subject"] == "projection_update:x"


def test_an_oversized_changelog_is_cut_and_says_so(
    subscribed: tuple[str, str], aws_options: dict[str, str]
) -> None:
    series = [f"BCRA_SERIE_{number:06}" for number in range(60_000)]
    changelog = {"data_points_added": 60_000, "new_series": series, "updated_series": ["BCRA_M2"]}
    topic_arn, queue_url = subscribed
    SnsNotifier(topic_arn, aws_options).send("projection_update:x", {**MESSAGE, "changelog": changelog})
    text = received(aws_options, queue_url)["Message"]
    got = json.loads(text)
    assert MAX_MESSAGE_BYTES - 30 < len(text) <= MAX_MESSAGE_BYTES
    assert got["changelog_truncated"] is True
    assert got["changelog"]["data_points_added"] == 60_000
    assert got["changelog"]["new_series"] == series[: len(got["changelog"]["new_series"])]
    assert got["changelog"]["updated_series"] == ["BCRA_M2"]
    assert {name: got[name] for name in MESSAGE if name != "changelog"} == {
        name: value for name, value in MESSAGE.items() if name != "changelog"
    }


VALUES = st.recursive(
    st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=6),
    max_leaves=30,
)


@given(changelog=VALUES, max_bytes=st.integers(20, 400))
def test_a_cut_message_fits_and_keeps_as_much_as_it_can(changelog: Any, max_bytes: int) -> None:
    message = {"id": 1, "changelog": changelog}
    whole = json.dumps(message)
    try:
        text = fitting_json(message, max_bytes)
    except PermanentError:
        assert len(whole) > max_bytes
        return
    assert len(text) <= max_bytes
    got = json.loads(text)
    assert ("changelog_truncated" in got) is (len(whole) > max_bytes)
    if len(whole) <= max_bytes:
        assert got == message
    else:
        assert got.keys() == {"id", "changelog", "changelog_truncated"}


@pytest.mark.parametrize("message", [{"text": "x" * 300_000}, {"changelog": {"note": "x" * 300_000}}])
def test_a_message_too_large_without_its_changelog_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match="262,144"):
        fitting_json(message, MAX_MESSAGE_BYTES)


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_a_message_that_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(PermanentError, match="JSON"):
        fitting_json({"value": value}, MAX_MESSAGE_BYTES)


@pytest.mark.parametrize("subject", ["", "x" * 101, " leading", "two\nlines", "variación"])
def test_a_subject_that_sns_does_not_take_is_refused(subscribed: tuple[str, str], subject: str) -> None:
    notifier = SnsNotifier(subscribed[0], {"endpoint": "http://127.0.0.1:9", **KEYS})
    with pytest.raises(PermanentError, match="1 to 100"):
        notifier.send(subject, MESSAGE)


@pytest.mark.parametrize(
    "arn",
    ["", "projections", "arn:aws:sqs:us-east-1:123456789012:x", "arn:aws:sns:us-east-1:123456789012:x.fifo"],
)
def test_what_is_no_standard_topic_is_a_wrong_setting(arn: str) -> None:
    with pytest.raises(ConfigError, match="SNS_PROJECTION_TOPIC_ARN"):
        SnsNotifier(arn, KEYS)


def test_a_topic_that_is_not_there_says_how_to_mend_it(aws_options: dict[str, str]) -> None:
    notifier = SnsNotifier("arn:aws:sns:us-east-1:123456789012:gone", aws_options)
    with pytest.raises(NotFound, match=r"gone .*terraform apply"):
        notifier.send("projection_update:x", MESSAGE)


def test_a_topic_that_can_not_be_reached_is_worth_another_try() -> None:
    notifier = SnsNotifier("arn:aws:sns:us-east-1:123456789012:x", {"endpoint": "http://127.0.0.1:9", **KEYS})
    with pytest.raises(Unavailable, match="arn:aws:sns"):
        notifier.send("projection_update:x", MESSAGE)
