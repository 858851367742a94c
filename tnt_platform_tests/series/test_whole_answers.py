"""A part of an answer is never taken for the whole, and "not modified" is not believed for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tnt_platform.errors import InvalidInput, Unavailable
from tnt_platform.kinds import dataset_spec
from tnt_platform.series.spec import SeriesSpec
from tnt_platform_tests.paged_site import PagedSite, running_pages
from tnt_platform_tests.series.scene import SeriesScene, prices

LONG: dict[str, Any] = {
    "reader": "long",
    "frequency": "A",
    "series": None,
    "table": {
        "format": "json",
        "records": "[1]",
        "date_column": "year",
        "value_column": "value",
        "code": "GDP_{land}",
        "unit": "EUR",
    },
}

WIDE = [{"code": "A", "column": "a", "unit": "EUR"}]


def page(number: int, of: int, total: int, years: range, land: str = "AT") -> list[Any]:
    rows = [{"land": land, "year": str(year), "value": year / 10} for year in years]
    return [{"page": number, "pages": of, "total": total}, rows]


@pytest.fixture
def site() -> Iterator[PagedSite]:
    with running_pages() as running:
        yield running


def scene(
    folder: Path, site: PagedSite, source: dict[str, object] | None = None, **changes: object
) -> SeriesScene:
    declared = {"count": "[0].total", "pages": "[0].pages", **LONG, **changes}
    return SeriesScene(folder, spec=prices(source={"url": site.url, **(source or {})}, **declared))


def test_page_one_of_two_is_rejected(tmp_path: Path, site: PagedSite):
    made = scene(tmp_path, site)
    site.pages["1"] = page(1, 2, 8, range(2018, 2022))
    with pytest.raises(InvalidInput) as rejected:
        made.run()
    assert rejected.value.reason_code == "missing_pages"
    assert made.workspace.store.current("prices") is None


@pytest.mark.parametrize(("total", "reason"), [(5, "fewer_items"), (3, "more_items"), ("many", "no_count")])
def test_an_answer_with_another_number_of_records_than_it_says_is_rejected(
    tmp_path: Path, site: PagedSite, total: Any, reason: str
):
    made = scene(tmp_path, site)
    site.pages["1"] = page(1, 1, total, range(2018, 2022))
    with pytest.raises(InvalidInput) as rejected:
        made.run()
    assert rejected.value.reason_code == reason


def test_the_pages_are_followed_by_their_number(tmp_path: Path, site: PagedSite):
    made = scene(tmp_path, site, {"page_parameter": "page", "url": f"{site.url}?format=json&page=1"})
    site.pages |= {"1": page(1, 3, 9, range(2010, 2014)), "2": page(2, 3, 9, range(2014, 2018))}
    site.pages["3"] = page(3, 3, 9, range(2018, 2019))
    done = made.run()
    assert list(made.values("GDP_AT")) == [f"{year}-01-01" for year in range(2010, 2019)]
    assert site.asked == [f"/data?format=json&page={number}" for number in (1, 2, 3)]
    assert done["series"].counts.rows_in == 9
    assert not any(step.changed for step in made.run().values())


@pytest.mark.parametrize(
    ("source", "links"),
    [
        ({"next_page": "[0].next"}, ["?page=2", "/data?page=3"]),
        ({"next_page": "[0].next", "cursor_parameter": "cursor"}, ["2", 3]),
    ],
)
def test_the_pages_are_followed_by_link_or_cursor(
    tmp_path: Path, site: PagedSite, source: dict[str, object], links: list[object]
):
    made = scene(tmp_path, site, source, pages=None)
    for number, link in enumerate([*links, None], start=1):
        site.pages[str(number)] = page(number, 3, 3, range(2010 + number, 2011 + number))
        site.pages[str(number)][0]["next"] = link
    made.run()
    assert list(made.values("GDP_AT")) == ["2011-01-01", "2012-01-01", "2013-01-01"]


def test_numbers_keep_their_spelling_over_pages(tmp_path: Path, site: PagedSite):
    made = scene(tmp_path, site, {"page_parameter": "page"})
    for number in ("1", "2"):
        record = f'{{"land": "AT", "year": "200{number}", "value": 0.1{number}00000000000001}}'
        site.pages[number] = f'[{{"pages": 2, "total": 2}}, [{record}]]'.encode()
    made.run()
    assert set(made.values("GDP_AT").values()) == {float("0.1100000000000001"), float("0.1200000000000001")}


def test_a_page_that_comes_twice_or_not_at_all_is_no_answer(tmp_path: Path, site: PagedSite):
    made = scene(tmp_path, site, {"page_parameter": "page"})
    site.pages |= {"1": page(1, 2, 8, range(2010, 2014)), "2": page(1, 2, 8, range(2010, 2014))}
    with pytest.raises(InvalidInput) as repeated:
        made.run()
    assert repeated.value.reason_code == "page_repeated"
    del site.pages["2"]
    with pytest.raises(Unavailable):
        made.run()
    assert made.workspace.store.current("prices/capture") is None


def test_pages_that_disagree_are_rejected(tmp_path: Path, site: PagedSite):
    made = scene(tmp_path, site, {"page_parameter": "page"})
    site.pages |= {"1": page(1, 2, 8, range(2010, 2014)), "2": page(2, 2, 9, range(2014, 2019))}
    with pytest.raises(InvalidInput) as rejected:
        made.run()
    assert rejected.value.reason_code == "changed_meanwhile"


def test_the_number_of_pages_and_their_bytes_are_bounded(tmp_path: Path, site: PagedSite):
    site.pages |= {
        str(number): page(number, 4, 4, range(2009 + number, 2010 + number)) for number in range(1, 5)
    }
    with pytest.raises(InvalidInput) as many:
        scene(tmp_path, site, {"page_parameter": "page", "max_pages": 3}).run()
    assert many.value.reason_code == "too_many_pages"
    with pytest.raises(InvalidInput) as large:
        scene(tmp_path, site, {"page_parameter": "page", "max_size_mb": 0.0002}).run()
    assert large.value.reason_code == "too_large"


def test_a_link_to_another_site_is_not_followed(tmp_path: Path, site: PagedSite):
    made = scene(tmp_path, site, {"next_page": "[0].next"})
    site.pages["1"] = page(1, 2, 8, range(2010, 2014))
    site.pages["1"][0]["next"] = "http://elsewhere.example/data?page=2"
    with pytest.raises(InvalidInput) as rejected:
        made.run()
    assert rejected.value.reason_code == "next_elsewhere"


def test_the_shipped_world_bank_dataset_rejects_page_one_of_two(tmp_path: Path):
    spec = dataset_spec("world_bank_inflation")
    assert isinstance(spec, SeriesSpec)
    made = SeriesScene(tmp_path, spec=spec)
    rows = [{"countryiso3code": "BOL", "date": str(year), "value": 12.1} for year in range(2022, 2026)]
    file = tmp_path / "wb.json"
    file.write_text(json.dumps([{"page": 1, "pages": 2, "per_page": 4, "total": 8}, rows]))
    with pytest.raises(InvalidInput) as rejected:
        made.load(file)
    assert rejected.value.reason_code == "missing_pages"
    file.write_text(json.dumps([{"page": 1, "pages": 1, "per_page": 4, "total": 4}, rows]))
    made.load(file)
    assert len(made.values("WB_INFLATION_BOL_PCT_A")) == 4


def test_not_modified_is_believed_for_a_week_only(tmp_path: Path, site: PagedSite):
    made = scene(tmp_path, with_etag := site, count=None, pages=None)
    with_etag.etag = '"always the same"'
    site.pages["1"] = page(1, 1, 1, range(2018, 2020))
    made.run()
    site.pages["1"] = page(1, 1, 1, range(2018, 2021))
    made.now += timedelta(days=6)
    made.run()
    assert len(made.values("GDP_AT")) == 2
    made.now += timedelta(days=1)
    made.run()
    assert len(made.values("GDP_AT")) == 3


def test_a_source_that_does_not_change_is_asked_whole_once_a_week(tmp_path: Path, site: PagedSite):
    made = scene(tmp_path, site, count=None, pages=None)
    site.etag = '"true"'
    site.pages["1"] = page(1, 1, 1, range(2018, 2020))
    for _ in range(20):
        made.run()
        made.now += timedelta(hours=23)
    whole = [at for at, headers in enumerate(site.headers) if "If-None-Match" not in headers]
    assert whole == [0, 7, 14]
    assert made.workspace.store.versions("prices/capture").height == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"source": {"url": "x.json", "page_parameter": "page", "next_page": "next"}}, "next_page"),
        ({"source": {"url": "x.json", "page_parameter": "page"}}, "page_parameter"),
        ({"source": {"url": "x.json", "cursor_parameter": "c"}}, "cursor_parameter"),
        ({"source": {"url": "x.json", "max_pages": 3}}, "max_pages"),
        ({"count": "["}, "count"),
        ({"count": "total", "reader": "wide", "table": {"date_column": "date"}, "series": WIDE}, "count"),
    ],
)
def test_what_is_declared_wrongly_is_named(changes: dict[str, Any], named: str):
    with pytest.raises(ValidationError) as wrong:
        prices(**{**LONG, **changes})
    assert named in str(wrong.value)
