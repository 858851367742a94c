"""Floors and categories are matched with their codes, and faulty lookup files are rejected."""

import json
import random
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnt_platform.defs
from tnt_platform.directory.transforms.lookups import (
    LOOKUP_FILES,
    MATCHES,
    lookups_of,
    match_values,
    spelling,
)
from tnt_platform.errors import ConfigError
from tnt_platform.kinds import validate_datasets
from tnt_platform.settings import Settings

FOLDER = Path(next(iter(tnt_platform.defs.__path__))) / "mall_directory"
LOOKUPS = lookups_of({name: (FOLDER / name).read_bytes() for name in LOOKUP_FILES})


def floors(*values: str) -> dict[str, tuple[str | None, str | None]]:
    found = match_values(values, LOOKUPS.floors, LOOKUPS.floor_mapping)
    assert found.schema == pl.Schema(MATCHES)
    return {value: (code, method) for value, code, method, *_ in found.rows()}


def categories(*values: str) -> dict[str, tuple[str | None, str | None]]:
    found = match_values(values, LOOKUPS.categories, LOOKUPS.category_mapping)
    return {value: (code, method) for value, code, method, *_ in found.rows()}


FLOORS = [
    ("1F", "1F", "exact"),
    ("1 f.", "1F", "exact"),
    ("７Ｆ", "7F", "exact"),
    ("2ndFloor", "2F", "exact"),
    ("ground floor", "GF", "exact"),
    ("UG", "UG", "exact"),
    ("MF", "MF", "exact"),
    ("b1", "B1", "exact"),
    ("ชั้น 3", "3F", "exact"),
    ("ชั้น๓", "3F", "exact"),
    ("Fl. G", "GF", "mapping"),
    ("FL G", "GF", "mapping"),
    ("3", "3F", "mapping"),
    ("BM1", "B1", "mapping"),
    ("7A", "7F", "mapping"),
    ("7,8", "7F", "mapping"),
    ("ชั้นที่3", "3F", "mapping"),
    ("2nd Flor", "2F", "fuzzy"),
    ("Grond Floor", "GF", "fuzzy"),
    ("Basemnt 1", "B1", "fuzzy"),
]


@pytest.mark.parametrize(("value", "code", "method"), FLOORS)
def test_a_floor_is_matched_by_the_expected_method(value, code, method):
    assert floors(value) == {value: (code, method)}


@pytest.mark.parametrize(
    "value",
    [
        "9F",
        "12",
        "Basement",
        "B",
        "Basement 3",
        "Floor 3A",
        "3rd Floor A",
        "1F-2F",
        "GF/1F",
        "LG Floor",
        "78",
    ],
)
def test_a_floor_that_only_resembles_another_is_not_guessed(value):
    assert floors(value) == {value: (None, None)}


CATEGORIES = [
    ("Fashion", "FASHION", "exact"),
    ("ร้านอาหาร", "RESTAURANT", "exact"),
    ("food & beverage", "RESTAURANT", "mapping"),
    ("Food and  Beverage", "RESTAURANT", "mapping"),
    ("Barber", "BEAUTY", "mapping"),
    ("Beverage & Food", "RESTAURANT", "fuzzy"),
    ("Resturant", "RESTAURANT", "fuzzy"),
    ("Fashon", "FASHION", "fuzzy"),
    ("Passion", None, None),
    ("Bra", None, None),
    ("Pet food", None, None),
]


@pytest.mark.parametrize(("value", "code", "method"), CATEGORIES)
def test_a_category_is_matched_by_the_expected_method(value, code, method):
    assert categories(value) == {value: (code, method)}


def test_an_unmapped_value_lists_its_three_nearest_codes():
    row = match_values(["Basement"], LOOKUPS.floors, LOOKUPS.floor_mapping).row(0, named=True)
    nearest = json.loads(row["candidates"])
    assert [each["code"] for each in nearest[:2]] == ["B1", "B2"]
    assert len(nearest) == 3
    assert nearest[0]["score"] == nearest[1]["score"] > 80


def test_a_match_keeps_its_score():
    rows = match_values(["1F", "2nd Flor"], LOOKUPS.floors, LOOKUPS.floor_mapping)
    assert rows["score"].to_list() == [100.0, pytest.approx(94.74)]
    assert rows["candidates"].to_list() == [None, None]


TWO = pl.DataFrame({"code": ["AAAA", "BBBB"], "name": ["Green Garden Plaza", "Green Garden Praza"]})
NO_MAPPING = pl.DataFrame(schema={"value": pl.String, "code": pl.String})


def test_a_value_equally_similar_to_two_codes_is_unmapped():
    assert match_values(["Green Garden Paza"], TWO, NO_MAPPING)["code"].to_list() == [None]
    assert match_values(["Greeen Garden Plaza"], TWO, NO_MAPPING)["code"].to_list() == ["AAAA"]


def test_a_similarity_below_the_floor_is_not_a_match():
    assert match_values(["Greeen Garden Plaza"], TWO, NO_MAPPING, score_floor=99)["code"].to_list() == [None]


def test_one_code_alone_needs_no_runner_up():
    one = TWO.head(1)
    assert match_values(["Greeen Garden Plaza"], one, NO_MAPPING)["code"].to_list() == ["AAAA"]
    assert match_values(["something"], one, NO_MAPPING)["code"].to_list() == [None]


def test_contradictory_lookups_are_rejected():
    with pytest.raises(ConfigError, match="'Z'"):
        match_values([], TWO, pl.DataFrame({"value": ["x"], "code": ["Z"]}))
    with pytest.raises(ConfigError, match="AAAA and BBBB"):
        match_values([], TWO, pl.DataFrame({"value": ["X 1", "x1"], "code": ["AAAA", "BBBB"]}))
    with pytest.raises(ConfigError, match="AAAA and BBBB"):
        match_values([], TWO.with_columns(name=pl.lit("same")), NO_MAPPING)


SPELLINGS = st.one_of(
    st.sampled_from([value for value, *_ in (*FLOORS, *CATEGORIES)]),
    st.sampled_from(LOOKUPS.floor_mapping["value"].to_list()).flatmap(
        lambda value: st.integers(0, len(value) - 1).map(lambda at: value[:at] + value[at + 1 :])
    ),
    st.text(alphabet="FfLl.Gg 0123456789BbUM1stndชั้น", max_size=9),
)


@settings(deadline=None)
@given(st.lists(SPELLINGS, max_size=12), st.integers(0, 9))
def test_a_match_depends_on_nothing_but_the_value(values, seed):
    shuffled = random.Random(seed).sample(values, len(values))
    together = match_values(values, LOOKUPS.floors, LOOKUPS.floor_mapping)
    others = match_values(
        [*shuffled, *shuffled, "other"],
        LOOKUPS.floors.sample(fraction=1, shuffle=True, seed=seed),
        LOOKUPS.floor_mapping.sample(fraction=1, shuffle=True, seed=seed),
    )
    assert others.filter(pl.col("value").is_in(values)).equals(together)
    for value in values:
        alone = match_values([value], LOOKUPS.floors, LOOKUPS.floor_mapping)
        assert together.filter(pl.col("value") == value).equals(alone)


@given(SPELLINGS)
def test_a_fuzzy_match_never_changes_a_number(value):
    (row,) = match_values([value], LOOKUPS.floors, LOOKUPS.floor_mapping).iter_rows(named=True)
    if row["method"] != "fuzzy":
        return
    spellings = [
        *LOOKUPS.floors.filter(pl.col("code") == row["code"]).select("code", "name", "name_th").row(0),
        *LOOKUPS.floor_mapping.filter(pl.col("code") == row["code"])["value"],
    ]
    assert sorted(re.findall("[0-9]+", spelling(value))) in [
        sorted(re.findall("[0-9]+", spelling(each))) for each in spellings
    ]


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("floors.csv", "code,name\nA,B\n", "code, name, name_th, sort_order"),
        ("floors.csv", "code,name,name_th,sort_order\nA,B,,x\n", "floors.csv, line 2: sort_order"),
        ("floors.csv", "code,name,name_th,sort_order\nA,B,,1\nA,C,,2\n", "floors.csv, line 3: code 'A'"),
        ("floor_mapping.csv", "value,code,comment\n1,1F,\n2,,\n", "floor_mapping.csv, line 3: code"),
        (
            "floor_mapping.csv",
            "value,code,comment\n9,9F,\n",
            "floors.csv and floor_mapping.csv: ",
        ),
        ("categories.csv", None, "categories.csv"),
        ("categories.csv", "\xff", "categories.csv"),
    ],
)
def test_a_faulty_lookup_file_is_named_with_its_line(name, text, named):
    tables = {each: (FOLDER / each).read_bytes() for each in LOOKUP_FILES}
    del tables[name]
    if text is not None:
        tables[name] = text.encode("latin-1")
    with pytest.raises(ConfigError, match=re.escape(named)):
        lookups_of(tables)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("floors.csv", lambda lines: [*lines, lines[1]], -1),
        ("floors.csv", lambda lines: [*lines[:2], "".join([",", *lines[2].split(",")[1:]]), *lines[3:]], 3),
        ("categories.csv", lambda lines: ["a,b", *lines[1:]], 1),
    ],
)
def test_validate_names_the_lookup_file_and_its_line(tmp_path, name, change, line):
    folder = tmp_path / "mall_directory"
    shutil.copytree(FOLDER, folder)
    lines = change((folder / name).read_text().splitlines())
    (folder / name).write_text("\n".join(lines) + "\n")
    [fault] = validate_datasets(tmp_path, Settings.from_environment({})).faults
    assert fault.path == folder / name
    assert fault.line == (line if line > 0 else len(lines))
