"""A day's files become a report: counted record by record, compared with other days, written once."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tnt_platform.errors import CheckFailed, ConfigError, NotFound
from tnt_platform.lake.guard_rails import Overrides
from tnt_platform.report import report as report_module
from tnt_platform.report.chain import ReportChain, run_date
from tnt_platform.report.files import EmptyDay
from tnt_platform.report.reconcile import survey_reports
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.dying_writes import Died, die_at_write
from tnt_platform_tests.paths import SHARED
from tnt_platform_tests.report.scene import DAY, ReportScene, report_spec

ORDERS = 'id,amount,note\n1,10.5,"two\nlines"\n\n2,0.1,x\n3,,y\n'


@pytest.fixture
def scene(tmp_path: Path) -> ReportScene:
    return ReportScene(tmp_path)


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def test_a_report_counts_records_of_every_format_never_lines(scene: ReportScene) -> None:
    scene.put("orders.csv", ORDERS)
    scene.put("more.csv.gz", gzip.compress(b"id;amount\n1;1\n2;2\n"))
    scene.put("events.jsonl", '{"amount": 7, "kind": "a"}\n\n{"kind": "b"}\n')
    scene.put("list.json", json.dumps([{"amount": 1}, {"amount": 2.25}], indent=2))
    scene.put("table.parquet", parquet(amount=[1, 2, 3], name=["a", "b", "c"]))
    scene.run()
    report = scene.report()
    found = {one["key"].rsplit("/")[-1]: one for one in report["files"]}
    assert {name: (one["format"], one["records"], one["bad_records"]) for name, one in found.items()} == {
        "orders.csv": ("csv", 3, 0),
        "more.csv.gz": ("csv", 2, 0),
        "events.jsonl": ("jsonl", 2, 0),
        "list.json": ("json", 2, 0),
        "table.parquet": ("parquet", 3, 0),
    }
    assert found["more.csv.gz"]["compression"] == "gzip"
    assert found["events.jsonl"]["columns"] == ["amount", "kind"]
    assert found["orders.csv"]["bytes"] == len(ORDERS)
    assert {name: one["totals"] for name, one in found.items()} == {
        "orders.csv": {"amount": 10.6},
        "more.csv.gz": {"amount": 3},
        "events.jsonl": {"amount": 7},
        "list.json": {"amount": 3.25},
        "table.parquet": {"amount": 6},
    }
    assert list(report)[:4] == ["date", "file_count", "total_records", "generated_at"]
    assert (report["date"], report["file_count"], report["total_records"]) == (DAY, 5, 12)
    assert report["generated_at"] == "2026-11-21T07:00:00Z"
    assert report["totals"] == {"amount": 29.85}


def test_a_record_that_cannot_be_read_is_counted_apart_and_in_quarantine(scene: ReportScene) -> None:
    scene.put("orders.csv", "id,amount\n1,5\n2,five\n3,6,7\n4,1\n")
    scene.put("events.jsonl", '{"amount": 1}\n{"amount": \n[1]\n')
    done = scene.run()
    files = scene.report()["files"]
    assert [(one["records"], one["bad_records"]) for one in files] == [(1, 2), (2, 2)]
    quarantine = scene.current("files").quarantine([DAY]).sort("file_key", "line_no")
    assert quarantine.select("line_no", "reason_code").rows() == [
        (2, "not_json"),
        (3, "not_an_object"),
        (3, "not_a_number"),
        (4, "too_many_columns"),
    ]
    assert quarantine["raw"].to_list() == ['{"amount": ', "[1]", "2,five", "3,6,7"]
    assert done["files"].counts.quarantined == 4
    assert scene.report()["totals"] == {"amount": 7}


def test_a_file_above_the_limit_is_rejected_unread_and_read_once_the_limit_is_raised(
    scene: ReportScene,
) -> None:
    scene.spec = report_spec(max_file_mb=0.001)
    scene.put("large.csv", "id\n" + "1\n" * 999)
    scene.put("fine.csv", "id\n1\n")
    done = scene.run()
    report = scene.report()
    assert (report["file_count"], report["total_records"]) == (2, 1)
    (row,) = done["files"].snapshot.quarantine([DAY]).to_dicts()
    assert (row["file_key"].rsplit("/")[-1], row["line_no"], row["reason_code"]) == (
        "large.csv",
        0,
        "too_large",
    )
    scene.spec = report_spec(max_file_mb=1)
    scene.run()
    assert scene.report()["total_records"] == 1_000


def test_a_file_that_cannot_be_read_at_all_is_named_and_the_others_count(scene: ReportScene) -> None:
    scene.put("cut.csv.gz", gzip.compress(b"id\n1\n" * 999)[:-20])
    scene.put("page.csv", "<!DOCTYPE html><html><title>No</title></html>")
    scene.put("fine.csv", "id\n1\n")
    done = scene.run()
    report = scene.report()
    assert (report["file_count"], report["total_records"]) == (3, 1)
    problems = {one["key"].rsplit("/")[-1]: one["problem"] for one in report["files"]}
    assert problems["fine.csv"] is None
    assert problems["cut.csv.gz"].startswith("truncated_gzip")
    assert problems["page.csv"].startswith("html_page")
    assert [one["records"] for one in report["files"] if one["problem"]] == [None, None]
    assert [check.name for check in done["files"].checks if not check.passed] == ["files_readable"]


def test_reprocessing_the_same_content_rewrites_nothing(scene: ReportScene, lake_objects: Objects) -> None:
    scene.lake = lake_objects
    scene.put("orders.csv", ORDERS)
    scene.run()
    body, version = scene.workspace.lake.get(f"reports/{DAY}.json"), scene.current().version
    written = scene.workspace.lake.requests.writes
    done = scene.run()
    assert not done["files"].changed
    assert not done["report"].changed
    assert scene.workspace.lake.requests.writes == written
    assert scene.current().version == version
    assert scene.workspace.lake.get(f"reports/{DAY}.json") == body


def test_the_same_file_uploaded_again_keeps_the_report_and_its_time(scene: ReportScene) -> None:
    scene.put("orders.csv", ORDERS)
    scene.run()
    body = scene.workspace.lake.get(f"reports/{DAY}.json")
    scene.put("orders.csv", ORDERS)
    scene.settle()
    assert scene.workspace.lake.get(f"reports/{DAY}.json") == body


def test_another_content_is_another_report(scene: ReportScene) -> None:
    scene.put("orders.csv", ORDERS)
    scene.run()
    scene.put("late.csv", "id\n1\n")
    scene.run()
    assert scene.report()["total_records"] == 4
    assert scene.report()["generated_at"] == "2026-11-21T08:00:00Z"


def test_only_new_files_are_opened_again(scene: ReportScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.put("orders.csv", "id,amount\n1,x\n2,4\n")
    scene.run()
    scene.put("late.csv", "id\n1\n")
    read = []
    whole = Objects.get
    monkeypatch.setattr(Objects, "get", lambda self, key: read.append(key) or whole(self, key))
    scene.run()
    assert [key for key in read if key.startswith("raw-data/")] == [f"raw-data/{DAY}/late.csv"]
    monkeypatch.undo()
    assert scene.report()["total_records"] == 2
    assert scene.current("files").quarantine([DAY])["raw"].to_list() == ["1,x"]


def test_a_day_without_files_has_no_report(scene: ReportScene) -> None:
    with pytest.raises(EmptyDay, match="2026-11-20") as raised:
        scene.run()
    assert not raised.value.is_normal
    assert scene.workspace.store.current("daily") is None
    assert not scene.workspace.lake.exists(f"reports/{DAY}.json")
    scene.spec = report_spec(empty_days="normal")
    with pytest.raises(EmptyDay) as raised:
        scene.run()
    assert raised.value.is_normal


def test_marker_files_beside_the_data_are_no_data(scene: ReportScene) -> None:
    scene.put("part-00000.csv", "id,amount\n1,10\n")
    for name in ("_SUCCESS", "part-00000.csv.crc", "_committed_123", ".DS_Store", "part-00000.csv.md5"):
        scene.put(name, '{"added": [1]}')
    scene.run()
    report = scene.report()
    assert (report["file_count"], report["total_records"], report["bad_records"]) == (1, 1, 0)


def test_files_that_leave_the_bucket_leave_the_report(scene: ReportScene) -> None:
    scene.put("orders.csv", ORDERS)
    scene.run()
    scene.workspace.raw.delete([f"raw-data/{DAY}/orders.csv"])
    assert survey_reports(scene.spec, scene.workspace).differences == []
    with pytest.raises(EmptyDay):
        scene.run()
    assert scene.report()["total_records"] == 3


def test_a_report_is_compared_with_the_day_before_and_the_same_weekday(scene: ReportScene) -> None:
    scene.put("a.csv", "amount\n1\n2\n", day="2026-11-13")
    scene.put("a.csv", "amount\n5\n", day="2026-11-19")
    scene.put("a.csv", "amount\n7\n7\n7\n", day=DAY)
    assert scene.settle() == ["2026-11-13", "2026-11-19", DAY]
    compared = scene.report()["compared"]
    assert compared["day_before"] == {
        "date": "2026-11-19",
        "file_count": 1,
        "total_records": 1,
        "total_records_change": 2,
        "totals": {"amount": 5},
        "totals_change": {"amount": 16},
    }
    assert compared["same_weekday"]["date"] == "2026-11-13"
    assert compared["same_weekday"]["total_records_change"] == 1
    assert scene.report("2026-11-19")["compared"] == {"day_before": None, "same_weekday": None}


def test_dates_that_come_in_any_order_end_with_the_same_reports(scene: ReportScene, tmp_path: Path) -> None:
    days = ["2026-11-12", "2026-11-13", "2026-11-19", DAY]
    other = ReportScene(tmp_path / "other")
    for at, day in enumerate(days):
        scene.put("a.csv", f"amount\n{at}\n", day=day)
        scene.run(day)
    for at, day in reversed(list(enumerate(days))):
        other.put("a.csv", f"amount\n{at}\n", day=day)
        other.run(day)
    scene.settle()
    assert other.settle() != []
    for day in days:
        ours, theirs = scene.report(day), other.report(day)
        assert ours.pop("generated_at")
        assert theirs.pop("generated_at")
        assert ours == theirs


def test_a_correction_of_one_day_reaches_the_days_compared_with_it_and_no_other(scene: ReportScene) -> None:
    for number in range(10, 20):
        scene.put("a.csv", "amount\n1\n", day=f"2026-11-{number}")
    scene.settle()
    times = {number: scene.report(f"2026-11-{number}")["generated_at"] for number in range(10, 20)}
    scene.put("a.csv", "amount\n100\n", day="2026-11-11")
    assert scene.settle() == ["2026-11-11", "2026-11-12", "2026-11-18"]
    changed = [n for n in times if scene.report(f"2026-11-{n}")["generated_at"] != times[n]]
    assert changed == [11, 12, 18]


def test_a_run_that_dies_between_object_and_row_leaves_a_date_that_is_behind(
    scene: ReportScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put("orders.csv", ORDERS)

    def dying(*_: object, **__: object) -> None:
        raise OSError("the machine went away")

    with monkeypatch.context() as patched:
        patched.setattr(report_module, "publish_checked", dying)
        with pytest.raises(OSError, match="went away"):
            scene.run()
    assert [each.partition for each in survey_reports(scene.spec, scene.workspace).differences] == [DAY]
    scene.settle()
    row = scene.current().scan().collect().row(0, named=True)
    assert json.loads(row["report"]) == scene.report()
    assert (row["file_count"], row["total_records"], row["object_key"]) == (1, 3, f"reports/{DAY}.json")


def test_other_totals_read_the_files_again(scene: ReportScene) -> None:
    scene.put("orders.csv", ORDERS)
    scene.run()
    scene.spec = report_spec(totals=["id"])
    scene.run()
    assert scene.report()["totals"] == {"id": 6}


def test_a_total_that_no_file_has_is_null_not_zero(scene: ReportScene) -> None:
    scene.put("names.csv", "name\na\n")
    scene.put("empty.csv", "amount\n")
    scene.run()
    assert scene.report()["totals"] == {"amount": None}
    assert scene.report()["total_records"] == 1


def test_a_report_without_its_files_says_what_to_do_first(scene: ReportScene) -> None:
    chain = report_module.publish_report
    with pytest.raises(NotFound, match="daily/files"):
        chain(scene.spec, DAY, scene.workspace, run_id="")


@pytest.mark.parametrize(
    ("given", "date"), [("2026-02-28", "2026-02-28"), ("", "2026-11-20"), (" 2026-02-28 ", "2026-02-28")]
)
def test_the_date_of_a_run_is_that_of_its_environment_or_the_day_before(given: str, date: str) -> None:
    settings = Settings.from_environment({"RUN_DATE": given})
    assert run_date(settings, datetime(2026, 11, 21, 0, 30, tzinfo=UTC)) == date


@pytest.mark.parametrize("given", ["2026-02-30", "20260228", "yesterday", "2026-W01-1"])
def test_an_invalid_run_date_is_rejected(given: str) -> None:
    with pytest.raises(ConfigError, match="RUN_DATE"):
        run_date(Settings.from_environment({"RUN_DATE": given}), datetime(2026, 11, 21, tzinfo=UTC))


ITALY = SHARED / "daily_raw_italy"


@pytest.mark.skipif(not ITALY.is_dir(), reason="no shared data")
def test_the_days_of_a_real_delivery_have_the_figures_of_an_independent_count(scene: ReportScene) -> None:
    expected = json.loads((ITALY / "EXPECTED.json").read_text())["expected"]
    scene.spec = report_spec(totals=["totale_casi"])
    for file in sorted(ITALY.glob("*/*.csv")):
        scene.put(file.name, file.read_bytes(), day=file.parent.name)
    scene.settle()
    assert len(expected["days"]) == expected["total"]["days"]
    for date, facts in expected["days"].items():
        report = scene.report(date)
        [file] = report["files"]
        assert report["file_count"] == facts["file_count"]
        assert report["total_records"] == facts["records"]
        assert (file["records"], file["bad_records"]) == (facts["regioni"]["records"], 0)
        assert len(file["columns"]) == facts["regioni"]["columns"]
        assert report["totals"] == {"totale_casi": facts["regioni"]["totale_casi"]}
    rows = scene.current().scan().collect()
    assert rows["total_records"].sum() == expected["total"]["records"]
    assert rows["file_count"].sum() == expected["total"]["files"]
    week = scene.report("2020-03-24")["compared"]["same_weekday"]
    days = expected["days"]
    change = days["2020-03-24"]["regioni"]["totale_casi"] - days["2020-03-17"]["regioni"]["totale_casi"]
    assert week["totals_change"] == {"totale_casi": change}


def test_objects_without_a_date_in_their_key_are_in_quarantine_and_in_no_report(scene: ReportScene) -> None:
    scene.workspace.raw.put("raw-data/notes.txt", b"hello")
    scene.workspace.raw.put("raw-data/2026-13-45/a.csv", b"id\n1\n")
    assert survey_reports(scene.spec, scene.workspace).differences == []
    today = f"{scene.workspace.raw.list('raw-data/notes.txt')['last_modified'][0]:%Y-%m-%d}"
    with pytest.raises(EmptyDay, match=r"\b2 objects"):
        scene.run(today)
    scene.put("a.csv", "id\n1\n", day=today)
    scene.run(today)
    assert scene.report(today)["file_count"] == 1
    quarantine = scene.current("files").quarantine([today])
    assert quarantine["reason_code"].to_list() == ["misplaced_key"] * 2
    assert survey_reports(scene.spec, scene.workspace).differences == []


def test_a_run_that_dies_at_any_write_is_behind_and_the_next_one_finishes(tmp_path: Path) -> None:
    for number in range(60):
        scene = ReportScene(tmp_path / str(number))
        scene.put("a.csv", ORDERS)
        scene.run()
        scene.put("b.csv", "id,amount\n1,2\nx\n")
        died = False
        with pytest.MonkeyPatch.context() as patched:
            die_at_write(number, patched)
            try:
                scene.run()
            except Died:
                died = True
        if not died:
            break
        assert [each.partition for each in survey_reports(scene.spec, scene.workspace).differences] == [DAY]
        scene.settle()
        report = scene.report()
        assert (report["total_records"], report["bad_records"]) == (4, 1)
        assert json.loads(scene.current().scan().collect()["report"][0]) == report
    assert number > 8


def test_new_content_that_cannot_be_read_keeps_the_figures_of_the_accepted_one(scene: ReportScene) -> None:
    scene.put("a.csv", "id,amount\n1,10\n2,20\n")
    scene.put("b.csv", "id,amount\n3,5\n")
    scene.run()
    scene.put("a.csv", "<!DOCTYPE html><html><title>502</title></html>")
    outcome = scene.run()
    assert {check.name for check in outcome["files"].checks if not check.passed} == {"files_readable"}
    report = scene.report()
    assert (report["total_records"], report["totals"]["amount"]) == (3, 35)
    assert [file["key"] for file in report["files"] if file["problem"]] == [f"raw-data/{DAY}/a.csv"]
    assert not scene.run()["files"].changed

    scene.overrides = Overrides(accept_rejected=True)
    scene.run()
    assert scene.report()["total_records"] == 1


def test_a_day_of_which_too_much_is_rejected_is_blocked_until_it_is_accepted(scene: ReportScene) -> None:
    rows = "".join(f"{n},{n}\n" for n in range(70)) + "".join(f"{n},many\n" for n in range(30))
    scene.put("a.csv", f"id,amount\n{rows}")
    with pytest.raises(CheckFailed):
        scene.run()
    scene.overrides = Overrides(accept_rejected=True)
    scene.run()
    report = scene.report()
    assert (report["total_records"], report["bad_records"]) == (70, 30)


def test_declared_text_options_are_obeyed(scene: ReportScene) -> None:
    scene.spec = report_spec(text={"separator": ";", "header_row": 3})
    scene.put("a.csv", "made by hand;\nfor May;\nid;amount\n1;10\n")
    scene.run()
    assert scene.report()["totals"]["amount"] == 10


def test_files_read_alone_give_the_same_report(scene: ReportScene) -> None:
    scene.put("a.csv", "id,amount\n1,10\n")
    scene.put("b.json", '[{"id": 2, "amount": 5}]')
    with ReportChain(scene.spec, scene.workspace, scene.settings, isolate=True) as chain:
        for step in scene.spec.steps:
            chain.publish(step, DAY)
    assert (scene.report()["total_records"], scene.report()["totals"]["amount"]) == (2, 15)


def test_many_dates_at_once_take_one_run_each_in_whatever_order(scene: ReportScene) -> None:
    days = [f"2026-11-{day:02}" for day in range(1, 21)]
    for day in days:
        scene.put("sales.csv", "id,amount\n1,2\n", day)
    differing = [each.partition for each in survey_reports(scene.spec, scene.workspace).differences]
    assert differing == days
    for day in reversed(days):
        scene.run(day)
    assert survey_reports(scene.spec, scene.workspace).differences == []


def test_a_day_that_is_blocked_does_not_keep_the_days_compared_with_it_from_their_report(
    scene: ReportScene,
) -> None:
    rows = "".join(f"{n},{n}\n" for n in range(70)) + "".join(f"{n},many\n" for n in range(30))
    scene.put("a.csv", f"id,amount\n{rows}", "2026-11-19")
    scene.put("sales.csv", "id,amount\n1,2\n", DAY)
    assert scene.run(DAY)["report"].changed
    with pytest.raises(CheckFailed):
        scene.run("2026-11-19")
