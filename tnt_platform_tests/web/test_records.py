"""`/records` and `/analytics` over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from tnt_platform.sandbox.records_api import running_records_api
from tnt_platform_tests.records.scene import RecordsScene
from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import HOSTILE, LAST_LOOK, START, Lake, by_bucket, capture, posts, users
from tnt_platform_tests.web.waiting import eventually


def all_ids(client: httpx.Client, **params: Any) -> list[str]:
    """Every id, page by page."""
    found: list[str] = []
    cursor = None
    while True:
        page = client.get("/records", params={**params, **({"cursor": cursor} if cursor else {})}).json()
        found += [record["id"] for record in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            return found


def test_pages_give_each_record_once_in_the_order_of_source_and_id(client: httpx.Client) -> None:
    ids = all_ids(client, limit=37)
    assert ids == sorted(posts(130)["id"]) + sorted(users()["id"])


@pytest.mark.parametrize("limit", [1, 10, 65, 130])
def test_a_page_that_ends_with_a_source_goes_on_with_the_next(client: httpx.Client, limit: int) -> None:
    assert len(all_ids(client, limit=limit)) == 133


def test_the_last_page_has_no_cursor(client: httpx.Client) -> None:
    page = client.get("/records", params={"limit": 133}).json()
    assert page["count"] == 133
    assert page["cursor"] is None
    assert page["lastKey"] is None


def test_last_key_is_another_name_of_the_cursor(client: httpx.Client) -> None:
    first = client.get("/records", params={"limit": 5}).json()
    second = client.get("/records", params={"limit": 5, "lastKey": first["lastKey"]}).json()
    assert second["items"][0]["id"] > first["items"][-1]["id"]


def test_the_link_header_leads_to_the_next_page(client: httpx.Client) -> None:
    first = client.get("/records", params={"limit": 5, "source": "posts"})
    second = client.get(first.links["next"]["url"])
    assert second.json()["items"][0]["id"] > first.json()["items"][-1]["id"]


def test_a_source_filter_keeps_paging(client: httpx.Client) -> None:
    assert all_ids(client, source="posts", limit=50) == sorted(posts(130)["id"])
    assert all_ids(client, source="users", limit=2) == sorted(users()["id"])
    assert all_ids(client, source="nobody") == []


def test_a_day_counts_in_full_and_a_time_ends_before_itself(client: httpx.Client) -> None:
    expected = posts(130).filter(pl.col("captured_at").dt.date() == START.date() + timedelta(days=1))["id"]
    day = (START.date() + timedelta(days=1)).isoformat()
    assert set(all_ids(client, source="posts", **{"from": day, "to": day})) == set(expected)
    moment = (START + timedelta(hours=3)).isoformat().replace("+00:00", "Z")
    assert set(all_ids(client, source="posts", to=moment)) == {"posts:1", "posts:2"}


def test_text_is_found_in_any_field_whatever_the_case(client: httpx.Client) -> None:
    assert all_ids(client, q="ADA love") == ["users:0"]
    assert all_ids(client, q="zoë ÅNG") == ["users:2"]
    assert all_ids(client, q="another TITLE") == ["posts:7"]


@pytest.mark.parametrize("text", [HOSTILE, "' OR 1=1 --", "%", ".*", "\\", '"', "a" * 200])
def test_hostile_text_is_only_text(client: httpx.Client, text: str) -> None:
    answer = client.get("/records", params={"q": text})
    assert answer.status_code == 200
    assert [record["id"] for record in answer.json()["items"]] == (
        ["users:1"] if text in (HOSTILE, '"') else []
    )


def test_a_record_is_told_with_its_capture_and_item(client: httpx.Client) -> None:
    record = client.get("/records/users:1").json()
    assert record["name"] == HOSTILE
    assert record["provenance"]["raw_s3_key"] == "raw/source=users/date=2026-11-01/y.json"
    assert record["provenance"]["item_index"] == 1
    assert record["provenance"]["dataset"] == "users"


def test_a_record_was_last_seen_when_its_content_was_last_found(client: httpx.Client) -> None:
    assert client.get("/records/users:1").json()["provenance"]["last_seen_at"] == LAST_LOOK.isoformat()
    assert client.get("/records/users:2").json()["provenance"]["last_seen_at"] is None
    version = client.get("/datasets/users").json()["version"]
    old = client.get("/records/users:1", params={"version": version}).json()
    assert old["provenance"]["last_seen_at"] is None


def test_an_unknown_id_is_404_with_a_problem(client: httpx.Client) -> None:
    answer = client.get("/records/nobody:1")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:tnt:problem:v1:not-found"


def test_an_old_version_has_the_old_content(client: httpx.Client) -> None:
    versions = client.get("/datasets/posts/versions").json()["items"]
    old, new = versions[-1], versions[0]
    for version, title in ((old, "title 7"), (new, "another title")):
        record = client.get("/records/posts:7", params={"version": version["version"]}).json()
        assert record["title"] == title
    at = old["created_at"].replace("+00:00", "Z")
    assert client.get("/records/posts:7", params={"as_of": at}).json()["title"] == "title 7"


def test_as_of_before_a_source_began_leaves_it_out(client: httpx.Client) -> None:
    versions = client.get("/datasets/posts/versions").json()["items"]
    assert set(all_ids(client, as_of=versions[-1]["created_at"], limit=500)) == set(posts(130)["id"])
    answer = client.get("/records", params={"as_of": "2020-01-01"})
    assert answer.status_code == 400
    assert answer.json()["parameter"] == "as_of"


def test_analytics_count_what_is_published(client: httpx.Client) -> None:
    found = client.get("/analytics").json()
    every = pl.concat([posts(130).select("captured_at"), users().select("captured_at")])
    days = every.group_by(pl.col("captured_at").dt.date().cast(pl.String)).len()
    assert found["summary"] == {
        "total_records": 133,
        "total_sources": 2,
        "oldest_record": every["captured_at"].min().isoformat(),
        "newest_record": every["captured_at"].max().isoformat(),
    }
    assert found["by_source"] == {"posts": 130, "users": 3}
    assert found["by_date"] == dict(days.iter_rows())
    assert [day["date"] for day in found["timeline"]] == sorted(found["by_date"])
    assert client.get("/analytics", params={"source": "users"}).json()["summary"]["total_records"] == 3


def test_what_a_client_has_is_not_sent_again(client: httpx.Client) -> None:
    for path in ("/records", "/records/posts:1", "/analytics", "/datasets", "/datasets/posts/data"):
        first = client.get(path)
        again = client.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
        assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


BAD = {
    "limit": ["0", "501", "-1", "ten", "1e3", ""],
    "cursor": ["abc", "!!!", "a" * 6_001, "eyJ2IjoxfQ", HOSTILE, "../../etc/passwd", ""],
    "from": ["yesterday", "2026-13-01", "2026-11-01T10:00:00", "20261101", "", HOSTILE],
    "to": ["2026-02-30", "99999-01-01"],
    "version": ["nothing", "../x", HOSTILE, "a b", ""],
    "as_of": ["soon", "1"],
    "q": ["", "a" * 201, "a\0b"],
    "limt": ["10"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_bad_parameter_is_400_and_named(client: httpx.Client, name: str, value: str) -> None:
    answer = client.get("/records", params={"source": "posts", name: value})
    document = answer.json()
    assert (answer.status_code, document["status"]) == (400, 400), document
    assert name in document["detail"]


def test_a_cursor_of_other_filters_is_refused(client: httpx.Client) -> None:
    cursor = client.get("/records", params={"limit": 2, "source": "posts"}).json()["cursor"]
    answer = client.get("/records", params={"limit": 2, "source": "users", "cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["parameter"] == "cursor"


def test_a_version_needs_a_source(client: httpx.Client) -> None:
    answer = client.get("/records", params={"version": "20261101T080000000000Z-00000000"})
    assert answer.status_code == 400
    assert "source" in answer.json()["detail"]


@pytest.fixture
def changing(tmp_path: Path) -> Lake:
    """A lake that a test publishes into while it is served."""
    lake = Lake(tmp_path)
    lake.publish("posts", by_bucket(posts(40)), ["id"])
    return lake


def served_titles(client: httpx.Client) -> Callable[[], set[str]]:
    return lambda: {r["title"] for r in client.get("/records", params={"limit": 500}).json()["items"]}


def test_a_new_version_is_seen_without_a_restart_and_one_bucket_is_read(changing: Lake) -> None:
    with running(changing.environment) as url, httpx.Client(base_url=url) as client:
        assert "new" not in served_titles(client)()
        changing.publish("posts", by_bucket(posts(40, changed={3: "new"})), ["id"])
        eventually(lambda: "new" in served_titles(client)())


def test_paging_stays_in_its_version_while_others_publish(changing: Lake) -> None:
    with running(changing.environment) as url, httpx.Client(base_url=url) as client:
        first = client.get("/records", params={"limit": 10}).json()
        changing.publish("posts", by_bucket(posts(60, changed={5: "later"})), ["id"])
        eventually(lambda: "later" in served_titles(client)())
        seen, cursor = [record["id"] for record in first["items"]], first["cursor"]
        while cursor:
            page = client.get("/records", params={"limit": 10, "cursor": cursor}).json()
            assert page["versions"] == first["versions"]
            seen += [record["id"] for record in page["items"]]
            cursor = page["cursor"]
        assert seen == sorted(posts(40)["id"])


def test_a_version_that_expired_while_it_was_paged_is_410_with_how_to_go_on(changing: Lake) -> None:
    with running(changing.environment) as url, httpx.Client(base_url=url) as client:
        first = client.get("/records", params={"limit": 10}).json()
    changing.publish("posts", by_bucket(posts(40, changed={5: "later"})), ["id"])
    changing.now += timedelta(days=30)
    changing.store.expire("posts", keep=1, older_than=timedelta(days=1))
    with running(changing.environment) as url, httpx.Client(base_url=url) as client:
        gone = client.get("/records", params={"limit": 10, "cursor": first["cursor"]})
        document = gone.json()
        assert (gone.status_code, document["type"]) == (410, "urn:tnt:problem:v1:version-expired")
        after = client.get("/records", params={"limit": 500, "cursor": document["continue_cursor"]}).json()
        ids = [record["id"] for record in (*first["items"], *after["items"])]
        assert ids == sorted(posts(40)["id"])
        assert after["versions"]["posts"] == document["current_version"]


def test_a_lake_without_records_answers_with_none(tmp_path: Path) -> None:
    with running(Lake(tmp_path).environment) as url, httpx.Client(base_url=url) as client:
        assert client.get("/records").json()["items"] == []
        assert client.get("/analytics").json()["summary"]["total_records"] == 0
        assert client.get("/datasets").json()["items"] == []
        assert client.get("/").status_code == 200


def seen(client: httpx.Client, item: str) -> str | None:
    found: str | None = client.get(f"/records/users:{item}").json()["provenance"]["last_seen_at"]
    return found


@pytest.mark.parametrize("days_apart", [0, 1, 40])
def test_an_item_that_its_source_no_longer_shows_keeps_the_last_time_it_was_seen(
    tmp_path: Path, days_apart: int
) -> None:
    lake = Lake(tmp_path)
    rows = users().with_columns(captured_at=pl.lit(START))
    lake.publish("users", {"bucket=00": rows}, ["id"])
    moments = [START + timedelta(days=days_apart * n, hours=n) for n in range(7)]
    # Everybody; the same again; without 0; refused; the same again; without 1 too; refused again.
    looks = [["0", "1", "2"], None, ["1", "2"], None, None, ["2"], None]
    statuses = ["captured", "unchanged", "captured", "refused", "unchanged", "captured", "still_refused"]
    rows = capture(*zip(moments, looks, strict=True)).with_columns(status=pl.Series(statuses))
    days = rows.with_columns(day=pl.col("captured_at").dt.strftime("%Y-%m-%d"))
    parts = {str(day): part.drop("day") for (day,), part in days.partition_by("day", as_dict=True).items()}
    lake.publish("users/capture", parts, ["captured_at"])
    with running(lake.environment) as url, httpx.Client(base_url=url) as client:
        expected = [moments[1].isoformat(), moments[4].isoformat(), moments[5].isoformat()]
        assert [seen(client, item) for item in "012"] == expected
        assert [seen(client, item) for item in "012"] == expected
        # It comes back, and goes again.
        again = capture((moments[-1] + timedelta(hours=1), ["0"]), (moments[-1] + timedelta(hours=2), ["1"]))
        for row in again.iter_slices(1):
            day = f"{row['captured_at'][0]:%Y-%m-%d}"
            before = lake.store.current("users/capture")
            assert before is not None
            held = before.scan([day]).collect() if before.partition(day) else row.clear()
            lake.publish("users/capture", {day: pl.concat([held, row])}, ["captured_at"])
            at = row["captured_at"][0].isoformat()
            eventually(lambda item=row["item_ids"][0][0], at=at: seen(client, item) == at)
        assert seen(client, "0") == again["captured_at"][0].isoformat()


def test_a_record_of_three_captures_of_the_platform_itself_was_seen_when_the_source_last_showed_it(
    tmp_path: Path,
) -> None:
    with running_records_api() as (address, api):
        scene = RecordsScene(tmp_path, address)
        everybody = api.posts
        scene.run()
        scene.run()
        last = scene.now
        api.posts = everybody[1:]
        scene.run()
        scene.run()
        environment = {"TNT_HOME": str(tmp_path), "TNT_LAKE_URL": scene.lake.url}
        with running(environment) as url, httpx.Client(base_url=url) as client:

            def at(item: int) -> str | None:
                found: str | None = client.get(f"/records/posts:{item}").json()["provenance"]["last_seen_at"]
                return found

            assert at(1) == last.isoformat()
            assert at(2) == scene.now.isoformat()
            assert last.strftime("%H:%M UTC") in client.get("/ui/records/posts:1").text
        assert scene.versions() == 2
