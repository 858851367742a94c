"""The transit dataset on AWS's APIs: files in S3, events in SQS, the sensor, a run, results in DynamoDB."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus
from urllib.request import Request, urlopen

import dagster as dg
import pytest

from tnt_platform.definitions import defs
from tnt_platform.kinds import transit_spec
from tnt_platform.lake.publishing import Workspace
from tnt_platform.orchestration.dated_sensor import ATTEMPT_TAG
from tnt_platform.orchestration.event_sensor import SENSOR, event_sensor
from tnt_platform.orchestration.platform import Platform
from tnt_platform.sandbox.reference import reference_csv
from tnt_platform.sandbox.running import RunningRateApi, running_rate_api
from tnt_platform.services.aws import aws_client
from tnt_platform.services.dynamodb import ResultsTable, dynamodb_client
from tnt_platform.services.queue import EventQueue, QueueDepth, sqs_client
from tnt_platform.specs.dataset import SensorSpec
from tnt_platform.transit.component import TransitDataset, event_listener
from tnt_platform.transit.spec import TransitSpec
from tnt_platform_tests.s3_server import S3Server
from tnt_platform_tests.transit.quotes import REFERENCE, promises

TABLE = "results"
NOW = datetime.now(UTC)
OLD, OTHER_OLD, RECENT = ((NOW - timedelta(days=days)).date().isoformat() for days in (200, 201, 2))
SENDER = "000011"


@pytest.fixture(scope="module")
def api() -> Iterator[RunningRateApi]:
    with running_rate_api() as server:
        yield server


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    getLogger("werkzeug").setLevel(WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass
class Cloud:
    """What a test does from outside: drop files, tell the queue, look at the table; and ticks and runs."""

    environment: Mapping[str, str]
    s3: Any
    queue: EventQueue
    sqs: Any
    dynamodb: Any
    instance: dg.DagsterInstance
    spec: TransitSpec = field(default_factory=lambda: transit_spec("transit"))
    cursor: str | None = None

    def put(self, key: str, data: str | bytes) -> None:
        body = data.encode() if isinstance(data, str) else data
        self.s3.put_object(Bucket="raw", Key=f"landing/{key}", Body=body)

    def drop(self, day: str, rows: int, *, told: bool = True) -> None:
        key = f"transit/{day}/{SENDER}.txt"
        self.put(key, promises(0, rows))
        if told:
            self.tell(key)

    def tell(self, key: str) -> None:
        where = {"bucket": {"name": "raw"}, "object": {"key": quote_plus(f"landing/{key}")}}
        record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": where}
        self.send(json.dumps({"Records": [record]}))

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.queue.queue_url, MessageBody=body)

    def tick(self, **options: Any) -> list[dg.RunRequest]:
        """Let the sensor of the events tick, and then the dataset's own, an hour after its last comparison."""
        spec = self.spec.model_copy(update={"sensor": SensorSpec(**options)})
        requests = self.events(spec)
        (own,) = TransitDataset(spec).definitions().sensors or []
        requests += self._evaluate(own, None)[0]
        return list({request.partition_key: request for request in requests}.values())

    def events(self, *specs: TransitSpec) -> list[dg.RunRequest]:
        """Let the sensor of the events of these datasets tick, with the cursor that it left."""
        sensor = event_sensor([event_listener(spec) for spec in specs or [self.spec]])
        requests, self.cursor = self._evaluate(sensor, self.cursor)
        return requests

    def _evaluate(self, sensor: Any, cursor: str | None) -> tuple[list[dg.RunRequest], str | None]:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=cursor, resources={"platform": Platform()}
        )
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return list(result.run_requests or []), result.cursor

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return (
            defs()
            .resolve_job_def("transit_job")
            .execute_in_process(
                partition_key=request.partition_key,
                run_config=request.run_config,
                tags=request.tags,
                instance=self.instance,
                raise_on_error=False,
            )
        )

    def items(self) -> list[dict[str, Any]]:
        return list(self.dynamodb.scan(TableName=TABLE)["Items"])

    def workspace(self) -> Workspace:
        return Platform().workspace()

    def versions(self) -> dict[str, str]:
        current = {step: self.workspace().store.current(self.spec.dataset(step)) for step in self.spec.steps}
        return {step: snapshot.version for step, snapshot in current.items() if snapshot}


def cloud_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: RunningRateApi, endpoint: str, s3_endpoint: str
) -> Cloud:
    urlopen(Request(f"{endpoint}/moto-api/reset", method="POST"), timeout=10).close()
    keys = {"access_key_id": "AKIATEST", "secret_access_key": "nothing-secret", "region": "us-east-1"}
    here = {**keys, "endpoint": endpoint}
    sqs, dynamodb = sqs_client(here), dynamodb_client(here)
    queue = EventQueue(sqs.create_queue(QueueName="events")["QueueUrl"], sqs)
    ResultsTable(TABLE, dynamodb, key=("test_id",)).ensure()
    s3 = aws_client("s3", {**keys, "endpoint": s3_endpoint})
    for bucket in ("raw", "lake"):
        s3.create_bucket(Bucket=bucket)
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_S3": s3_endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "nothing-secret",
        "TNT_HOME": str(tmp_path),
        "TNT_RAW_URL": "s3://raw/landing",
        "TNT_LAKE_URL": "s3://lake/platform",
        "TNT_EVENT_QUEUE_URL": queue.queue_url,
        "TNT_RESULTS_TABLE": TABLE,
        "TNT_RATE_API_URL": api.url,
        "TNT_RATE_API_CLIENT": "test",
        "TNT_RATE_API_TOKEN": "secret",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    api.reset()
    made = Cloud(environment, s3, queue, sqs, dynamodb, dg.DagsterInstance.ephemeral())
    made.put(REFERENCE, reference_csv(range(2), 0))
    return made


@pytest.fixture
def cloud(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: RunningRateApi, moto_endpoint: str
) -> Iterator[Cloud]:
    """Everything on moto."""
    made = cloud_on(monkeypatch, tmp_path, api, moto_endpoint, moto_endpoint)
    with made.instance:
        yield made


@pytest.fixture
def watched_cloud(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    api: RunningRateApi,
    moto_endpoint: str,
    s3_server: S3Server,
) -> Iterator[Cloud]:
    """The same with the tests' own S3, which tells what was listed."""
    made = cloud_on(monkeypatch, tmp_path, api, moto_endpoint, s3_server.endpoint)
    with made.instance:
        yield made


def test_an_event_becomes_a_run_and_results_in_dynamodb_and_a_second_round_changes_nothing(
    cloud: Cloud, api: RunningRateApi
) -> None:
    cloud.drop(OLD, 6)
    cloud.drop(OTHER_OLD, 2, told=False)
    [request] = cloud.tick()
    assert request.partition_key == OLD
    assert (request.run_key or "").startswith(f"transit|{OLD}|")
    assert (request.run_key or "").endswith("|1")

    done = cloud.run(request)
    assert done.success
    results = cloud.workspace().store.current("transit/results")
    assert results is not None
    rows = results.scan([OLD]).collect()
    items = {item["test_id"]["S"]: item for item in cloud.items()}
    assert set(items) == set(rows["test_id"])
    assert rows.height == 6
    expires = {int(item["ttl"]["N"]) for item in items.values()}
    assert expires == {int((results.partitions["changed_at"][0] + timedelta(days=90)).timestamp())}
    assert {item["success"]["BOOL"] for item in items.values()} == {True}

    versions, asked = cloud.versions(), api.stats()["requests"]
    again = cloud.run(request)
    assert again.success
    published = again.asset_materializations_for_node("transit")
    facts = next(m for m in published if m.asset_key.path[-1] == "results").metadata
    assert (facts["dynamodb_unchanged"].value, facts["dynamodb_created"].value) == (6, 0)
    assert cloud.versions() == versions
    assert {item["test_id"]["S"]: item for item in cloud.items()} == items
    assert api.stats()["requests"] == asked
    assert cloud.tick() == []


@pytest.mark.heavy
def test_a_changed_file_updates_only_its_items(cloud: Cloud) -> None:
    cloud.drop(RECENT, 4)
    cloud.run(cloud.tick()[0])
    before = {item["test_id"]["S"]: item for item in cloud.items()}
    cloud.put(f"transit/{RECENT}/{SENDER}.txt", promises(0, 5).replace("|2|5|A", "|2|6|A", 1))
    done = cloud.run(cloud.tick()[0])
    published = done.asset_materializations_for_node("transit")
    facts = next(m for m in published if m.asset_key.path[-1] == "results").metadata
    counts = [facts[f"dynamodb_{name}"].value for name in ("created", "updated", "unchanged")]
    assert counts == [1, 1, 3]
    after = {item["test_id"]["S"]: item for item in cloud.items()}
    assert sum(after[test_id] != item for test_id, item in before.items()) == 1


def test_a_message_is_deleted_once_the_cursor_has_its_dates_and_a_poison_message_never(cloud: Cloud) -> None:
    cloud.drop(OLD, 2)
    cloud.send("{broken")
    cloud.tell("transit/notes/readme.md")
    cloud.tell("elsewhere/a.txt")
    [request] = cloud.events()
    # All are hidden; a tick that dies before its cursor is stored has lost none.
    assert cloud.queue.depth() == QueueDepth(waiting=0, in_flight=4, delayed=0)

    assert [again.run_key for again in cloud.events()] == [request.run_key]
    assert cloud.queue.depth() == QueueDepth(waiting=0, in_flight=1, delayed=0)
    cloud.run(request)
    assert cloud.events() == []
    assert json.loads(cloud.cursor or "")["dates"] == {}
    assert cloud.queue.depth().in_flight == 1


def test_with_events_nothing_is_listed_but_the_window_and_the_named_dates(
    watched_cloud: Cloud, s3_server: S3Server
) -> None:
    cloud = watched_cloud
    cloud.drop(OLD, 2)
    cloud.drop(OTHER_OLD, 2, told=False)
    cloud.drop(RECENT, 2, told=False)
    listed = {
        name: s3_server.faults.add("latency", op="ListObjectsV2", key=f"/transit/{day}/", times=0)
        for name, day in (("old", OLD), ("other", OTHER_OLD), ("recent", RECENT))
    }
    lists = s3_server.counts["ListObjectsV2"]
    assert sorted(request.partition_key or "" for request in cloud.tick()) == [OLD, RECENT]
    assert {name: fault.seen for name, fault in listed.items()} == {"old": 1, "other": 0, "recent": 1}
    # Two more find the date folders: for the window, and for the named date.
    assert s3_server.counts["ListObjectsV2"] - lists == 4


def test_events_of_several_datasets_reach_each_of_them_through_one_consumer(cloud: Cloud) -> None:
    deliveries = transit_spec("deliveries")
    cloud.drop(OLD, 2)
    cloud.put("deliveries/2010-05-01/all.csv", "whatever")
    cloud.tell("deliveries/2010-05-01/all.csv")
    requests = {
        (each.tags["tnt/dataset"], each.partition_key): each for each in cloud.events(cloud.spec, deliveries)
    }
    assert requests.keys() == {("transit", OLD), ("deliveries", "2010-05-01")}
    for (name, _), request in requests.items():
        assert {key.path[0] for key in request.asset_selection or ()} == {name}
    # Dagster accepts them: each names the steps of one dataset, whose partitions are its own.
    shipped = defs().get_repository_def().get_sensor_def(SENSOR)
    context = dg.build_sensor_context(
        instance=cloud.instance,
        cursor=cloud.cursor,
        resources={"platform": Platform()},
        repository_def=defs().get_repository_def(),
    )
    accepted = shipped.evaluate_tick(context).run_requests or []
    assert {each.partition_key for each in accepted} == {OLD, "2010-05-01"}
    assert cloud.queue.depth() == QueueDepth(waiting=0, in_flight=0, delayed=0)
    assert json.loads(cloud.cursor or "")["dates"] == {"transit": [OLD], "deliveries": ["2010-05-01"]}


@pytest.mark.heavy
def test_a_failed_date_is_tried_again_later_then_file_by_file_and_then_given_up(cloud: Cloud) -> None:
    cloud.drop(RECENT, 2)
    cloud.s3.delete_object(Bucket="raw", Key=f"landing/{REFERENCE}")
    keys = []
    for attempt in (1, 2, 3):
        [request] = cloud.tick(backoff_s=0, max_attempts=3)
        keys.append(request.run_key)
        assert request.tags[ATTEMPT_TAG] == str(attempt)
        assert request.run_config["ops"]["transit"]["config"]["isolate"] is (attempt == 3)
        assert not cloud.run(request).success
        assert cloud.tick(backoff_s=3_600, max_attempts=9) == []
    assert len({key.rpartition("|")[0] for key in keys if key}) == 1
    assert cloud.tick(backoff_s=0, max_attempts=3) == []

    cloud.put(REFERENCE, reference_csv(range(2), 0))
    cloud.drop(RECENT, 3)
    [request] = cloud.tick(backoff_s=3_600, max_attempts=3)
    assert request.tags[ATTEMPT_TAG] == "1"
    assert cloud.run(request).success
    assert len(cloud.items()) == 3


@pytest.mark.heavy
def test_a_table_that_fails_leaves_the_date_to_be_finished_by_the_next_run(cloud: Cloud) -> None:
    cloud.drop(RECENT, 3)
    cloud.dynamodb.delete_table(TableName=TABLE)
    [request] = cloud.tick()
    assert not cloud.run(request).success
    assert "daily_summary" not in cloud.versions()
    ResultsTable(TABLE, cloud.dynamodb, key=("test_id",)).ensure()
    [request] = cloud.tick(backoff_s=0)
    assert request.tags[ATTEMPT_TAG] == "2"
    assert cloud.run(request).success
    assert len(cloud.items()) == 3
    assert cloud.tick() == []
