from pathlib import Path

import polars as pl
import pytest

from tnt_platform.lake.publishing import CheckOutcome, open_workspace, rows_in_file_order
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.settings import Settings


def checked(folder: Path, parts: list[list[tuple[str, int]]]) -> CheckOutcome:
    """The outcome for a draft with these parts of (file_key, line_no)."""
    workspace = open_workspace(
        Settings.from_environment({"TNT_HOME": str(folder / "home"), "TNT_RAW_URL": folder.as_uri()})
    )
    paths = []
    for number, rows in enumerate(parts):
        paths.append(folder / f"{number}.parquet")
        pl.DataFrame(rows, schema=["file_key", "line_no"], orient="row").write_parquet(
            paths[-1], row_group_size=2
        )
    height = sum(map(len, parts))
    change = PartitionChange(
        partition="2026-01-12",
        data=paths,
        inputs=pl.DataFrame(),
        quarantine=pl.DataFrame(),
        counts=RowCounts(rows_in=height, published=height),
        inputs_digest="",
    )
    draft = workspace.store.draft("t", base=None, changes=[change], key=("file_key", "line_no"), run_id="r")
    return rows_in_file_order("2026-01-12")(draft)


@pytest.mark.parametrize(
    "parts",
    [
        [[("a", 1), ("a", 2), ("a", 9)], [("b", 1), ("b", 3)]],
        [[("b", 5), ("a", 4), ("a", 5)], [("a", 6), ("c", 1)]],
        [[("a", 1)]],
    ],
)
def test_rows_that_stand_by_file_with_rising_lines_have_unique_keys(tmp_path, parts):
    assert checked(tmp_path, parts).passed


@pytest.mark.parametrize(
    ("parts", "description"),
    [
        ([[("a", 1), ("a", 2), ("a", 2)]], "1 lines repeat, 0 files are split"),
        ([[("a", 1), ("a", 2)], [("a", 2), ("a", 3)]], "1 lines repeat, 0 files are split"),
        ([[("a", 2), ("a", 1), ("a", 3)]], "1 lines repeat, 0 files are split"),
        ([[("a", 1), ("b", 1)], [("a", 1)]], "0 lines repeat, 1 files are split"),
        ([[("a", 1), ("b", 1), ("a", 2), ("b", 2), ("b", 1)]], "1 lines repeat, 2 files are split"),
    ],
)
def test_lines_that_repeat_and_files_that_are_split_are_rejected(tmp_path, parts, description):
    outcome = checked(tmp_path, parts)
    assert (outcome.passed, outcome.description) == (False, description)
