from __future__ import annotations

import json
from functools import cache
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tnt_platform.errors import ConfigError, NotFound, Unavailable
from tnt_platform.services.aws import aws_client
from tnt_platform.services.queue import (
    EventQueue,
    ObjectEvent,
    QueueDepth,
    read_notification,
    sqs_client,
)
from tnt_platform_tests.aws_emulator import KEYS, Misbehaviour

AWKWARD_KEY = "incoming/2026-11-20/10 022+a%20b=ñ&c.txt"


@cache
def shared_client(service: str, endpoint: str) -> Any:
    options = {"endpoint": endpoint, **KEYS}
    return sqs_client(options) if service == "sqs" else aws_client(service, options)


@pytest.fixture
def sqs(aws_options: dict[str, str]) -> Any:
    return shared_client("sqs", aws_options["endpoint"])


@pytest.fixture
def queue(sqs: Any) -> EventQueue:
    return EventQueue(sqs.create_queue(QueueName="events")["QueueUrl"], sqs)


def send(queue: EventQueue, sqs: Any, *bodies: str) -> None:
    for body in bodies:
        sqs.send_message(QueueUrl=queue.queue_url, MessageBody=body)


def arn_of(sqs: Any, queue_url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def record(key: str, *, name: str = "ObjectCreated:Put", bucket: str = "raw") -> dict[str, Any]:
    return {
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(key)}},
    }


def s3_notification(*keys: str) -> str:
    return json.dumps({"Records": [record(key) for key in keys]})


def in_sns(body: str) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:::t", "Message": body})


def eventbridge(key: str, kind: str = "Object Created", reason: str = "PutObject") -> str:
    detail = {"bucket": {"name": "raw"}, "object": {"key": key}, "reason": reason}
    return json.dumps({"version": "0", "source": "aws.s3", "detail-type": kind, "detail": detail})


# --- what a body says ---


@pytest.mark.parametrize(
    ("body", "event_name"),
    [
        (s3_notification(AWKWARD_KEY), "ObjectCreated:Put"),
        (in_sns(s3_notification(AWKWARD_KEY)), "ObjectCreated:Put"),
        (in_sns(in_sns(s3_notification(AWKWARD_KEY))), "ObjectCreated:Put"),
        (eventbridge(AWKWARD_KEY), "ObjectCreated:PutObject"),
        (eventbridge(AWKWARD_KEY, "Object Deleted", "DeleteObject"), "ObjectRemoved:DeleteObject"),
        (in_sns(eventbridge(AWKWARD_KEY)), "ObjectCreated:PutObject"),
        (
            json.dumps({"Records": [record(AWKWARD_KEY, name="s3:ObjectRemoved:Delete")]}),
            "ObjectRemoved:Delete",
        ),
    ],
)
def test_every_wrapping_of_an_event_gives_the_objects_own_key(body: str, event_name: str) -> None:
    assert read_notification(body, "r") == ((ObjectEvent("raw", AWKWARD_KEY, event_name, "r"),), None)


@pytest.mark.parametrize("wrap", [str, in_sns])
def test_the_test_message_of_s3_says_nothing_and_is_no_poison(wrap: Any) -> None:
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "raw"})
    assert read_notification(wrap(body), "r") == ((), None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON: RecursionError"),
        ("9" * 10_000, "not JSON"),
        ("[]", "object was expected, not list"),
        ("{}", "neither an S3 notification"),
        (in_sns("hello"), "not JSON"),
        ('{"Records": {}}', "not a list of records"),
        ('{"Records": []}', "not a list of records"),
        ('{"Records": [null]}', "eventSource"),
        ('{"Records": [{"eventSource": "aws:dynamodb"}]}', "'aws:dynamodb', not aws:s3"),
        ('{"Records": [{"eventSource": "aws:s3", "s3": {"object": []}}]}', "lacks eventName"),
        (json.dumps({"Records": [record("k", bucket="")]}), "bucket name"),
        (s3_notification(""), "object key is missing"),
        (s3_notification("k").replace('"k"', '"%ff"'), "not URL-encoded UTF-8"),
        (s3_notification("k").replace('"k"', '"\\ud800"'), "not valid Unicode"),
        ('{"source": "aws.s3", "detail": {}}', "detail-type"),
        (eventbridge("k").replace('"raw"', "7"), "bucket name"),
    ],
)
def test_a_body_that_cannot_be_understood_says_why(body: str, reason: str) -> None:
    events, poison_reason = read_notification(body, "r")
    assert events == ()
    assert poison_reason is not None
    assert reason in poison_reason


def test_readable_records_of_a_half_readable_message_are_still_hints() -> None:
    events, poison_reason = read_notification(json.dumps({"Records": [{}, record("a.txt")]}), "r")
    assert [event.key for event in events] == ["a.txt"]
    assert poison_reason is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
# Bodies that come close: the right names at the right places, anything as their values.
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "Records": json_values
        | st.lists(
            st.fixed_dictionaries(
                {"eventSource": st.just("aws:s3") | json_values},
                optional={
                    "eventName": json_values,
                    "s3": json_values
                    | st.fixed_dictionaries(
                        {"bucket": json_values | st.fixed_dictionaries({"name": json_values})},
                        optional={"object": json_values | st.fixed_dictionaries({"key": json_values})},
                    ),
                },
            ),
            max_size=3,
        ),
        "Type": st.just("Notification") | json_values,
        "Message": json_values,
        "Event": json_values,
        "source": st.just("aws.s3") | json_values,
        "detail-type": json_values,
        "detail": json_values,
    },
)


@given(
    st.text()
    | json_values.map(json.dumps)
    | near_misses.map(json.dumps)
    | near_misses.map(json.dumps).map(in_sns)
)
@example('{"Records": [{"eventSource": "aws:s3", "eventName": "\\udfff", "s3": {"object": {"key": "%"}}}]}')
def test_no_body_whatsoever_raises(body: str) -> None:
    events, poison_reason = read_notification(body, "r")
    assert all(event.key and event.bucket for event in events)
    assert events or poison_reason or "s3:TestEvent" in body


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_any_key_survives_the_encoding_of_s3(key: str) -> None:
    [event], poison_reason = read_notification(s3_notification(key), "r")
    assert (event.key, poison_reason) == (key, None)


# --- a real queue ---


def test_an_upload_reaches_the_queue_as_an_event_of_its_key(
    aws_options: dict[str, str], sqs: Any, queue: EventQueue
) -> None:
    s3 = shared_client("s3", aws_options["endpoint"])
    s3.create_bucket(Bucket="raw")
    rule = {"QueueArn": arn_of(sqs, queue.queue_url), "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="raw", NotificationConfiguration={"QueueConfigurations": [rule]}
    )
    s3.put_object(Bucket="raw", Key=AWKWARD_KEY, Body=b"10022|00501|NY|1|2|2|Y|Y")
    s3.delete_object(Bucket="raw", Key=AWKWARD_KEY)

    messages = queue.receive(20)
    assert all(message.deletable for message in messages)
    seen = [(event.bucket, event.key, event.event_name) for message in messages for event in message.events]
    assert sorted(seen) == [
        ("raw", AWKWARD_KEY, "ObjectCreated:Put"),
        ("raw", AWKWARD_KEY, "ObjectRemoved:Delete"),
    ]
    assert queue.delete([message.receipt for message in messages]).failed == ()
    assert queue.depth() == QueueDepth(0, 0, 0)


def test_more_messages_than_a_call_holds_are_received_and_deleted(sqs: Any, queue: EventQueue) -> None:
    send(queue, sqs, *(s3_notification(f"{i}.txt") for i in range(25)))
    assert queue.depth().waiting == 25
    first, rest = queue.receive(12), queue.receive(100)
    assert (len(first), len(rest)) == (12, 13)
    assert {event.key for m in first + rest for event in m.events} == {f"{i}.txt" for i in range(25)}
    assert queue.depth().in_flight == 25
    deleted = queue.delete([message.receipt for message in first + rest + first])
    assert (deleted.deleted, deleted.failed) == (25, ())
    assert queue.depth() == QueueDepth(0, 0, 0)
    assert queue.requests == 3 + 2 + 3 + 3


def test_a_message_that_became_visible_again_is_returned_once_a_call(sqs: Any, queue: EventQueue) -> None:
    send(queue, sqs, s3_notification("a.txt"), s3_notification("a.txt"))
    for message in queue.receive(10):
        sqs.change_message_visibility(
            QueueUrl=queue.queue_url, ReceiptHandle=message.receipt, VisibilityTimeout=0
        )
    again = queue.receive(10)
    assert [message.receives for message in again] == [2, 2]
    assert len({message.message_id for message in again}) == 2
    assert len({message.body_sha for message in again}) == 1


def test_a_call_slower_than_the_visibility_ends_with_the_newest_receipt(
    proxied_options: dict[str, str], misbehaviour: Misbehaviour, sqs: Any, queue: EventQueue
) -> None:
    send(queue, sqs, s3_notification("a.txt"))
    misbehaviour.delay_s = 1.1
    slow = EventQueue(queue.queue_url, shared_client("sqs", proxied_options["endpoint"]))
    [message] = slow.receive(10, visibility_s=1)
    assert (message.receives, slow.requests) == (2, 2)
    assert queue.delete([message.receipt]).deleted == 1


def test_a_failed_delete_is_reported_and_the_others_go(sqs: Any, queue: EventQueue) -> None:
    send(queue, sqs, s3_notification("a.txt"))
    [message] = queue.receive(10)
    deleted = queue.delete(["no such receipt", message.receipt])
    assert deleted.deleted == 1
    assert [failure.receipt for failure in deleted.failed] == ["no such receipt"]
    assert deleted.failed[0].code == "ReceiptHandleIsInvalid"


def test_poison_that_is_left_alone_ends_in_the_dead_letter_queue(sqs: Any) -> None:
    dead = EventQueue(sqs.create_queue(QueueName="dead")["QueueUrl"], sqs)
    redrive = {"deadLetterTargetArn": arn_of(sqs, dead.queue_url), "maxReceiveCount": 2}
    url = sqs.create_queue(QueueName="live", Attributes={"RedrivePolicy": json.dumps(redrive)})["QueueUrl"]
    queue = EventQueue(url, sqs)
    send(queue, sqs, "not for us", s3_notification("a.txt"))
    for _ in range(3):
        messages = queue.receive(10)
        queue.delete([message.receipt for message in messages if message.deletable])
        for poison in (message for message in messages if not message.deletable):
            assert poison.events == ()
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=poison.receipt, VisibilityTimeout=0)
    assert queue.depth() == QueueDepth(0, 0, 0)
    [buried] = dead.receive(10)
    assert buried.poison_reason == "not JSON: JSONDecodeError"


@pytest.mark.parametrize(
    "arguments", [{"max_messages": 0}, {"wait_s": 21}, {"visibility_s": 0}, {"visibility_s": 43_201}]
)
def test_figures_that_sqs_does_not_take_are_refused(queue: EventQueue, arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(arguments))} is"):
        queue.receive(**{"max_messages": 10, **arguments})


def test_a_missing_queue_is_not_found(aws_options: dict[str, str], sqs: Any) -> None:
    queue = EventQueue(f"{aws_options['endpoint']}/123456789012/absent", sqs)
    for call in (lambda: queue.receive(1), lambda: queue.delete(["r"]), queue.depth):
        with pytest.raises(NotFound, match="absent"):
            call()


def test_answers_cut_off_delete_nothing_and_measure_nothing(
    proxied_options: dict[str, str], misbehaviour: Misbehaviour
) -> None:
    queue = EventQueue(
        f"{proxied_options['endpoint']}/123456789012/q", shared_client("sqs", proxied_options["endpoint"])
    )
    misbehaviour.garbage = 2
    assert [failure.code for failure in queue.delete(["a", "b"]).failed] == ["NoAnswer", "NoAnswer"]
    with pytest.raises(Unavailable, match="Attributes"):
        queue.depth()
