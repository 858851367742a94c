"""One random damage to one random answer of an API: the clean records are published, or what differs is in quarantine,
or the answer is rejected whole. Never a third thing.

What no reader can notice is left out: a value that is wrong and looks right, a field that is not `required` and that
the API leaves out, an item that it leaves out together with its count.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.errors import CheckFailed, InvalidInput, Unavailable
from tnt_platform_tests.paged_site import PagedSite, running_pages
from tnt_platform_tests.records.scene import RecordsScene, records_spec
from tnt_platform_tests.rounds import each

Item = dict[str, Any]
Pages = list[bytes]
FIELDS = [
    {"name": "title", "required": True},
    {"name": "price", "type": "number", "required": True},
    {"name": "city", "path": "place.city", "required": True},
]
TEXT = st.text(st.sampled_from("abcñü \"{}[],:\\'0"), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def site() -> Iterator[PagedSite]:
    with running_pages() as running:
        yield running


@st.composite
def tables(draw: st.DrawFn) -> list[Item]:
    """Items with distinct ids."""
    texts = draw(st.lists(st.tuples(TEXT, TEXT, st.integers(-999, 999)), min_size=3, max_size=9))
    return [
        {"id": f"i{number}", "title": title, "price": cents / 8, "place": {"city": city}}
        for number, (title, city, cents) in enumerate(texts)
    ]


def written(items: list[Item], size: int = 3) -> Pages:
    """The answer in pages of a few items, each of which says how many there are."""
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    about = {"total": len(items), "pages": len(parts)}
    return [json.dumps({"info": about, "data": {"items": part}}).encode() for part in parts]


def with_item(items: list[Item], at: int, change: Callable[[Item], object]) -> list[Item]:
    """The items, one of which is another."""
    return [change(dict(item)) if number == at else item for number, item in enumerate(items)]  # type: ignore[misc]


Damage = Callable[[list[Item], int], Pages]


def truncated(items: list[Item], at: int) -> Pages:
    pages = written(items)
    place = at % len(pages)
    return [page[: len(page) * 2 // 3] if number == place else page for number, page in enumerate(pages)]


def error_body(items: list[Item], at: int) -> Pages:
    pages = written(items)
    body = b'{"error": {"code": 429, "message": "too many requests"}}'
    return [body if number == at % len(pages) else page for number, page in enumerate(pages)]


def web_page(items: list[Item], at: int) -> Pages:
    return [b"<!DOCTYPE html><html><title>502 Bad Gateway</title></html>"]


def page_missing(items: list[Item], at: int) -> Pages:
    pages = written(items)
    return pages[:-1] if len(pages) > 1 else [b"[]"]


def page_twice(items: list[Item], at: int) -> Pages:
    pages = written(items)
    return [pages[0], pages[0], *pages[2:]] if len(pages) > 1 else [b"{}"]


def other_count(items: list[Item], at: int) -> Pages:
    pages = written(items)
    return [page.replace(f'"total": {len(items)}'.encode(), b'"total": 99') for page in pages]


def item_missing(items: list[Item], at: int) -> Pages:
    pages = written(items)
    fewer = written(items[:at] + items[at + 1 :])
    about, other = (json.loads(found[0])["info"] for found in (pages, fewer))
    return [page.replace(json.dumps(other).encode(), json.dumps(about).encode()) for page in fewer]


def item_twice(items: list[Item], at: int) -> Pages:
    return written([*items[: at + 1], *items[at:]])


def two_contents(items: list[Item], at: int) -> Pages:
    return written([*items, {**items[at], "title": "another"}])


def name_twice(items: list[Item], at: int) -> Pages:
    pages = written(items)
    mark = json.dumps(items[at])[:-1].encode()
    return [page.replace(mark, mark + b', "title": "another"') for page in pages]


def nested_deeper(items: list[Item], at: int) -> Pages:
    return written(with_item(items, at, lambda item: {"item": item}))


def nested_less(items: list[Item], at: int) -> Pages:
    return written(with_item(items, at, lambda item: {**item, "place": None, **item["place"]}))


def list_elsewhere(items: list[Item], at: int) -> Pages:
    return [page.replace(b'"data"', b'"result"') for page in written(items)]


def other_type(items: list[Item], at: int) -> Pages:
    return written(with_item(items, at, lambda item: {**item, "price": f"{item['price']}"}))


def object_for_text(items: list[Item], at: int) -> Pages:
    return written(with_item(items, at, lambda item: {**item, "title": {"en": item["title"]}}))


def no_number(items: list[Item], at: int) -> Pages:
    return written(with_item(items, at, lambda item: {**item, "price": float("nan")}))


def no_value(items: list[Item], at: int) -> Pages:
    return written(with_item(items, at, lambda item: {**item, "title": None}))


def no_id(items: list[Item], at: int) -> Pages:
    return written(with_item(items, at, lambda item: {**item, "id": None}))


def no_object(items: list[Item], at: int) -> Pages:
    return written(with_item(items, at, lambda item: list(item.values())))


def other_encoding(items: list[Item], at: int) -> Pages:
    pages = [json.loads(page) for page in written(items)]
    return [json.dumps(page, ensure_ascii=False).encode("cp1252") for page in pages]


DAMAGES: tuple[Damage, ...] = (
    truncated,
    error_body,
    web_page,
    page_missing,
    page_twice,
    other_count,
    item_missing,
    item_twice,
    two_contents,
    name_twice,
    nested_deeper,
    nested_less,
    list_elsewhere,
    other_type,
    object_for_text,
    no_number,
    no_value,
    no_id,
    no_object,
    other_encoding,
)


@pytest.mark.parametrize("damage", DAMAGES)
@settings(max_examples=each(8), deadline=None)
@given(items=tables(), number=st.integers(0, 1_000), share=st.sampled_from([0.0, 0.5]))
def test_a_damaged_answer_publishes_clean_records_or_quarantines_or_is_rejected(
    site: PagedSite, damage: Damage, items: list[Item], number: int, share: float
) -> None:
    pages = damage(items, number % len(items))
    site.pages = {str(at): page for at, page in enumerate(pages, start=1)}
    spec = records_spec(
        source={"url": site.url, "page_parameter": "page"},
        items="data.items",
        count="info.total",
        pages="info.pages",
        fields=FIELDS,
        max_rejected_share=share,
    )
    with tempfile.TemporaryDirectory() as home:
        made = RecordsScene(Path(home), site.url, spec=spec)
        try:
            made.run("capture", "records")
        except (CheckFailed, InvalidInput, Unavailable):
            return
        columns = ["item_id", "title", "price", "city"]
        rows = made.rows()
        published = list(rows.select(columns).iter_rows()) if rows.width else []
        counts = made.current().manifest.counts
        rejected = made.current().quarantine()
    clean = [(item["id"], item["title"], item["price"], item["place"]["city"]) for item in items]
    assert set(published) <= set(clean), (damage.__name__, published)
    assert len(published) == len(set(published))
    assert counts.balanced
    if set(published) != set(clean):
        assert not rejected.is_empty(), damage.__name__
        # A capture that is rejected whole is one rejected answer; otherwise each missing item is a row of quarantine.
        assert not published or len(clean) - len(published) <= rejected.height
