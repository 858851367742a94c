"""A JSON API captured and curated over real HTTP: what changes, what stays, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tnt_platform.errors import NotFound, Refused, Unavailable
from tnt_platform.lake.versions import Snapshot, diff
from tnt_platform.records import chain
from tnt_platform.records.transforms.records import bucket_of
from tnt_platform.sandbox.records_api import RecordsApi, RecordsFaults, running_records_api, sample_posts
from tnt_platform.services.download import DownloadLimits
from tnt_platform_tests.dying_writes import Died, die_at_write
from tnt_platform_tests.records.scene import POSTS, USERS, RecordsScene, records_spec, with_source


@pytest.fixture
def api() -> Iterator[tuple[str, RecordsApi]]:
    with running_records_api() as running:
        yield running


@pytest.fixture
def scene(tmp_path: Path, api: tuple[str, RecordsApi]) -> RecordsScene:
    return RecordsScene(tmp_path, api[0])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(DownloadLimits, attempts=2, backoff_initial_s=0.01, stall_timeout_s=1.5)
    monkeypatch.setattr(chain, "DownloadLimits", quick)


def changed(post: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {**post, **fields}


def test_every_item_of_a_capture_is_a_record_with_its_provenance(scene: RecordsScene) -> None:
    done = scene.run()
    rows = scene.rows()
    assert done["records"].counts.rows_in == done["records"].counts.published == 100
    assert set(rows["id"]) == {f"posts:{n}" for n in range(1, 101)}
    one = rows.row(by_predicate=pl.col("id") == "posts:7", named=True)
    assert (one["source"], one["item_id"], one["userId"], one["item_index"]) == ("posts", "7", 1, 6)
    assert one["first_seen_at"] == one["captured_at"] == one["processed_at"] == scene.now
    items = json.loads(scene.workspace.raw.get(one["raw_s3_key"]))
    assert items[one["item_index"]]["title"] == one["title"]


def test_a_capture_lies_where_the_seed_put_it_under_its_time_and_hash(scene: RecordsScene) -> None:
    scene.run()
    [key] = scene.raw_keys()
    digest = hashlib.sha256(scene.workspace.raw.get(key)).hexdigest()
    assert key == f"raw/source=posts/date=2026-11-21/20261121T120500Z-{digest[:16]}.json"


@pytest.mark.heavy
def test_the_same_answer_captured_100_times_gives_the_same_records_and_no_new_version(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run()
    first, version = scene.rows(), scene.current().version
    for number in range(99):
        if number % 3 == 0:
            # Without a validator the bytes come again, and their hash tells.
            scene.spec = with_source(scene.spec, headers={"If-None-Match": '"none"'})
        done = scene.run()
        assert not done["records"].changed
    assert scene.rows().equals(first)
    assert scene.current().version == version
    assert scene.versions() == scene.versions("summary") == 1
    assert len(scene.raw_keys()) == 1
    assert scene.rows("capture")["status"].to_list() == ["captured", *["unchanged"] * 99]
    assert scene.rows("capture")["captured_at"].max() == scene.now


def test_one_changed_post_changes_one_record(scene: RecordsScene, api: tuple[str, RecordsApi]) -> None:
    scene.run()
    before, old = scene.rows(), scene.current()
    api[1].posts = [changed(post, title="changed") if post["id"] == 42 else post for post in api[1].posts]
    done = scene.run()
    after = scene.rows()
    assert done["records"].facts["records_updated"] == 1
    assert done["records"].facts["records_added"] == 0
    differing = after.join(before, on=["id", "fingerprint", "captured_at"], how="anti")
    assert differing["id"].to_list() == ["posts:42"]
    row = differing.row(0, named=True)
    assert row["title"] == "changed"
    assert row["captured_at"] == scene.now
    assert row["first_seen_at"] < scene.now
    assert diff(old, scene.current()).height == 1
    changelog = scene.current().manifest.changelog
    assert (changelog.added, changelog.updated, changelog.removed) == (0, 1, 0)
    assert len([name for name in changelog.partitions_changed if name.startswith("bucket=")]) == 1


def test_a_clock_that_ran_ahead_once_does_not_freeze_the_records(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.now += timedelta(days=40)
    scene.run()
    scene.now -= timedelta(days=40)
    api[1].posts = [changed(post, title="changed") if post["id"] == 42 else post for post in api[1].posts]
    done = scene.run()
    assert done["records"].facts["records_updated"] == 1
    assert done["capture"].facts["clock_behind_last_capture_s"] == pytest.approx(
        timedelta(days=40).total_seconds(), rel=0.01
    )
    assert scene.rows().filter(id="posts:42")["title"].to_list() == ["changed"]


def test_items_in_another_order_are_the_same_records_and_no_new_version(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run()
    api[1].posts = list(reversed(api[1].posts))
    scene.run()
    assert scene.versions() == 1
    assert scene.rows("capture")["status"].to_list() == ["captured", "unchanged"]


def test_items_that_vanish_from_the_source_stay(tmp_path: Path, api: tuple[str, RecordsApi]) -> None:
    scene = RecordsScene(tmp_path, api[0], spec=records_spec(USERS, "users"))
    scene.run()
    first = scene.rows()
    scene.run()
    scene.run()
    assert scene.rows().height == 30
    looks = scene.rows("capture").sort("captured_at")
    ids = [{f"users:{item}" for item in items} for items in looks["item_ids"]]
    assert [len(one) for one in ids] == [10, 10, 10]
    assert set.union(*ids) == set(scene.rows()["id"])
    assert scene.rows().join(first, on=first.columns, how="semi", nulls_equal=True).height == 10
    assert scene.versions() == 3


@pytest.mark.parametrize(
    ("fault", "reason_code", "rows"),
    [
        ("error_page", "html_page", 1),
        ("error_object", "no_items", 1),
        ("invalid_json", "not_json", 1),
        ("fewer_items", "fewer_items", 1),
        ("duplicates", "conflicting_duplicate", 11),
        ("missing_ids", "missing_id", 10),
    ],
)
def test_an_answer_that_cannot_be_taken_whole_is_refused_whole(
    tmp_path: Path, api: tuple[str, RecordsApi], fault: str, reason_code: str, rows: int
) -> None:
    scene = RecordsScene(tmp_path, api[0], spec=records_spec(USERS, "users"))
    scene.run()
    before = scene.rows()
    api[1].faults = RecordsFaults(fault)
    done = scene.run()
    assert scene.rows().equals(before)
    quarantine = scene.current().quarantine()
    assert quarantine.height == done["records"].counts.quarantined == rows
    assert reason_code in set(quarantine["reason_code"])
    assert set(quarantine["file_key"]) == {scene.rows("capture").sort("captured_at")["object_key"][-1]}
    accepted = next(check for check in done["records"].checks if check.name == "captures_accepted")
    assert not accepted.passed
    assert reason_code in accepted.description
    api[1].faults = RecordsFaults()
    scene.run()
    assert scene.rows().height == 20


def test_a_refused_answer_that_comes_again_is_refused_once_and_stays_a_failed_check(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run()
    api[1].faults = RecordsFaults("error_page")
    scene.run()
    done = scene.run()
    assert scene.versions() == 2
    assert scene.rows("capture")["status"].to_list() == ["captured", "refused", "still_refused"]
    failed = [check.name for check in done["records"].checks if not check.passed]
    assert failed == ["rejected_share", "captures_accepted"]
    api[1].faults = RecordsFaults()
    done = scene.run()
    assert scene.rows().height == 100
    assert scene.versions() == 2, "the source shows what is published already"


def test_equal_duplicates_in_one_capture_are_one_record(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    api[1].faults = RecordsFaults("repeats")
    counts = scene.run()["records"].counts
    assert (counts.rows_in, counts.published, counts.deduplicated) == (101, 100, 1)
    assert scene.rows().height == 100


@pytest.mark.parametrize(("fault", "error"), [("server_error", Unavailable), ("throttle", Unavailable)])
@pytest.mark.usefixtures("impatient")
def test_a_source_that_fails_is_no_capture_and_can_be_tried_again(
    scene: RecordsScene, api: tuple[str, RecordsApi], fault: str, error: type[Exception]
) -> None:
    api[1].faults = RecordsFaults(fault)
    with pytest.raises(error):
        scene.run()
    assert scene.raw_keys() == []
    api[1].faults = RecordsFaults(fault, first=1)
    scene.run()
    assert scene.rows().height == 100


def test_a_source_that_is_not_there_says_where_it_was_looked_for(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    api[1].faults = RecordsFaults("not_found")
    with pytest.raises(NotFound, match=f"{scene.url}/posts"):
        scene.run()


@pytest.mark.usefixtures("impatient")
def test_a_source_that_is_too_slow_is_given_up(scene: RecordsScene, api: tuple[str, RecordsApi]) -> None:
    api[1].faults = RecordsFaults("slow", slow_s=20)
    with pytest.raises(Unavailable, match=f"{scene.url}/posts"):
        scene.run()


def test_captures_that_were_not_curated_are_curated_in_order_of_time(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    for title in ("one", "two", "three"):
        api[1].posts = [changed(post, title=title) if post["id"] == 1 else post for post in api[1].posts]
        scene.run("capture")
    done = scene.run("records", "summary")
    assert done["records"].facts["captures_curated"] == 3
    assert scene.versions() == 3
    history = scene.workspace.store.versions("posts").sort("version")["version"]
    titles = [
        scene.workspace.store.snapshot("posts", version).scan().filter(pl.col("id") == "posts:1").collect()
        for version in history
    ]
    assert [frame["title"][0] for frame in titles] == ["one", "two", "three"]
    assert len({frame["first_seen_at"][0] for frame in titles}) == 1


def test_a_curation_that_died_half_way_goes_on_where_it_stopped(
    scene: RecordsScene, api: tuple[str, RecordsApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.run("capture")
    api[1].posts = [*api[1].posts, *sample_posts(101)[100:]]
    scene.run("capture")
    from tnt_platform.records import curation

    whole = curation.publish_checked
    calls = iter([True, False])

    def dying(*args: Any, **options: Any) -> Any:
        if next(calls):
            return whole(*args, **options)
        raise Unavailable("the machine went away")

    with monkeypatch.context() as patched:
        patched.setattr(curation, "publish_checked", dying)
        with pytest.raises(Unavailable):
            scene.run("records")
    assert scene.rows().height == 100
    scene.run("records")
    assert scene.rows().height == 101
    assert scene.versions() == 2


def test_a_raw_object_that_is_gone_is_in_quarantine_and_captured_anew(scene: RecordsScene) -> None:
    scene.run("capture")
    scene.workspace.raw.delete(scene.raw_keys())
    scene.run("records")
    assert scene.current().quarantine()["reason_code"].to_list() == ["capture_gone"]
    scene.run()
    assert scene.rows().height == 100


def test_another_mapping_reads_the_newest_capture_again(scene: RecordsScene) -> None:
    scene.run()
    scene.spec = records_spec({**POSTS, "fields": [*POSTS["fields"], {"name": "author", "path": "userId"}]})
    done = scene.run()
    assert done["records"].facts["records_updated"] == 100
    assert scene.rows()["author"].to_list() == scene.rows()["userId"].cast(pl.String).to_list()
    assert not scene.run()["records"].changed


def test_after_a_rollback_nothing_is_curated_until_somebody_says_so(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run()
    first = scene.current().version
    api[1].posts = api[1].posts[:50] + [changed(post, title="bad") for post in api[1].posts[50:]]
    scene.run()
    scene.workspace.store.rollback("posts", first, reason="bad titles")
    paused = scene.run()["records"]
    assert "bad titles" in str(paused.facts["nothing_to_do"])
    assert scene.rows().filter(title="bad").is_empty()
    scene.run(by_hand=True)
    assert scene.rows().filter(title="bad").height == 50


def test_the_summary_counts_every_record_by_source_and_day(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run()
    oldest = scene.now
    scene.now = scene.now.replace(day=23)
    api[1].posts = [changed(post, title="x") if post["id"] < 4 else post for post in api[1].posts]
    scene.run()
    rows = {(row["group_kind"], row["group_value"]): row for row in scene.rows("summary").to_dicts()}
    counts = {key: row["records"] for key, row in rows.items()}
    assert counts == {
        ("all", "all"): 100,
        ("source", "posts"): 100,
        ("date", "2026-11-21"): 97,
        ("date", "2026-11-23"): 3,
    }
    assert (rows["all", "all"]["oldest"], rows["all", "all"]["newest"]) == (oldest, scene.now)


def test_records_without_a_capture_say_what_to_do_first(scene: RecordsScene) -> None:
    with pytest.raises(NotFound, match="posts/capture"):
        scene.run("records")


def test_a_refusal_by_the_source_is_not_tried_again(scene: RecordsScene) -> None:
    scene.spec = with_source(scene.spec, url=f"{scene.url}/api/?results=0")
    with pytest.raises(Refused):
        scene.run()


def test_two_runs_at_once_lose_nothing(scene: RecordsScene, api: tuple[str, RecordsApi]) -> None:
    scene.run()
    pages = [sample_posts(100 + more) for more in (5, 9)]
    for page in pages:
        api[1].posts = page
        scene.run("capture")
    # Both curate what both see.
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: scene.run("records", "summary"), range(2)))
    assert scene.rows().height == 109
    # A run that is retried after a conflict reports the captures of its last attempt only.
    assert sum(int(str(one["records"].facts.get("captures_curated", 0))) for one in done) >= 1
    ledger = scene.current().inputs("captured=2026-11-21")
    assert ledger["key"].n_unique() == ledger.height == 3
    assert scene.rows("summary").filter(group_kind="all")["records"].to_list() == [109]


def test_a_table_of_a_million_would_be_read_only_where_the_capture_may_change_it(
    tmp_path: Path, api: tuple[str, RecordsApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = RecordsScene(tmp_path, api[0])
    api[1].posts = sample_posts(400)
    scene.run()
    api[1].posts = [changed(post, title="x") for post in sample_posts(3)[2:]]
    scanned: list[set[str]] = []
    whole = Snapshot.scan

    def scan(self: Snapshot, partitions: Any = None, columns: Any = None) -> pl.LazyFrame:
        if self.dataset == "posts":
            scanned.append(set(partitions if partitions is not None else ["all"]))
        return whole(self, partitions, columns)

    monkeypatch.setattr(Snapshot, "scan", scan)
    scene.run("capture", "records")
    assert {name for names in scanned for name in names} == {bucket_of("posts:3")}


@pytest.mark.heavy
def test_a_run_that_dies_at_any_write_loses_nothing_and_the_next_one_finishes(
    tmp_path: Path, api: tuple[str, RecordsApi]
) -> None:
    first = sample_posts(30)
    second = [changed(first[0], title="new"), *first[1:], *sample_posts(31)[30:]]
    wanted: list[tuple[Any, ...]] | None = None
    for number in range(60):
        scene = RecordsScene(tmp_path / str(number), api[0])
        api[1].posts = first
        scene.run()
        api[1].posts = second
        died = False
        with pytest.MonkeyPatch.context() as patched:
            die_at_write(number, patched)
            try:
                scene.run()
            except Died:
                died = True
        if not died:
            break
        assert scene.rows().height in (30, 31), "readers see the version before or after"
        scene.run()
        found = scene.rows().select("id", "fingerprint", "title").sort("id").rows()
        wanted = wanted or found
        assert found == wanted
        assert scene.rows("summary").filter(group_kind="all")["records"].to_list() == [31]
        assert scene.versions() == 2
    assert wanted is not None
    assert number > 8
