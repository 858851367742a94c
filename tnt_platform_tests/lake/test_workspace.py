"""What opening a workspace does to its scratch folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tnt_platform.lake.publishing import LEFTOVER_AGE, open_workspace
from tnt_platform.settings import Settings


def test_what_killed_runs_left_days_ago_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    names = ["draft-old", "draft-young", "shipments-old", "of-others"]
    then = time.time() - LEFTOVER_AGE.total_seconds() - 60
    for name in names:
        (scratch / name).mkdir(parents=True)
        (scratch / name / "part.parquet").write_bytes(b"x")
        if not name.endswith("young"):
            os.utime(scratch / name, (then, then))
    open_workspace(Settings.from_environment({"TNT_HOME": str(tmp_path)}))
    assert sorted(entry.name for entry in scratch.iterdir()) == ["draft-young", "of-others"]
