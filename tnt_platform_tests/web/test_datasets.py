"""`/datasets` and what is below it, over HTTP."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest

from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import HOSTILE, START, Lake, by_bucket, posts, transit_results

ALL_DATASETS = [
    "daily_report/files",
    "mall/tenants",
    "posts",
    "posts/summary",
    "prices",
    "transit/daily_summary",
    "transit/results",
    "users",
    "users/capture",
]
DAY = START.date()


def test_every_dataset_is_listed_also_one_below_another(client: httpx.Client) -> None:
    found = client.get("/datasets").json()
    assert [one["dataset"] for one in found["items"]] == ALL_DATASETS
    assert found["cursor"] is None


def test_the_list_is_paged(client: httpx.Client) -> None:
    first = client.get("/datasets", params={"limit": 5}).json()
    rest = client.get("/datasets", params={"limit": 5, "cursor": first["cursor"]}).json()
    assert [one["dataset"] for one in (*first["items"], *rest["items"])] == ALL_DATASETS


def test_a_dataset_with_a_slash_in_its_id_is_described(client: httpx.Client) -> None:
    found = client.get("/datasets/transit/results").json()
    assert found["rows"] == 14 * 120
    assert found["rows_in"] == found["rows"] + found["quarantined"]
    assert found["key"] == ["test_id"]
    assert found["columns"]["lag_days"] == "Int64"


def test_versions_are_newest_first_and_paged(client: httpx.Client) -> None:
    whole = client.get("/datasets/posts/versions").json()["items"]
    assert [one["updated"] for one in whole] == [1, 0]
    first = client.get("/datasets/posts/versions", params={"limit": 1}).json()
    rest = client.get("/datasets/posts/versions", params={"limit": 1, "cursor": first["cursor"]}).json()
    assert [first["items"][0], rest["items"][0]] == whole
    assert rest["cursor"] is None


def test_rows_are_paged_once_each(client: httpx.Client) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 333, "columns": "test_id", **({"cursor": cursor} if cursor else {})}
        page = client.get("/datasets/transit/results/data", params=params).json()
        seen += [row["test_id"] for row in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 14 * 120


def test_conditions_and_a_partition_choose_rows(client: httpx.Client) -> None:
    expected = transit_results(DAY).filter(pl.col("lag_days") > 0, pl.col("shipper_id") == HOSTILE)
    params = {
        "partition": f"{DAY}",
        "where": ["lag_days:gt:0", f"shipper_id:eq:{HOSTILE}"],
        "columns": "test_id,lag_days",
        "limit": "7",
    }
    seen: list[dict[str, object]] = []
    while True:
        page = client.get("/datasets/transit/results/data", params=params).json()
        seen += page["items"]
        if page["cursor"] is None:
            break
        params["cursor"] = page["cursor"]
    assert seen == expected.select("test_id", "lag_days").to_dicts()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("name:contains:<script>", 1),
        ("captured_at:ge:2026-11-02T00:00:00+00:00", 2),
        ("gender:null:true", 3),
        ("item_index:ne:0", 2),
    ],
)
def test_each_operator_compares_in_the_type_of_its_column(
    client: httpx.Client, where: str, expected: int
) -> None:
    assert client.get("/datasets/users/data", params={"where": where}).json()["count"] == expected


@pytest.mark.parametrize(
    "params",
    [
        {"columns": "nothing"},
        {"where": "lag_days"},
        {"where": "lag_days:gt:x"},
        {"where": "lag_days:like:1"},
        {"where": "nothing:eq:1"},
        {"where": "lag_days:contains:1"},
        {"where": "success:eq:maybe"},
        {"partition": "1999-01-01"},
        {"format": "xlsx"},
        {"format": "csv", "limit": "5"},
        {"cursor": "AAAA"},
        {"version": "never"},
        {"as_of": "1999-01-01"},
        {"rows": "all"},
    ],
)
def test_a_bad_question_is_400(client: httpx.Client, params: dict[str, str]) -> None:
    answer = client.get("/datasets/transit/results/data", params=params)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert next(iter(params)) in answer.json()["detail"]


def test_a_download_holds_every_row_in_each_format(client: httpx.Client) -> None:
    expected = posts(130, changed={7: "another title"}).sort("id")
    url = "/datasets/posts/data"
    parquet = client.get(url, params={"format": "parquet"})
    assert pl.read_parquet(io.BytesIO(parquet.content)).sort("id").equals(expected)
    assert parquet.headers["content-disposition"].startswith('attachment; filename="posts-2026')
    rows = client.get(url, params={"format": "json"}).json()
    assert sorted(row["id"] for row in rows) == expected["id"].to_list()
    text = client.get(url, params={"format": "csv", "columns": "id,title"}).text
    assert max(csv.reader(io.StringIO(text))) == ["posts:99", "title 99"]
    assert len(text.splitlines()) == 131


def test_a_list_is_json_text_in_csv(client: httpx.Client) -> None:
    text = client.get("/datasets/daily_report/files/data", params={"format": "csv"}).text
    row = next(csv.DictReader(io.StringIO(text)))
    assert json.loads(row["columns"]) == {"columns": ["id", "amount"]}


def test_a_download_without_a_row_is_still_a_file(client: httpx.Client) -> None:
    params = {"where": "id:eq:nobody", "columns": "id,title"}
    assert client.get("/datasets/posts/data", params={**params, "format": "csv"}).text == "id,title\n"
    assert client.get("/datasets/posts/data", params={**params, "format": "json"}).json() == []
    body = client.get("/datasets/posts/data", params={**params, "format": "parquet"}).content
    assert pl.read_parquet(io.BytesIO(body)).shape == (0, 2)


def test_a_diff_names_the_column_that_changed(client: httpx.Client) -> None:
    found = client.get("/datasets/posts/diff").json()
    assert (found["added"], found["updated"], found["removed"]) == (0, 1, 0)
    changes = {one["column"]: (one["before"], one["after"]) for one in found["items"][0]["changed"]}
    assert changes["title"] == ("title 7", "another title")


def test_a_diff_goes_both_ways_and_is_paged(client: httpx.Client) -> None:
    new, old = [one["version"] for one in client.get("/datasets/mall/tenants/versions").json()["items"]]
    there = client.get("/datasets/mall/tenants/diff", params={"from": old, "to": new}).json()
    back = client.get("/datasets/mall/tenants/diff", params={"from": new, "to": old}).json()
    assert (there["added"], there["removed"]) == (back["removed"], back["added"]) == (1, 1)
    first = client.get("/datasets/mall/tenants/diff", params={"limit": 2}).json()
    rest = client.get("/datasets/mall/tenants/diff", params={"limit": 2, "cursor": first["cursor"]}).json()
    assert [*first["items"], *rest["items"]] == there["items"]


def test_the_only_version_has_nothing_to_be_compared_with(client: httpx.Client) -> None:
    answer = client.get("/datasets/users/diff")
    assert answer.status_code == 400
    assert answer.json()["parameter"] == "from"


def test_refused_rows_come_with_their_reasons(client: httpx.Client) -> None:
    found = client.get("/datasets/transit/results/quarantine").json()
    assert found["by_reason"] == {"bad_days": 2, "bad_postal_code": 2}
    assert HOSTILE in [row["raw"] for row in found["items"]]
    one = client.get("/datasets/transit/results/quarantine", params={"reason_code": "bad_days"}).json()
    assert [row["line_no"] for row in one["items"]] == [2, 3]


@pytest.mark.parametrize("path", ["", "/versions", "/data", "/diff", "/quarantine"])
@pytest.mark.parametrize(
    "dataset",
    [
        "nothing",
        "..%2f..%2fetc",
        "%2e%2e/%2e%2e/etc",
        "a//b",
        "posts/",
        "index",
        HOSTILE.replace("/", "%2f"),
        "%00",
    ],
)
def test_an_unknown_dataset_is_404_whatever_its_name(client: httpx.Client, dataset: str, path: str) -> None:
    answer = client.get(f"/datasets/{dataset}{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_version_that_expires_between_two_pages_is_410(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.publish("posts", by_bucket(posts(40)), ["id"])
    with running(lake.environment) as url, httpx.Client(base_url=url) as client:
        first = client.get("/datasets/posts/data", params={"limit": 5}).json()
        lake.publish("posts", by_bucket(posts(40, changed=dict.fromkeys(range(1, 41), "x"))), ["id"])
        lake.now += timedelta(days=30)
        lake.store.expire("posts", keep=1, older_than=timedelta(days=1))
        answer = client.get("/datasets/posts/data", params={"limit": 5, "cursor": first["cursor"]})
        assert answer.status_code == 410
        assert answer.json()["current_version"] == lake.store.current("posts").version  # type: ignore[union-attr]


def test_files_with_other_columns_are_paged_in_their_order(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    wide = {"b": pl.DataFrame({"id": ["b1", "b2"], "more": [1, 2]})}
    narrow = {name: pl.DataFrame({"id": [f"{name}1", f"{name}2"]}) for name in ("a", "c")}
    lake.publish("odd", {**narrow, **wide}, ["id"])
    with running(lake.environment) as url, httpx.Client(base_url=url) as client:
        seen, cursor = [], None
        while True:
            page = client.get(
                "/datasets/odd/data", params={"limit": 1, **({"cursor": cursor} if cursor else {})}
            ).json()
            seen += [row["id"] for row in page["items"]]
            if (cursor := page["cursor"]) is None:
                break
        assert sorted(seen) == ["a1", "a2", "b1", "b2", "c1", "c2"]


@pytest.mark.parametrize(
    "name",
    [
        "0" * 300,
        "é" * 200,
        "posts/" + "x" * 256,
        "posts/index/current_version.txt/x",
        "posts/index/current_version.txt",
        "a/" * 140 + "a",
    ],
)
@pytest.mark.parametrize("rest", ["", "/versions", "/data", "/diff", "/quarantine"])
def test_a_name_that_no_dataset_can_have_is_404(client: httpx.Client, name: str, rest: str) -> None:
    answer = client.get(f"/datasets/{name}{rest}")
    assert answer.status_code == 404, answer.text
