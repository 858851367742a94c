"""Captures told to a queue and records kept in a table, on a stand-in for AWS over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tnt_platform.errors import NotFound, Refused, Unavailable
from tnt_platform.records import messages as messages_module
from tnt_platform.records.messages import CaptureMessage, CaptureQueue, read_message
from tnt_platform.records.sink import FINGERPRINT, TABLE_KEY
from tnt_platform.sandbox.records_api import RecordsApi, RecordsFaults, running_records_api
from tnt_platform.services.aws import aws_client
from tnt_platform.services.dynamodb import ResultsTable
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.aws_emulator import KEYS, Misbehaviour, misbehaviour, proxy
from tnt_platform_tests.records.scene import POSTS, USERS, RecordsScene, records_spec

__all__ = ["misbehaviour", "proxy"]

TABLE = {"dynamodb_table": "${TNT_RECORDS_TABLE:-}"}


@cache
def client(service: str, endpoint: str) -> Any:
    return aws_client(service, {"endpoint": endpoint, **KEYS})


@pytest.fixture
def api() -> Iterator[tuple[str, RecordsApi]]:
    with running_records_api() as running:
        yield running


@pytest.fixture
def environment(aws_options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a run needs to reach a queue with a dead-letter queue, and a table."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secret_access_key"])
    endpoint = aws_options["endpoint"]
    sqs = client("sqs", endpoint)
    dead = sqs.create_queue(QueueName="captures-dead")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    redrive = json.dumps({"deadLetterTargetArn": attributes["QueueArn"], "maxReceiveCount": "2"})
    queue = sqs.create_queue(QueueName="captures", Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    ResultsTable("records", client("dynamodb", endpoint), key=TABLE_KEY).ensure()
    return {
        "TNT_CAPTURE_QUEUE_URL": queue,
        "TNT_RECORDS_TABLE": "records",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": KEYS["region"],
        "DEAD": dead,
    }


@pytest.fixture
def scene(tmp_path: Path, api: tuple[str, RecordsApi], environment: dict[str, str]) -> RecordsScene:
    return RecordsScene(tmp_path, api[0], spec=records_spec(POSTS, **TABLE), environment=environment)


def messages(scene: RecordsScene, queue: str = "TNT_CAPTURE_QUEUE_URL") -> list[str]:
    """Every message that the queue would hand out now, which stays in the queue."""
    sqs = client("sqs", scene.environment["AWS_ENDPOINT_URL"])
    found = []
    while batch := sqs.receive_message(
        QueueUrl=scene.environment[queue], MaxNumberOfMessages=10, VisibilityTimeout=1
    ).get("Messages"):
        found += [message["Body"] for message in batch]
    return found


def items(scene: RecordsScene) -> dict[str, dict[str, Any]]:
    table = client("dynamodb", scene.environment["AWS_ENDPOINT_URL"])
    return {
        item["id"]["S"]: item
        for page in table.get_paginator("scan").paginate(TableName="records")
        for item in page["Items"]
    }


def test_a_new_capture_is_told_in_the_words_of_the_seed(
    scene: RecordsScene, s3_objects: Objects, api: tuple[str, RecordsApi]
) -> None:
    scene.raw = s3_objects
    scene.run("capture")
    row = scene.rows("capture").row(0, named=True)
    [body] = messages(scene)
    bucket, prefix = s3_objects.url.removeprefix("s3://").split("/", 1)
    assert json.loads(body) == {
        "source": "posts",
        "type": "capture",
        "bucket": bucket,
        "key": f"{prefix}/{row['object_key']}",
        "capturedAt": "2026-11-21T12:05:00+00:00",
        "hash": row["sha256"],
        "recordCount": 100,
    }


def test_a_message_goes_when_its_capture_is_curated_or_refused_and_an_unchanged_look_tells_nobody(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    assert scene.run()["records"].facts["messages_settled"] == 1
    scene.run()
    api[1].faults = RecordsFaults("error_page")
    assert scene.run()["records"].facts["messages_settled"] == 1
    assert messages(scene) == []


def test_a_message_of_another_source_stays_until_that_source_is_curated(
    scene: RecordsScene, tmp_path: Path, api: tuple[str, RecordsApi], environment: dict[str, str]
) -> None:
    users = RecordsScene(tmp_path, api[0], spec=records_spec(USERS, "users"), environment=environment)
    users.run("capture")
    # Its own message, and the other source's that is not ready.
    assert scene.run()["records"].facts["messages_settled"] == 1
    users.run("records")
    sqs = client("sqs", environment["AWS_ENDPOINT_URL"])
    attributes = sqs.get_queue_attributes(
        QueueUrl=environment["TNT_CAPTURE_QUEUE_URL"], AttributeNames=["All"]
    )["Attributes"]
    assert int(attributes["ApproximateNumberOfMessagesNotVisible"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"source": "posts"}',
        json.dumps(vars(CaptureMessage("posts", "capture", "b", "k", "yesterday", "h", 1))),
        json.dumps(vars(CaptureMessage("posts", "capture", "b", 7, "2026-11-21T00:00:00", "h", 1))),  # type: ignore[arg-type]
        "[" * 10_000,
    ],
)
def test_a_message_that_nobody_understands_is_none(body: str) -> None:
    assert read_message(body) is None


def test_messages_that_nobody_can_settle_stop_no_run(
    scene: RecordsScene, environment: dict[str, str]
) -> None:
    sqs = client("sqs", environment["AWS_ENDPOINT_URL"])
    odd = [
        CaptureMessage(source, "capture", scene.workspace.raw.url, "raw/k", "2026-11-21T00:00:00", "h", 1)
        for source in ("../x", "x" * 5_000)
    ]
    for body in ("poison", *(json.dumps(vars(one)) for one in odd)):
        sqs.send_message(QueueUrl=environment["TNT_CAPTURE_QUEUE_URL"], MessageBody=body)
    assert scene.run()["records"].facts["messages_settled"] == 1
    assert scene.rows().height == 100


def test_one_run_deletes_all_messages_whose_capture_is_curated(
    scene: RecordsScene, environment: dict[str, str]
) -> None:
    scene.run()
    [key] = scene.raw_keys()
    told = CaptureMessage("posts", "capture", scene.workspace.raw.url, key, scene.now.isoformat(), "h", 100)
    sqs = client("sqs", environment["AWS_ENDPOINT_URL"])
    for _ in range(45):
        sqs.send_message(QueueUrl=environment["TNT_CAPTURE_QUEUE_URL"], MessageBody=json.dumps(vars(told)))
    assert scene.run()["records"].facts["messages_settled"] == 45
    assert messages(scene) == []


def test_a_queue_that_is_not_there_leaves_the_capture_published_and_curation_finds_it(
    scene: RecordsScene, environment: dict[str, str]
) -> None:
    whole = scene.settings
    scene.environment = {**environment, "TNT_CAPTURE_QUEUE_URL": environment["DEAD"] + "-gone"}
    scene.__post_init__()
    with pytest.raises(NotFound, match="TNT_CAPTURE_QUEUE_URL"):
        scene.run()
    scene.settings = whole
    scene.run("records")
    assert scene.rows().height == 100


def test_records_are_items_found_by_source_that_never_expire(scene: RecordsScene) -> None:
    facts = scene.run()["records"].facts
    assert (facts["dynamodb_created"], facts["dynamodb_updated"]) == (100, 0)
    found = items(scene)
    assert set(found) == set(scene.rows()["id"])
    one = found["posts:7"]
    assert one["userId"] == {"N": "1"}
    assert one["fingerprint"] != one[FINGERPRINT]
    assert "ttl" not in one
    dynamodb = client("dynamodb", scene.environment["AWS_ENDPOINT_URL"])
    answer = dynamodb.query(
        TableName="records",
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "source"},
        ExpressionAttributeValues={":s": {"S": "posts"}},
    )
    assert answer["Count"] == 100


def test_only_what_changed_is_written_to_the_table(scene: RecordsScene, api: tuple[str, RecordsApi]) -> None:
    scene.run()
    assert "dynamodb_created" not in scene.run()["records"].facts
    api[1].posts = [{**post, "title": "new"} if post["id"] == 3 else post for post in api[1].posts]
    facts = scene.run()["records"].facts
    assert (facts["dynamodb_created"], facts["dynamodb_updated"]) == (0, 1)
    # Only the bucket of that record was looked at.
    assert facts["dynamodb_unchanged"] < 20  # type: ignore[operator]
    assert items(scene)["posts:3"]["title"] == {"S": "new"}


def test_a_table_that_could_not_be_reached_is_brought_up_to_date_by_the_next_run(
    scene: RecordsScene, environment: dict[str, str]
) -> None:
    whole = scene.settings
    scene.environment = {**environment, "TNT_RECORDS_TABLE": "gone"}
    scene.__post_init__()
    with pytest.raises(NotFound, match="gone"):
        scene.run()
    scene.settings = whole
    assert not scene.run()["records"].changed
    assert len(items(scene)) == 100


@pytest.fixture
def spoiled(
    scene: RecordsScene, environment: dict[str, str], misbehaviour: Misbehaviour, proxy: ThreadingHTTPServer
) -> RecordsScene:
    """The scene with its queue behind a proxy that a test takes down."""
    address = f"http://127.0.0.1:{proxy.server_address[1]}"
    scene.environment = {**environment, "AWS_ENDPOINT_URL_SQS": address}
    scene.__post_init__()
    return scene


def keys_told(scene: RecordsScene) -> list[str]:
    return [json.loads(body)["key"] for body in messages(scene)]


def new_titles(api: RecordsApi, title: str) -> None:
    api.posts = [{**post, "title": title} for post in api.posts]


def down(misbehaviour: Misbehaviour) -> None:
    misbehaviour.refusals = [(403, "AccessDenied")] * 50


def up(misbehaviour: Misbehaviour) -> None:
    misbehaviour.refusals = []


def test_captures_that_a_queue_could_not_be_told_of_are_told_by_the_next_run(
    spoiled: RecordsScene, api: tuple[str, RecordsApi], misbehaviour: Misbehaviour
) -> None:
    down(misbehaviour)
    for number in range(3):
        new_titles(api[1], f"title {number}")
        spoiled.now += timedelta(hours=11)
        with pytest.raises(Refused):
            spoiled.run("capture")
    up(misbehaviour)
    # The source shows nothing new: what is told was captured before.
    assert spoiled.run("capture")["capture"].facts["messages_sent"] == 3
    assert sorted(keys_told(spoiled)) == spoiled.raw_keys()
    assert spoiled.run("capture")["capture"].facts["messages_sent"] == 0


def test_a_queue_that_goes_down_half_way_is_told_the_rest(
    spoiled: RecordsScene, api: tuple[str, RecordsApi], misbehaviour: Misbehaviour
) -> None:
    spoiled.run("capture")
    down(misbehaviour)
    for number in range(4):
        new_titles(api[1], f"title {number}")
        with pytest.raises(Refused):
            spoiled.run("capture")
    # Two of the four go through.
    real, calls = CaptureQueue.send, []

    def sometimes(queue: CaptureQueue, message: CaptureMessage) -> None:
        calls.append(message.key)
        if len(calls) == 3:
            raise Unavailable("the queue went away again")
        real(queue, message)

    up(misbehaviour)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CaptureQueue, "send", sometimes)
        with pytest.raises(Unavailable):
            spoiled.run("capture")
    assert spoiled.run("capture")["capture"].facts["messages_sent"] == 2
    assert sorted(keys_told(spoiled)) == spoiled.raw_keys()


def test_a_run_that_dies_behind_the_message_tells_it_again_and_nothing_is_lost(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run("capture")
    new_titles(api[1], "another")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages_module, "_write_announced", lambda *_: pytest.fail("died"))
        with pytest.raises(pytest.fail.Exception):
            scene.run("capture")
    scene.run("capture")
    told = keys_told(scene)
    assert (set(told), len(told)) == (set(scene.raw_keys()), 3)
    scene.run()
    assert scene.rows().filter(title="another").height == 100


def test_a_queue_that_is_new_is_told_of_the_newest_day_only(
    scene: RecordsScene, api: tuple[str, RecordsApi], environment: dict[str, str]
) -> None:
    without = {name: value for name, value in environment.items() if name != "TNT_CAPTURE_QUEUE_URL"}
    scene.environment = without
    scene.__post_init__()
    for number in range(3):
        new_titles(api[1], f"title {number}")
        scene.now += timedelta(days=1)
        scene.run("capture")
    scene.environment = environment
    scene.__post_init__()
    scene.run("capture")
    assert keys_told(scene) == scene.raw_keys()[-1:]
