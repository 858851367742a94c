"""What Fargate does, for the tasks of a moto in this process: each task's command runs as a process of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.ecs.models import ecs_backends

from tnt_platform_tests.infra.aws_stand_in import ACCOUNT, REGION, tell

POLL_S = 0.2
# Left to the agent: by itself moto would stop a task the second time somebody looks at it.
BY_HAND = '{"model_name": "ecs::task", "transition": {"progression": "manual", "times": 1000000}}'


@dataclass
class EcsAgent:
    """Runs the tasks of one cluster until `stop`; `log` takes what they print."""

    url: str
    cluster: str
    environment: Mapping[str, str]  # what a task has besides what its definition says
    instead: Mapping[str, str]  # what it has instead of what its definition says
    log: Path
    never_start: int = 0  # so many of the next tasks stay PROVISIONING for ever, as without capacity
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    most_at_once: int = 0
    _seen: set[str] = field(default_factory=set)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> EcsAgent:
        tell(self.url, "state-manager/set-transition", BY_HAND)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join(10)
        for process in self.processes.values():
            _signal(process, signal.SIGKILL)

    def running(self) -> dict[str, subprocess.Popen[bytes]]:
        """Tasks whose process lives."""
        return {arn: process for arn, process in list(self.processes.items()) if process.poll() is None}

    def open_tasks(self) -> int:
        """How many tasks have been launched and not ended, started or not."""
        alive = self.running()
        return sum(task.last_status != "STOPPED" or task.task_arn in alive for task in self._tasks())

    def kill(self, arn: str) -> None:
        """The host dies under a task."""
        _signal(self.processes[arn], signal.SIGKILL)

    def _tasks(self) -> list[Any]:
        return list(ecs_backends[ACCOUNT][REGION].tasks.get(self.cluster, {}).values())

    def _watch(self) -> None:
        while not self._ended.wait(POLL_S):
            for task in self._tasks():
                if task.task_arn not in self._seen:
                    self._seen.add(task.task_arn)
                    self._begin(task)
                elif process := self.processes.get(task.task_arn):
                    _settle(task, process)
            self.most_at_once = max(self.most_at_once, self.open_tasks())

    def _begin(self, task: Any) -> None:
        if self.never_start:
            self.never_start -= 1
            task.last_status = "PROVISIONING"
            return
        backend = ecs_backends[ACCOUNT][REGION]
        [container] = backend.describe_task_definition(task.task_definition_arn).container_definitions
        [override] = task.overrides.get("containerOverrides") or [{}]
        given = {pair["name"]: pair["value"] for pair in container.get("environment", [])}
        environment = {**self.environment, **given, **self.instead, "PATH": path_of_programs()}
        with self.log.open("ab") as log:
            self.processes[task.task_arn] = subprocess.Popen(
                override.get("command") or container["command"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        task.last_status = "RUNNING"


def path_of_programs() -> str:
    """PATH as in the image: the programs of this Python first."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def _settle(task: Any, process: subprocess.Popen[bytes]) -> None:
    """Bring the task to what its process does, and the process to what the task wants."""
    code = process.poll()
    if code is None:
        if task.desired_status == "STOPPED":
            _signal(process, signal.SIGTERM)
        return
    [container] = task.containers
    container.exitCode = code if code >= 0 else 128 - code
    container.last_status = task.last_status = task.desired_status = "STOPPED"
    task.stopped_reason = task.stopped_reason or "Essential container in task exited"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)
