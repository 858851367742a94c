"""Records become tenants: columns, issues, quarantine and duplicates."""

import json
import random
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnt_platform.defs
from tnt_platform.directory.transforms.issues import ISSUE_CODES, ISSUES
from tnt_platform.directory.transforms.lookups import LOOKUP_FILES, lookups_of
from tnt_platform.directory.transforms.tenants import QUARANTINED, TENANTS, UNMAPPED, Directory, tenants_of
from tnt_platform_tests.rounds import tries

FOLDER = Path(next(iter(tnt_platform.defs.__path__))) / "mall_directory"
LOOKUPS = lookups_of({name: (FOLDER / name).read_bytes() for name in LOOKUP_FILES})

SHOP = {
    "uniqueId": "U-1",
    "tenantId": "T-1",
    "brandNameEn": "Hm",
    "brandNameTh": "เอชแอนด์เอ็ม",
    "shopNameEnglish": "H&amp;M",
    "shopNameThai": "เอช\\u0e41แอนด์เอ็ม",
    "status": True,
    "categoryNameEn": "Fashion &amp; Accessories",
    "categoryNameTh": "แฟชั่น",
    "zone": "East ",
    "floor": "Fl. G",
    "floorRevised": "ชั้น 3",
    "openingHours": "10.00 - 22:00",
    "unit": "301",
    "tel": "Tel. 02-992-7241 ",
    "website": "www.HM.example/th?a=1&amp;b=2",
    "descriptionEn": "<p>Good &amp;amp; cheap</p>\n<p>clothes</p>",
    "descriptionTh": "",
    "logo": "/logo.png",
    "gallery_1": "https://img.example/1.png",
    "gallery_2": None,
    "gallery_3": "https://img.example/3.png",
    "startDate": "2024-02-01",
    "endDate": "31/12/2567",
    "tenantLastUpdate": "2024-03-01 10:00:00",
    "mallLastUpdate": "2024-03-01T10:00:00Z",
    "attribute1": "a &lt; b",
    "attribute2": " ",
    "parking": 2,
}


def directory(*records: object, page: int = 1) -> Directory:
    return tenants_of(
        [(page, at, record) for at, record in enumerate(records, 1)], LOOKUPS, timezone="Asia/Bangkok"
    )


def tenant(**fields: Any) -> dict[str, Any]:
    (row,) = directory({**SHOP, **fields}).tenants.iter_rows(named=True)
    return row


def issues(**fields: Any) -> list[tuple[str, str]]:
    return directory({**SHOP, **fields}).issues.select("field", "issue_code").rows()


def test_a_record_becomes_a_tenant():
    found = directory(SHOP)
    assert found.issues.is_empty()
    assert found.unmapped.is_empty()
    assert found.quarantine.is_empty()
    row = found.tenants.row(0, named=True)
    assert len(row.pop("fingerprint")) == 64
    hours = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "open": "10:00", "close": "22:00"}
    assert json.loads(row.pop("opening_hours")) == [{**hours, "next_day": False}]
    row.pop("attributes")
    assert row == {
        "unique_id": "U-1",
        "tenant_id": "T-1",
        "kind": "shop",
        "slug_base": "h-m",
        "title_en": "H&M",
        "title_th": "เอชแแอนด์เอ็ม",
        "title_zh": None,
        "description_en": "Good & cheap clothes",
        "description_th": None,
        "description_zh": None,
        "category": "FASHION",
        "category_source": "Fashion & Accessories",
        "category_method": "mapping",
        "category_score": 100.0,
        "floor": "3F",
        "floor_source": "ชั้น 3",
        "floor_method": "exact",
        "floor_score": 100.0,
        "zone": "East",
        "unit": "301",
        "opening_hours_text": "10.00 - 22:00",
        "tel": "02-992-7241",
        "website": "https://www.hm.example/th?a=1&b=2",
        "logo": "/logo.png",
        "gallery": ["https://img.example/1.png", "https://img.example/3.png"],
        "source_active": True,
        "starts_on": date(2024, 2, 1),
        "ends_on": date(2024, 12, 31),
        "tenant_last_update": datetime(2024, 3, 1, 3, tzinfo=UTC),
        "mall_last_update": datetime(2024, 3, 1, 10, tzinfo=UTC),
        "page": 1,
        "position": 1,
    }


def test_fields_without_a_column_are_attributes():
    assert json.loads(tenant()["attributes"]) == {
        "attribute1": "a < b",
        "parking": 2,
        "brandNameEn": "Hm",
        "brandNameTh": "เอชแอนด์เอ็ม",
        "categoryNameTh": "แฟชั่น",
        "floor": "Fl. G",
    }


def test_the_frames_have_the_columns_of_the_contract_even_without_a_record():
    for found in (directory(), directory(SHOP, {}, {**SHOP, "uniqueId": "U-2", "floorRevised": "x"})):
        assert found.tenants.schema == pl.Schema(TENANTS)
        assert found.issues.schema == pl.Schema(ISSUES)
        assert found.unmapped.schema == pl.Schema(UNMAPPED)
        assert found.quarantine.schema == pl.Schema(QUARANTINED)
    assert (directory().tenants.height, directory().deduplicated) == (0, 0)


@pytest.mark.parametrize(
    ("english", "thai", "kind"),
    [
        ("Food &amp; Beverage", "", "dining"),
        ("RESTAURANTS", "", "dining"),
        ("Cafés", "", "dining"),
        ("Wine Bar", "", "dining"),
        ("Take-Home", "", "dining"),
        ("take home", "", "dining"),
        ("Resturant", "", "dining"),
        ("", "ร้านอาหาร", "dining"),
        ("Lifestyle", "food", "dining"),
        ("Barber", "", "shop"),
        ("Footwear", "", "shop"),
        ("Barcode Shop", "", "shop"),
        ("Fashion", "แฟชั่น", "shop"),
        ("", "", "shop"),
    ],
)
def test_a_tenant_is_dining_when_its_category_names_food_or_drink(english, thai, kind):
    assert tenant(categoryNameEn=english, categoryNameTh=thai)["kind"] == kind


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"uniqueId": None}, "no_unique_id"),
        ({"uniqueId": " \u200b"}, "no_unique_id"),
        ({"uniqueId": "-"}, "no_unique_id"),
        ({"uniqueId": 12.0}, "no_unique_id"),
        ({"uniqueId": ["U-1"]}, "no_unique_id"),
        ({"uniqueId": "ü" * 501}, "unique_id_too_long"),
        ({"tenantId": ""}, "no_tenant_id"),
        ({"tenantId": {"id": 1}}, "no_tenant_id"),
        (dict.fromkeys(("shopNameEnglish", "shopNameThai", "brandNameEn", "brandNameTh"), "<br>"), "no_name"),
        (
            dict.fromkeys(("shopNameEnglish", "shopNameThai", "brandNameEn", "brandNameTh"), 3.5e400),
            "no_name",
        ),
    ],
)
def test_a_record_without_identity_or_name_is_quarantined(fields, code):
    found = directory({**SHOP, **fields}, {**SHOP, "uniqueId": "valid"}, page=7)
    assert found.tenants["unique_id"].to_list() == ["valid"]
    ((page, line_no, raw, reason_code, reason, _),) = found.quarantine.rows()
    assert (page, line_no, reason_code) == (7, 1, code)
    assert raw.startswith('{"uniqueId":')
    assert len(reason) > 20


def test_an_entry_that_is_not_an_object_is_quarantined():
    found = directory("shop", None, 5, ["a"])
    assert found.quarantine["reason_code"].to_list() == ["not_an_object"] * 4
    assert found.quarantine["raw"].to_list() == ['"shop"', "null", "5", '["a"]']


def test_the_raw_text_of_a_quarantined_record_is_cut():
    found = directory({"descriptionEn": "x" * 10_000, "broken": "\ud83d"})
    assert found.quarantine["raw"].str.len_chars().to_list() == [4_000]
    assert "\\ud83d" in directory({"broken": "\ud83d"}).quarantine["raw"][0]


def test_the_same_record_twice_is_one_tenant():
    found = tenants_of([(1, 1, SHOP), (2, 9, {**SHOP, "zone": "East"})], LOOKUPS)
    assert found.tenants.select("page", "position").rows() == [(1, 1)]
    assert (found.deduplicated, found.quarantine.height) == (1, 0)


def test_of_two_equal_records_the_one_updated_last_is_kept():
    later = {**SHOP, "tenantLastUpdate": "2025-01-01T00:00:00Z"}
    found = tenants_of([(1, 1, SHOP), (2, 9, later)], LOOKUPS)
    assert found.tenants.select("page", "position").rows() == [(2, 9)]
    assert found.deduplicated == 1


def test_records_of_one_id_with_different_content_are_all_quarantined_and_name_the_places():
    other = {**SHOP, "shopNameEnglish": "Zara"}
    found = tenants_of(
        [(1, 3, SHOP), (7, 12, other), (7, 13, SHOP), (8, 1, {**SHOP, "uniqueId": "U-2"})], LOOKUPS
    )
    assert found.tenants["unique_id"].to_list() == ["U-2"]
    assert found.quarantine.select("page", "line_no").rows() == [(1, 3), (7, 12), (7, 13)]
    assert set(found.quarantine["reason_code"]) == {"conflicting_records"}
    places = "page 1, record 3 and page 7, record 12 and page 7, record 13"
    assert all(places in reason for reason in found.quarantine["reason"])


def test_a_valid_record_that_shares_its_id_with_an_unusable_one_is_quarantined_too():
    found = directory(SHOP, {**SHOP, "tenantId": None})
    assert sorted(found.quarantine["reason_code"]) == ["conflicting_records", "no_tenant_id"]
    assert found.tenants.is_empty()


ISSUES_FOUND = [
    ({"floorRevised": "9F"}, [("floor", "unmapped_floor")]),
    ({"categoryNameEn": "Oddities"}, [("category", "unmapped_category")]),
    ({"categoryNameEn": "<b>Fashion</b>"}, [("categoryNameEn", "markup")]),
    ({"openingHours": "ask the shop"}, [("openingHours", "unreadable_hours")]),
    ({"shopNameEnglish": "ร้านกาแฟ"}, [("shopNameEnglish", "no_latin_letters")]),
    ({"tel": "call us"}, [("tel", "bad_tel")]),
    ({"tel": 29927241}, [("tel", "number_for_text")]),
    ({"uniqueId": 4116}, [("uniqueId", "number_for_text")]),
    ({"website": "javascript:alert(1)"}, [("website", "bad_url")]),
    ({"website": "our page"}, [("website", "bad_url")]),
    ({"logo": "https://[x"}, [("logo", "bad_url")]),
    ({"startDate": "32/01/2024"}, [("startDate", "bad_date")]),
    ({"startDate": "45292"}, [("startDate", "bad_date")]),
    ({"endDate": "2023-01-01"}, [("endDate", "ends_before_start")]),
    ({"tenantLastUpdate": "yesterday"}, [("tenantLastUpdate", "bad_time")]),
    ({"status": "true"}, [("status", "not_boolean")]),
    ({"zone": ["East"]}, [("zone", "not_text")]),
    ({"zone": True}, [("zone", "not_text")]),
]


@pytest.mark.parametrize(("fields", "wanted"), ISSUES_FOUND)
def test_a_bad_value_is_an_issue_and_the_tenant_is_published(fields, wanted):
    found = directory({**SHOP, **fields})
    assert found.issues.select("field", "issue_code").rows() == wanted
    assert found.tenants.height == 1
    ((unique_id, page, position, *_, message),) = found.issues.rows()
    assert (unique_id, page, position) == (str(fields.get("uniqueId", "U-1")), 1, 1)
    assert message
    assert set(found.issues["issue_code"]) <= set(ISSUE_CODES)


def test_an_issue_shows_the_value_as_the_source_wrote_it():
    assert directory({**SHOP, "zone": "<b>East</b> &amp;"}).issues["value"].to_list() == ["<b>East</b> &amp;"]
    assert directory({**SHOP, "zone": {"a": "x" * 999}}).issues["value"].str.len_chars().to_list() == [300]


def test_a_repetition_does_not_repeat_its_issues():
    wrong = {**SHOP, "floorRevised": "9F"}
    found = directory(wrong, wrong)
    assert found.issues.height == 1
    assert found.unmapped["records"].to_list() == [1]


def test_unmapped_values_are_counted_with_their_candidates():
    records = [{**SHOP, "uniqueId": f"U-{at}", "floorRevised": "Basement"} for at in range(2, 5)]
    found = directory(*records, {**SHOP, "floorRevised": "9F", "categoryNameEn": "Oddities"})
    assert found.unmapped.select("kind", "value", "records").rows() == [
        ("floor", "Basement", 3),
        ("floor", "9F", 1),
        ("category", "Oddities", 1),
    ]
    assert [each["code"] for each in json.loads(found.unmapped["candidates"][0])][:2] == ["B1", "B2"]


@pytest.mark.parametrize("blank", [None, "", "  ", "-", "N/A", "null", "&nbsp;", "<p></p>"])
def test_a_blank_field_is_null_without_an_issue_about_its_value(blank):
    fields = ("zone", "unit", "tel", "openingHours", "floor", "floorRevised", "descriptionEn", "startDate")
    found = directory({**SHOP, **dict.fromkeys(fields, blank)})
    row = found.tenants.row(0, named=True)
    assert {row[name] for name in ("zone", "unit", "tel", "opening_hours_text", "floor", "starts_on")} == {
        None
    }
    assert set(found.issues["issue_code"]) <= {"markup"}


def test_the_brand_replaces_a_missing_shop_name():
    row = tenant(shopNameEnglish="", shopNameThai=None)
    assert (row["title_en"], row["title_th"], row["slug_base"]) == ("Hm", "เอชแอนด์เอ็ม", "hm")


def test_a_name_without_latin_letters_gets_its_slug_from_the_tenant():
    assert tenant(shopNameEnglish="", brandNameEn="")["slug_base"] == "shop-t-1"
    assert tenant(shopNameEnglish="ร้านกาแฟ")["slug_base"] == "shop-t-1"


def test_the_original_floor_is_used_without_a_revised_one():
    row = tenant(floorRevised=" ")
    assert (row["floor"], row["floor_source"], row["floor_method"]) == ("GF", "Fl. G", "mapping")


TIMES = [
    ("2024-03-01T10:00:00+07:00", datetime(2024, 3, 1, 3, tzinfo=UTC)),
    ("2024-03-01T03:00:00.250Z", datetime(2024, 3, 1, 3, 0, 0, 250_000, tzinfo=UTC)),
    ("01/03/2567 10:00", datetime(2024, 3, 1, 3, tzinfo=UTC)),
    ("29/02/2567 10:00:00", datetime(2024, 2, 29, 3, tzinfo=UTC)),
    ("1709262000", datetime(2024, 3, 1, 3, tzinfo=UTC)),
    ("1709262000000", datetime(2024, 3, 1, 3, tzinfo=UTC)),
    ("2024-03-01", datetime(2024, 2, 29, 17, tzinfo=UTC)),
    ("0001-01-01T00:00:00", None),
    ("123", None),
]


@pytest.mark.parametrize(("text", "instant"), TIMES)
def test_a_time_is_read_in_common_forms(text, instant):
    assert tenant(mallLastUpdate=text)["mall_last_update"] == instant


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-02-01", date(2024, 2, 1)),
        ("01/02/2024", date(2024, 2, 1)),
        ("1/2/2567", date(2024, 2, 1)),
        ("20240201", date(2024, 2, 1)),
        ("1 Feb 2024", date(2024, 2, 1)),
        ("2024-02-01T23:30:00+07:00", date(2024, 2, 1)),
        ("2024-02", None),
        ("12/31/2024", None),
        ("0000-00-00", None),
    ],
)
def test_a_day_is_read_in_common_forms(text, day):
    assert tenant(startDate=text)["starts_on"] == day


@pytest.mark.parametrize(
    ("text", "tel"),
    [
        ("02-992-7241 ", "02-992-7241"),
        ("+66 2 992 7241 ext. 5", "+66 2 992 7241 ext. 5"),
        ("02-992-6051 ถึง 55", "02-992-6051 ถึง 55"),
        ("โทร. ๐๒-๙๙๒", "02-992"),
        ("1176", "1176"),
        ("12", None),
        ("www.x.co", None),
    ],
)
def test_a_telephone_number_is_tidied(text, tel):
    assert tenant(tel=text)["tel"] == tel


@pytest.mark.parametrize(
    ("text", "website"),
    [
        ("HTTPS://X.Example/A", "https://x.example/A"),
        ("x.example", "https://x.example"),
        ("x.example:8080/a", "https://x.example:8080/a"),
        ("//x.example", "https://x.example"),
        ("http:\\/\\/x.example", "http://x.example"),
        ("ftp://x.example", None),
        ("mailto:a@x.example", None),
        ("localhost", None),
    ],
)
def test_a_website_is_tidied(text, website):
    assert tenant(website=text)["website"] == website


def test_attributes_hold_whatever_json_may_hold():
    deep: Any = "end"
    for _ in range(200):
        deep = [deep]
    fields = {
        "a": float("nan"),
        "b": "nul\x00",
        "c": {"x&amp;": ["\ud83d", None, True, 1.5]},
        "d": deep,
        "e": {},
    }
    attributes = json.loads(tenant(**fields)["attributes"], parse_constant=pytest.fail)
    assert attributes["a"] == "nan"
    assert attributes["b"] == "nul"
    assert attributes["c"] == {"x&": ["", None, True, 1.5]}
    assert "d" in attributes
    assert "e" not in attributes


CONTENT = {
    "tenantId": "T-2",
    "shopNameEnglish": "Other",
    "categoryNameEn": "Cafe",
    "floorRevised": "4",
    "zone": "W",
    "openingHours": "11:00-12:00",
    "tel": "02-000-0000",
    "website": "x.example",
    "logo": "/l",
    "status": False,
    "gallery_3": None,
    "startDate": None,
    "attribute7": "new",
    "descriptionTh": "ใหม่",
    "brandNameEn": "New",
}


@pytest.mark.parametrize("field", CONTENT)
def test_the_fingerprint_changes_with_the_content(field):
    assert tenant(**{field: CONTENT[field]})["fingerprint"] != tenant()["fingerprint"]


def test_the_fingerprint_does_not_change_with_place_update_or_spelling():
    changed = {
        **SHOP,
        "tenantLastUpdate": "2025-01-01",
        "mallLastUpdate": None,
        "zone": "&#69;ast",
        "attribute3": "",
    }
    row = directory({}, changed, page=9).tenants.row(0, named=True)
    assert row["fingerprint"] == tenant()["fingerprint"]


VALUES = st.sampled_from(
    [None, "", "x", "U-1", "U-2", "3F", "<b>ก</b>", "10-22", 5, 1.5, True, [], {"a": 1}, "\ud83d"]
)
RECORDS = st.one_of(
    st.sampled_from([SHOP, "text", None]),
    st.dictionaries(st.sampled_from([*SHOP, "other"]), VALUES, max_size=6).map(
        lambda fields: {**SHOP, **fields}
    ),
    st.dictionaries(st.sampled_from([*SHOP, "other"]), VALUES, max_size=6),
)


@settings(deadline=None, max_examples=tries(25))
@given(st.lists(RECORDS, max_size=8), st.integers(0, 9))
def test_every_record_is_accounted_for_in_any_order(records, seed):
    placed = [(1 + at // 3, 1 + at % 3, record) for at, record in enumerate(records)]
    found = tenants_of(placed, LOOKUPS)
    assert len(records) == found.tenants.height + found.quarantine.height + found.deduplicated
    assert found.tenants["unique_id"].is_sorted()
    assert found.tenants["unique_id"].is_unique().all()
    again = tenants_of(random.Random(seed).sample(placed, len(placed)), LOOKUPS)
    for name in ("tenants", "issues", "unmapped", "quarantine"):
        assert getattr(found, name).equals(getattr(again, name))
