"""The example that opens a page of docs/ runs as it stands there, in an empty folder, and prints what stands there."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from tnt_platform.cli.main import main
from tnt_platform.settings import Settings
from tnt_platform.web.app import create_app
from tnt_platform_tests.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
# A list of words and a list of reasons: there is nothing to run.
WITHOUT = {"glossary.md", "decisions.md"}
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path.name not in WITHOUT)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def first_block(page: str) -> tuple[str, str]:
    """The language and the text of the first block of a page, which comes before its first heading."""
    found = re.search(r"```(\w+)\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"{page} has no example"
    return found[1], found[2]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TNT_", "AWS_")):
            monkeypatch.delenv(name)
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.chdir(tmp_path)


def run(command: str) -> str:
    """What a command prints: of `tnt`, of `curl` to the server that `tnt serve` starts, or of the shell."""
    program, *arguments = shlex.split(command, comments=True)
    if program == "tnt":
        return CliRunner().invoke(main, arguments).output
    if program == "curl":
        with TestClient(create_app(Settings.from_environment()), base_url="http://127.0.0.1:8800") as client:
            return client.get(arguments[-1]).text
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_page_opens_with_an_example() -> None:
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        assert "```" in text.split("\n## ")[0], f"{page} explains before it shows"
        assert first_block(page)[0] in ("console", "pycon"), page


@pytest.mark.parametrize("page", PAGES)
def test_the_example_prints_what_the_page_says(page: str) -> None:
    kind, text = first_block(page)
    checker = doctest.OutputChecker()
    if kind == "pycon":
        examples = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
        assert doctest.DocTestRunner(checker, optionflags=FLAGS).run(examples).failed == 0
        return
    for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = step.partition("\n")
        found = "\n".join(line.rstrip() for line in run(command).splitlines()) + "\n"
        assert not expected.strip() or checker.check_output(expected, found, FLAGS), (command, found)
