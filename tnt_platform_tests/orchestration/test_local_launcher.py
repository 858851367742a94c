"""When a run is known to be dead; in doubt it is alive."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from tnt_platform.orchestration.local_launcher import PROCESS_TAG, LocalRunLauncher, this_process


def status_of(**tags: str) -> WorkerStatus:
    run = dg.DagsterRun(job_name="some_job", tags=tags)
    return LocalRunLauncher().check_run_worker_health(run).status


def launched_by(**server: object) -> WorkerStatus:
    return status_of(**{GRPC_INFO_TAG: json.dumps({"host": "localhost", **server})})


def test_a_run_whose_code_server_listens_is_alive(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "server"))
        server.listen()
        assert launched_by(socket=str(tmp_path / "server")) is WorkerStatus.RUNNING
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert launched_by(port=listening.getsockname()[1]) is WorkerStatus.RUNNING


def test_a_run_whose_code_server_is_gone_is_dead(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "left behind"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert launched_by(socket=str(tmp_path / "left behind")) is WorkerStatus.FAILED
    assert launched_by(socket=str(tmp_path / "never there")) is WorkerStatus.FAILED
    assert launched_by(port=port) is WorkerStatus.FAILED


def test_a_run_in_a_process_of_tnt_is_alive_as_long_as_that_is() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    assert status_of(**this_process()) is WorkerStatus.RUNNING
    assert status_of(**{PROCESS_TAG: f"{socket.gethostname()}:{process.pid}"}) is WorkerStatus.FAILED


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only /proc tells when a process started")
def test_a_process_that_got_the_number_of_a_dead_one_is_not_taken_for_it() -> None:
    host, pid, start = this_process()[PROCESS_TAG].split(":")
    assert status_of(**{PROCESS_TAG: f"{host}:{pid}:{start}"}) is WorkerStatus.RUNNING
    assert status_of(**{PROCESS_TAG: f"{host}:{pid}:{int(start) - 1}"}) is WorkerStatus.FAILED


@pytest.mark.parametrize("tags", [{}, {PROCESS_TAG: "another-host:1"}, {PROCESS_TAG: "nonsense"}])
def test_a_run_of_which_nothing_is_known_is_taken_to_be_alive(tags: dict[str, str]) -> None:
    assert status_of(**tags) is WorkerStatus.RUNNING
