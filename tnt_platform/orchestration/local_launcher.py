"""Runs on one machine: Dagster's own launcher, which can also tell whether a run's process can still be alive.

Without it, a run that was killed together with its code server (a laptop that lost power, `kill -9`) stays
"started" for ever: its date looks under way to the sensor, and it keeps one of the places of the run queue.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping

import dagster as dg
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG

# On a run that `tnt` executes in its own process: "host:pid".
PROCESS_TAG = "tnt/process"
CONNECT_TIMEOUT_S = 5


def this_process() -> dict[str, str]:
    """The tag by which a run in this process is known to be alive."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}


class LocalRunLauncher(DefaultRunLauncher):
    """With this, Dagster's run monitoring fails a dead run within seconds, and it is retried."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: this is what run monitoring asks before it calls `check_run_worker_health`."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """A code server looks after the processes of its runs; once it is gone, they are given up.

        In doubt a run is alive: two runs on one date are safe, a run that is failed by mistake is confusing.
        """
        if server := run.tags.get(GRPC_INFO_TAG):
            if _refused(json.loads(server)):
                return CheckRunHealthResult(WorkerStatus.FAILED, "the code server that ran it is gone")
        elif (process := run.tags.get(PROCESS_TAG)) and _ended(process):
            return CheckRunHealthResult(WorkerStatus.FAILED, f"its process {process} is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def _refused(server: Mapping[str, object]) -> bool:
    """Whether nobody listens any more. A server that is only slow to answer does listen."""
    path = server.get("socket")
    try:
        if path is not None:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(CONNECT_TIMEOUT_S)
                probe.connect(str(path))
        else:
            address = str(server["host"]), int(str(server["port"]))
            socket.create_connection(address, CONNECT_TIMEOUT_S).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:
        return False
    return False


def _ended(process: str) -> bool:
    host, _, pid = process.rpartition(":")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False
