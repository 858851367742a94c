"""infra/scripts/rollback.sh with programs that note how they were called instead of Terraform and the AWS CLI."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tnt_platform_tests.infra.terraform import INFRA

IMAGES = {
    number: f"123.dkr.ecr.us-east-1.amazonaws.com/tnt@sha256:{number * 32}" for number in ("07", "08", "09")
}
# Revision -> image. 10 is a second deployment of the deployed image, as after a new secret.
REVISIONS = {"7": IMAGES["07"], "8": IMAGES["08"], "9": IMAGES["09"], "10": IMAGES["09"]}
TERRAFORM = f"""#!/bin/bash
echo "terraform $*" >>"$CALLS"
case "$*" in
  *" output "*) echo '{json.dumps({"deployment": {"cluster": "tnt-dev", "image": IMAGES["09"]}})}' ;;
esac
"""
AWS = """#!/bin/bash
echo "aws $*" >>"$CALLS"
family=arn:aws:ecs:us-east-1:123:task-definition/tnt-dev-run
case "$*" in
  *list-task-definitions*" ACTIVE "*) for number in $ACTIVE; do printf '%s\\t' "$family:$number"; done ;;
  *list-task-definitions*) printf None ;;
  *describe-task-definition*)
    [[ $* =~ tnt-dev-run:([0-9]+) ]] && declare "n=IMAGE_${BASH_REMATCH[1]}" && echo "${!n}" ;;
esac
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name, text in (("terraform", TERRAFORM), ("aws", AWS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def rolled_back(
    programs: Path, *arguments: str, active: str = "7 8 9 10"
) -> tuple[subprocess.CompletedProcess[str], str]:
    """What became of it, and every call that it made."""
    environment = {
        **os.environ,
        **{f"IMAGE_{number}": image for number, image in REVISIONS.items()},
        "ACTIVE": active,
        "CALLS": str(programs / "calls"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "STATE_BUCKET": "tnt-state-123",
    }
    done = subprocess.run(
        [str(INFRA / "scripts" / "rollback.sh"), "dev", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, (programs / "calls").read_text(encoding="utf-8")


def test_it_goes_back_to_the_newest_image_that_is_not_the_deployed_one(programs: Path) -> None:
    done, calls = rolled_back(programs)
    assert done.returncode == 0, done.stderr
    assert f"from {IMAGES['09']} back to {IMAGES['08']}" in done.stderr
    assert calls.count(f"image={IMAGES['08']}") == 4
    assert f"image={IMAGES['09']}" not in calls


def test_services_go_back_in_the_order_of_a_deployment_without_migrations(programs: Path) -> None:
    _, calls = rolled_back(programs)
    assert "run-task" not in calls
    waits = [line.rpartition(" ")[2] for line in calls.splitlines() if " wait " in line]
    assert waits == ["code", "daemon", "webserver", "api"]


def test_an_image_that_is_named_is_taken_as_it_is(programs: Path) -> None:
    done, calls = rolled_back(programs, IMAGES["07"])
    assert done.returncode == 0, done.stderr
    assert calls.count(f"image={IMAGES['07']}") == 4


@pytest.mark.parametrize(("arguments", "active"), [((), "9 10"), (("repository:latest",), "7 8 9 10")])
def test_nothing_is_touched_without_an_older_image_by_digest(
    programs: Path, arguments: tuple[str, ...], active: str
) -> None:
    done, calls = rolled_back(programs, *arguments, active=active)
    assert done.returncode != 0
    assert "name one by digest" in done.stderr
    assert " apply " not in calls
