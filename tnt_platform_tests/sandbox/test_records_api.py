"""The stand-in for posts and people answers as the real services do, and spoils what it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tnt_platform.errors import ConfigError
from tnt_platform.sandbox.records_api import (
    KINDS,
    RecordsApi,
    RecordsFaults,
    running_records_api,
    sample_posts,
    sample_users,
)


@pytest.fixture
def api() -> Iterator[tuple[str, RecordsApi]]:
    with running_records_api(RecordsApi(faults=RecordsFaults(slow_s=0.05))) as running:
        yield running


def get(url: str, **headers: str) -> tuple[int, bytes, Any]:
    try:
        with urlopen(Request(url, headers=headers), timeout=5) as response:
            return response.status, response.read(), response.headers
    except HTTPError as error:
        return error.code, error.read(), error.headers


def put(url: str, content: object) -> int:
    try:
        with urlopen(Request(url, json.dumps(content).encode(), method="PUT"), timeout=5) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


def test_posts_are_as_jsonplaceholder_gives_them(api: tuple[str, RecordsApi]) -> None:
    _, body, headers = get(f"{api[0]}/posts")
    posts = json.loads(body)
    assert [post["id"] for post in posts] == list(range(1, 101))
    assert set(posts[0]) == {"userId", "id", "title", "body"}
    assert get(f"{api[0]}/posts", **{"If-None-Match": headers["ETag"]})[0] == 304
    assert api[1].answers == {("/posts", 200): 1, ("/posts", 304): 1}


def test_people_are_others_at_each_request_unless_they_are_to_stay(api: tuple[str, RecordsApi]) -> None:
    first, second = (json.loads(get(f"{api[0]}/api/?results=10")[1]) for _ in range(2))
    assert len(first["results"]) == first["info"]["results"] == 10
    assert first != second
    api[1].same_people = True
    assert get(f"{api[0]}/api/")[1] == get(f"{api[0]}/api/")[1]
    assert get(f"{api[0]}/api/?results=no")[0] == 400


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_spoils_the_answers_it_is_meant_for(api: tuple[str, RecordsApi], kind: str) -> None:
    sound = get(f"{api[0]}/posts")[1]
    assert put(f"{api[0]}/faults", {"kind": kind, "first": 1, "slow_s": 0.05}) == 200
    status, spoilt, _ = get(f"{api[0]}/posts")
    assert (status, spoilt) != (200, sound) or kind == "slow"
    assert get(f"{api[0]}/posts")[:2] == (200, sound)


def test_what_is_served_can_be_changed_from_outside(api: tuple[str, RecordsApi]) -> None:
    assert put(f"{api[0]}/posts", sample_posts(3)) == 200
    assert len(json.loads(get(f"{api[0]}/posts")[1])) == 3


def test_an_unknown_fault_is_refused(api: tuple[str, RecordsApi]) -> None:
    with pytest.raises(ConfigError, match="server_error"):
        RecordsFaults("boredom")
    assert put(f"{api[0]}/faults", {"kind": "boredom"}) == 400


def test_samples_are_the_same_for_the_same_seed() -> None:
    assert sample_posts(20, seed=1) == sample_posts(20, seed=1) != sample_posts(20, seed=2)
    users = sample_users(200, seed=3)
    assert users == sample_users(200, seed=3)
    assert len({user["login"]["uuid"] for user in users}) == 200
    assert {type(user["location"]["postcode"]) for user in users} == {int, str}
