"""A lake, a Dagster home and YAML written by the commit before the houses keep working.

`make_fixture.py` explains how written_before.tar.gz and written_before.json are made.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tnt_platform.kinds import dataset_spec, load_datasets, validate_datasets
from tnt_platform.lake.publishing import Workspace, open_workspace
from tnt_platform.orchestration.local_launcher import LocalRunLauncher
from tnt_platform.records.chain import RecordsChain
from tnt_platform.records.spec import CAPTURE, RECORDS, SUMMARY
from tnt_platform.report.chain import ReportChain
from tnt_platform.report.reconcile import survey_reports
from tnt_platform.sandbox.downloads import running_downloads
from tnt_platform.sandbox.running import running_rate_api
from tnt_platform.series.chain import SeriesChain
from tnt_platform.series.spec import OBSERVATIONS, SERIES
from tnt_platform.settings import Settings
from tnt_platform.transit.chain import Chain
from tnt_platform.transit.reconcile import survey
from tnt_platform.transit.spec import ENRICHED, RESULTS, SHIPMENTS
from tnt_platform_tests.compat.make_fixture import (
    BRENT_REVISED,
    BUCKET,
    DAYS,
    HELD_BECAUSE,
    POSTS,
    TAG,
    content,
    deliveries,
)
from tnt_platform_tests.s3_server import S3Server

HERE = Path(__file__).parent
EXPECTED: dict[str, Any] = json.loads((HERE / "written_before.json").read_text(encoding="utf-8"))
NEXT_DAY = "2026-01-14"
# New captures must be later than the recorded ones, whatever this machine's clock says.
LATER = datetime(2027, 1, 1, tzinfo=UTC)


@dataclass
class Before:
    """The unpacked archive; `raw` serves its raw files with their original etags and times."""

    folder: Path
    raw: S3Server
    environment: dict[str, str]

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment)

    @property
    def workspace(self) -> Workspace:
        return open_workspace(self.settings)

    @property
    def later_workspace(self) -> Workspace:
        """Where a run reads and writes whose captures are later than the recorded ones."""
        return open_workspace(self.settings, clock=lambda: LATER)

    def spec(self, dataset: str) -> Any:
        """Load a dataset from the old YAML."""
        return dataset_spec(dataset, self.folder / "defs")

    def content(self, dataset: str) -> dict[str, Any]:
        """Describe the current version."""
        snapshot = self.workspace.store.current(dataset)
        assert snapshot is not None
        return content(snapshot)

    def dated(self, dataset: str) -> Any:
        """Return the chain of a dataset partitioned by date."""
        chain = ReportChain if dataset == "daily_report" else Chain
        return chain(self.spec(dataset), self.workspace, self.settings, run_id="after")

    def series(self, **options: Any) -> SeriesChain:
        """Return the chain of `brent_oil`."""
        return SeriesChain(self.spec("brent_oil"), self.later_workspace, self.settings, **options)

    def records(self, **options: Any) -> RecordsChain:
        """Return the chain of `posts`."""
        return RecordsChain(self.spec("posts"), self.later_workspace, self.settings, **options)

    def publish(self, dataset: str, *days: str, steps: Sequence[str] = ()) -> list[bool]:
        """Run these steps (all if none is named) for these dates; return whether each changed something."""
        with self.dated(dataset) as chain:
            return [chain.publish(step, day).changed for day in days for step in steps or chain.spec.steps]


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Before]:
    with tarfile.open(HERE / "written_before.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    raw = S3Server(buckets=[BUCKET]).start()
    for path in (tmp_path / "raw").rglob("*"):
        if path.is_file():
            uploaded = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
            key = path.relative_to(tmp_path / "raw").as_posix()
            raw.put(key, path.read_bytes(), last_modified=uploaded)
    environment = {
        "TNT_HOME": str(tmp_path / ".tnt"),
        "TNT_RAW_URL": f"s3://{BUCKET}",
        "AWS_ENDPOINT_URL": raw.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    }
    yield Before(tmp_path, raw, environment)
    raw.stop()


def check_history(before: Before, name: str) -> None:
    """Check that every recorded version of a dataset and its steps reads as recorded."""
    store = before.workspace.store
    for dataset, recorded in EXPECTED["datasets"].items():
        if dataset.split("/")[0] == name:
            for version in recorded["versions"]:
                assert content(store.snapshot(dataset, version["version"])) == version


def test_every_version_reads_as_it_did(before: Before) -> None:
    store = before.workspace.store

    assert store.datasets() == sorted(EXPECTED["datasets"])
    for dataset, recorded in EXPECTED["datasets"].items():
        check_history(before, dataset)
        current = store.current(dataset)
        assert current is not None
        assert current.version == recorded["current"]
        assert current.manifest.paused_because == recorded["held_because"]
        assert store.tags(dataset) == recorded["tags"]
        assert store.versions(dataset)["version"].to_list() == [v["version"] for v in recorded["versions"]]
        assert store.verify(current) == []


def test_a_tag_names_the_version_it_named(before: Before) -> None:
    recorded = EXPECTED["datasets"]["brent_oil"]

    assert content(before.workspace.store.snapshot("brent_oil", TAG)) == recorded["versions"][-1]


def test_refused_rows_keep_file_line_and_reason(before: Before) -> None:
    refused = before.content("deliveries/shipments")["quarantine"]
    posts = EXPECTED["datasets"]["posts"]["versions"][2]["version"]

    assert refused == [
        [DAYS[0], f"deliveries/{DAYS[0]}/history.csv", 7, "invalid_date"],
        [DAYS[0], f"deliveries/{DAYS[0]}/history.csv", 8, "invalid_integer"],
    ]
    assert before.content("transit/shipments")["quarantine"][0][2:] == [3, "too_few_columns"]
    found = before.workspace.store.snapshot("posts", posts).quarantine()
    assert found.sort("line_no")["reason_code"].to_list() == ["capture_refused"] * 6 + ["missing_id"]
    assert found["file_key"].n_unique() == 1


def test_unchanged_raw_files_are_no_work(before: Before) -> None:
    for dataset, days in (("deliveries", DAYS), ("transit", DAYS[:1]), ("daily_report", DAYS)):
        look = survey_reports if dataset == "daily_report" else survey
        found = look(before.spec(dataset), before.workspace)

        assert (found.differences, found.dates_seen) == ([], len(days))
        if dataset == "daily_report":
            assert not any(before.publish(dataset, *days))
            continue
        # Files with a header are read by stricter rules now, so a run reads them once more.
        content = before.content(f"{dataset}/shipments") | {"version": None}
        first_steps = before.spec(dataset).steps[:2]
        assert any(before.publish(dataset, *days, steps=first_steps))
        assert before.content(f"{dataset}/shipments") | {"version": None} == content
        assert not any(before.publish(dataset, *days, steps=first_steps))
    with before.series() as chain:
        assert not chain.publish(SERIES).changed
        assert not chain.publish(OBSERVATIONS).changed


def test_deliveries_go_on(before: Before) -> None:
    before.raw.put(f"deliveries/{DAYS[0]}/history.csv", deliveries(1, faulty=False).encode())
    before.raw.put(f"deliveries/{NEXT_DAY}/history.csv", deliveries(201, faulty=True).encode())

    work = survey(before.spec("deliveries"), before.workspace).differences
    assert [(w.partition, w.new, w.changed) for w in work] == [(DAYS[0], 0, 1), (NEXT_DAY, 1, 0)]
    before.publish("deliveries", DAYS[0], NEXT_DAY)

    assert before.content("deliveries/results")["rows"] == 15
    refused = before.content("deliveries/shipments")["quarantine"]
    assert [row[0] for row in refused] == [NEXT_DAY, NEXT_DAY]
    assert survey(before.spec("deliveries"), before.workspace).differences == []
    check_history(before, "deliveries")


def test_transit_asks_only_for_what_has_no_answer(before: Before) -> None:
    key = next(key for key in before.raw.bucket.objects if key.startswith("transit/"))
    file = before.raw.bucket.objects[key].data.decode()
    origin = file.split("|")[0]
    before.raw.put(key, f"{file}{origin}|98101|WA|5\n".encode())

    with running_rate_api() as api:
        before.environment |= {
            "TNT_RATE_API_URL": api.url,
            "TNT_RATE_API_CLIENT": "test",
            "TNT_RATE_API_TOKEN": "secret",
        }
        before.publish("transit", DAYS[0])
        asked = api.stats()["requests"]

    assert asked == 1
    assert before.content(f"transit/{ENRICHED}")["rows"] == 3
    assert before.content(f"transit/{RESULTS}")["rows"] == 3
    assert before.content(f"transit/{SHIPMENTS}")["quarantine"][0][2:] == [3, "too_few_columns"]
    check_history(before, "transit")


def test_series_keep_their_history_and_take_a_revision(before: Before, tmp_path: Path) -> None:
    file = tmp_path / "brent.csv"
    file.write_text(BRENT_REVISED.replace("61.125", "61.5") + "2026-05-15,60\n", encoding="utf-8")

    with before.series(file=file) as chain:
        for step in chain.spec.steps:
            chain.publish(step)

    observations = before.workspace.store.current("brent_oil")
    assert observations is not None
    values = dict(observations.scan().sort("period").select("period", "value").collect().iter_rows())
    assert list(values.values()) == [63.5, 64.75, 66.0, 61.5, 60.0]
    changes = observations.manifest.changelog
    assert (changes.added, changes.updated, changes.removed) == (1, 1, 0)
    check_history(before, "brent_oil")


def test_records_stay_held_until_somebody_goes_on(before: Before, tmp_path: Path) -> None:
    first = EXPECTED["datasets"]["posts"]["versions"][-1]["sha256"]
    with before.records() as chain:
        held = chain.publish(RECORDS)
    assert not held.changed
    assert held.snapshot.manifest.paused_because == HELD_BECAUSE
    assert before.content("posts")["sha256"] == first

    (tmp_path / "posts.json").write_text(json.dumps([*POSTS, {**POSTS[0], "id": 9}]), encoding="utf-8")
    with running_downloads(tmp_path) as source:
        before.environment["TNT_POSTS_URL"] = f"{source.url}/posts.json"
        with before.records(by_hand=True) as chain:
            for step in (CAPTURE, RECORDS, SUMMARY):
                chain.publish(step)
    after = before.workspace.store.current("posts")
    assert after is not None
    assert sorted(after.scan().collect()["id"]) == [f"posts:{n}" for n in (1, 2, 3, 4, 5, 6, 8, 9)]
    assert after.manifest.paused_because is None
    check_history(before, "posts")


def test_reports_go_on(before: Before) -> None:
    before.raw.put(f"raw-data/{NEXT_DAY}/orders.csv", b"order_id,totale_casi,note\n4,1,\n5,2,\n")

    assert [
        w.partition for w in survey_reports(before.spec("daily_report"), before.workspace).differences
    ] == [NEXT_DAY]
    before.publish("daily_report", NEXT_DAY)

    report = json.loads(before.workspace.lake.get(f"reports/{NEXT_DAY}.json"))
    assert (report["total_records"], report["totals"]) == (2, {"totale_casi": 3})
    assert report["compared"]["day_before"]["total_records"] == 1
    assert before.content("daily_report")["rows"] == 3
    check_history(before, "daily_report")


def test_the_dagster_home_opens(before: Before, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(before.folder)  # dagster.yaml names its storage relative to it
    monkeypatch.setenv("DAGSTER_HOME", str(before.folder))

    assert "tnt_platform.components.local_launcher" in (before.folder / "dagster.yaml").read_text()
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_launcher, LocalRunLauncher)
        runs = {run.run_id: [run.job_name, run.status.value] for run in instance.get_runs()}
        assert runs == EXPECTED["runs"]
        for run, (job, _) in runs.items():
            events = instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            keys = [event.dagster_event.asset_key.path for event in events]  # type: ignore[union-attr]
            assert {key[0] for key in keys} == {job.removesuffix("_job")}
            assert len(keys) == 3


def test_the_old_yaml_loads_without_faults(before: Before) -> None:
    found = load_datasets(before.folder / "defs")
    report = validate_datasets(before.folder / "defs", before.settings)

    assert found.broken == {}
    assert sorted(found.specs) == EXPECTED["defs"]
    assert report.faults == []
