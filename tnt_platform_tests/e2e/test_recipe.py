"""What decides how a file is read has one fingerprint, or every new process would read all files again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASK = """
from tnt_platform.kinds import dataset_specs
for name, spec in sorted(dataset_specs().items()):
    print(name, getattr(spec, "parse_recipe", None) or getattr(spec, "recipe", None))
"""


@pytest.mark.heavy
def test_the_fingerprint_of_the_yaml_is_the_same_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", ASK],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(said) == 1, said
    assert "indec_ipc" in said.pop()
