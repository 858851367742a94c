"""Whoever asks for a run, its ECS task is as its dataset's YAML says: Dagster's own loops, the real launcher, moto."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster_graphql.test.utils import execute_dagster_graphql
from moto.ecs.responses import EC2ContainerServiceResponse

from tnt_platform.orchestration.compute import ON_DEMAND, RUN_TASK_TAG, SPOT
from tnt_platform_tests.e2e import questions
from tnt_platform_tests.infra.aws_stand_in import ADMINISTRATOR, running_stand_in
from tnt_platform_tests.infra.dagster_on_ecs import _made_in_aws
from tnt_platform_tests.paths import REPOSITORY

INSTANCE = REPOSITORY / "infra" / "dagster" / "dagster.yaml"
DATE = "2026-01-12"
STEPS = ("shipper_files", "shipments", "enriched_shipments", "results", "daily_summary")
REPOSITORY = {"repositoryLocationName": "tnt", "repositoryName": "__repository__"}
MOST_CHARACTERS = 8_192  # of a task's overrides, by ECS
pytestmark = pytest.mark.heavy
LOG = logging.getLogger("sized runs")


@dataclass
class Platform:
    """Everything but the services' processes: instance, code location, and what ECS was asked."""

    instance: dg.DagsterInstance
    workspace: WorkspaceProcessContext
    asked: list[dict[str, Any]]

    def ask(self, question: str, **variables: object) -> Mapping[str, Any]:
        """What the UI asks."""
        return execute_dagster_graphql(
            self.workspace.create_request_context(), question, variables=variables
        ).data

    def launched(self) -> dict[str, dict[str, Any]]:
        """Take the runs off the queue; what ECS was asked for each job's run."""
        daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
        for _ in range(3):
            list(daemon.run_iteration(self.workspace))
        return {_tag(request, "dagster/job_name"): request for request in self.asked}


def _tag(request: Mapping[str, Any], name: str) -> str:
    [value] = [tag["value"] for tag in request["tags"] if tag["key"] == name]
    return str(value)


@pytest.fixture(scope="module")
def aws() -> Iterator[tuple[str, dict[str, str]]]:
    """An AWS emulator with a cluster, and the environment that names it to the launcher."""
    with running_stand_in() as url:
        yield url, _made_in_aws(url, {})


@pytest.fixture
def platform(
    aws: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Platform]:
    url, cluster = aws
    sizes = {"TNT_RUN_CPU": "512", "TNT_RUN_MEMORY": "3072"}
    for name, value in {**ADMINISTRATOR, "AWS_ENDPOINT_URL": url, **cluster, **sizes}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TNT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TNT_RAW_URL", (tmp_path / "raw").as_uri())
    (tmp_path / "raw").mkdir()
    asked: list[dict[str, Any]] = []
    run_task = EC2ContainerServiceResponse.run_task

    def noted(self: Any) -> Any:
        asked.append(json.loads(self.body))
        return run_task(self)

    monkeypatch.setattr(EC2ContainerServiceResponse, "run_task", noted)
    _write_instance(tmp_path)
    code = LoadableTargetOrigin(module_name="tnt_platform.definitions", attribute="defs")
    target = InProcessTestWorkspaceLoadTarget(InProcessCodeLocationOrigin(code, location_name="tnt"))
    with (
        dg.DagsterInstance.from_config(str(tmp_path)) as instance,
        WorkspaceProcessContext(instance, target) as workspace,
    ):
        yield Platform(instance, workspace, asked)


def _write_instance(folder: Path) -> None:
    """infra's settings; the runs and logs in a folder instead of PostgreSQL and S3."""
    settings = yaml.safe_load(os.path.expandvars(INSTANCE.read_text(encoding="utf-8")))
    settings["storage"] = {"sqlite": {"base_dir": str(folder / "storage")}}
    settings["local_artifact_storage"]["config"]["base_dir"] = str(folder)
    del settings["compute_logs"]
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def drop(tmp_path: Path, key: str = f"transit/{DATE}/10022.txt") -> None:
    path = tmp_path / "raw" / key
    path.parent.mkdir(parents=True)
    path.write_text("10001|90210|CA|5\n", encoding="utf-8")


def assert_as_the_yaml_says(request: Mapping[str, Any], provider: str = "FARGATE_SPOT") -> None:
    """transit/defs.yaml: `compute: {cpu: 1024, memory_mb: 2048, spot: true}`."""
    overrides = request["overrides"]
    assert (overrides["cpu"], overrides["memory"]) == ("1024", "2048")
    [container] = overrides["containerOverrides"]
    assert (container["cpu"], container["memory"]) == (1024, 2048)
    assert request["capacityProviderStrategy"] == [{"capacityProvider": provider, "weight": 1}]
    assert "launchType" not in request, "ECS rejects both"
    assert request["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"
    assert len(json.dumps(overrides)) < MOST_CHARACTERS


def assert_as_the_environment_says(request: Mapping[str, Any]) -> None:
    assert (request["overrides"]["cpu"], request["overrides"]["memory"]) == ("512", "3072")
    assert request["launchType"] == "FARGATE"
    assert "capacityProviderStrategy" not in request


def materialize(platform: Platform, *keys: str, **tags: str) -> str:
    """Press "Materialize"."""
    assets = [{"path": key.split("/")} for key in keys]
    params = {
        "selector": {**REPOSITORY, "pipelineName": "__ASSET_JOB", "assetSelection": assets},
        "mode": "default",
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }
    response = platform.ask(questions.LAUNCH_RUN, params=params)["launchRun"]
    assert response["__typename"] == "LaunchRunSuccess", response
    return str(response["run"]["runId"])


def test_materialize_in_the_ui_launches_the_size_and_spot_of_the_yaml(platform: Platform) -> None:
    run = materialize(platform, *(f"transit/{step}" for step in STEPS), **{"dagster/partition": DATE})
    assert_as_the_yaml_says(platform.launched()["__ASSET_JOB"])
    kept = platform.instance.get_run_by_id(run)
    assert kept is not None
    assert (kept.tags["ecs/cpu"], kept.tags["ecs/memory"], kept.tags[RUN_TASK_TAG]) == ("1024", "2048", SPOT)


def test_a_dataset_that_says_nothing_gets_the_task_of_the_environment(platform: Platform) -> None:
    run = materialize(platform, "posts/capture")
    assert_as_the_environment_says(platform.launched()["__ASSET_JOB"])
    kept = platform.instance.get_run_by_id(run)
    assert kept is not None
    assert "ecs/cpu" not in kept.tags


def test_a_run_of_two_datasets_gets_a_task_that_is_big_enough_for_both_and_spot_only_if_both_say_so(
    platform: Platform,
) -> None:
    materialize(platform, "transit/shipper_files", "daily_report/files", **{"dagster/partition": DATE})
    request = platform.launched()["__ASSET_JOB"]
    assert (request["overrides"]["cpu"], request["overrides"]["memory"]) == ("1024", "3072")
    assert request["launchType"] == "FARGATE"


def test_tags_that_a_person_gives_a_run_win(platform: Platform) -> None:
    given = {"ecs/cpu": "4096", "ecs/memory": "8192", RUN_TASK_TAG: ON_DEMAND}
    materialize(platform, "transit/shipper_files", **{"dagster/partition": DATE, **given})
    request = platform.launched()["__ASSET_JOB"]
    assert (request["overrides"]["cpu"], request["overrides"]["memory"]) == ("4096", "8192")
    assert request["capacityProviderStrategy"][0]["capacityProvider"] == "FARGATE"


def test_a_run_that_is_tried_again_leaves_spot(platform: Platform) -> None:
    """A retry has its parent's tags; what lost its task once must not wait for Spot to come back."""
    tags = {"dagster/partition": DATE, "dagster/retry_number": "1", RUN_TASK_TAG: SPOT}
    materialize(platform, "transit/shipper_files", **tags)
    assert_as_the_yaml_says(platform.launched()["__ASSET_JOB"], "FARGATE")


def test_the_sensors_runs_launch_the_size_and_spot_of_the_yaml(platform: Platform, tmp_path: Path) -> None:
    drop(tmp_path)
    list(execute_sensor_iteration(platform.workspace, LOG, None, None))
    [run] = platform.instance.get_runs(dg.RunsFilter(tags={"tnt/dataset": "transit"}))
    assert run.tags["tnt/attempt"] == "1"
    assert_as_the_yaml_says(platform.launched()[run.job_name])


def test_the_schedules_runs_launch_the_size_of_their_dataset(platform: Platform, tmp_path: Path) -> None:
    drop(tmp_path)
    drop(tmp_path, f"raw-data/{DATE}/a.csv")
    night = datetime.now(UTC).replace(hour=2, minute=59, second=0, microsecond=0)
    times: dict[str, Any] = {}
    for end in (night, night + timedelta(minutes=2)):
        list(launch_scheduled_runs(platform.workspace, LOG, end, times))
    launched = platform.launched()
    assert_as_the_yaml_says(launched["transit_job"])
    assert_as_the_environment_says(launched["daily_report_job"])
    assert_as_the_environment_says(launched["posts_job"])


def test_the_runs_of_a_backfill_from_the_ui_launch_the_size_and_spot_of_the_yaml(platform: Platform) -> None:
    params = {
        "assetSelection": [{"path": ["transit", step]} for step in STEPS],
        "partitionNames": [f"2026-01-{day:02}" for day in range(1, 13)],
    }
    response = platform.ask(questions.LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
    assert response["__typename"] == "LaunchBackfillSuccess", response
    with ThreadPoolExecutor() as pool:
        list(execute_backfill_iteration(platform.workspace, LOG, None, pool))
    platform.launched()
    assert len(platform.asked) == 2, "12 dates, ten at most in a run"
    for request in platform.asked:
        assert_as_the_yaml_says(request)
