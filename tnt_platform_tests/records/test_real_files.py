"""Answers of the real services, with the figures an independent count gave; skipped where the data isn't there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tnt_platform.sandbox.records_api import RecordsApi, running_records_api
from tnt_platform_tests.paths import SHARED
from tnt_platform_tests.records.scene import RecordsScene, records_spec

pytestmark = pytest.mark.skipif(not (SHARED / "jsonplaceholder").is_dir(), reason="no shared data")

# The people of that file are in an older, flattened form.
FAKE_USERS = {
    "source": {"url": "${POSTS_URL}"},
    "item_id": "username",
    "fields": [
        {"name": "name", "path": "join(' ', [first_name, last_name])"},
        {"name": "email"},
        {"name": "gender"},
        {"name": "postcode", "path": "location.postcode"},
        {"name": "birthdate", "type": "integer"},
    ],
}


def expected(folder: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SHARED / folder / "EXPECTED.json").read_text())["expected"][name]
    return found


@pytest.fixture
def api() -> Iterator[tuple[str, RecordsApi]]:
    with running_records_api(RecordsApi(posts=[])) as running:
        yield running


@pytest.fixture
def posts(tmp_path: Path, api: tuple[str, RecordsApi]) -> RecordsScene:
    api[1].posts = json.loads((SHARED / "jsonplaceholder" / "data.json").read_text())["posts"]
    scene = RecordsScene(tmp_path, api[0])
    scene.run()
    return scene


def test_the_posts_have_the_figures_of_an_independent_count(posts: RecordsScene) -> None:
    facts = expected("jsonplaceholder", "data.json")
    rows = posts.rows()
    assert rows.height == facts["posts"]
    assert rows["id"].n_unique() == facts["posts_unique_ids"]
    assert rows["item_id"].cast(pl.Int64).sum() == facts["sum_ids"]
    per_user = rows.group_by("userId").len().sort("userId")
    assert {str(user): count for user, count in per_user.iter_rows()} == facts["posts_per_user"]
    assert rows["body"].str.count_matches("\n").sum() == facts["posts_body_newlines"]
    assert rows["title"].str.len_chars().sum() == facts["posts_title_chars"]
    assert rows["body"].str.len_chars().sum() == facts["posts_body_chars"]


@pytest.mark.heavy
def test_the_same_posts_100_times_are_the_same_records_and_no_new_version(posts: RecordsScene) -> None:
    first, version = posts.rows(), posts.current().version
    for _ in range(99):
        posts.run()
    assert posts.rows().equals(first)
    assert posts.current().version == version
    assert posts.rows("capture").height == 100
    assert len(posts.raw_keys()) == 1


def test_one_changed_post_changes_one_record(posts: RecordsScene, api: tuple[str, RecordsApi]) -> None:
    before = posts.rows()
    api[1].posts = [
        {**post, "body": post["body"] + "!"} if post["id"] == 99 else post for post in api[1].posts
    ]
    posts.run()
    assert posts.rows().join(before, on=before.columns, how="anti")["id"].to_list() == ["posts:99"]
    assert posts.rows().height == 100
    assert posts.current().manifest.changelog.updated == 1


def test_the_users_have_the_figures_of_an_independent_count(
    tmp_path: Path, api: tuple[str, RecordsApi]
) -> None:
    facts = expected("randomuser", "randomuser.json")
    api[1].posts = json.loads((SHARED / "randomuser" / "randomuser.json").read_text())
    scene = RecordsScene(tmp_path, api[0], spec=records_spec(FAKE_USERS, "users"))
    scene.run()
    rows = scene.rows()
    assert rows.height == facts["records"]
    assert rows["id"].n_unique() == facts["unique_username"]
    assert rows["email"].n_unique() == facts["unique_email"]
    assert dict(rows.group_by("gender").len().iter_rows()) == facts["gender"]
    assert rows.filter(~pl.col("name").str.contains(r"^[\x00-\x7f]*$")).height == facts["non_ascii_names"]
    assert sum(rows.select(pl.all().null_count()).row(0)) == facts["null_fields"]
    written = {user["username"]: str(user["location"]["postcode"]) for user in api[1].posts}
    assert dict(rows.select("item_id", "postcode").iter_rows()) == written
