"""`tnt validate` reports each mistake in a dataset of records, on the line marked with §."""

from __future__ import annotations

from pathlib import Path

import pytest

from tnt_platform.kinds import DEFS, validate_datasets
from tnt_platform.settings import Settings
from tnt_platform.validation.validate import Report
from tnt_platform_tests.validation.dataset_files import MARK, marked_line, spoilt, write_dataset

SOUND = """\
type: tnt_platform.components.RecordsDataset
attributes:
  description: Things.
  owners: ["team:web-data"]
  tags: {domain: records}
  source:
    url: "${THINGS_URL:-https://example.com/things}"
    headers: {X-Api-Key: "${THINGS_KEY:-}"}
  items: data
  count: total
  item_id: meta.id
  fields:
    - {name: title, required: true}
    - {name: price, path: cost.amount, type: number}
  cron: "*/5 * * * *"
  stale_after_hours: 1
"""

MISTAKES = {
    "an unknown key": ("  items:", "  §itmes:", "itmes", "items?"),
    "an unknown key of a field": ("required: true", "§need: true", "fields[0].need"),
    "an unknown type": ("type: number", "type: §float", "boolean, integer, number, text"),
    "an invalid path": ("item_id: meta.id", "item_id: §meta..id", "item_id", "meta..id", "login.uuid"),
    "an invalid path of a field": ("path: cost.amount", 'path: §"cost["', "cost["),
    "a reserved field name": ("{name: title,", "{name: §id,", "fields[0].name", "'id'"),
    "an invalid field name": ("{name: title,", "{name: §my-title,", "fields[0].name", "my-title"),
    "a field given twice": ("    - {name: price,", "    - §{name: title,", "title", "line 13"),
    "no field": (
        "    - {name: title, required: true}\n    - {name: price, path: cost.amount, type: number}\n",
        "    §[]\n",
        "fields",
    ),
    "a missing id": ("  item_id: meta.id\n", "", "item_id"),
    "a default that is not a URL": (
        "https://example.com/things",
        "§example.com/things",
        "source.url",
        "https://",
    ),
    "another scheme": (
        '"${THINGS_URL:-https://example.com/things}"',
        "§ftp://example.com/things",
        "source.url",
        "ftp://",
    ),
    "a secret in the address": ("com/things", "com/§things?api_key=abc", "source.url", "${VARIABLE}"),
    "a secret in a header": ('"${THINGS_KEY:-}"', "§abcdef", "X-Api-Key", "${X_API_KEY}"),
    "a variable where none is resolved": (
        "description: Things.",
        'description: §"${WHAT}"',
        "${WHAT}",
    ),
    "an invalid schedule": ('"*/5 * * * *"', "§sometimes", "cron", "sometimes"),
    "a size of zero": (
        "    headers:",
        "    §max_size_mb: 0\n    headers:",
        "source.max_size_mb",
        "above 0",
    ),
}


def check(root: Path, *, strict_env: bool = False) -> Report:
    return validate_datasets(root, Settings.from_environment({}), strict_env=strict_env)


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_one_mistake_is_one_fault_on_its_own_line(case: tuple[str, ...], tmp_path: Path) -> None:
    old, new, *pieces = case
    text = spoilt(SOUND, old, new)
    write_dataset(tmp_path, "things", text, request=None)
    faults = check(tmp_path).faults
    assert len(faults) == 1, "\n".join(map(str, faults)) or "nothing was found"
    for piece in pieces:
        assert piece in str(faults[0])
    if MARK in text:
        assert faults[0].line == marked_line(text), str(faults[0])


def test_a_valid_dataset_has_no_faults(tmp_path: Path) -> None:
    write_dataset(tmp_path, "things", SOUND, request=None)
    report = check(tmp_path, strict_env=True)
    assert (report.datasets, report.faults, report.warnings) == (1, [], [])


@pytest.mark.parametrize("name", ["posts", "users"])
def test_the_shipped_datasets_are_valid(name: str, tmp_path: Path) -> None:
    text = (DEFS / name / "defs.yaml").read_text(encoding="utf-8")
    write_dataset(tmp_path, name, text, request=None)
    report = check(tmp_path, strict_env=True)
    assert (report.faults, report.warnings) == ([], [])
