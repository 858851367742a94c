"""Subscribers hear of every version that changed data, and of no other; processes that meet publish one version."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tnt_platform.errors import ConfigError, NotFound
from tnt_platform.lake import naming
from tnt_platform.lake.publishing import Workspace, open_workspace
from tnt_platform.lake.versions import VersionedStore
from tnt_platform.series.chain import SeriesChain
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.services.lease import LeaseLost
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects, Pointer
from tnt_platform_tests.series.scene import SeriesScene, csv_of, prices
from tnt_platform_tests.topic import Topic

# Polars' threads don't survive a fork.
SPAWN = multiprocessing.get_context("spawn")
PATIENCE_S = 60.0
FIRST = {"2025-01": (1, 10), "2025-02": (2, 20), "2025-03": (3, None)}
SECOND = {**FIRST, "2025-02": (2.5, 20), "2025-04": (4, 40)}
POINTER = naming.pointer_key("prices")
NOTIFIED = naming.notified_key("prices")


@pytest.fixture
def scene(tmp_path: Path, topic: Topic) -> SeriesScene:
    return SeriesScene(tmp_path, environment=topic.environment)


# --- what is sent ------------------------------------------------------------------------------------


def test_each_version_that_changed_data_is_notified_once_in_the_old_form(
    scene: SeriesScene, topic: Topic
) -> None:
    scene.publish(csv_of(FIRST))
    ((subject, first),) = topic.received()
    assert subject == "projection_update:prices"
    assert first == {
        "event": "projection_update",
        "dataset_id": "prices",
        "bucket": scene.workspace.lake.url,
        "version_id": scene.current.version,
        "version_manifest_path": f"datasets/prices/versions/{scene.current.version}/manifest.json",
        "projections_path": f"datasets/prices/versions/{scene.current.version}/files.parquet",
        "changelog": {
            "data_points_added": 5,
            "data_points_updated": 0,
            "data_points_removed": 0,
            "new_series": ["A_M", "B_M"],
            "updated_series": [],
        },
    }
    assert scene.workspace.lake.exists(first["version_manifest_path"])
    assert scene.workspace.lake.exists(first["projections_path"])
    scene.publish(csv_of(SECOND))
    ((_, second),) = topic.received()
    assert second["version_id"] == scene.current.version != first["version_id"]
    assert second["changelog"] == {
        "data_points_added": 2,
        "data_points_updated": 1,
        "data_points_removed": 0,
        "new_series": [],
        "updated_series": ["A_M", "B_M"],
    }


def test_nobody_is_notified_when_no_data_changed(scene: SeriesScene, topic: Topic) -> None:
    scene.publish(csv_of(FIRST))
    topic.received()
    version = scene.current.version
    scene.run()
    scene.publish(csv_of(FIRST) + b"\r\n")  # other bytes, the same observations
    scene.publish(csv_of({"2025-01-31": (1, 10), "15/02/2025": (2, 20), "Mar-25": (3, None)}))
    assert topic.received() == []
    assert scene.current.version == version
    scene.spec = prices(partition_strategy="year")  # a version of other files with the same observations
    scene.run()
    assert scene.current.version != version
    assert topic.received() == []


def test_a_dataset_without_a_topic_is_published_without_a_notice(tmp_path: Path, topic: Topic) -> None:
    scene = SeriesScene(tmp_path)
    scene.publish(csv_of(FIRST))
    assert topic.received() == []
    assert not scene.workspace.lake.exists(NOTIFIED)
    with_topic = SeriesScene(tmp_path, environment=topic.environment, now=scene.now)
    with_topic.run()
    assert [message["version_id"] for _, message in topic.received()] == [scene.current.version]


def test_a_topic_that_is_gone_fails_the_run_but_not_the_data_and_is_made_up_for(
    tmp_path: Path, topic: Topic
) -> None:
    elsewhere = {**topic.environment, "SNS_PROJECTION_TOPIC_ARN": f"{topic.arn}-gone"}
    scene = SeriesScene(tmp_path, environment=elsewhere)
    with pytest.raises(NotFound, match=r"projections-gone"):
        scene.publish(csv_of(FIRST))
    assert len(scene.values()) == 3
    first = scene.current.version
    fixed = SeriesScene(tmp_path, environment=topic.environment, now=scene.now)
    fixed.run()
    assert [message["version_id"] for _, message in topic.received()] == [first]


def test_versions_without_a_notice_are_summed_in_the_next_one(tmp_path: Path, topic: Topic) -> None:
    scene = SeriesScene(tmp_path, environment=topic.environment)
    scene.publish(csv_of(FIRST))
    topic.received()
    without_topic = SeriesScene(tmp_path, now=scene.now)
    without_topic.publish(csv_of(SECOND))
    without_topic.publish(csv_of({**SECOND, "2025-05": (5, 50)}))
    with_topic = SeriesScene(tmp_path, environment=topic.environment, now=without_topic.now)
    with_topic.run()
    ((_, message),) = topic.received()
    assert message["version_id"] == with_topic.current.version
    counted = {name: message["changelog"][f"data_points_{name}"] for name in ("added", "updated", "removed")}
    assert counted == {"added": 4, "updated": 1, "removed": 0}


def test_a_topic_that_is_no_topic_is_a_wrong_setting(tmp_path: Path) -> None:
    scene = SeriesScene(tmp_path, spec=prices(notify_topic="projections"))
    with pytest.raises(ConfigError, match="ARN"):
        scene.publish(csv_of(FIRST))


# --- processes ---------------------------------------------------------------------------------------


class SignallingObjects(Objects):
    """The real store, which stops or ends its own process at one operation.

    `at`: the method and key; `then`: "killed before", "killed after", or "stopped before" (until somebody goes on).
    """

    at: tuple[str, str] = ("", "")
    then: str = ""

    def put(self, key: str, data: bytes) -> None:
        self._at("put", key, lambda: super(SignallingObjects, self).put(key, data))

    def compare_and_swap(self, key: str, **swap: Any) -> Pointer:
        return self._at("swap", key, lambda: super(SignallingObjects, self).compare_and_swap(key, **swap))

    def _at(self, method: str, key: str, effect: Callable[[], Any]) -> Any:
        there = method == self.at[0] and key.startswith(self.at[1]) and self.then
        if there and self.then.endswith("before"):
            then, self.then = self.then, ""
            os.kill(os.getpid(), signal.SIGKILL if then.startswith("killed") else signal.SIGSTOP)
        done = effect()
        if there and self.then == "killed after":
            os.kill(os.getpid(), signal.SIGKILL)
        return done


def run_apart(
    home: str,
    environment: Mapping[str, str],
    spec: SeriesSpec,
    at: tuple[str, str],
    then: str,
    parent: Connection,
) -> None:
    """One whole run with this process's own clock, as the schedule starts it; says how it ended."""
    settings = Settings.from_environment({"TNT_HOME": home, **environment})
    settings.scratch.mkdir(parents=True, exist_ok=True)
    lake = SignallingObjects.open(settings.lake_url)
    assert isinstance(lake, SignallingObjects)
    lake.at, lake.then = at, then
    store = VersionedStore(
        lake,
        clock=lambda: datetime.now(UTC),
        entropy=secrets.token_bytes,
        code_version="test",
        scratch=settings.scratch,
    )
    workspace = Workspace(Objects.open(settings.raw_url), lake, store, settings.scratch)
    parent.send("ready")
    parent.recv()
    try:
        with SeriesChain(spec, workspace, settings, run_id=f"process {os.getpid()}") as chain:
            done = [step for step in spec.steps if chain.publish(step).changed]
            notified = chain.send_notice()
        parent.send((done, notified))
    except LeaseLost as error:
        parent.send(type(error).__name__)


@contextmanager
def process(
    scene: SeriesScene, topic: Topic, at: tuple[str, str] = ("", ""), then: str = ""
) -> Iterator[tuple[BaseProcess, Connection]]:
    """A run that is about to begin."""
    ours, theirs = SPAWN.Pipe()
    environment = {**topic.environment}
    child = SPAWN.Process(
        target=run_apart, args=(str(scene.folder), environment, scene.spec, at, then, theirs)
    )
    child.start()
    try:
        assert received(ours) == "ready"
        yield child, ours
    finally:
        if child.is_alive():
            child.kill()
        child.join()


def received(child: Connection) -> Any:
    assert child.poll(PATIENCE_S), "the process sends nothing"
    return child.recv()


def real_time(scene: SeriesScene, *, lock_timeout_s: float = 60.0) -> SeriesScene:
    """The scene at the time that its processes have."""
    scene.spec = scene.spec.model_copy(update={"lock_timeout_s": lock_timeout_s})
    scene.now = datetime.now(UTC)
    return scene


def run_now(scene: SeriesScene, run_id: str = "here") -> dict[str, Any]:
    """A run in this process, by the real clock, that waits for a lease as a scheduled run does."""
    with SeriesChain(scene.spec, open_workspace(scene.settings), scene.settings, run_id=run_id) as chain:
        done = {step: chain.publish(step) for step in scene.spec.steps}
        chain.send_notice()
    return done


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("at", "then", "messages"),
    [
        (("swap", POINTER), "killed after", 1),  # committed, nobody notified
        (
            ("put", NOTIFIED),
            "killed before",
            2,
        ),  # notified, but not recorded: notified again
        (("put", NOTIFIED), "killed after", 1),
        (("swap", POINTER), "killed before", 1),
    ],
    ids=["after the commit", "after the message", "at the end", "before the commit"],
)
def test_a_run_killed_around_its_notice_is_followed_by_one_that_sends_it(
    scene: SeriesScene, topic: Topic, at: tuple[str, str], then: str, messages: int
) -> None:
    real_time(scene, lock_timeout_s=1.0)
    scene.raw.put("prices.csv", csv_of(FIRST))
    with process(scene, topic, at, then) as (child, pipe):
        pipe.send("go")
        child.join(PATIENCE_S)
        assert child.exitcode == -signal.SIGKILL
    committed = scene.workspace.store.current("prices") is not None
    assert committed is not (then == "killed before" and at[1] == POINTER)
    run_now(scene)
    assert len(scene.values()) == 3
    notified = [message["version_id"] for _, message in topic.received()]
    assert notified == [scene.current.version] * messages
    assert scene.workspace.store.versions("prices").height == 1
    run_now(scene)
    assert topic.received() == []


@pytest.mark.heavy
def test_two_processes_that_run_one_dataset_at_once_both_end_well_with_one_version(
    scene: SeriesScene, topic: Topic
) -> None:
    real_time(scene, lock_timeout_s=10.0)
    scene.raw.put("prices.csv", csv_of(FIRST))
    with process(scene, topic) as (one, first), process(scene, topic) as (two, second):
        for pipe in (first, second):
            pipe.send("go")
        outcomes = [received(first), received(second)]
        for child in (one, two):
            child.join(PATIENCE_S)
        assert [one.exitcode, two.exitcode] == [0, 0]
    published = scene.current.version
    everything = ["capture", "series", "observations"]
    assert sorted(outcomes) == [([], None), (everything, published)]
    for step in scene.spec.steps:
        assert scene.workspace.store.versions(scene.spec.dataset(step)).height == 1
    assert [message["version_id"] for _, message in topic.received()] == [published]


@pytest.mark.heavy
@pytest.mark.parametrize(
    "at",
    [("put", "datasets/prices/versions/"), ("swap", POINTER), ("swap", naming.pointer_key("prices/series"))],
    ids=["while it writes its draft", "at the swap of the pointer", "at the swap of the step before"],
)
def test_an_owner_paused_for_longer_than_the_lease_publishes_nothing_over_the_new_owner(
    scene: SeriesScene, topic: Topic, at: tuple[str, str]
) -> None:
    real_time(scene, lock_timeout_s=4.0)
    scene.raw.put("prices.csv", csv_of(FIRST))
    run_now(scene)
    topic.received()
    scene.raw.put(
        "prices.csv", csv_of({**FIRST, "2025-03": (-999, None)})
    )  # what the publisher takes back later
    with process(scene, topic, at, "stopped before") as (child, pipe):
        pipe.send("go")
        wait_until_stopped(child)
        scene.raw.put("prices.csv", csv_of(SECOND))
        started_s = time.monotonic()
        run_now(scene, "the new owner")
        assert time.monotonic() - started_s > 1.0, "the lease was not waited for"
        newer, rows = scene.current.version, scene.published
        assert [message["version_id"] for _, message in topic.received()] == [newer]
        os.kill(child.pid or 0, signal.SIGCONT)
        verdict = received(pipe)
        child.join(PATIENCE_S)
        assert child.exitcode == 0
    assert verdict == "LeaseLost"
    assert scene.current.version == newer
    assert scene.published.equals(rows)
    assert scene.values()["2025-03-01"] == 3
    assert topic.received() == []
    assert not any(step.changed for step in run_now(scene).values())


def wait_until_stopped(child: BaseProcess) -> None:
    status = Path(f"/proc/{child.pid}/status")
    deadline_s = time.monotonic() + PATIENCE_S
    while "State:\tT" not in status.read_text():
        assert child.is_alive(), f"it ended with {child.exitcode}"
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
