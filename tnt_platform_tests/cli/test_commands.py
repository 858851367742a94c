"""Run the commands against a real lake in a folder; tests that need Dagster's daemon are in e2e/."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner, Result

from tnt_platform.cli.main import COMMANDS, main
from tnt_platform.cli.runs import contiguous
from tnt_platform.lake.publishing import open_workspace
from tnt_platform.lake.versions import PartitionChange, RowCounts, VersionedStore
from tnt_platform.settings import Settings
from tnt_platform_tests.paths import REPOSITORY

DATASET = "transit/results"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TNT_LAKE_URL", "TNT_RAW_URL", "TNT_RATE_API_URL", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TNT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> VersionedStore:
    return open_workspace(Settings.from_environment()).store


def tnt(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def publish(store: VersionedStore, date: str, days: dict[str, int]) -> str:
    frame = pl.DataFrame({"test_id": list(days), "actual_transit_days": list(days.values())})
    change = PartitionChange(
        partition=date,
        data=frame,
        inputs=pl.DataFrame(),
        quarantine=pl.DataFrame(),
        counts=RowCounts(rows_in=frame.height, published=frame.height),
        inputs_digest=str(days),
    )
    snapshot = store.publish(DATASET, base=store.current(DATASET), changes=[change], key=["test_id"])
    return snapshot.version


def test_versions_of_a_dataset_that_was_never_published_says_so_and_fails(home: Path) -> None:
    result = tnt("versions", "transit")
    assert result.exit_code == 1
    assert "'transit'" in result.stderr


def test_versions_lists_the_newest_first_with_what_it_changed(store: VersionedStore) -> None:
    first = publish(store, "2026-01-12", {"a": 1, "b": 2})
    second = publish(store, "2026-01-12", {"a": 1, "b": 3, "c": 4})
    listed = tnt("versions", "transit").output
    assert listed.index(second) < listed.index(first)


def test_diff_shows_by_key_what_was_added_and_updated(store: VersionedStore) -> None:
    first = publish(store, "2026-01-12", {"a": 1, "b": 2})
    publish(store, "2026-01-12", {"a": 1, "b": 3, "c": 4})
    output = tnt("diff", "transit", first).output
    assert "1 added, 1 updated, 0 removed" in output


def test_rollback_restores_the_content_and_keeps_the_history(store: VersionedStore) -> None:
    first = publish(store, "2026-01-12", {"a": 1})
    second = publish(store, "2026-01-12", {"a": 2})
    result = tnt("rollback", "transit", first, "--reason", "wrong file")
    assert result.exit_code == 0, result.output
    current = store.current(DATASET)
    assert current is not None
    assert current.scan().collect()["actual_transit_days"].to_list() == [1]
    assert current.manifest.paused_because == "wrong file"
    assert second in tnt("versions", "transit").output


def test_a_tagged_version_can_be_named_by_its_tag(store: VersionedStore) -> None:
    first = publish(store, "2026-01-12", {"a": 1})
    publish(store, "2026-01-12", {"a": 2})
    assert tnt("tag", "transit", first, "before").exit_code == 0
    assert "0 added, 1 updated, 0 removed" in tnt("diff", "transit", "before").output
    assert first in tnt("show", "transit", "--version", "before").output


def test_verify_finds_a_damaged_file_and_fails(store: VersionedStore, home: Path) -> None:
    publish(store, "2026-01-12", {"a": 1})
    assert tnt("verify").exit_code == 0
    (part,) = (home / "lake").rglob("part-*.parquet")
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    result = tnt("verify")
    assert result.exit_code == 1
    assert "1 problems" in result.output


def test_expire_counts_old_versions_and_deletes_none_by_default(store: VersionedStore) -> None:
    for day in range(1, 4):
        publish(store, "2026-01-12", {"a": day})
    before = store.versions(DATASET).height
    assert " 2 versions" in tnt("expire", "transit", "--keep", "1", "--older-than-days", "0").output
    assert store.versions(DATASET).height == before


def test_scan_names_the_dates_that_differ(home: Path) -> None:
    folder = home / "raw" / "transit" / "2026-01-12"
    folder.mkdir(parents=True)
    (folder / "10022.txt").write_text("10022|00501|NY|1|2|2\n")
    output = tnt("scan").output
    line = next(line for line in output.splitlines() if line.startswith("transit:"))
    assert re.findall(r"\d+", line) == ["1", "1", "1"]
    assert re.search(r"2026-01-12\s+1\s+0\s+0\s", output)


def test_scan_of_a_prefix_leaves_other_datasets_and_dates_alone(home: Path) -> None:
    for date in ("2026-01-12", "2026-02-01"):
        folder = home / "raw" / "transit" / date
        folder.mkdir(parents=True)
        (folder / "10022.txt").write_text("10022|00501|NY|1|2|2\n")
    output = tnt("scan", "transit/2026-01").output
    assert "2026-01-12" in output
    assert "2026-02-01" not in output
    assert "deliveries" not in output


def test_run_wants_a_date_or_a_whole_range() -> None:
    assert tnt("run", "transit").exit_code == 2
    assert tnt("run", "transit", "--from", "2026-01-12").exit_code == 2
    assert tnt("run", "transit", "--date", "yesterday").exit_code == 2


def test_an_unknown_dataset_is_named_with_those_that_exist(home: Path) -> None:
    result = tnt("run", "parcels", "--date", "2026-01-12")
    assert result.exit_code == 1
    assert {"'parcels'", "bcra_infomondia_series"} <= set(re.split(r"[\s;,]+", result.stderr))


def test_a_wrong_setting_is_explained_without_a_stack_trace(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TNT_LAKE_URL", "ftp://somewhere")
    result = tnt("scan")
    assert result.exit_code == 1
    assert all(url in result.stderr for url in ("ftp://somewhere", "file:///", "s3://"))
    assert "Traceback" not in result.output + result.stderr


@pytest.mark.parametrize(
    ("dates", "ranges"),
    [
        (["2026-01-12"], [("2026-01-12", "2026-01-12")]),
        (["2026-01-31", "2026-02-01"], [("2026-01-31", "2026-02-01")]),
        (["2026-01-14", "2026-01-12"], [("2026-01-12", "2026-01-12"), ("2026-01-14", "2026-01-14")]),
        ([], []),
    ],
)
def test_dates_become_ranges_without_gaps(dates: list[str], ranges: list[tuple[str, str]]) -> None:
    assert contiguous(dates) == ranges


def test_every_command_says_what_it_does() -> None:
    listed = tnt("--help").output
    for name in COMMANDS:
        assert re.search(rf"^  {name}\s+\S", listed, re.MULTILINE), f"{name} has no help"


def test_every_command_the_documents_name_exists() -> None:
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    text = "\n".join(page.read_text() for page in pages)
    named = set(re.findall(r"(?:^|`)tnt ([a-z]+)", text, re.MULTILINE))
    assert named, "the documents show no command"
    assert named <= set(COMMANDS)


def test_every_setting_is_documented() -> None:
    source = (REPOSITORY / "tnt_platform" / "settings.py").read_text()
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    for name in set(re.findall(r'"(TNT_[A-Z_]+)"', source)):
        assert f"`{name}`" in page


def test_settings_keep_secrets_out_of_their_repr() -> None:
    settings = Settings.from_environment(
        {"AWS_SECRET_ACCESS_KEY": "hunter2", "TNT_RATE_API_TOKEN": "hunter3"}
    )
    assert "hunter" not in repr(settings)
    assert settings.resolve("${TNT_RATE_API_TOKEN}") == "hunter3"


def test_a_version_id_carries_its_time(store: VersionedStore) -> None:
    version = publish(store, "2026-01-12", {"a": 1})
    made = datetime.strptime(version[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - made).total_seconds()) < 60


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_in_the_help_is_there_without_importing_it(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert COMMANDS[name].help.endswith(".")
    assert f"{name} " in tnt("--help").output


def test_commands_import_only_what_they_need() -> None:
    program = (
        "import sys, click, tnt_platform.cli.main as cli\n"
        "for module in ('history', 'validation', 'serving', 'cost', 'tables'):\n"
        "    __import__(f'tnt_platform.cli.{module}')\n"
        "cli.main(['validate'], standalone_mode=False)\n"
        "slow = 'dagster', 'boto3', 'sqlalchemy', 'alembic', 'matplotlib', 'numpy', 'rapidfuzz'\n"
        "print([name for name in (*slow, 'tnt_platform.series.reading') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
