"""What `tnt validate` finds in datasets of records, and where: a sound one is spoilt at one place, marked with §."""

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
    "an unknown key": ("  items:", "  §itmes:", "unknown key itmes", "did you mean items?"),
    "an unknown key of a field": ("required: true", "§need: true", "unknown key fields[0].need"),
    "an unknown type": ("type: number", "type: §float", "boolean, integer, number, text"),
    "a path that is none": ("item_id: meta.id", "item_id: §meta..id", "item_id", "meta..id", "login.uuid"),
    "a field's path that is none": ("path: cost.amount", 'path: §"cost["', "is not a JMESPath"),
    "a field that every record has": ("{name: title,", "{name: §id,", "fields[0].name", "'id'"),
    "a field that is no name": ("{name: title,", "{name: §my-title,", "fields[0].name", "my-title"),
    "a field given twice": ("    - {name: price,", "    - §{name: title,", "title", "line 13"),
    "no field": (
        "    - {name: title, required: true}\n    - {name: price, path: cost.amount, type: number}\n",
        "    §[]\n",
        "fields",
    ),
    "a missing id": ("  item_id: meta.id\n", "", "the key item_id is missing"),
    "a default that is no address": (
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
    "a schedule that is none": ('"*/5 * * * *"', "§sometimes", "cron", "sometimes"),
    "a size for nothing": (
        "    headers:",
        "    §max_size_mb: 0\n    headers:",
        "source.max_size_mb is 0",
        "above 0",
    ),
}


def check(root: Path, *, strict_env: bool = False) -> Report:
    return validate_datasets(root, Settings.from_environment({}), strict_env=strict_env)


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_one_mistake_is_one_fault_on_its_own_line(case: tuple[str, ...], tmp_path: Path) -> None:
    old, new, *said = case
    text = spoilt(SOUND, old, new)
    write_dataset(tmp_path, "things", text, request=None)
    faults = check(tmp_path).faults
    assert len(faults) == 1, "\n".join(map(str, faults)) or "nothing was found"
    for piece in said:
        assert piece in str(faults[0])
    if MARK in text:
        assert faults[0].line == marked_line(text), str(faults[0])


def test_a_dataset_in_order_has_no_faults(tmp_path: Path) -> None:
    write_dataset(tmp_path, "things", SOUND, request=None)
    report = check(tmp_path, strict_env=True)
    assert (report.datasets, report.faults, report.warnings) == (1, [], [])


@pytest.mark.parametrize("name", ["posts", "users"])
def test_the_shipped_datasets_are_in_order(name: str, tmp_path: Path) -> None:
    text = (DEFS / name / "defs.yaml").read_text(encoding="utf-8")
    write_dataset(tmp_path, name, text, request=None)
    report = check(tmp_path, strict_env=True)
    assert (report.faults, report.warnings) == ([], [])
