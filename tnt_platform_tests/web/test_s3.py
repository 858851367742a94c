"""The API and the dashboard over a lake on S3: the same answers as over a folder, for few requests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import boto3
import httpx
import pytest

from tnt_platform_tests.aws_emulator import KEYS, moto_url
from tnt_platform_tests.s3_server import S3Server
from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import Lake, by_bucket, furnished, posts
from tnt_platform_tests.web.test_browser import PAGES
from tnt_platform_tests.web.waiting import eventually

__all__ = ["moto_url"]
API = (
    "/records?limit=500",
    "/records?q=title%207&from=2026-11-01&to=2026-11-20",
    "/records?source=posts&version={posts}",
    "/records?as_of={posts_at}",
    "/records/users:1",
    "/records/posts:7?version={posts}",
    "/analytics",
    "/analytics?source=posts&version={posts}",
    "/datasets",
    "/datasets/transit/results",
    "/datasets/posts?version={posts}",
    "/datasets/posts/versions",
    "/datasets/transit/results/data?limit=500&where=lag_days:ge:1",
    "/datasets/posts/data?version={posts}&columns=id,title",
    "/datasets/prices/diff",
    "/datasets/transit/results/quarantine",
    "/datasets/transit/results/data?format=csv",
    "/datasets/transit/results/data?format=json",
    "/datasets/prices/data?format=parquet",
)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    server = S3Server().start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def on_s3(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    home = tmp_path_factory.mktemp("on-s3")
    return furnished(home, url=f"{s3.url}/some/prefix", options=s3.options)


def filled(path: str, client: httpx.Client) -> str:
    """A path with the oldest versions in its placeholders."""
    oldest = {
        name: client.get(f"/datasets/{name}/versions").json()["items"][-1] for name in ("posts", "prices")
    }
    plot = urlencode({"dataset": "prices", "code": "PRICE_INDEX_M", "compare": oldest["prices"]["version"]})
    at = urlencode({"as_of": oldest["posts"]["created_at"]}).removeprefix("as_of=")
    return path.format(posts=oldest["posts"]["version"], posts_at=at, plot=plot)


def answers(environment: Mapping[str, str]) -> dict[str, tuple[int, bytes]]:
    """Every address of the API, and its answer."""
    with running(environment) as url, httpx.Client(base_url=url, timeout=60) as client:
        found = {path: client.get(filled(path, client)) for path in API}
        pages = {path: client.get(filled(path, client)) for path in PAGES.values()}
    assert {path: page.status_code for path, page in pages.items()} == {
        path: 404 if path == "/ui/nothing" else 200 for path in PAGES.values()
    }
    return {path: (answer.status_code, answer.content) for path, answer in found.items()}


@pytest.mark.parametrize("server", ["s3_server", "moto"])
def test_every_address_answers_as_over_a_folder(
    server: str, lake: Lake, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if server == "moto":
        options = {"endpoint": request.getfixturevalue("moto_url"), **KEYS}
        reached = {"endpoint_url": options["endpoint"], "region_name": KEYS["region"]}
        keys = {f"aws_{name}": KEYS[name] for name in ("access_key_id", "secret_access_key")}
        boto3.client("s3", **reached, **keys).create_bucket(Bucket="web-lake")
        there = furnished(tmp_path, url="s3://web-lake/some/prefix", options=options)
    else:
        there = request.getfixturevalue("on_s3")
    expected, found = answers(lake.environment), answers(there.environment)
    assert {status for status, _ in expected.values()} == {200}
    for path in API:
        if "parquet" not in path:
            assert found[path] == expected[path], path
    path = "/datasets/prices/data?format=parquet"
    assert found[path][1][:4] == expected[path][1][:4] == b"PAR1"


def test_paging_keeps_to_its_version_while_another_is_published(s3: S3Server, tmp_path: Path) -> None:
    lake = Lake(tmp_path, f"{s3.url}/paging", s3.options)
    lake.publish("posts", by_bucket(posts(60)), ["id"])
    with running(lake.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        page = client.get("/records", params={"limit": 10}).json()
        seen = [record["id"] for record in page["items"]]
        lake.publish("posts", by_bucket(posts(90, changed={5: "later"})), ["id"])
        eventually(lambda: "later" in client.get("/records", params={"limit": 500}).text)
        while page["cursor"]:
            page = client.get("/records", params={"limit": 10, "cursor": page["cursor"]}).json()
            seen += [record["id"] for record in page["items"]]
        assert seen == sorted(posts(60)["id"])


def test_a_page_that_was_seen_before_costs_one_look_at_each_pointer(s3: S3Server, on_s3: Lake) -> None:
    with running(on_s3.environment) as url, httpx.Client(base_url=url, timeout=60) as client:
        paths = [filled(path, client) for path in (*PAGES.values(), *API) if "/data" not in path]
        first = {path: client.get(path).status_code for path in paths}
        datasets = len(client.get("/datasets").json()["items"])
        time.sleep(1.1)
        s3.counts.clear()
        started = time.monotonic()
        assert {path: client.get(path).status_code for path in paths} == first
        looks = 1 + int(time.monotonic() - started)
        assert set(s3.counts) <= {"GetObject"}, "nothing is listed"
        assert s3.counts["GetObject"] <= datasets * looks


def test_a_dataset_that_is_new_is_read_at_once_by_its_name(s3: S3Server, tmp_path: Path) -> None:
    lake = Lake(tmp_path, f"{s3.url}/new", s3.options)
    with running(lake.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        assert client.get("/datasets").json()["items"] == []
        lake.publish("posts", by_bucket(posts(3)), ["id"])
        assert client.get("/datasets/posts").json()["rows"] == 3


def test_what_expired_on_s3_is_410_with_how_to_go_on(s3: S3Server, tmp_path: Path) -> None:
    lake = Lake(tmp_path, f"{s3.url}/expiring", s3.options)
    old = lake.publish("posts", by_bucket(posts(40)), ["id"])
    lake.publish("posts", by_bucket(posts(40, changed=dict.fromkeys(range(1, 41), "x"))), ["id"])
    with running(lake.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        page = client.get("/datasets/posts/data", params={"version": old.version, "limit": 5}).json()
        lake.now += timedelta(days=30)
        lake.store.expire("posts", keep=1, older_than=timedelta(days=1))
        again = {"version": old.version, "limit": 5, "cursor": page["cursor"]}
        gone = client.get("/datasets/posts/data", params=again)
        assert gone.status_code == 410, gone.text
        assert gone.json()["type"].endswith(":version-expired")
        assert client.get(
            "/datasets/posts/data", params={**again, "cursor": None, "format": "csv"}
        ).is_client_error


def test_a_lake_that_cannot_be_reached_is_503_and_not_ready(tmp_path: Path) -> None:
    nothing = {"endpoint": "http://127.0.0.1:1", **KEYS}
    lake = Lake(tmp_path, "s3://lake/gone", nothing)
    with running(lake.environment) as url, httpx.Client(base_url=url, timeout=60) as client:
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
