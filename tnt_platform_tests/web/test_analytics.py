"""`/analytics` from published summaries: the same numbers as counting, of every version, and what if there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.records.summary import KEY, records_summary
from tnt_platform.sandbox.records_api import RecordsApi, RecordsFaults, running_records_api
from tnt_platform.storage.objects import Objects
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.records.counts import RecordCounts
from tnt_platform_tests.records.scene import RecordsScene
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import Lake, by_bucket, posts, summarised
from tnt_platform_tests.web.waiting import eventually


@pytest.fixture
def api() -> Iterator[tuple[str, RecordsApi]]:
    with running_records_api() as found:
        yield found


@pytest.fixture
def scene(tmp_path: Path, api: tuple[str, RecordsApi]) -> RecordsScene:
    return RecordsScene(tmp_path, api[0])


def counted(rows: pl.DataFrame) -> dict[str, Any]:
    """What `/analytics` must say of these records, without the platform's code."""
    days = Counter(f"{moment:%Y-%m-%d}" for moment in rows["captured_at"])
    return {
        "summary": {
            "total_records": rows.height,
            "total_sources": rows["source"].n_unique(),
            "oldest_record": min(rows["captured_at"]).isoformat(),
            "newest_record": max(rows["captured_at"]).isoformat(),
        },
        "by_source": dict(Counter(rows["source"])),
        "by_date": dict(days),
        "timeline": [{"date": day, "count": days[day]} for day in sorted(days)],
    }


def serving(scene: RecordsScene) -> dict[str, str]:
    return {"TNT_HOME": str(scene.folder), "TNT_LAKE_URL": scene.lake.url}


def told(client: httpx.Client, **params: str) -> tuple[dict[str, Any], str | None]:
    """The counts, and the version of the summary that told them."""
    answer = client.get("/analytics", params=params)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    found.pop("versions")
    return found, found.pop("summaries")["posts"]


def change(api: RecordsApi, *, title: str, ids: range) -> None:
    api.posts = [{**post, "title": title} if post["id"] in ids else post for post in api.posts]


def test_every_version_has_the_counts_of_a_scan_from_its_own_summary(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    for number in range(4):
        scene.now += timedelta(hours=11)
        change(api[1], title=f"changed {number}", ids=range(1, 20 * number))
        scene.run()
    store = scene.workspace.store
    versions = store.versions("posts")
    assert versions.height == 4
    with running(serving(scene)) as url, httpx.Client(base_url=url) as client:
        summaries = set()
        for version, moment in versions.select("version", "created_at").rows():
            expected = counted(store.snapshot("posts", version).scan().collect())
            found, summary = told(client, source="posts", version=version)
            assert found == expected
            assert told(client, as_of=moment.isoformat()) == (expected, summary)
            summaries.add(summary)
        assert told(client)[0] == counted(scene.rows())
        assert summaries == set(store.versions("posts/summary")["version"])


def test_no_record_is_read_for_it(scene: RecordsScene) -> None:
    scene.run()
    expected = counted(scene.rows())
    for path in scene.current().files["path"]:
        (scene.folder / "lake" / path).unlink()
    with running(serving(scene)) as url, httpx.Client(base_url=url) as client:
        assert told(client)[0] == expected
        assert client.get("/").status_code == 200


def test_a_version_that_changed_no_record_has_the_summary_of_the_one_before(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run()
    api[1].faults = RecordsFaults("error_page")
    scene.run()
    assert scene.versions() == 2
    assert scene.versions("summary") == 1
    with running(serving(scene)) as url, httpx.Client(base_url=url) as client:
        assert told(client) == (counted(scene.rows()), scene.current("summary").version)


def test_until_its_summary_is_published_a_version_is_counted(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run()
    change(api[1], title="changed", ids=range(1, 30))
    scene.now += timedelta(days=1)
    # As if the process died between the two publishes.
    scene.run("capture", "records")
    with running(serving(scene)) as url, httpx.Client(base_url=url) as client:
        first = client.get("/analytics")
        assert told(client) == (counted(scene.rows()), None)
        scene.run("summary")
        eventually(lambda: told(client)[1] is not None)
        assert told(client) == (counted(scene.rows()), scene.current("summary").version)
        again = client.get("/analytics", headers={"if-none-match": first.headers["etag"]})
        assert again.status_code == 200, "the answer names another summary"


def test_a_version_of_the_records_that_expired_is_410_and_one_without_its_summary_is_counted(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run()
    first, before = scene.current(), counted(scene.rows())
    change(api[1], title="changed", ids=range(1, 30))
    scene.run()
    scene.now += timedelta(days=30)
    scene.workspace.store.expire("posts/summary", keep=1, older_than=timedelta(days=1))
    with running(serving(scene)) as url, httpx.Client(base_url=url) as client:
        assert told(client, source="posts", version=first.version) == (before, None)
    scene.workspace.store.expire("posts", keep=1, older_than=timedelta(days=1))
    with running(serving(scene)) as url, httpx.Client(base_url=url) as client:
        gone = client.get("/analytics", params={"source": "posts", "version": first.version})
        assert gone.status_code == 410
        assert gone.json()["type"].endswith(":version-expired")


def test_after_a_rollback_the_counts_are_those_of_the_older_records(
    scene: RecordsScene, api: tuple[str, RecordsApi]
) -> None:
    scene.run()
    old = scene.current()
    change(api[1], title="changed", ids=range(1, 30))
    scene.now += timedelta(days=1)
    scene.run()
    scene.workspace.store.rollback("posts", old.version, reason="wrong")
    with running(serving(scene)) as url, httpx.Client(base_url=url) as client:
        found, summary = told(client)
        assert found == counted(scene.rows())
        assert summary is not None


MOMENTS = st.integers(0, 8 * 86_400).map(lambda s: datetime(2025, 12, 28, tzinfo=UTC) + timedelta(seconds=s))
ROWS = st.lists(st.tuples(st.sampled_from(["posts", "users", None, "", "<b>"]), MOMENTS), max_size=60)


@settings(max_examples=tries(25), deadline=None)
@given(rows=ROWS)
def test_a_summary_tells_what_counting_gives(rows: list[tuple[str | None, datetime]]) -> None:
    frame = pl.DataFrame(
        [(f"posts:{n}", source, moment, "f") for n, (source, moment) in enumerate(rows)],
        schema={
            "id": pl.String,
            "source": pl.String,
            "captured_at": pl.Datetime("us", "UTC"),
            "fingerprint": pl.String,
        },
        orient="row",
    )
    with TemporaryDirectory() as name:
        lake = Lake(Path(name))
        records = lake.publish("posts", {"bucket=00": frame}, ["id"])
        by_counting = RecordCounts(Catalog(Objects.open(lake.url))).of(records)
        summarised(lake, records)
        by_summary = RecordCounts(Catalog(Objects.open(lake.url))).of(records)
        # Of one source out of several the summary can't tell the days; it must not guess.
        of_posts = RecordCounts(Catalog(Objects.open(lake.url))).of(records, "posts")
    assert by_summary.summary is not None
    assert by_counting.summary is None
    for part in ("by_source", "by_day", "oldest", "newest"):
        assert getattr(by_summary, part) == getattr(by_counting, part)
    assert sum(of_posts.by_day.values()) == sum(source == "posts" for source, _ in rows)


def test_a_summary_that_nobody_linked_to_its_records_is_not_believed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.publish("posts", by_bucket(posts(7)), ["id"])
    lake.publish("posts/summary", {"whole": records_summary(posts(5).lazy())}, KEY)
    with running(lake.environment) as url:
        found = httpx.get(f"{url}/analytics").json()
    assert found["summary"]["total_records"] == 7
    assert found["summaries"] == {"posts": None}
