"""An API's answer is a list of items, or is refused with the reason."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.errors import InvalidInput
from tnt_platform.records.readers.items import read_items

COUNTED = ("results", "info.results")


def refusal(data: bytes, paths: tuple[str, str | None] = COUNTED) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        read_items(data, *paths)
    return raised.value


def answer(items: object, count: object) -> bytes:
    return json.dumps({"results": items, "info": {"results": count}}).encode()


def test_the_items_are_found_where_the_path_says() -> None:
    assert read_items(b'[{"id": 1}, 2]') == [{"id": 1}, 2]
    assert read_items(answer(["a"], 1), *COUNTED) == ["a"]
    assert read_items(b"[]") == []


@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_any_unicode_is_read(mark: str) -> None:
    assert read_items('["Zoé"]'.encode(mark)) == ["Zoé"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_json"),
        (b"\xff\xfe\xff", "not_json"),
        (b'{"results": [1', "not_json"),
        (b'{"results": [NaN], "info": {"results": 1}}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"<!DOCTYPE html><html><head><title>503</title></head></html>", "html_page"),
        (b'{"error": "Uh oh"}', "no_items"),
        (b'{"results": {"0": 1}}', "no_items"),
        (b"null", "no_items"),
        (b'"busy"', "no_items"),
        (answer([1], None), "no_count"),
        (answer([1], "1"), "no_count"),
        (answer([1], True), "no_count"),
        (answer([1, 2], 3), "fewer_items"),
        (answer([1, 2], 1), "more_items"),
    ],
)
def test_what_is_not_the_answer_is_refused_with_its_reason(data: bytes, code: str) -> None:
    assert refusal(data).reason_code == code


def test_a_refusal_says_what_the_answer_has_instead() -> None:
    assert "error, status" in str(refusal(b'{"status": 500, "error": "x"}'))
    assert "daily threshold" in str(
        refusal(b'{"status": "NO", "message": ["daily threshold reached"], "results": {}}')
    )
    assert "not valid" in str(refusal(b'[{"message": [{"id": "120", "value": "the value is not valid"}]}]'))
    assert re.findall(r"\d+", str(refusal(answer([1, 2], 3)))) == ["2", "3"]


@given(data=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_items_or_a_refusal(data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        assert isinstance(read_items(data), list)
