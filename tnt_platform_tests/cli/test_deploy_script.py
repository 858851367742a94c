"""infra/scripts/deploy.sh with programs that note how they were called instead of Terraform and the AWS CLI."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tnt_platform_tests.paths import REPOSITORY

IMAGE = f"123.dkr.ecr.us-east-1.amazonaws.com/tnt@sha256:{'a' * 64}"
NEW_REVISION = "arn:aws:ecs:us-east-1:123:task-definition/tnt-dev-run:8"
DEPLOYMENT = {
    "cluster": "tnt-dev",
    "run_task_definition": "arn:aws:ecs:us-east-1:123:task-definition/tnt-dev-run:7",
    "run_network": "{}",
}
TERRAFORM = f"""#!/bin/bash
echo "terraform $*" >>"$CALLS"
case "$*" in *" output "*) echo '{json.dumps({"deployment": DEPLOYMENT})}' ;; esac
"""
AWS = f"""#!/bin/bash
echo "aws $*" >>"$CALLS"
case "$*" in
  *describe-task-definition*) echo {NEW_REVISION} ;;
  *run-task*) echo arn:aws:ecs:us-east-1:123:task/tnt-dev/1 ;;
  *lastStatus*) echo STOPPED ;;
  *exitCode*) echo "$MIGRATION_EXIT_CODE" ;;
  *stoppedReason*) echo "Essential container in task exited" ;;
esac
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, text in (("terraform", TERRAFORM), ("aws", AWS)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def deploy(programs: Path, *, exit_code: int = 0) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Deploy to dev; gives what changed something or waited, in order, in short."""
    calls = programs / "calls"
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "STATE_BUCKET": "tnt-state-123",
        "MIGRATION_EXIT_CODE": str(exit_code),
        "POLL_S": "0",
    }
    script = REPOSITORY / "infra" / "scripts" / "deploy.sh"
    done = subprocess.run(
        [str(script), "dev", IMAGE], env=environment, capture_output=True, text=True, timeout=60
    )
    lines = calls.read_text(encoding="utf-8").splitlines()
    return done, [short for line in lines if (short := _short(line))]


def _short(line: str) -> str:
    if " apply " in line:
        target = line.partition("-target=")[2]
        return (
            f"apply {target.removeprefix('module.platform.module.compute.').replace('aws_ecs_', '')}".strip()
        )
    if " wait " in line:
        return f"wait {line.rpartition(' ')[2]}"
    if " run-task " in line:
        command = json.loads(line.partition("--overrides ")[2].partition(" --query")[0])
        revision = line.partition("--task-definition ")[2].partition(" ")[0].rpartition(":")[2]
        return f"task of revision {revision}: {' '.join(command['containerOverrides'][0]['command'])}"
    return ""


def test_the_database_is_migrated_by_the_new_image_before_code_server_daemon_web_ui_and_api_are_replaced(
    programs: Path,
) -> None:
    done, calls = deploy(programs)
    assert done.returncode == 0, done.stderr
    assert calls == [
        "apply task_definition.run",
        "task of revision 8: sh -c dagster instance migrate && tnt migrate",
        'apply service.fixed["code"]',
        "wait code",
        'apply service.fixed["daemon"]',
        "wait daemon",
        'apply service.fixed["webserver"]',
        "wait webserver",
        "apply",
        "wait api",
    ]


def test_a_migration_that_fails_ends_the_deployment_before_any_service_is_touched(programs: Path) -> None:
    done, calls = deploy(programs, exit_code=1)
    assert done.returncode == 1
    assert "it ended with 1" in done.stderr
    assert calls == [
        "apply task_definition.run",
        "task of revision 8: sh -c dagster instance migrate && tnt migrate",
    ]


def test_an_image_without_digest_is_refused(programs: Path) -> None:
    script = REPOSITORY / "infra" / "scripts" / "deploy.sh"
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(programs / "calls")}
    done = subprocess.run(
        [str(script), "dev", "tnt:latest"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "name the image by digest" in done.stderr
    assert not (programs / "calls").exists()
