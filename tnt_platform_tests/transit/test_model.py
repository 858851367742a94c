"""What a dataset's YAML becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tnt_platform.errors import ConfigError, NotFound
from tnt_platform.kinds import DEFS, dataset_specs, transit_spec, transit_specs
from tnt_platform.specs.legacy_fields import SensorModel
from tnt_platform.transit.dataset import TransitDataset
from tnt_platform.transit.model import ColumnModel, LayoutModel, SourceModel, column_of, layout_of, source_of
from tnt_platform.transit.spec import TransitSpec
from tnt_platform_tests.validation.dataset_files import DATES, RATES, spoilt, write_dataset

ORIGIN = ColumnModel(name="origin", required=True)
ZONE = ColumnModel(name="zone")


def spec_of(tmp_path: Path, text: str) -> TransitSpec:
    write_dataset(tmp_path, "any", text)
    return transit_specs(tmp_path)["any"]


def test_the_folder_names_the_dataset_and_holds_its_request(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, RATES)
    assert spec.name == "any"
    assert spec.api is not None
    assert spec.api.template == tmp_path / "any" / "request.json"
    assert spec.api.limits.concurrency == 8


def test_with_an_api_there_is_one_more_step(tmp_path: Path) -> None:
    assert spec_of(tmp_path / "a", RATES).steps == (
        "shipper_files",
        "shipments",
        "enriched_shipments",
        "results",
        "daily_summary",
    )
    assert "enriched_shipments" not in spec_of(tmp_path / "b", DATES).steps


def test_texts_that_look_like_numbers_or_templates_stay_as_they_are_written(tmp_path: Path) -> None:
    """Dagster's templates made the number 0 of "0", None of "None" and one brace of two."""
    spec = spec_of(tmp_path, spoilt(RATES, r"[a-z0-9]+)", r"[a-z0-9]{{1}})"))
    columns = {column.name: column for column in spec.layouts[0].columns}
    assert columns["weight"].nulls == ("0", "None")
    assert columns["service"].values == ("1", "2")
    assert "{{1}}" in spec.source.whole_key.pattern
    assert spec.api is not None
    assert spec.api.url == "${RATES_URL}"


@pytest.mark.parametrize("date", ["2021-03-04", '"2021-03-04"'])
def test_a_start_date_may_have_quotes_or_not(tmp_path: Path, date: str) -> None:
    spec = spec_of(tmp_path, spoilt(RATES, '"2020-01-01"', date))
    assert spec.start_date.isoformat() == "2021-03-04"


def test_the_signs_of_a_prefix_are_no_pattern() -> None:
    source = source_of(SourceModel(prefix="a+b.c/", key_pattern=r"(?P<name>\w+)\.csv"))
    assert source.whole_key.fullmatch("a+b.c/x.csv")
    assert not source.whole_key.fullmatch("aab.c/x.csv")
    assert source.fields == ["name"]


def test_a_row_must_reach_the_last_required_column_and_may_go_on_to_max_columns() -> None:
    model = LayoutModel(
        files="*", header=False, separator="|", max_columns=9, columns={"origin": 3, "zone": 5}
    )
    layout = layout_of(model, [ORIGIN, ZONE]).layout
    assert (layout.min_columns, layout.max_columns) == (4, 9)
    assert layout.optional == {5}


def test_a_column_that_a_layout_does_not_place_is_null_in_its_files() -> None:
    layout = layout_of(LayoutModel(files="*", columns={"origin": "From"}), [ORIGIN, ZONE])
    assert [column.name for column in layout.columns] == ["origin", "zone"]
    assert [(column.source, column.optional) for column in layout.columns] == [
        ("From", False),
        ("zone", True),
    ]


def test_a_layout_can_only_place_declared_columns_and_must_place_required_ones() -> None:
    with pytest.raises(ValueError, match="does not declare: zone"):
        layout_of(LayoutModel(files="*", columns={"origin": 0, "zone": 1}), [ORIGIN])
    with pytest.raises(ValueError, match="where required columns are: origin"):
        layout_of(LayoutModel(files="*", columns={"zone": 1}), [ORIGIN, ZONE])


def test_options_that_are_left_out_have_the_transforms_defaults() -> None:
    column = column_of(ColumnModel(name="sent", type="date"), 4)
    assert (column.source, column.formats, column.optional) == (4, ("%Y-%m-%d",), True)
    assert column_of(ColumnModel(name="fragile", type="boolean"), 4).true_values == ("Y",)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: SensorModel(sweep_cron="0 3 * *"), "not a cron schedule; expected five fields"),
        (lambda: SensorModel(sweep_cron="0 0 31 2 *"), "not a cron schedule; expected five fields"),
        (lambda: SourceModel(prefix="p/", key_pattern="(a"), "position 0; expected Python's syntax; mend"),
    ],
)
def test_a_value_is_refused_with_what_was_expected_and_how_to_mend_it(build, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        build()
    assert said in str(caught.value)


@pytest.mark.parametrize("date", ["2026-02-31", "20260228", "2026-W01-1", "tomorrow"])
def test_a_start_date_is_a_day_of_the_calendar(date: str) -> None:
    with pytest.raises(ValidationError, match="expected a day of the calendar as YYYY-MM-DD"):
        TransitDataset.resolve_from_yaml(_attributes(spoilt(RATES, '"2020-01-01"', f'"{date}"')))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[shipper_id, origin]", "[shipper_id, orign]", r"identity: \['orign'\]"),
        ("[shipper_id, origin]", "[date, origin]", "the date is the partition"),
        ("summary_by: [state]", "summary_by: [zone]", r"summary_by: \['zone'\]"),
        (
            "name: expected_transit_days, type: days, required: true",
            "name: expected_transit_days",
            "with rate_api",
        ),
        ("passes_when: equal", "passes_when: equal\n  colour: red", "Extra inputs are not permitted"),
        ("interval_s: 30", "interval: 30", "Extra inputs are not permitted"),
    ],
)
def test_a_dataset_that_contradicts_itself_does_not_load(old: str, new: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TransitDataset.resolve_from_yaml(_attributes(spoilt(RATES, old, new)))


def test_a_dataset_that_can_not_be_read_is_named_and_leads_to_validate(tmp_path: Path) -> None:
    write_dataset(tmp_path, "any", spoilt(RATES, "passes_when: equal", "passes_when: maybe"))
    with pytest.raises(ConfigError, match=r"any/defs.yaml:\d+: .*passes_when"):
        dataset_specs(tmp_path)


def test_asking_for_an_unknown_dataset_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"deliveries.*transit"):
        transit_spec("nothing")


def test_every_dataset_of_the_package_can_be_read() -> None:
    assert set(dataset_specs()) == {path.parent.name for path in DEFS.glob("*/defs.yaml")}
    assert set(transit_specs()) == {"deliveries", "transit"}


def test_what_decides_how_a_file_is_read_changes_its_recipe(tmp_path: Path) -> None:
    before = spec_of(tmp_path / "a", RATES).parse_recipe
    assert spec_of(tmp_path / "b", spoilt(RATES, "maximum: 60", "maximum: 61")).parse_recipe != before
    assert spec_of(tmp_path / "c", spoilt(RATES, "concurrency: 8", "concurrency: 9")).parse_recipe == before


def _attributes(text: str) -> str:
    """The YAML below `attributes:`."""
    lines = text.split("attributes:\n", 1)[1].splitlines()
    return "\n".join(line.removeprefix("  ") for line in lines)
