"""`tnt validate` of series datasets: valid ones are spoilt at one place, marked with §, where the fault must be."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from dagster_shared.yaml_utils import safe_load_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.kinds import validate_datasets
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.settings import Settings
from tnt_platform.validation.document import read_document
from tnt_platform.validation.validate import Fault, Report
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.series.dataset_files import BCRA, IPC, LONG, WIDE, days, workbook
from tnt_platform_tests.series.mistakes import MISTAKES
from tnt_platform_tests.validation.dataset_files import MARK, marked_line, spoilt, write_dataset


def check(root: Path, environment: dict[str, str] | None = None, *, strict_env: bool = False) -> Report:
    return validate_datasets(root, Settings.from_environment(environment or {}), strict_env=strict_env)


def only_fault(root: Path, environment: dict[str, str] | None = None) -> Fault:
    faults = check(root, environment).faults
    assert len(faults) == 1, "\n".join(map(str, faults)) or "nothing was found"
    return faults[0]


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_one_mistake_is_one_fault_on_its_own_line(case: tuple[str, ...], tmp_path: Path) -> None:
    sound, old, new, *names = case
    text = spoilt(sound, old, new)
    folder = write_dataset(tmp_path, "prices", text, request=None)
    fault = only_fault(tmp_path)
    assert [name for name in names if name not in str(fault)] == []
    assert fault.path == folder / "defs.yaml"
    if MARK in text:
        assert fault.line == marked_line(text), str(fault)


def test_valid_datasets_have_no_faults(tmp_path: Path) -> None:
    for name, text in {"bcra": BCRA, "ipc": IPC, "wide": WIDE, "long": LONG}.items():
        write_dataset(tmp_path, name, text, request=None)
    report = check(tmp_path)
    assert (report.datasets, report.faults, report.warnings) == (4, [], [])


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    text = BCRA
    for name in (
        "a series code given twice",
        "an unknown time zone",
        "an unknown scheme",
        "an unknown key",
    ):
        _, old, new, *_ = MISTAKES[name]
        text = spoilt(text, old, new)
    write_dataset(tmp_path, "prices", text, request=None)
    assert len(check(tmp_path).faults) == 4


def test_a_variable_of_the_source_without_default_is_a_warning_and_where_it_must_be_set_a_fault(
    tmp_path: Path,
) -> None:
    text = spoilt(BCRA, "https://example.com/series_{MM}_{YY}.xlsm", '"${BANK_URL}/series_{MM}.xlsm" §')
    write_dataset(tmp_path, "prices", text, request=None)
    (warning,) = check(tmp_path).warnings
    (fault,) = check(tmp_path, strict_env=True).faults
    assert warning.line == fault.line == marked_line(text)
    assert "BANK_URL" in str(fault)
    assert check(tmp_path, {"BANK_URL": "https://example.com"}, strict_env=True).faults == []


def test_the_default_of_a_variable_is_checked_like_an_address(tmp_path: Path) -> None:
    sound = spoilt(
        BCRA, "https://example.com/series_{MM}_{YY}.xlsm", '"${BANK_URL:-https://example.com/s_{MM}.xlsm}"'
    )
    write_dataset(tmp_path / "a", "prices", sound, request=None)
    write_dataset(tmp_path / "b", "prices", spoilt(sound, "{MM}", "{mm}"), request=None)
    assert check(tmp_path / "a").faults == []
    assert "{MM}" in str(only_fault(tmp_path / "b"))


ROWS = [
    ["Reservas y tipo de cambio"],
    [],
    ["Fecha", None, "Reservas", "Tipo de cambio"],
    [None, None, "millones", "pesos"],
    *([day, None, 100.5 + at, 10.25 + at] for at, day in enumerate(days(20))),
]


def with_file(root: Path, text: str) -> str:
    """Put a workbook where the dataset finds it, and write the dataset."""
    path = root / "files" / "series.xlsx"
    path.parent.mkdir()
    path.write_bytes(workbook({"RESERVAS": ROWS, "OTRA": [["x"]]}))
    local = text.replace(
        "https://example.com/series_{MM}_{YY}.xlsm\n    months_back: 4\n", path.as_uri() + "\n"
    )
    write_dataset(root / "defs", "prices", local, request=None)
    return local


def test_a_local_file_that_has_what_is_declared_has_no_faults(tmp_path: Path) -> None:
    with_file(tmp_path, BCRA)
    assert check(tmp_path / "defs").faults == []


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("      sheet: RESERVAS", "      §sheet: RESERVA", ("'RESERVA'", "'RESERVAS', 'OTRA'")),
        ("A, value_column: C}", "A, value_column: H} §", ("column", "H")),
        ("header: Tipo de cambio", "§header: Tasa", ("Tasa", "Tipo de cambio")),
    ],
)
def test_what_a_local_file_lacks_is_a_fault_of_the_series_that_names_it(
    old: str, new: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    text = with_file(tmp_path, spoilt(BCRA, old, new))
    fault = only_fault(tmp_path / "defs")
    assert fault.line == marked_line(text), str(fault)
    assert "series.xlsx" in str(fault)
    assert [name for name in names if name not in str(fault)] == []


def test_a_file_below_the_raw_files_is_checked_too(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "rates").mkdir(parents=True)
    (raw / "rates" / "monthly.csv").write_text("Date;Euro;Pound\n2024-01-01;1.5;2\n")
    text = spoilt(WIDE, "s3://rates/monthly.csv", "rates/monthly.csv").replace(
        "column: Yen}", "column: Yen} §"
    )
    write_dataset(tmp_path / "defs", "prices", text, request=None)
    fault = only_fault(tmp_path / "defs", {"TNT_RAW_URL": raw.as_uri()})
    assert fault.line == marked_line(text)
    assert "'Yen'" in str(fault)
    assert "'Euro', 'Pound'" in str(fault)
    assert check(tmp_path / "defs").faults == []


def test_a_column_of_a_template_that_the_file_lacks_is_a_fault_of_the_template(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    path.write_text(
        '{"data": [{"date": "2024-01", "land": "X", "value": 1}, {"date": "2024-02", "land": "X", "value": 2}]}'
    )
    text = spoilt(LONG, "https://example.com/rates.json", path.as_uri())
    text = spoilt(text, '"data[].{date: date, country: country.name, value: value}"', "data")
    write_dataset(tmp_path / "defs", "prices", spoilt(text, "code: FX", "§code: FX"), request=None)
    fault = only_fault(tmp_path / "defs")
    assert fault.line == marked_line(spoilt(text, "code: FX", "§code: FX"))
    assert "'land'" in str(fault)


_TEXTS = (BCRA, IPC, WIDE, LONG)
_PLACES = [(text, path) for text in _TEXTS for path, _ in read_document(text.encode()).root.leaves()]  # type: ignore[union-attr]  # none is empty
_VALUES = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", "{{", "${", "{MM}", "(", "*", "A", [], {}, ["a", "a"], {"a": 1}]
)


@settings(deadline=None, max_examples=tries(120))
@given(st.sampled_from(_PLACES), st.integers(0, 3), _VALUES)
def test_validation_and_loading_agree_on_any_value_of_a_field(
    place: tuple[str, tuple[str | int, ...]], depth: int, value: object
) -> None:
    text, path = place
    tree = safe_load_yaml(text)
    *above, last = path[: max(1, len(path) - depth)]
    parent = tree
    for part in above:
        parent = parent[part]
    parent[last] = value
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder), "prices", yaml.safe_dump(tree, sort_keys=False), request=None)
        if not check(Path(folder)).faults:
            assert SeriesSpec.model_validate(tree["attributes"]).placed_in(dataset).name == "prices"
