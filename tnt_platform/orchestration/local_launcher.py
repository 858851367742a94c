"""Launch runs on one machine, and detect those whose process has died.

Without this, a run that was killed together with its code server (a laptop that lost power, `kill -9`) stays
"started" for ever: the sensor considers its date in flight, and it occupies a slot of the run queue.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG

# On a run that `tnt` executes in its own process: "host:pid:start", or "host:pid" where the start is not known.
PROCESS_TAG = "tnt/process"
CONNECT_TIMEOUT_S = 5


def this_process() -> dict[str, str]:
    """Return the tag that says which process a run is in."""
    start = _start_of(os.getpid())
    return {PROCESS_TAG: ":".join([socket.gethostname(), str(os.getpid()), *([start] if start else [])])}


class LocalRunLauncher(DefaultRunLauncher):
    """Dagster's launcher, with which run monitoring fails a dead run within seconds so that it is retried."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Always true: run monitoring then calls `check_run_worker_health`."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Report a run as failed once its code server, which watches its process, or its process is gone.

        In doubt a run is alive: two runs for one date are safe, but a run that is failed by mistake confuses people.
        """
        if server := run.tags.get(GRPC_INFO_TAG):
            if _refused(json.loads(server)):
                return CheckRunHealthResult(WorkerStatus.FAILED, "the code server that ran it is gone")
        elif (process := run.tags.get(PROCESS_TAG)) and _ended(process):
            return CheckRunHealthResult(WorkerStatus.FAILED, f"its process {process} is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def _refused(server: Mapping[str, object]) -> bool:
    """Return whether nothing listens at the server's address; a slow server does listen."""
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
    host, pid, start = [*process.split(":"), "", ""][:3]
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    # Another process may have the number by now.
    return bool(start) and _start_of(int(pid)) not in (start, None)


def _start_of(pid: int) -> str | None:
    """Return when a process started, in clock ticks since the machine did; None where /proc does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
