"""`tnt run` and `tnt scan` say what became of every row and file, and their exit codes tell programs."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from click.testing import CliRunner, Result

from tnt_platform.cli.main import main
from tnt_platform.cli.runs import run_options
from tnt_platform.report.chain import ReportChain
from tnt_platform_tests.web.running import running

DAY = "2026-01-12"
RUN = ("run", "transit", "--date", DAY)
ROWS = [f"{shipper}|00501|NY|1|2|{days}\n" for shipper, days in ((10022, 2), (10022, 3))]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TNT_LAKE_URL", "TNT_RAW_URL", "TNT_RATE_API_URL", "AWS_ENDPOINT_URL", "TNT_DYNAMODB_TABLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TNT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return tmp_path / "home"


def tnt(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def as_json(*arguments: str) -> dict[str, Any]:
    result = tnt(*arguments, "--json")
    document: dict[str, Any] = json.loads(result.stdout)
    assert document.get("exit_code", result.exit_code) == result.exit_code
    return document


def upload(home: Path, key: str, content: str) -> None:
    path = home / "raw" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def report_day(home: Path, *, good: int = 24, bad: int = 0) -> None:
    """A file of the daily report; a bad record has a missing field."""
    rows = ["id,name,amount\n", *(f"{n},x,1\n" for n in range(good)), *("1\n" for _ in range(bad))]
    upload(home, f"{report_prefix()}{DAY}/sales.csv", "".join(rows))


def report_prefix() -> str:
    from tnt_platform.kinds import dataset_spec
    from tnt_platform.report.spec import ReportSpec

    spec = dataset_spec("daily_report")
    assert isinstance(spec, ReportSpec)
    return spec.source.prefix


REPORT = ("run", "daily_report", "--date", DAY)


def steps(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["dataset"]: step for step in document["steps"]}


def test_each_step_is_told_with_its_rows_and_the_reasons_of_the_rejected_ones(home: Path) -> None:
    report_day(home, bad=2)
    result = tnt(*REPORT)
    assert result.exit_code == 0, result.output
    [line] = [line for line in result.stdout.splitlines() if line.startswith("daily_report/files")]
    assert all(part in line for part in (DAY, "2 quarantined", "1 added"))
    assert f"{DAY}/sales.csv:26" in result.stdout
    assert "tnt show daily_report/files --quarantine" in result.stdout


def test_a_run_that_changes_nothing_says_so(home: Path) -> None:
    report_day(home)
    assert steps(as_json(*REPORT))["daily_report/files"]["added"] == 1
    again = steps(as_json(*REPORT))
    assert [step["changed"] for step in again.values()] == [False, False]
    assert [step["added"] for step in again.values()] == [0, 0]
    assert tnt(*REPORT).stdout.count("unchanged") == 2


def test_rows_rejected_beyond_the_limit_exit_with_3_and_the_draft_can_be_shown(home: Path) -> None:
    report_day(home, good=40, bad=24)
    document = as_json(*REPORT)
    assert document["exit_code"] == 3
    [check] = [check for check in document["failed_checks"] if check["blocking"]]
    assert check["name"] == "rejected_share"
    assert document["steps"] == []
    [failure] = document["failures"]
    draft = failure.split("--version ")[1].split("`")[0]
    shown = tnt("show", "daily_report/files", "--version", draft, "--quarantine")
    assert shown.exit_code == 0, shown.output
    assert "draft" in shown.stdout
    assert f"{DAY}/sales.csv" in shown.stdout
    accepted = as_json(*REPORT, "--accept-rejected")
    assert accepted["exit_code"] == 0
    assert steps(accepted)["daily_report/files"]["overrides"] == ["accept_rejected"]


def test_a_blocked_publish_is_told_in_the_same_words_by_check_run_cli_and_health_page(home: Path) -> None:
    report_day(home, good=40, bad=24)
    document = as_json(*REPORT)
    [check] = [check for check in document["failed_checks"] if check["blocking"]]
    [failure] = document["failures"]
    [blocked] = as_json("versions", "daily_report")["blocked"]
    assert (blocked["dataset"], blocked["partition"]) == ("daily_report/files", DAY)
    assert blocked["text"] in failure
    [found] = blocked["checks"].values()
    assert check["description"] in (found, f"{DAY}: {found}")
    for part in ("24 of 64", "37.5%", "20%", f"tnt run daily_report --date {DAY} --accept-rejected"):
        assert part in found
    lake = (home / "lake").as_uri()
    with running({"TNT_HOME": str(home), "TNT_LAKE_URL": lake}) as url:
        assert blocked["text"] in unescape(httpx.get(f"{url}/ui/health", timeout=20).text)
    assert as_json("versions")["blocked"] == [blocked]


def test_a_blocked_publish_is_told_until_its_date_is_published(home: Path) -> None:
    report_day(home, good=40, bad=24)
    as_json(*REPORT)
    assert [one["partition"] for one in as_json("versions", "daily_report/files")["blocked"]] == [DAY]
    assert as_json(*REPORT, "--accept-rejected")["exit_code"] == 0
    assert as_json("versions", "daily_report/files")["blocked"] == []


def test_a_file_rejected_whole_exits_with_3_though_the_run_is_green(home: Path) -> None:
    report_day(home)
    assert tnt(*REPORT).exit_code == 0
    upload(home, f"{report_prefix()}{DAY}/sales.csv", "<html><title>502</title></html>\n")
    document = as_json(*REPORT)
    assert document["exit_code"] == 3
    assert {"files_readable"} == {check["name"] for check in document["failed_checks"]}


def test_another_failure_exits_with_1_and_is_told_on_standard_error_when_quiet(home: Path) -> None:
    result = tnt("run", "brent_oil", "--file", str(home), "--quiet")
    assert result.exit_code == 2
    upload(home, "x.csv", "nothing\n")
    result = tnt("run", "brent_oil", "--file", str(home / "raw" / "x.csv"), "--quiet")
    assert result.exit_code in (1, 3)
    assert result.stdout == ""
    assert "brent_oil" in result.stderr


@pytest.mark.parametrize(
    ("dataset", "accepted", "refused"),
    [
        ("transit", {"accept_rejected", "accept_vanished", "ask_again"}, {"file", "by_hand"}),
        ("daily_report", {"accept_rejected", "accept_vanished"}, {"force", "file"}),
        ("brent_oil", {"file", "accept_vanished", "by_hand"}, {"force"}),
        ("mall_directory", {"accept_vanished"}, {"file"}),
    ],
)
def test_the_options_of_a_run_are_those_of_the_launchpad(
    dataset: str, accepted: set[str], refused: set[str]
) -> None:
    options = run_options(dataset)
    assert accepted <= options
    assert refused.isdisjoint(options)


def test_an_option_that_a_kind_lacks_is_refused() -> None:
    assert tnt("run", "daily_report", "--date", DAY, "--refresh").exit_code == 2


def test_dates_that_cannot_run_are_refused() -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert tnt("run", "transit", "--from", "2026-01-13", "--to", DAY).exit_code == 2
    assert tnt("run", "transit", "--date", str(tomorrow)).exit_code == 2
    assert tnt("run", "transit", "--date", "1999-01-01").exit_code == 2


def test_scan_lists_what_no_run_reads_with_the_reason(home: Path) -> None:
    for key in (
        f"transit/{DAY}/10022.txt",
        f"transit/{DAY}/_SUCCESS",
        f"transit/{DAY}/10022.txt.filepart",
        "transit/2026-02-30/10022.txt",
        "transit/20260112/10022.txt",
        "transit/10022.dat",
        "transit/1999-01-01/10022.txt",
        "transit/2999-01-01/10022.txt",
        f"Transit/{DAY}/10022.txt",
        "nowhere.csv",
    ):
        upload(home, key, "10022|00501|NY|1|2|2\n")
    unread = {row["key"]: row["reason_code"] for row in as_json("scan")["unread"]}
    assert unread == {
        f"transit/{DAY}/_SUCCESS": "sidecar",
        f"transit/{DAY}/10022.txt.filepart": "sidecar",
        "transit/2026-02-30/10022.txt": "key_not_matched",
        "transit/20260112/10022.txt": "key_not_matched",
        "transit/10022.dat": "key_not_matched",
        "transit/1999-01-01/10022.txt": "before_start_date",
        "transit/2999-01-01/10022.txt": "in_the_future",
        f"Transit/{DAY}/10022.txt": "outside_every_prefix",
        "nowhere.csv": "outside_every_prefix",
    }
    assert "20260112" in tnt("scan").stdout


def test_scan_of_a_prefix_that_nobody_reads_fails(home: Path) -> None:
    result = tnt("scan", "trnsit/")
    assert result.exit_code == 1
    assert "transit/" in result.stderr.replace("trnsit/", "")


def test_scan_finds_and_runs_the_dates_of_reports(home: Path) -> None:
    report_day(home)
    prefix = report_prefix()
    [found] = as_json("scan", prefix)["datasets"]
    assert (found["dataset"], [each["date"] for each in found["differences"]]) == ("daily_report", [DAY])
    document = as_json("scan", prefix, "--run")
    assert document["exit_code"] == 0
    assert set(steps(document)) == {"daily_report/files", "daily_report"}
    [found] = as_json("scan", prefix)["datasets"]
    assert found["differences"] == []


def test_a_folder_that_this_user_may_not_write_is_one_line_that_names_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", f"{home}/lake")

    report_day(home)
    monkeypatch.setattr("dagster.DagsterInstance.get", denied)
    result = tnt(*REPORT)
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    for part in (f"{home}/lake", "TNT_HOME", "DAGSTER_HOME"):
        assert part in result.stderr


def test_validate_tells_the_limits_that_hold_without_yaml() -> None:
    limits = as_json("validate")["guard_rails"]
    assert all(shares["max_rejected_share"] in (0.0, 0.2) for shares in limits.values())
    having = {kind for kind, shares in limits.items() if "max_removed_share" in shares}
    assert having == {"TransitDataset", "DailyReportDataset"}
    assert limits["SeriesDataset"]["max_revised_share"] == 0.5
    assert "max_rejected_share 20%, max_removed_share 50%" in tnt("validate").stdout


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_is_recorded_as_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch, sign: signal.Signals
) -> None:
    def stopped_half_way(*_: object) -> None:
        os.kill(os.getpid(), sign)
        time.sleep(10)

    report_day(home)
    monkeypatch.setattr(ReportChain, "publish", stopped_half_way)
    result = tnt("run", "daily_report", "--date", DAY)
    assert result.exit_code == 130
    with dg.DagsterInstance.get() as instance:
        [run] = instance.get_runs()
    assert run.is_finished
    assert not run.is_success
    assert run.run_id in result.stderr
