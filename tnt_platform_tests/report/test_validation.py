"""`tnt validate` reports each mistake in a daily report, on the line marked with §."""

from __future__ import annotations

from pathlib import Path

import pytest

from tnt_platform.kinds import DEFS, validate_datasets
from tnt_platform.settings import Settings
from tnt_platform.validation.validate import Report
from tnt_platform_tests.validation.dataset_files import MARK, marked_line, spoilt, write_dataset

SOUND = """\
type: tnt_platform.components.DailyReportDataset
attributes:
  description: What came.
  owners: ["team:web-data"]
  tags: {domain: operations}
  start_date: "2026-01-01"
  source:
    prefix: in/
    key_pattern: (?P<date>[0-9]{8})/.+[.]csv
    date_format: "%Y%m%d"
  totals: [amount, weight]
  empty_days: missing
  cron: "0 6 * * *"
  stale_after_hours: 25
"""

MISTAKES = {
    "an unknown key": ("  totals:", "  §total:", "total", "totals?"),
    "an unknown word": ("empty_days: missing", "empty_days: §fine", "missing, normal"),
    "a total given twice": ("[amount, weight]", "[amount, §amount]", "totals: amount"),
    "a total that the reader needs": (
        "[amount, weight]",
        "[amount, §raw]",
        "totals: raw",
    ),
    "a prefix that is not a folder": ("prefix: in/", "prefix: §in", "'in'", "in/"),
    "a pattern without a date": ("(?P<date>[0-9]{8})", "§([0-9]{8})", "(?P<date>"),
    "an invalid pattern": ("(?P<date>[0-9]{8})", "§(?P<date>[0-9{8})", "key_pattern"),
    "a format without a day": ('"%Y%m%d"', '"%Y%m"', "%Y%m"),
    "an impossible date": ('"2026-01-01"', '§"2026-02-30"', "start_date", "2026-02-30"),
    "a freshness that normal days break": (
        "empty_days: missing\n",
        "empty_days: normal\n",
        "stale_after_hours",
    ),
}


def check(root: Path) -> Report:
    return validate_datasets(root, Settings.from_environment({}), strict_env=True)


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_one_mistake_is_one_fault_on_its_own_line(case: tuple[str, ...], tmp_path: Path) -> None:
    old, new, *pieces = case
    text = spoilt(SOUND, old, new)
    write_dataset(tmp_path, "daily", text, request=None)
    faults = check(tmp_path).faults
    assert len(faults) == 1, "\n".join(map(str, faults)) or "nothing was found"
    for piece in pieces:
        assert piece in str(faults[0])
    if MARK in text:
        assert faults[0].line == marked_line(text), str(faults[0])


def test_a_valid_report_has_no_faults(tmp_path: Path) -> None:
    write_dataset(tmp_path, "daily", SOUND, request=None)
    report = check(tmp_path)
    assert (report.datasets, report.faults, report.warnings) == (1, [], [])


def test_the_shipped_report_is_valid(tmp_path: Path) -> None:
    text = (DEFS / "daily_report" / "defs.yaml").read_text(encoding="utf-8")
    write_dataset(tmp_path, "daily_report", text, request=None)
    assert (check(tmp_path).faults, check(tmp_path).warnings) == ([], [])
