"""Real branch lists, in the format of the directory API, give the figures of an independent count."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tnt_platform.defs
from tnt_platform.directory.transforms.lookups import LOOKUP_FILES, lookups_of
from tnt_platform.directory.transforms.tenants import Directory, tenants_of
from tnt_platform_tests.paths import SHARED

BRANCHES = SHARED / "mall_thai_branches"
pytestmark = pytest.mark.skipif(not BRANCHES.is_dir(), reason="the shared data is not available")

FOLDER = Path(next(iter(tnt_platform.defs.__path__))) / "mall_directory"
LOOKUPS = lookups_of({name: (FOLDER / name).read_bytes() for name in LOOKUP_FILES})
PAGE_RECORDS = 20


def found_in(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found and found.group(1)


def jib(branch: dict[str, Any], at: int) -> dict[str, Any]:
    return {
        "uniqueId": f"JIB-{at}",
        "tenantId": "JIB",
        "brandNameEn": "JIB",
        "categoryNameEn": "IT",
        "shopNameEnglish": branch["name"],
        "shopNameThai": branch["name_th"],
        "tel": branch["tel"],
        "floor": found_in("(ชั้น ?[^ ]+)", branch["addr"]),
        "address": branch["addr"],
        "geo": branch["geo"],
    }


def after_you(branch: dict[str, Any], at: int) -> dict[str, Any]:
    return {
        "uniqueId": f"AY-{at}",
        "tenantId": "AFTERYOU",
        "categoryNameEn": "Dessert Cafe",
        "shopNameEnglish": branch["name"],
        "descriptionEn": branch["detail"],
        "logo": branch["branchImageUrl"],
        "floor": found_in(r"(?i)\b(\w+\sfloor|floor \w+)\b", branch["detail"]),
        "openingHours": found_in(r"(?is)hours ?:(.*)", branch["detail"]),
        "website": branch["url"],
        "latitude": branch["latitude"],
        "longitude": branch["longitude"],
    }


def coco(branch: dict[str, Any], _: int) -> dict[str, Any]:
    return {
        "uniqueId": branch["ID"],
        "tenantId": f"COCO-{branch['ID']}",
        "categoryNameEn": "Food &amp; Beverage",
        "shopNameEnglish": branch["branch_name_en"],
        "shopNameThai": branch["branch_name"],
        "floor": branch["floor"],
        "tel": branch["contact"],
        "address": branch["full_address"],
        "openingHours": ", ".join(f"{day} {hours}" for day, hours in branch["open_time_table"].items()),
    }


def daddy_dough(branch: dict[str, Any], _: int) -> dict[str, Any]:
    return {
        "uniqueId": str(branch["id"]),
        "tenantId": f"DD-{branch['id']}",
        "brandNameEn": branch["brand"]["name"],
        "shopNameEnglish": branch["title"],
        "shopNameThai": branch["nameTh"],
        "categoryNameTh": "ร้านอาหาร",
        "openingHours": ", ".join(branch["businessTimes"]["labels"]),
        "zone": branch["zone"][0]["name"],
        "tel": branch["tels"][0]["tel"] if branch["tels"] else None,
        "address": branch["address"],
    }


SHAPES = {
    "JIBbranches.json": jib,
    "afteryoubranch.json": after_you,
    "cocobranch.json": coco,
    "daddydoughbranch.json": daddy_dough,
}


def branches(name: str) -> list[dict[str, Any]]:
    return json.loads((BRANCHES / name).read_text(encoding="utf-8"))


def expected(name: str) -> dict[str, Any]:
    return json.loads((BRANCHES / "EXPECTED.json").read_text(encoding="utf-8"))["expected"][name]


def branch_records(*names: str) -> list[dict[str, Any]]:
    """Branches as records of the directory API, all lists unless some are named."""
    return [SHAPES[name](branch, at) for name in names or SHAPES for at, branch in enumerate(branches(name))]


def directory(*names: str) -> Directory:
    records = branch_records(*names)
    placed = [(1 + at // PAGE_RECORDS, 1 + at % PAGE_RECORDS, record) for at, record in enumerate(records)]
    return tenants_of(placed, LOOKUPS, timezone="Asia/Bangkok")


@pytest.mark.parametrize("name", SHAPES)
def test_every_branch_is_a_tenant(name):
    found = directory(name)
    assert found.tenants.height == expected(name)["records"] == len(branches(name))
    assert (found.quarantine.height, found.deduplicated) == (0, 0)


def test_all_lists_together_are_one_directory():
    found = directory(*SHAPES)
    assert found.tenants.height == sum(expected(name)["records"] for name in SHAPES) == 269
    assert dict(found.tenants["kind"].value_counts().rows()) == {"shop": 166, "dining": 103}
    assert (found.quarantine.height, found.deduplicated) == (0, 0)


def test_thai_names_floors_and_telephones_of_jib():
    facts = expected("JIBbranches.json")
    found = directory("JIBbranches.json")
    assert found.tenants["title_th"].n_unique() == facts["unique_names"]
    assert (found.tenants["title_en"] == found.tenants["title_th"]).sum() == facts["name_equals_name_th"]
    assert found.tenants["floor_source"].count() == facts["with_floor_in_addr"]
    # 114 floors are unambiguous; what B (two branches) and 2A mean cannot be known.
    assert dict(found.unmapped.select("value", "records").rows()) == {"ชั้น B": 2, "ชั้น 2A": 1}
    tels = [branch["tel"] for branch in branches("JIBbranches.json")]
    assert sum(tel.endswith(" ") for tel in tels) == facts["tel_trailing_space"]
    assert found.tenants["tel"].count() == sum(tel != "-" for tel in tels)
    assert not found.tenants["tel"].str.contains(r"^\s|\s$").any()
    assert set(found.issues["issue_code"]) == {"no_latin_letters", "unmapped_floor"}
    thai_only = found.tenants.filter(slug_base="shop-jib").height
    assert thai_only == (found.issues["issue_code"] == "no_latin_letters").sum() > 0


def test_markup_and_hours_of_after_you():
    facts = expected("afteryoubranch.json")
    found = directory("afteryoubranch.json")
    assert found.tenants["description_en"].count() == facts["html_detail"]
    assert not found.tenants["description_en"].str.contains("[<>]|&[a-z]+;").any()
    # Images are null or false; false is not an address.
    assert found.tenants["logo"].null_count() == facts["html_detail"]
    assert (
        found.issues.filter(field="logo", issue_code="not_text").height
        == facts["html_detail"] - facts["null_image"]
    )
    assert found.tenants["opening_hours"].null_count() == 0
    assert found.tenants["floor"].null_count() == 3
    assert found.unmapped.is_empty()
    assert dict(found.issues["issue_code"].value_counts().rows())["hours_on_holidays"] == 4


def test_floors_and_days_of_coco():
    facts = expected("cocobranch.json")
    found = directory("cocobranch.json")
    assert found.tenants["unique_id"].n_unique() == facts["unique_ids"]
    floors = {floor: count for floor, count in facts["floors"].items() if floor not in {"null", "B"}}
    named = {
        f"{floor}F" if floor.isdigit() or floor == "G" else floor: count for floor, count in floors.items()
    }
    assert dict(found.tenants["floor"].drop_nulls().value_counts().rows()) == named
    # B1 and B2 are equally near.
    assert found.unmapped.select("kind", "value", "records").rows() == [("floor", "B", facts["floors"]["B"])]
    hours = Counter(
        f"{each['open']} - {each['close']}".replace(":", ".")
        for text in found.tenants["opening_hours"]
        for each in json.loads(text)
        for _ in each["days"]
    )
    assert hours == facts["hours_values"]


def test_daily_hours_of_daddy_dough():
    found = directory("daddydoughbranch.json")
    assert found.tenants["unique_id"].n_unique() == expected("daddydoughbranch.json")["unique_ids"]
    assert found.issues.is_empty()
    assert {len(json.loads(text)) for text in found.tenants["opening_hours"]} == {1}
    shared = found.tenants.filter(found.tenants["slug_base"].is_duplicated())
    assert sorted(shared["title_th"]) == ["ปตท. แหลมฉบัง ขาออก", "ปตท. แหลมฉบัง ขาเข้า"]
