"""Pages are read strictly, and pages that are not one whole state of the directory are noticed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tnt_platform.directory.transforms.pages import (
    Page,
    PageFault,
    RepeatedId,
    completeness,
    is_whole,
    read_page,
)

RESPONSE = {"totalRecord": 5, "page": 2, "limit": 3, "totalPages": 2, "data": [{"uniqueId": "A"}, {}]}


def body_of(**changes: object) -> bytes:
    return json.dumps({**RESPONSE, **changes}, ensure_ascii=False).encode()


def pages_of(records: Sequence[object], limit: int = 3, **wrong: int) -> list[Page]:
    """Split records into the pages of a directory at rest, followed by the empty page behind them."""
    last = -(-len(records) // limit)
    totals = {"total_records": len(records), "total_pages": last, **wrong}
    return [
        Page(number, limit, records=tuple(records[(number - 1) * limit : number * limit]), **totals)
        for number in range(1, last + 2)
    ]


def tenants(count: int) -> list[object]:
    return [{"uniqueId": f"T{number}", "floor": "GF"} for number in range(count)]


def codes(pages: Sequence[Page]) -> list[str]:
    return [problem.code for problem in completeness(pages)]


def test_a_page_is_read_with_its_totals_and_records_of_any_kind():
    found = read_page(b"\xef\xbb\xbf " + body_of(data=[{"shopNameThai": "กาแฟ", "x": 1}, None, "?"]), 2, 3)
    assert found == Page(2, 3, 5, 2, ({"shopNameThai": "กาแฟ", "x": 1}, None, "?"))
    assert read_page(body_of(), 2) == read_page(body_of(), 2, 3)


@pytest.mark.parametrize(
    ("body", "reason_code", "named"),
    [
        (b"", "invalid_json", "empty"),
        (body_of()[:-9], "invalid_json", "char"),
        (body_of().replace(b'"A"', b"NaN"), "invalid_json", "NaN"),
        (body_of().replace(b'"A"', b'"\xff"'), "invalid_json", "utf-8"),
        (body_of().replace(b'"A"', b'"A", "uniqueId": "B"'), "invalid_json", "'uniqueId'"),
        (b"[" * 100_000, "invalid_json", "recursion"),
        (b"\n<html><title>Maintenance</title>", "html_instead_of_json", "Maintenance"),
        (b"[]", "unexpected_answer", "list"),
        (b'{"data": []}', "unexpected_answer", "totalRecord"),
        (body_of(totalRecord="5"), "unexpected_answer", '"5"'),
        (body_of(totalPages=True), "unexpected_answer", "true"),
        (body_of(totalPages=None), "unexpected_answer", "null"),
        (body_of(totalPages=-1), "unexpected_answer", "-1"),
        (body_of(totalRecord=2**63), "unexpected_answer", "totalRecord"),
        (body_of(page=2.0), "unexpected_answer", "2.0"),
        (body_of(data={}), "unexpected_answer", "data"),
        (body_of(page=1), "other_page", "page 1"),
        (body_of(limit=50), "other_page", "limit 50"),
        (body_of(data=[{}] * 4), "too_many_records", "4 records"),
    ],
)
def test_a_response_that_is_not_a_page_is_rejected_with_its_reason(body, reason_code, named):
    fault = read_page(body, 2, 3)
    assert isinstance(fault, PageFault)
    assert (fault.number, fault.reason_code) == (2, reason_code)
    assert named in fault.reason


def test_a_limit_of_zero_is_rejected():
    fault = read_page(body_of(limit=0, data=[]), 2)
    assert isinstance(fault, PageFault)
    assert (fault.reason_code, "limit 0" in fault.reason) == ("other_page", True)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_page_or_a_fault(body):
    assert isinstance(read_page(body, 1), Page | PageFault)


@given(st.integers(0, 20), st.integers(1, 7), st.randoms())
def test_a_directory_at_rest_is_whole_in_any_order_of_its_pages(count, limit, random):
    pages = pages_of(tenants(count), limit)
    random.shuffle(pages)
    assert completeness(pages) == []


def test_an_empty_directory_is_whole_with_no_page_or_one():
    for total_pages in (0, 1):
        assert completeness([Page(1, 100, 0, total_pages, ())]) == []


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([], ["missing_pages"]),
        (pages_of(tenants(7))[1:], ["missing_pages", "other_record_count"]),
        (pages_of(tenants(7), total_pages=2), ["contradictory_totals", "pages_beyond_the_end"]),
        (pages_of(tenants(7), total_pages=10**15), ["contradictory_totals", "missing_pages"]),
        (pages_of(tenants(7), total_records=8), ["other_record_count"]),
        (
            pages_of(tenants(6), total_records=9, total_pages=3)[:2],
            ["missing_pages", "other_record_count"],
        ),
        (
            [*pages_of(tenants(7))[:2], *pages_of(tenants(6), total_pages=3)[2:]],
            ["changing_totals"],
        ),
    ],
)
def test_totals_that_disagree_with_the_pages_or_each_other_are_problems(pages, expected):
    assert codes(pages) == expected


def test_problems_name_the_pages_and_numbers():
    pages = [*pages_of(tenants(7))[:1], *pages_of(tenants(8))[1:]]
    (problem,) = completeness(pages)
    assert re.findall(r"\w*\d+|totalRecord", problem.message) == ["totalRecord", "7", "1", "8", "2"]
    many = completeness([Page(1, 1, 9, 9, ({},))])
    assert re.findall(r"\d+", many[0].message) == ["8", "9", "2", "3", "4", "5", "6"]


def test_an_id_on_two_pages_is_listed_with_both_places_and_whether_the_content_is_the_same():
    records = tenants(8)
    records[4] = {"floor": "GF", "uniqueId": "T0"}
    records[7] = {"uniqueId": "T0", "floor": "GF", "unit": "7"}
    found = [problem.repeated for problem in completeness(pages_of(records))]
    assert found == [
        RepeatedId("T0", (1, 1), (2, 2), same_content=True),
        RepeatedId("T0", (1, 1), (3, 2), same_content=False),
    ]


def test_true_and_1_are_different_content():
    records = [{"uniqueId": "A", "status": True}, {"uniqueId": "A", "status": 1}]
    (problem,) = completeness(pages_of(records, 1))
    assert problem.repeated is not None
    assert not problem.repeated.same_content


def test_ids_repeated_on_one_page_and_missing_ids_are_not_problems():
    records = [{"uniqueId": "A"}, {"uniqueId": "A"}, None, {}, {"uniqueId": " "}, {"uniqueId": True}, 7, {}]
    assert completeness(pages_of(records)) == []


@given(
    count=st.integers(2, 30),
    limit=st.integers(1, 6),
    index=st.integers(0, 30),
    change=st.sampled_from(["insert", "remove"]),
    totals=st.sampled_from(["live", "stale"]),
    data=st.data(),
)
def test_a_record_added_or_removed_while_pages_are_read_never_goes_unnoticed(
    count, limit, index, change, totals, data
):
    """Each page is read before or after the change: any of them if the totals are live, else the later ones."""
    before = tenants(count)
    after = list(before)
    if change == "insert":
        after.insert(min(index, count), {"uniqueId": "new"})
    else:
        del after[index % count]
    first, second = pages_of(before, limit), pages_of(after, limit)
    if totals == "stale":
        stale = {"total_records": count, "total_pages": first[0].total_pages}
        second = pages_of(after, limit, **stale)
    asked = first[0].total_pages + 1
    # Pages that the later state does not have are empty.
    second += [
        Page(number, limit, second[0].total_records, second[0].total_pages, ())
        for number in range(len(second) + 1, asked + 1)
    ]
    if totals == "live":
        is_later = data.draw(st.lists(st.booleans(), min_size=asked, max_size=asked))
    else:
        changed_at = data.draw(st.integers(0, asked))
        is_later = [at >= changed_at for at in range(asked)]
    read = [second[at] if later else first[at] for at, later in enumerate(is_later)]
    held = [record["uniqueId"] for page in read for record in page.records]
    states = [[record["uniqueId"] for record in state] for state in (before, after)]
    assume(held not in states)  # as read wholly before or after the change: a whole state
    assert not is_whole(completeness(read), None)


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 30))
def test_live_totals_alone_show_a_change(count, limit, index):
    first = pages_of(tenants(count), limit)
    after = tenants(count)
    del after[index % count]
    second = pages_of(after, limit)
    assert "changing_totals" in codes([*first[:1], *second[1:]])


def test_repeated_ids_are_accepted_only_if_they_do_not_move_and_nothing_else_is_wrong():
    records = tenants(8)
    records[4] = records[0]
    still = completeness(pages_of(records))
    moved = completeness(pages_of([records[5], *records]))
    assert not is_whole(still, None)
    assert not is_whole(still, moved)
    assert not is_whole(still, ())
    assert is_whole(still, still)
    assert is_whole((), moved)
    lying = completeness(pages_of(records, total_records=9))
    assert not is_whole(lying, lying)
    assert is_whole(still, lying)
