"""`tnt serve` as a process of its own."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from tnt_platform_tests.ports import free_port
from tnt_platform_tests.web.scene import Lake
from tnt_platform_tests.web.waiting import eventually

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]
CONNECTIONS = 10_000
READY_S = 3
IDLE_RSS_MB = 250


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "serve.log"


@pytest.fixture
def server(lake: Lake, port: int, log: Path) -> Iterator[psutil.Process]:
    command = [str(Path(sys.executable).with_name("tnt")), "serve", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env={**os.environ, **lake.environment}, stdout=out, stderr=out)
        started = time.monotonic()
        eventually(lambda: answers(port), within_s=60)
        found = psutil.Process(process.pid)
        # On a quiet machine it takes no longer than it computes; beside other work only that can be told.
        assert min(sum(found.cpu_times()[:2]), time.monotonic() - started) < READY_S
        yield found
        process.terminate()
        assert process.wait(20) == 0 or process.returncode == -15


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_it_idles_in_little_memory_and_logs_lines_of_json(
    server: psutil.Process, port: int, log: Path
) -> None:
    assert server.memory_info().rss < IDLE_RSS_MB * 1_000_000
    httpx.get(f"http://127.0.0.1:{port}/records", headers={"x-request-id": "seen-in-the-log"})
    eventually(lambda: "seen-in-the-log" in log.read_text())
    line = next(line for line in log.read_text().splitlines() if "seen-in-the-log" in line)
    assert json.loads(line)["status"] == 200


def test_ten_thousand_open_connections_stop_nobody(server: psutil.Process, port: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 500:
        pytest.skip(f"this system allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        started = time.monotonic()
        for _ in range(CONNECTIONS):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        assert httpx.get(f"http://127.0.0.1:{port}/records", timeout=10).status_code == 200
        assert time.monotonic() - started < 60
        assert server.memory_info().rss < 2 * IDLE_RSS_MB * 1_000_000
        # Those that never send a request are closed, whoever holds them.
        eventually(lambda: len(server.net_connections()) < CONNECTIONS / 10, within_s=60)


def test_a_taken_port_is_told_in_one_line(server: psutil.Process, port: int, lake: Lake) -> None:
    command = [str(Path(sys.executable).with_name("tnt")), "serve", "--port", str(port)]
    again = subprocess.run(
        command, env={**os.environ, **lake.environment}, capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 1
    assert "--port" in again.stderr
    assert "Traceback" not in again.stderr
