"""What delivers the platform: workflows, image and scripts, as far as they can be judged without running them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tnt_platform_tests.infra.terraform import INFRA

PROJECT = INFRA.parent
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = sorted([*(INFRA / "scripts").glob("*.sh"), INFRA / "dagster" / "entrypoint.sh"])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_commit_and_says_which_version_that_is(workflow: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", workflow.read_text(encoding="utf-8"))
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_no_job_may_write_to_the_repository_and_none_runs_for_ever(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        assert job["timeout-minutes"] <= 90, name
        assert set(job.get("permissions", {})) <= {"contents", "id-token"}, name
        assert job.get("permissions", {}).get("contents", "read") == "read", name


def test_a_deployment_waits_for_the_approval_of_its_environment() -> None:
    content = yaml.safe_load((PROJECT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8"))
    assert content["jobs"]["deploy"]["environment"] == "${{ inputs.environment }}"
    assert content["concurrency"]["cancel-in-progress"] is False


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_is_sound_shell(script: Path) -> None:
    shell = "sh" if script.read_text(encoding="utf-8").startswith("#!/bin/sh") else "bash"
    subprocess.run([shell, "-n", str(script)], check=True)


def test_every_alarm_names_a_paragraph_that_exists() -> None:
    pages = set(
        re.findall(r"^### (\S+)$", (PROJECT / "docs" / "aws.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    modules = "".join(path.read_text(encoding="utf-8") for path in (INFRA / "modules").rglob("*.tf"))
    named = set(re.findall(r'page = "([^"]+)"', modules)) | set(re.findall(r"docs/aws\.md#([\w-]+)", modules))
    assert named == pages


def test_the_image_leaves_root_and_its_base_can_be_pinned() -> None:
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG PYTHON_IMAGE=", text, re.MULTILINE)
    assert text.count("FROM ${PYTHON_IMAGE}") == 2
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "linter",
    [
        ["hadolint", "Dockerfile"],
        ["zizmor", "--offline", "--no-progress", ".github/workflows"],
        ["checkov", "-d", ".", "--config-file", "infra/.checkov.yaml"],
    ],
    ids=lambda command: command[0],
)
def test_the_linters_find_nothing(linter: list[str], tmp_path: Path) -> None:
    if shutil.which(linter[0]) is None:
        pytest.skip(f"NOT TESTED: {linter[0]} is not installed here; the workflow `test` runs it")
    for name in ("infra", ".github"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns(".terraform"))
    shutil.copy(PROJECT / "Dockerfile", tmp_path / "Dockerfile")
    done = subprocess.run(linter, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-4000:]
