"""What `tnt validate` finds, and on which line: valid datasets are spoilt at one place, marked with §."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from dagster_shared.yaml_utils import safe_load_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.cli.validation import validate
from tnt_platform.kinds import DEFS, validate_datasets
from tnt_platform.settings import Settings
from tnt_platform.transit.layouts import hides
from tnt_platform.transit.spec import TransitSpec
from tnt_platform.validation.document import read_document
from tnt_platform.validation.validate import Fault, Report
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.validation.dataset_files import (
    DATES,
    MARK,
    RATES,
    REQUEST,
    marked_line,
    request_with,
    spoilt,
    write_dataset,
)
from tnt_platform_tests.validation.mistakes import IN_REQUEST, IN_YAML, PARENT_LINES, SEVERAL

SET = {"RATES_URL": "http://localhost", "RATES_TOKEN": "token of this test"}


def check(root: Path, environment: dict[str, str] | None = None, *, strict_env: bool = False) -> Report:
    variables = SET if environment is None else environment
    return validate_datasets(root, Settings.from_environment(variables), strict_env=strict_env)


def only_fault(root: Path) -> Fault:
    return only_faults(root, 1)[0]


def only_faults(root: Path, count: int) -> list[Fault]:
    faults = check(root).faults
    assert len(faults) == count, "\n".join(map(str, faults)) or "nothing was found"
    return faults


@pytest.mark.parametrize("case", IN_YAML.values(), ids=IN_YAML.keys())
def test_one_mistake_in_the_yaml_is_one_fault_on_its_own_line(
    case: tuple[str, ...], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name = request.node.callspec.id
    old, new, *pieces = case
    text = spoilt(RATES, old, new)
    folder = write_dataset(tmp_path, "rates", text)
    faults = check(tmp_path).faults
    assert len(faults) == SEVERAL.get(name, 1), "\n".join(map(str, faults)) or "nothing was found"
    for piece in pieces:
        assert piece in str(faults[0])
    assert faults[0].path == folder / "defs.yaml"
    if MARK in text:
        assert faults[0].line == marked_line(text), str(faults[0])
    elif parent := PARENT_LINES.get(name):
        assert text.splitlines()[faults[0].line - 1].startswith(parent)


@pytest.mark.parametrize("case", IN_REQUEST.values(), ids=IN_REQUEST.keys())
def test_one_mistake_in_the_request_is_one_fault_on_its_line_of_that_file(
    case: tuple[str, ...], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    old, new, *pieces = case
    text = spoilt(REQUEST, old, new)
    folder = write_dataset(tmp_path, "rates", RATES, text)
    fault = only_fault(tmp_path)
    for piece in pieces:
        assert piece in str(fault)
    assert fault.path == folder / "request.json"
    # Broken JSON shows where the next piece can't follow.
    assert fault.line == marked_line(text) + (request.node.callspec.id == "broken JSON")


def test_datasets_in_order_have_no_faults(tmp_path: Path) -> None:
    write_dataset(tmp_path, "rates", RATES)
    write_dataset(tmp_path, "dates", DATES, request=None)
    report = check(tmp_path)
    assert (report.datasets, report.faults, report.warnings) == (2, [], [])


def test_the_datasets_of_the_package_are_in_order() -> None:
    api = ("TNT_RATE_API_URL", "TNT_RATE_API_CLIENT", "TNT_RATE_API_TOKEN")
    names = (*api, "TNT_DIRECTORY_URL", "TNT_DIRECTORY_APP_CODE")
    report = check(DEFS, dict.fromkeys(names, "set"), strict_env=True)
    assert report.datasets >= 2
    assert [*report.faults, *report.warnings] == []


def test_all_faults_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    text = RATES
    for case in (
        "an impossible date",
        "an unknown encoding",
        "a minimum above the maximum",
        "an unknown function",
    ):
        old, new, *_ = IN_YAML[case]
        text = spoilt(text, old, new)
    write_dataset(tmp_path, "rates", text, request_with(method="FETCH", body={"state": "{state"}))
    write_dataset(
        tmp_path, "dates", spoilt(DATES, "prefix: dates/", "prefix: dates/\n    prefx: x"), request=None
    )
    faults = check(tmp_path).faults
    assert [fault.path.parent.name for fault in faults] == ["dates"] + ["rates"] * 6
    assert faults == sorted(faults)


def test_a_broken_part_does_not_hide_faults_elsewhere(tmp_path: Path) -> None:
    text = spoilt(
        RATES,
        "- {name: origin, type: postal_code, required: true}",
        "- {name: origin, type: zip, required: true}",
    )
    text = spoilt(text, "summary_by: [state]", "summary_by: [stat]")
    text = spoilt(text, 'separator: "|"', 'separator: ""')
    write_dataset(tmp_path, "rates", text)
    wrong = [fault.wrong for fault in only_faults(tmp_path, 3)]
    assert any("columns[0].type" in one and "'zip'" in one for one in wrong)


def test_a_variable_that_is_not_set_is_a_warning_on_a_laptop_and_a_fault_where_it_must_be_set(
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path, "rates", spoilt(RATES, '"${RATES_TOKEN}"', '"${RATES_TOKEN}" §'))
    line = marked_line(spoilt(RATES, '"${RATES_TOKEN}"', '"${RATES_TOKEN}" §'))
    without = {"RATES_URL": "http://localhost"}
    loose, strict = check(tmp_path, without), check(tmp_path, without, strict_env=True)
    assert loose.faults == []
    assert [fault.line for fault in loose.warnings] == [line]
    assert [fault.line for fault in strict.faults] == [line]
    assert "RATES_TOKEN" in str(strict.faults[0])


def test_a_variable_of_the_request_headers_is_looked_up_too(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, "rates", RATES, spoilt(REQUEST, "${RATES_KEY:-}", "${RATES_KEY}"))
    (fault,) = check(tmp_path, strict_env=True).faults
    assert (fault.path, fault.line) == (folder / "request.json", 6)


def test_without_a_reference_every_field_of_the_request_must_be_known(tmp_path: Path) -> None:
    text = spoilt(RATES, "    reference: config/dest.csv\n", "")
    write_dataset(
        tmp_path,
        "rates",
        text,
        spoilt(REQUEST, '"sizes": ["{length}", "{width}"],', '"sizes": ["{wieght}"],'),
    )
    fault = only_fault(tmp_path)
    assert "body.sizes[0]" in fault.wrong
    assert "wieght" in fault.wrong
    assert "weight" in fault.fix


def test_with_a_reference_a_field_that_looks_misspelt_is_a_warning(tmp_path: Path) -> None:
    write_dataset(tmp_path, "rates", RATES, spoilt(REQUEST, '"{weight_note}"', '"{wieght_note}"'))
    report = check(tmp_path)
    assert report.faults == []
    assert ["weight_note" in fault.fix for fault in report.warnings] == [True]


def test_a_request_with_tabs_keeps_its_lines(tmp_path: Path) -> None:
    text = spoilt(REQUEST, '"state": "{state}"', '"state": "}" §')
    write_dataset(tmp_path, "rates", RATES, text.replace("  ", "\t"))
    assert only_fault(tmp_path).line == marked_line(text)


def test_a_missing_request_is_found_at_the_api(tmp_path: Path) -> None:
    write_dataset(tmp_path, "rates", RATES, request=None)
    assert "request.json" in only_fault(tmp_path).wrong


def test_a_secret_is_never_repeated_in_the_message(tmp_path: Path) -> None:
    text = spoilt(RATES, '"${RATES_TOKEN}"', "hunter2")
    write_dataset(tmp_path, "rates", spoilt(text, "X-Client: platform", 'password: "123456789"'))
    printed = str(only_faults(tmp_path, 2))
    assert "auth-token" in printed
    assert "hunter2" not in printed
    assert "123456789" not in printed


def test_a_secret_that_is_a_number_is_not_repeated_either(tmp_path: Path) -> None:
    write_dataset(tmp_path, "rates", spoilt(RATES, '"${RATES_TOKEN}"', "123456789"))
    assert "123456789" not in str(only_fault(tmp_path))


def test_an_identity_of_the_file_name_needs_its_group(tmp_path: Path) -> None:
    text = spoilt(RATES, "(?P<shipper_id>[a-z0-9]+)", "[a-z0-9]+")
    write_dataset(tmp_path, "rates", text)
    lines = [text.splitlines()[fault.line - 1].strip() for fault in only_faults(tmp_path, 2)]
    assert lines == ["identity: [shipper_id, origin]", "reference: config/dest.csv"]


def test_dates_are_needed_without_an_api(tmp_path: Path) -> None:
    text = spoilt(DATES, "    - {name: actual_date, type: date, required: true}\n", "")
    write_dataset(tmp_path, "dates", spoilt(text, ", actual_date: Done", ""), request=None)
    assert "actual_date" in only_fault(tmp_path).wrong


def test_a_sample_without_an_api_is_a_fault(tmp_path: Path) -> None:
    write_dataset(tmp_path, "dates", DATES + "  sample_per_file: {rows: 10, seed: 1}\n", request=None)
    assert "sample_per_file" in only_fault(tmp_path).wrong


def test_an_owner_and_a_tag_that_dagster_refuses_are_faults(tmp_path: Path) -> None:
    text = spoilt(DATES, '"someone@example.com"', "logistics team")
    write_dataset(
        tmp_path, "dates", spoilt(text, "  source:", "  tags: {domain: a b}\n  source:"), request=None
    )
    faults = check(tmp_path).faults
    assert [fault.line for fault in faults] == [4, 5]
    assert "team:logistics-team" in faults[0].fix
    assert "'a b'" in faults[1].wrong


def test_a_dataset_without_owner_is_a_warning(tmp_path: Path) -> None:
    write_dataset(tmp_path, "dates", spoilt(DATES, '  owners: ["someone@example.com"]\n', ""), request=None)
    report = check(tmp_path)
    assert report.faults == []
    assert ["owners" in fault.wrong for fault in report.warnings] == [True]


def test_a_column_that_no_layout_places_is_a_warning(tmp_path: Path) -> None:
    write_dataset(
        tmp_path, "dates", spoilt(DATES, "  identity:", "    - {name: depot}\n  identity:"), request=None
    )
    report = check(tmp_path)
    assert report.faults == []
    assert ["depot" in fault.wrong for fault in report.warnings] == [True]


@pytest.mark.parametrize("prefix", ["rates/", "rates/special/", '""'])
def test_two_datasets_must_not_look_at_the_same_files(tmp_path: Path, prefix: str) -> None:
    write_dataset(tmp_path, "rates", RATES)
    text = spoilt(DATES, "prefix: dates/", f"prefix: {prefix} §")
    folder = write_dataset(tmp_path, "more", text, request=None)
    faults = [fault for fault in check(tmp_path).faults if "overlaps" in fault.wrong]
    assert len(faults) == 1
    # The fault is that of the one that comes later in the alphabet.
    assert faults[0].path == tmp_path / "rates" / "defs.yaml"
    assert f"{folder}/defs.yaml:{marked_line(text)}" in faults[0].wrong


def test_neighbouring_prefixes_do_not_overlap(tmp_path: Path) -> None:
    write_dataset(tmp_path, "rates", RATES)
    write_dataset(tmp_path, "more", spoilt(DATES, "prefix: dates/", "prefix: rates-2/"), request=None)
    assert check(tmp_path).faults == []


def test_a_reference_among_the_files_of_another_dataset_is_a_fault(tmp_path: Path) -> None:
    write_dataset(tmp_path, "rates", spoilt(RATES, "config/dest.csv", "dates/dest.csv"))
    write_dataset(tmp_path, "dates", DATES, request=None)
    assert "dates/dest.csv" in only_fault(tmp_path).wrong


def test_a_folder_name_that_dagster_refuses_is_a_fault(tmp_path: Path) -> None:
    write_dataset(tmp_path, "my-dates", DATES, request=None)
    assert "my_dates" in only_fault(tmp_path).fix


def test_two_folders_of_one_name_are_a_fault(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", "dates", DATES, request=None)
    write_dataset(tmp_path / "b", "dates", spoilt(DATES, "prefix: dates/", "prefix: b/"), request=None)
    assert str(tmp_path / "a" / "dates" / "defs.yaml") in only_fault(tmp_path).wrong


def test_a_yaml_file_that_dagster_does_not_read_is_a_fault(tmp_path: Path) -> None:
    write_dataset(tmp_path, "dates", DATES, request=None)
    shutil.copytree(tmp_path / "dates", tmp_path / "more")
    (tmp_path / "more" / "defs.yaml").rename(tmp_path / "more" / "defs.yml")
    fault = only_fault(tmp_path)
    assert (fault.path.name, fault.expected) == ("defs.yml", "defs.yaml")


@pytest.mark.parametrize(
    ("data", "piece"),
    [
        (b"", "the file is empty"),
        (b"# nothing\n", "the file is empty"),
        (b"- a\n", "not a mapping"),
        (b"type: tnt_platform.components.TransitDataset\n", "attributes is missing"),
        (b"attributes: {}\n", "the key type is missing"),
        (b"description: caf\xe9\n", "not UTF-8"),
        (b"a: \x00\n", "a character that YAML doesn't allow"),
        (b"a: &a [*a]\n", "an alias contains itself"),
        (b"a: !!python/object:os.system x\n", "can't be read"),
        (b"a: *nowhere\n", "found undefined alias"),
    ],
)
def test_a_file_that_is_not_a_dataset_is_explained(tmp_path: Path, data: bytes, piece: str) -> None:
    write_dataset(tmp_path, "dates", DATES, request=None)
    (tmp_path / "dates" / "defs.yaml").write_bytes(data)
    assert any(piece in str(fault) for fault in check(tmp_path).faults)


def test_a_second_document_in_a_file_is_a_fault(tmp_path: Path) -> None:
    write_dataset(tmp_path, "dates", f"{DATES}---\n§{DATES}".replace(MARK, ""), request=None)
    fault = only_fault(tmp_path)
    assert fault.wrong == "a second document starts here"


def test_merged_and_repeated_parts_of_yaml_are_understood(tmp_path: Path) -> None:
    text = spoilt(
        DATES,
        "    - {name: expected_date, type: date, required: true}",
        "    - &day {name: expected_date, type: date, required: true}",
    )
    text = spoilt(
        text, "    - {name: actual_date, type: date, required: true}", "    - {<<: *day, name: actual_date}"
    )
    write_dataset(tmp_path, "dates", text, request=None)
    assert check(tmp_path).faults == []


@pytest.mark.parametrize(
    ("earlier", "later", "hidden"),
    [
        ("*", "*.csv", True),
        ("*.csv", "ny*.csv", True),
        ("*.csv", "*", False),
        ("?.csv", "*.csv", False),
        ("*.csv", "?.csv", True),
        ("[a-c].csv", "b.csv", True),
        ("[a-c].csv", "[b-d].csv", False),
        ("[!a]*", "?*", False),
        ("[ab]*", "?*", False),
        ("a*", "[ab]*", False),
        ("*a*", "*aa*", True),
        ("a*b", "ab", True),
    ],
)
def test_a_glob_hides_another_only_if_it_takes_all_its_names(earlier: str, later: str, hidden: bool) -> None:
    assert hides(earlier, later) is hidden


@given(st.text("ab.*?", max_size=6))
def test_every_glob_hides_itself_and_is_hidden_by_a_star(glob: str) -> None:
    assert hides(glob, glob)
    assert hides("*", glob)


@settings(deadline=None, max_examples=tries(50))
@given(st.sampled_from(sorted(set(RATES.splitlines()))), st.text("{}[]:'\"|>&*!%@`#-, \tab0\\", max_size=12))
def test_whatever_stands_in_a_line_the_answer_is_a_report(line: str, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), "rates", RATES.replace(line, line[: len(line) // 2] + text, 1))
        for fault in check(Path(folder)).faults:
            assert fault.line >= 1
            assert fault.wrong


_PATHS = [path for path, _ in read_document(RATES.encode()).root.leaves()]  # type: ignore[union-attr]  # it is no empty file
_VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "x",
        "{{",
        "${",
        "(",
        "*",
        [],
        {},
        ["a", "a"],
        [None],
        {"a": 1},
        {"name": {}},
    ]
)


@settings(deadline=None, max_examples=tries(80))
@given(st.sampled_from(_PATHS), st.integers(0, 4), _VALUES)
def test_whatever_stands_in_the_place_of_a_value_validation_and_loading_agree(
    path: tuple[str | int, ...], depth: int, value: object
) -> None:
    tree = safe_load_yaml(RATES)
    *above, last = path[: max(1, len(path) - depth)]
    parent = tree
    for part in above:
        parent = parent[part]
    parent[last] = value
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder), "rates", yaml.safe_dump(tree, sort_keys=False))
        if not check(Path(folder)).faults:
            assert TransitSpec.model_validate(tree["attributes"]).placed_in(dataset).name == "rates"


def run(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200"} | (environment or {})).invoke(validate, list(arguments))
    return result.exit_code, result.output


def test_the_command_prints_file_line_fault_expectation_and_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(
        tmp_path / "defs", "dates", spoilt(DATES, "identity: [delivery]", "identity: [delivry]"), request=None
    )
    monkeypatch.chdir(tmp_path)
    code, output = run("defs")
    assert code == 1
    fault, total = output.splitlines()
    place, *rest = fault.split(": ")
    assert place == "defs/dates/defs.yaml:15"
    wrong, expected, fix = ": ".join(rest).split("; ")
    assert ("delivry" in wrong, "actual_date, delivery" in expected, "delivery" in fix) == (True, True, True)
    assert total == "1 fault in 1 file"


def test_the_command_counts_the_valid_datasets(tmp_path: Path) -> None:
    write_dataset(tmp_path, "rates", RATES)
    write_dataset(tmp_path, "dates", DATES, request=None)
    code, output = run(str(tmp_path), "--strict-env", environment=SET)
    assert (code, output.splitlines()[0]) == (0, "2 datasets OK")
    code, output = run(str(tmp_path))
    assert code == 0
    assert "warning: environment variable RATES_URL is not set" in output
    assert run(str(tmp_path), "--strict-env")[0] == 1


def test_a_folder_without_datasets_is_an_error_not_a_success(tmp_path: Path) -> None:
    code, output = run(str(tmp_path))
    assert code != 0
    assert "OK" not in output
