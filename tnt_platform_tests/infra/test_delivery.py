"""What delivers the platform: workflows, image and scripts, as far as they can be judged without running them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tnt_platform_tests.infra.linters import PROJECT, lint
from tnt_platform_tests.infra.terraform import INFRA

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


def test_all_rounds_of_the_tests_run_every_week() -> None:
    content = yaml.safe_load((PROJECT / ".github" / "workflows" / "proofs.yml").read_text(encoding="utf-8"))
    [schedule] = content[True]["schedule"]  # YAML reads the key `on` as a boolean
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", schedule["cron"])
    assert {"run": "make proofs"} in content["jobs"]["proofs"]["steps"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_is_sound_shell(script: Path) -> None:
    shell = "sh" if script.read_text(encoding="utf-8").startswith("#!/bin/sh") else "bash"
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_alarm_names_a_paragraph_that_exists() -> None:
    pages = set(
        re.findall(r"^### (\S+)$", (PROJECT / "docs" / "aws.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    modules = "".join(path.read_text(encoding="utf-8") for path in (INFRA / "modules").rglob("*.tf"))
    named = set(re.findall(r'page = "([^"]+)"', modules)) | set(re.findall(r"docs/aws\.md#([\w-]+)", modules))
    assert named == pages


def test_prod_keeps_what_dev_may_throw_away() -> None:
    environments = {
        name: (INFRA / "envs" / name / "main.tf").read_text(encoding="utf-8")
        for name in ("dev", "staging", "prod")
    }
    destroyable = {name: "destroyable = true" in text for name, text in environments.items()}
    assert not destroyable["prod"]
    assert destroyable["dev"]
    prod = environments["prod"]
    assert "multi_az = true" in prod
    zones = re.search(r"zones = \[([^]]*)\], nat_gateways = (\d+)", prod)
    assert zones
    assert zones[1].count("us-") == int(zones[2])


def test_the_image_leaves_root_and_its_base_can_be_pinned() -> None:
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG PYTHON_IMAGE=", text, re.MULTILINE)
    assert text.count("FROM ${PYTHON_IMAGE}") == 2
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)


# Linter -> its command, then a fault that it must find: file, text, text instead, what it calls that.
LINTERS = {
    "hadolint": (
        ["Dockerfile"],
        ("Dockerfile", "RUN python -m venv /venv", "RUN sudo python -m venv /venv", "DL3004"),
    ),
    "zizmor": (
        ["--offline", "--no-progress", "--pedantic", ".github/workflows"],
        (".github/workflows/test.yml", "persist-credentials: false", "fetch-depth: 1", "artipacked"),
    ),
    "actionlint": (
        [],
        (".github/workflows/image.yml", "steps.push.outputs.image", "steps.pushed.outputs.image", "pushed"),
    ),
    "shellcheck": (
        [
            "--external-sources",
            "--source-path=SCRIPTDIR",
            ".ci/run",
            *(str(path.relative_to(PROJECT)) for path in SCRIPTS),
        ],
        ("infra/scripts/logs.sh", '"${2:-}"', "${2:-}", "SC2086"),
    ),
    "checkov": (
        ["-d", ".", "--config-file", "infra/.checkov.yaml"],
        (
            "infra/modules/database/main.tf",
            "publicly_accessible    = false",
            "publicly_accessible = true",
            "CKV_AWS_17",
        ),
    ),
}


@pytest.fixture
def delivery(tmp_path: Path) -> Path:
    """A copy of what delivers the platform."""
    for name in ("infra", ".github", ".ci"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns(".terraform"))
    shutil.copy(PROJECT / "Dockerfile", tmp_path / "Dockerfile")
    (tmp_path / ".git").mkdir()  # actionlint looks for a repository
    return tmp_path


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("linter", LINTERS)
def test_the_linter_finds_nothing_here_and_finds_a_planted_fault(linter: str, delivery: Path) -> None:
    arguments, (name, text, instead, code) = LINTERS[linter]
    clean = lint(linter, *arguments, folder=delivery)
    assert clean.returncode == 0, (clean.stdout + clean.stderr)[-4000:]

    content = (delivery / name).read_text(encoding="utf-8")
    assert text in content
    (delivery / name).write_text(content.replace(text, instead), encoding="utf-8")
    faulty = lint(linter, *arguments, folder=delivery)
    assert faulty.returncode != 0
    assert code in faulty.stdout


def test_every_waiver_of_a_linter_has_its_reason_beside_it() -> None:
    config = (INFRA / ".checkov.yaml").read_text(encoding="utf-8")
    waived = [line for line in config.splitlines() if re.match(r"\s*- CK", line)]
    assert waived
    assert [line for line in waived if not re.search(r"# \w+ \w+", line)] == []
    for path in [*INFRA.rglob("*.tf"), *WORKFLOWS, *SCRIPTS, PROJECT / "Dockerfile"]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"checkov:skip|zizmor: ignore|hadolint ignore|shellcheck disable", line):
                assert re.search(r"skip=CKV\w+:\S+ \S+|ignore\[[\w-]+\] \w+ \w+|# \w+ \w+", line), line
