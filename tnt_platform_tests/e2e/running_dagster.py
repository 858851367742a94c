"""A Dagster of a test's own: web server, daemon and code server in a fresh folder, asked over HTTP."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tnt_platform.cli.serving import process_group, sandbox_environment
from tnt_platform.lake.publishing import Workspace, open_workspace
from tnt_platform.sandbox.generator import FolderSink, SamplePlan, made_files, reference_data
from tnt_platform.settings import Settings
from tnt_platform_tests.e2e import questions
from tnt_platform_tests.ports import free_port

PROJECT = Path(__file__).parents[2]
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "tnt_platform"}
# The machine that runs the tests may be busy with other things.
START_TIMEOUT_S = 240
POLL_S = 0.5

Found = TypeVar("Found")


class DagsterHome:
    """A folder as `tnt dev` would have it: a copy of the instance's settings, raw files and lake below `.tnt`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.raw = folder / ".tnt" / "raw"
        self.raw.mkdir(parents=True, exist_ok=True)
        self.log = folder / "dagster.log"
        # The instance keeps its state relative to where it is started; a test stays where it is.
        text = (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
        assert ".tnt/dagster" in text
        text = text.replace(".tnt/dagster", str(folder / ".tnt" / "dagster"))
        (folder / "dagster.yaml").write_text(text, encoding="utf-8")
        shutil.copy(PROJECT / "workspace.yaml", folder / "workspace.yaml")

    def environment(self, api_url: str) -> dict[str, str]:
        """What a process needs to live here; an empty value is the default, whatever the caller's shell has."""
        ours = {
            "DAGSTER_HOME": str(self.folder),
            "TNT_HOME": str(self.folder / ".tnt"),
            **dict.fromkeys(("TNT_LAKE_URL", "TNT_RAW_URL", "TNT_EVENT_QUEUE_URL", "TNT_RESULTS_TABLE"), ""),
            "TNT_SCRATCH": "",
        }
        # Only what a test asks for runs: a full hour must not start the mall's sync in the middle of it.
        return ours | sandbox_environment(api_url) | {"TNT_SCHEDULES": "stopped"}

    def settings(self, api_url: str) -> Settings:
        """The settings a process in this home has."""
        return Settings.from_environment({**os.environ, **self.environment(api_url)})

    def workspace(self) -> Workspace:
        """The raw files and the lake of this home."""
        return open_workspace(self.settings("http://nowhere.invalid"))

    def drop(self, key: str, data: bytes) -> None:
        """Put a file into the raw folder as a whole, as an upload does."""
        FolderSink(self.raw).put(key, data)

    def drop_files(self, plan: SamplePlan) -> None:
        """Put the plan's shipper files that aren't there yet, without the shipper reference.

        The files of a new date appear all at once: a tick in between would ask for a run for some of them.
        """
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=self.raw) as aside:
            for made in made_files(plan):
                path = self.raw / made.key
                if not path.parent.exists():
                    FolderSink(Path(aside)).put(made.key, made.data)
                elif not path.exists() or path.read_bytes() != made.data:
                    self.drop(made.key, made.data)
            for folder in sorted({path.parent for path in Path(aside).rglob("*") if path.is_file()}):
                target = self.raw / folder.relative_to(aside)
                target.parent.mkdir(parents=True, exist_ok=True)
                folder.rename(target)

    def drop_reference(self, plan: SamplePlan) -> None:
        """Put the shipper reference of the plan."""
        self.drop(plan.reference_key, reference_data(plan))


def small_plan(first: dt.date, days: int, *, files: int = 3, rows: int = 8, seed: int = 5) -> SamplePlan:
    """A few small files on each of `days` dates."""
    dates = tuple(first + dt.timedelta(days=n) for n in range(days))
    return SamplePlan(dates=dates, files=files, rows_per_file=rows, special_files=False, seed=seed)


@dataclass(frozen=True)
class RunningDagster:
    """A started Dagster; every question goes through the GraphQL that the web UI uses."""

    home: DagsterHome
    url: str
    alive: Callable[[], bool]
    kill: Callable[[], None]

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The `data` of a GraphQL answer; an error of it is an error of the test."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            answer = json.loads(response.read())
        assert "errors" not in answer, json.dumps(answer["errors"], indent=1)[:3000]
        data: dict[str, Any] = answer["data"]
        return data

    def wait_for(self, what: str, probe: Callable[[], Found | None], timeout_s: float) -> Found:
        """Ask `probe` until it gives something true; fail loudly with the end of the log after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.alive(), f"Dagster stopped while we waited for {what}\n{self._end_of_log()}"
            if found := probe():
                return found
            time.sleep(POLL_S)
        raise AssertionError(f"{what}: nothing for {timeout_s:.0f} s\n{self._end_of_log()}")

    def _end_of_log(self) -> str:
        return self.home.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def runs(self, **tags: str) -> list[Run]:
        """Runs with these tags (`tnt_attempt="2"` for the tag tnt/attempt), oldest first."""
        wanted = [{"key": name.replace("_", "/", 1), "value": value} for name, value in tags.items()]
        found = self.ask(questions.RUNS, filter={"tags": wanted} if wanted else None)["runsOrError"][
            "results"
        ]
        return sorted((Run.of(result) for result in found), key=lambda run: run.created)

    def finished_runs(self, run_ids: Sequence[str], timeout_s: float) -> list[Run]:
        """These runs once every one of them has ended."""

        def ended() -> list[Run] | None:
            found = [run for run in self.runs() if run.run_id in run_ids]
            return found if len(found) == len(run_ids) and all(run.finished for run in found) else None

        return self.wait_for(f"{len(run_ids)} runs to end", ended, timeout_s)

    def failure(self, run_id: str) -> str:
        """What a failed run says about itself."""
        events = self.ask(questions.FAILURE, run=run_id)["runOrError"]["eventConnection"]["events"]
        return "\n".join(event["error"]["message"] for event in events if event.get("error"))

    def ticks(self, sensor: str = "transit_files", *, after: float = 0.0) -> list[dict[str, Any]]:
        """Ended ticks of a sensor that began after `after`, oldest first."""
        selector = {**LOCATION, "sensorName": sensor}
        state = self.ask(questions.TICKS, sensor=selector, after=after)["sensorOrError"]["sensorState"]
        ended = [tick for tick in state["ticks"] if tick["status"] != "STARTED"]
        return sorted(ended, key=lambda tick: tick["timestamp"])

    def next_tick(self, sensor: str = "transit_files", *, timeout_s: float = 300) -> dict[str, Any]:
        """The first tick that begins from now on, ended."""
        now = time.time()
        return self.wait_for(f"a tick of {sensor}", lambda: self.ticks(sensor, after=now), timeout_s)[0]

    def stop_sensor(self, sensor: str = "transit_files") -> None:
        """Switch a sensor off, as a user would before a backfill of her own."""
        selector = {**LOCATION, "sensorName": sensor}
        state = self.ask(questions.SENSOR_STATE, sensor=selector)["sensorOrError"]["sensorState"]
        answer = self.ask(questions.STOP_SENSOR, id=state["id"])["stopSensor"]
        assert answer["instigationState"]["status"] == "STOPPED"


@dataclass(frozen=True)
class Run:
    """One run as the UI lists it; times in epoch seconds."""

    run_id: str
    status: str
    tags: Mapping[str, str]
    created: float
    started: float | None
    ended: float | None

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Run:
        tags = {tag["key"]: tag["value"] for tag in result["tags"]}
        times = (result["creationTime"], result["startTime"], result["endTime"])
        return cls(result["runId"], result["status"], tags, *times)

    @property
    def finished(self) -> bool:
        return self.status in {"SUCCESS", "FAILURE", "CANCELED"}


@contextlib.contextmanager
def running_dagster(home: DagsterHome, api_url: str) -> Iterator[RunningDagster]:
    """Start everything that `tnt dev` starts, on a free port, and take all of it down at the end.

    Raises:
        AssertionError: it is not ready after START_TIMEOUT_S, or a process of it is left at the end.
    """
    port = free_port()
    command = [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
    command += ["-w", str(home.folder / "workspace.yaml")]
    with process_group(command, home.environment(api_url), log=home.log) as process:
        group = process.pid
        dagster = RunningDagster(
            home,
            f"http://127.0.0.1:{port}",
            alive=lambda: process.poll() is None,
            kill=lambda: os.killpg(group, signal.SIGKILL),
        )
        dagster.wait_for("Dagster to be ready", lambda: _ready(dagster), START_TIMEOUT_S)
        yield dagster
    left = [p for p in processes_of(group) if not _gone_soon(p)]
    assert not left, f"still running after Dagster was stopped: {left}"


def processes_of(group: int) -> list[psutil.Process]:
    """Living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _gone_soon(process: psutil.Process) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def _ready(dagster: RunningDagster) -> bool:
    """The code is loaded, and the daemons that launch runs and evaluate sensors have a heartbeat."""
    try:
        answer = dagster.ask(questions.READY)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    (location,) = answer["workspaceOrError"]["locationEntries"]
    error = location["locationOrLoadError"]
    assert not (error and error["__typename"] == "PythonError"), error.get("message")
    daemons = answer["instance"]["daemonHealth"]["allDaemonStatuses"]
    return location["loadStatus"] == "LOADED" and all(d["healthy"] for d in daemons if d["required"])
