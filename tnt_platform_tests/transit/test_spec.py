"""What a dataset's YAML declares, and what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from tnt_platform.errors import ConfigError, NotFound
from tnt_platform.kinds import DEFS, dataset_specs, transit_spec, transit_specs
from tnt_platform.lake.publishing import open_workspace
from tnt_platform.readers.column import ColumnSpec
from tnt_platform.settings import Settings
from tnt_platform.transit.chain import Chain
from tnt_platform.transit.layouts import FileLayout
from tnt_platform.transit.reference import Shippers
from tnt_platform.transit.spec import Sample, TransitSource, TransitSpec
from tnt_platform_tests.validation.dataset_files import DATES, RATES, spoilt, write_dataset

ORIGIN = ColumnSpec(name="origin", required=True)
ZONE = ColumnSpec(name="zone")


def spec_of(tmp_path: Path, text: str) -> TransitSpec:
    write_dataset(tmp_path, "any", text)
    return transit_specs(tmp_path)["any"]


def attributes(text: str) -> dict[str, Any]:
    return yaml.safe_load(text)["attributes"]


def test_the_folder_names_the_dataset_and_holds_its_request(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, RATES)
    assert spec.name == "any"
    assert spec.request_path == tmp_path / "any" / "request.json"
    assert spec.rate_api is not None
    assert spec.rate_api.limits.concurrency == 8


def test_with_an_api_there_is_one_more_step(tmp_path: Path) -> None:
    assert spec_of(tmp_path / "a", RATES).steps == (
        "shipper_files",
        "shipments",
        "enriched_shipments",
        "results",
        "daily_summary",
    )
    assert "enriched_shipments" not in spec_of(tmp_path / "b", DATES).steps


def test_strings_that_look_like_numbers_or_templates_stay_as_they_are_written(tmp_path: Path) -> None:
    """Dagster's templates made the number 0 of "0", None of "None" and one brace of two."""
    spec = spec_of(tmp_path, spoilt(RATES, r"[a-z0-9]+)", r"[a-z0-9]{{1}})"))
    columns = {column.name: column for column in spec.columns}
    assert columns["weight"].nulls == ("0", "None")
    assert columns["service"].values == ("1", "2")
    assert "{{1}}" in spec.source.whole_key.pattern
    assert spec.rate_api is not None
    assert spec.rate_api.url == "${RATES_URL}"


@pytest.mark.parametrize("date", ["2021-03-04", '"2021-03-04"'])
def test_a_start_date_may_have_quotes_or_not(tmp_path: Path, date: str) -> None:
    spec = spec_of(tmp_path, spoilt(RATES, '"2020-01-01"', date))
    assert spec.start_date.isoformat() == "2021-03-04"


def test_the_signs_of_a_prefix_are_not_a_pattern() -> None:
    source = TransitSource(prefix="a+b.c/", key_pattern=r"(?P<name>\w+)\.csv")
    assert source.whole_key.fullmatch("a+b.c/x.csv")
    assert not source.whole_key.fullmatch("aab.c/x.csv")
    assert source.fields == ["name"]


def test_a_row_must_reach_the_last_required_column_and_may_go_on_to_max_columns() -> None:
    places = {"origin": 3, "zone": 5}
    layout = FileLayout(files="*", header=False, separator="|", max_columns=9, columns=places)
    found = layout.with_columns([ORIGIN, ZONE]).layout
    assert (found.min_columns, found.max_columns) == (4, 9)
    assert found.optional == {5}


def test_a_column_that_a_layout_does_not_place_is_null_in_its_files() -> None:
    kind = FileLayout(files="*", columns={"origin": "From"}).with_columns([ORIGIN, ZONE])
    assert [(column.name, column.source, column.optional) for column in kind.columns] == [
        ("origin", "From", False),
        ("zone", "zone", True),
    ]


def test_options_that_are_left_out_or_empty_have_their_defaults() -> None:
    layout = FileLayout(files="*", columns={"sent": "Sent", "fragile": "Fragile"})
    sent = ColumnSpec(name="sent", type="date", formats=(), nulls=[])
    fragile = ColumnSpec(name="fragile", type="boolean", true_values=[], pattern="", decimal=None)
    columns = layout.with_columns([sent, fragile]).columns
    assert (columns[0].formats, columns[0].nulls, columns[0].optional) == (("%Y-%m-%d",), (), True)
    assert (columns[1].true_values, columns[1].pattern, columns[1].decimal) == (("Y",), None, ".")


@pytest.mark.parametrize("bound", [3, 3.0, "3"])
def test_a_bound_that_is_a_whole_number_is_the_same_bound_however_it_is_written(bound: object) -> None:
    """It is part of the recipe: another spelling must not read every file again."""
    assert ColumnSpec(name="x", type="days", maximum=bound).model_dump_json().count("3.0") == 1


@pytest.mark.parametrize("date", ["2026-02-31", "20260228", "2026-W01-1", "tomorrow"])
def test_a_start_date_is_a_day_of_the_calendar(date: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TransitSpec.model_validate(attributes(spoilt(RATES, '"2020-01-01"', f'"{date}"')))
    assert [error["loc"] for error in caught.value.errors()] == [("start_date",)]


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("[shipper_id, origin]", "[shipper_id, orign]", ("identity", 1)),
        ("[shipper_id, origin]", "[date, origin]", ("identity", 0)),
        ("summary_by: [state]", "summary_by: [zone]", ("summary_by", 0)),
        (
            "name: expected_transit_days, type: days, required: true",
            "name: expected_transit_days, type: days",
            ("columns", 2, "required"),
        ),
    ],
)
def test_a_dataset_that_contradicts_itself_does_not_load(
    old: str, new: str, path: tuple[object, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        TransitSpec.model_validate(attributes(spoilt(RATES, old, new)))
    (error,) = caught.value.errors()
    assert [found.at for found in error["ctx"]["mistakes"]] == [path]


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("passes_when: equal", "passes_when: equal\n  colour: red", ("colour",)),
        ("interval_s: 30", "interval: 30", ("sensor", "interval")),
    ],
)
def test_an_unknown_key_does_not_load(old: str, new: str, path: tuple[object, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        TransitSpec.model_validate(attributes(spoilt(RATES, old, new)))
    assert [(error["type"], error["loc"]) for error in caught.value.errors()] == [("extra_forbidden", path)]


def test_a_dataset_that_can_not_be_read_is_named_with_the_line(tmp_path: Path) -> None:
    text = spoilt(RATES, "passes_when: equal", "passes_when: maybe")
    folder = write_dataset(tmp_path, "any", text)
    line = text[: text.index("passes_when")].count("\n") + 1
    with pytest.raises(ConfigError, match=f"{folder}/defs.yaml:{line}: .*passes_when"):
        dataset_specs(tmp_path)


def test_asking_for_an_unknown_dataset_names_known_ones_or_the_nearest() -> None:
    with pytest.raises(NotFound, match="deliveries"):
        transit_spec("nothing")
    with pytest.raises(NotFound, match=r"did you mean transit\?"):
        transit_spec("trnsit")


def test_every_dataset_of_the_package_can_be_read() -> None:
    assert set(dataset_specs()) == {path.parent.name for path in DEFS.glob("*/defs.yaml")}
    assert set(transit_specs()) == {"deliveries", "transit"}


def test_what_decides_how_a_file_is_read_changes_its_recipe(tmp_path: Path) -> None:
    before = spec_of(tmp_path / "a", RATES).parse_recipe
    assert spec_of(tmp_path / "b", spoilt(RATES, "maximum: 60", "maximum: 61")).parse_recipe != before
    assert spec_of(tmp_path / "c", spoilt(RATES, "concurrency: 8", "concurrency: 9")).parse_recipe == before


@pytest.mark.parametrize(
    ("sample", "recipe"), [(None, "977fb3a117429bb1"), (Sample(rows=3, seed=7), "1b5e1addacb89bb1")]
)
def test_the_recipe_of_the_answers_is_that_of_before(
    tmp_path: Path, sample: Sample | None, recipe: str
) -> None:
    spec = transit_spec("transit").model_copy(update={"sample_per_file": sample})
    settings = Settings.from_environment({"TNT_HOME": str(tmp_path)})
    with Chain(spec, open_workspace(settings), settings) as chain:
        assert chain._enrichment("2026-01-01")._recipe(Shippers(pl.DataFrame(), "abc")) == recipe
