"""What gets installed: every package pinned with hashes, and in production nothing that only a laptop needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
FILES = ("constraints.txt", "constraints-production.txt")
FIRST_SAFE_SETUPTOOLS = (78, 1, 1)


def pins(name: str) -> dict[str, str]:
    """Map each pinned package of the file to the rest of its entry: version, marker and hashes."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]
    return dict(entry.strip().split("==", 1) for entry in entries)


def required(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=; ]", requirement)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("name", FILES)
def test_every_package_has_an_exact_version_and_hashes(name: str) -> None:
    found = pins(name)
    assert required(PYPROJECT["project"]["dependencies"]) <= set(found)
    for package, pinned in found.items():
        assert re.match(r"[\w.]+ ", pinned), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", pinned), package


def test_every_dependency_of_production_has_its_reason_in_the_decisions() -> None:
    cells = re.findall(
        r"^\| ([^|]+) \|", (PROJECT / "docs" / "decisions.md").read_text("utf-8"), re.MULTILINE
    )
    explained = {name.strip() for cell in cells for name in cell.split(",")}
    wanted = {name.removesuffix("-binary") for name in required(PYPROJECT["project"]["dependencies"])}
    assert wanted <= explained


@pytest.mark.parametrize("name", FILES)
def test_the_pins_name_no_index(name: str) -> None:
    assert not re.search(r"://|--(extra-)?index|--find-links", (PROJECT / name).read_text(encoding="utf-8"))


def test_production_installs_the_versions_that_were_tested_and_nothing_of_the_extras() -> None:
    everything, production = pins("constraints.txt"), pins("constraints-production.txt")
    version = re.compile(r"\S+")
    assert {name: version.match(pin)[0] for name, pin in production.items()} == {  # type: ignore[index]
        name: version.match(everything[name])[0]  # type: ignore[index]
        for name in production
    }
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert required(extras["dev"] + extras["local"]) - {"tnt_platform"} <= set(everything)
    only_laptop = required(extras["local"]) | {"pytest", "moto", "playwright", "dagster-dg-cli"}
    assert not only_laptop & set(production)


def test_what_builds_the_package_is_pinned_too_and_has_no_known_hole() -> None:
    assert PYPROJECT["build-system"]["requires"] == PYPROJECT["dependency-groups"]["build"]
    for name in FILES:
        setuptools = pins(name)["setuptools"].split()[0]
        assert tuple(int(part) for part in setuptools.split(".")) >= FIRST_SAFE_SETUPTOOLS


def test_what_is_installed_lacks_nothing() -> None:
    """Packages are installed without resolving: a dependency missing in the file would be missing here."""
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_the_image_installs_the_production_packages_by_hash() -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert "--require-hashes -r constraints-production.txt" in dockerfile
    assert "constraints.txt" not in dockerfile


def test_ci_never_runs_a_failed_test_again() -> None:
    script = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    configuration = PYPROJECT["tool"]["pytest"]["ini_options"]["addopts"]
    for text in (script, configuration, (PROJECT / "Makefile").read_text(encoding="utf-8")):
        assert not re.search(r"--last-failed|--lf\b|--reruns|--failed-first", text)
    assert re.search(r"^make test-heavy$", script, re.MULTILINE), "its exit code decides"
