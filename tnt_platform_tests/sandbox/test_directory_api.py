"""The stand-in directory pages as the real one does, and fails as it might; its records are dirty as real ones."""

from __future__ import annotations

import html
import http.client
import json
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from tnt_platform.errors import ConfigError, Unavailable
from tnt_platform.sandbox.directory_api import DirectoryApi, DirectoryFaults, running_directory
from tnt_platform.sandbox.directory_records import (
    DINING_NAMES,
    DIRT,
    FIELDS,
    ODD_FLOORS,
    PROSE_HOURS,
    Record,
    directory_records,
    next_month,
)

KEY = {"X-Apig-AppCode": "sandbox"}
RECORDS = [{"uniqueId": f"T{number}", "shopNameThai": "กาแฟ"} for number in range(25)]


def get(url: str, query: str, headers: Mapping[str, str] = KEY) -> tuple[int, Mapping[str, str], bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("GET", f"{address.path}?{query}", headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def page(url: str, number: int) -> dict[str, Any]:
    status, _, body = get(url, f"page={number}&limit=10")
    assert status == 200
    return json.loads(body)


def ids(answer: Mapping[str, Any]) -> list[str]:
    return [record["uniqueId"] for record in answer["data"]]


def test_records_come_in_pages_and_behind_the_last_there_is_an_empty_one():
    with running_directory(DirectoryApi(RECORDS)) as site:
        answers = [page(site.url, number) for number in (1, 2, 3, 4)]
        assert site.api.answers == {(number, 200): 1 for number in (1, 2, 3, 4)}
    assert [record for answer in answers for record in answer["data"]] == RECORDS
    assert [len(answer["data"]) for answer in answers] == [10, 10, 5, 0]
    assert {key: answers[1][key] for key in ("totalRecord", "page", "limit", "totalPages")} == {
        "totalRecord": 25,
        "page": 2,
        "limit": 10,
        "totalPages": 3,
    }


@pytest.mark.parametrize("query", ["", "page=one", "page=0", "page=1&limit=0", "page=1&limit=100000"])
def test_an_odd_query_is_a_bad_request(query):
    with running_directory(DirectoryApi(RECORDS)) as site:
        assert get(site.url, query)[0] == 400


def test_only_who_has_the_code_and_the_cookies_gets_in():
    with running_directory(DirectoryApi(RECORDS, app_code="s3", cookies={"sid": "c1"})) as site:
        assert get(site.url, "page=1", {"X-Apig-AppCode": "s3", "Cookie": "lang=th; sid=c1"})[0] == 200
        for headers in ({}, {"X-Apig-AppCode": "s3"}, {"X-Apig-AppCode": "no", "Cookie": "sid=c1"}):
            assert get(site.url, "page=1", headers)[0] == 401


def test_one_page_is_spoiled_as_often_as_told_and_the_others_are_not():
    faults = DirectoryFaults("throttle", page=2, first=2, retry_after_s=7)
    with running_directory(DirectoryApi(RECORDS, faults)) as site:
        answers = [get(site.url, "page=2") for _ in range(3)]
        assert get(site.url, "page=1")[0] == 200
        site.api.faults = DirectoryFaults("server_error")
        assert [get(site.url, f"page={number}")[0] for number in (1, 2, 3)] == [500] * 3
    assert [status for status, _, _ in answers] == [429, 429, 200]
    assert answers[0][1]["Retry-After"] == "7"


def test_each_other_way_to_spoil_a_page():
    with running_directory(DirectoryApi(RECORDS, DirectoryFaults("invalid_json"))) as site:
        with pytest.raises(json.JSONDecodeError):
            page(site.url, 1)
        site.api.faults = DirectoryFaults("html")
        assert b"<title>Maintenance</title>" in get(site.url, "page=1")[2]
        site.api.faults = DirectoryFaults("huge", huge_bytes=100_000)
        body = get(site.url, "page=1&limit=10")[2]
        assert (len(body), ids(json.loads(body))[0]) == (100_000, "T0")
        site.api.faults = DirectoryFaults("other_page")
        assert page(site.url, 2)["page"] == 1
        site.api.faults = DirectoryFaults("other_limit")
        halved = page(site.url, 2)
        assert (halved["limit"], halved["totalPages"], ids(halved)[0]) == (5, 5, "T5")
        site.api.faults = DirectoryFaults("slow", slow_s=0.05)
        assert ids(page(site.url, 3)) == ["T20", "T21", "T22", "T23", "T24"]
        for kind, status in (("unauthorized", 401), ("not_found", 404)):
            site.api.faults = DirectoryFaults(kind)
            assert get(site.url, "page=1")[0] == status


def test_totals_lie_as_told():
    with running_directory(
        DirectoryApi(RECORDS, DirectoryFaults(total_pages_off=-1, total_records_off=4))
    ) as site:
        answer = page(site.url, 1)
    assert (answer["totalRecord"], answer["totalPages"], len(answer["data"])) == (29, 2, 10)


def test_a_record_stands_on_two_pages_with_the_same_or_another_content():
    with running_directory(DirectoryApi(RECORDS, DirectoryFaults(repeat="same"))) as site:
        same = page(site.url, 3)
        site.api.faults = DirectoryFaults(repeat="changed")
        changed = page(site.url, 3)
    assert (same["totalRecord"], same["data"][-1]) == (26, RECORDS[0])
    assert changed["data"][-1]["uniqueId"] == "T0"
    assert changed["data"][-1] != RECORDS[0]


@pytest.mark.parametrize(("shift", "second", "total"), [("insert", "T9", 26), ("remove", "T11", 24)])
def test_pages_shift_in_the_first_reading_and_stand_still_in_the_next(shift, second, total):
    with running_directory(DirectoryApi(RECORDS, DirectoryFaults(shift=shift))) as site:
        first = [page(site.url, number) for number in (1, 2, 3)]
        again = [page(site.url, number) for number in (1, 2, 3)]
    assert [answer["totalRecord"] for answer in first] == [25, total, total]
    assert ids(first[1])[0] == second
    assert [answer["totalRecord"] for answer in again] == [total] * 3
    assert len({unique_id for answer in again for unique_id in ids(answer)}) == total


def test_stale_totals_hide_a_shift_until_the_next_reading():
    faults = DirectoryFaults(shift="insert", shift_after=2, stale_totals=True)
    with running_directory(DirectoryApi(RECORDS, faults)) as site:
        first = [page(site.url, number)["totalRecord"] for number in (1, 2, 3)]
        again = page(site.url, 1)["totalRecord"]
    assert (first, again) == ([25, 25, 25], 26)


def test_other_records_are_served_from_then_on():
    with running_directory(DirectoryApi([])) as site:
        empty = page(site.url, 1)
        site.api.serve(RECORDS[:3])
        assert not site.api.answers
        assert ids(page(site.url, 1)) == ["T0", "T1", "T2"]
    assert (empty["totalRecord"], empty["totalPages"], empty["data"]) == (0, 0, [])


def test_an_unknown_fault_is_refused_and_a_taken_port_is_said():
    for wrong in ({"kind": "flood"}, {"repeat": "often"}, {"shift": "left"}):
        with pytest.raises(ConfigError, match=r"flood|often|left"):
            DirectoryFaults(**wrong)
    with running_directory(DirectoryApi([])) as site:
        port = urlsplit(site.url).port or 0
        with (
            pytest.raises(Unavailable, match=f"port {port}"),
            running_directory(DirectoryApi([]), port=port),
        ):
            pass


def test_the_same_seed_makes_the_same_directory_and_next_month():
    first, again = (directory_records(200, random.Random(3)) for _ in range(2))
    assert first == again != directory_records(200, random.Random(4))
    assert next_month(first, random.Random(5)) == next_month(again, random.Random(5))


def test_clean_records_have_every_field_as_text_in_three_languages():
    records = directory_records(300, random.Random(1), dirt=0)
    extra = {"shopNameChinese"}
    assert all(set(FIELDS) <= set(record) <= {*FIELDS, *extra} for record in records)
    assert all(type(record[name]) is str for record in records for name in FIELDS if name != "status")
    assert {type(record["status"]) for record in records} == {bool}
    assert len({record["uniqueId"] for record in records}) == 300
    assert 30 < sum(bool(record.get("shopNameChinese")) for record in records) < 200
    assert 80 < sum(record["categoryNameEn"] in DINING_NAMES for record in records) < 160
    assert all(any("\u0e00" <= char <= "\u0e7f" for char in str(r["shopNameThai"])) for r in records)


def test_every_kind_of_dirt_occurs_about_as_often_as_told():
    records = directory_records(2_000, random.Random(2), dirt=0.4)

    def depth(text: str, times: int = 0) -> int:
        plain = html.unescape(text)
        return times if plain == text else depth(plain, times + 1)

    depths = Counter(depth(str(record["descriptionEn"])) for record in records)
    has_kind: dict[str, Any] = {
        "entities": lambda r: depth(str(r["descriptionEn"])) > 0,
        "escapes": lambda r: "\\u0e" in str(r["shopNameThai"]),
        "markup": lambda r: str(r["categoryNameEn"]).startswith("<"),
        "odd_floor": lambda r: r["floor"] in ODD_FLOORS,
        "prose_hours": lambda r: r["openingHours"] in PROSE_HOURS,
        "missing_id": lambda r: not (r.get("uniqueId") and r.get("tenantId")),
        "no_name": lambda r: not (r["brandNameEn"] or r["shopNameEnglish"] or r["shopNameThai"]),
        "numbers": lambda r: type(r["unit"]) is type(r["tel"]) is int,
    }
    assert set(has_kind) == set(DIRT)
    assert set(depths) == {0, 1, 2, 3}
    counts = {kind: sum(map(test, records)) for kind, test in has_kind.items()}
    assert all(60 < count < 140 for count in counts.values()), counts


def by_id(records: list[Record]) -> dict[object, Record]:
    return {record["uniqueId"]: record for record in records if record.get("uniqueId")}


def test_a_month_later_some_opened_closed_moved_were_renamed_or_changed_their_hours():
    records = directory_records(1_000, random.Random(7))
    copies = [dict(record) for record in records]
    later = next_month(records, random.Random(8))
    assert records == copies
    old, new = by_id(records), by_id(later)
    kept = old.keys() & new.keys()

    def changed(name: str) -> list[object]:
        return [key for key in kept if old[key].get(name) != new[key].get(name)]

    assert len(old.keys() - new.keys()) == 30
    assert len(later) == 1_000
    moved = changed("categoryNameEn")
    assert len(moved) == 10
    assert all(new[key]["categoryNameEn"] in DINING_NAMES for key in moved)
    assert not any(old[key]["categoryNameEn"] in DINING_NAMES for key in moved)
    assert (len(changed("shopNameEnglish")), len(changed("openingHours"))) == (10, 20)
    opened = new.keys() - old.keys()
    assert len(opened) == 30
    assert min(opened) > max(old)
    assert sorted(opened) != [record.get("uniqueId") for record in later[-30:]]


def test_an_empty_or_tiny_directory_has_a_next_month_too():
    assert len(next_month([], random.Random(1))) == 1
    (only,) = directory_records(1, random.Random(1), dirt=0)
    assert {record["uniqueId"] for record in next_month([only], random.Random(1))} >= {"MD-0000002"}
