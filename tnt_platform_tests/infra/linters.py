"""The linters of .ci/linters.txt, where .ci/run has put them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tnt_platform_tests.infra.terraform import INFRA

PROJECT = INFRA.parent


def lint(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a linter in `folder`; skips the test, and says so, where it isn't installed."""
    own = f"{PROJECT / '.venv-lint' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    program = shutil.which(command[0], path=own)
    if program is None:
        pytest.skip(f"NOT TESTED: {command[0]} is not installed here; .ci/run installs .ci/linters.txt")
    # actionlint calls shellcheck for what a step runs; parliament would take an open input for a policy.
    return subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env={**os.environ, "PATH": own},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
