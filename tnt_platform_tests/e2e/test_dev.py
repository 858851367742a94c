"""`tnt dev` as a new user and a supervisor meet it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tnt_platform_tests.ports import free_port

PROJECT = Path(__file__).parents[2]


def answers(url: str, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    return False


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_dev_starts_in_a_home_that_is_not_there_and_leaves_no_process_after_sigterm(tmp_path: Path) -> None:
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    api_port = free_port()
    ports = ["--port", str(free_port()), "--api-port", str(api_port), "--sandbox-port", str(free_port())]
    environment = {**os.environ, "TNT_HOME": str(tmp_path / "not" / "there"), "DAGSTER_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "tnt_platform", "dev", *ports]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    try:
        assert answers(f"http://127.0.0.1:{api_port}/health/live", within_s=240)
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 2
    finally:
        process.terminate()
        process.wait(120)
    _, alive = psutil.wait_procs(started, timeout=60)
    assert alive == []
