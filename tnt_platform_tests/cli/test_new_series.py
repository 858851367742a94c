"""`tnt new series` drafts a valid dataset from a file, and shows what it reads."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner, Result
from dagster.components.testing import create_defs_folder_sandbox

import tnt_platform
from tnt_platform.cli.main import main
from tnt_platform.kinds import dataset_specs, validate_datasets
from tnt_platform.orchestration.platform import Platform
from tnt_platform.series.component import SeriesDataset, SeriesScaffolder
from tnt_platform.series.reading import NormalizedCapture, read_capture
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.settings import Settings
from tnt_platform_tests.paths import SHARED
from tnt_platform_tests.series.dataset_files import months, workbook

needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data")

# A real file, and the reader, frequency, series and observations that an independent count found in it.
REAL = [
    ("bcra_com3500/com3500.xls", "date_column", "M", 1, 241),
    ("fx_monthly/monthly.csv", "long", "M", 34, 17_237),
    ("fx_monthly/yearly.csv", "long", "A", 21, 993),
    ("oil_brent/brent-daily.csv", "wide", "D", 1, 9_958),
    ("oil_brent/brent-weekly.csv", "wide", "W", 1, 2_049),
    ("oil_brent/brent-monthly.csv", "wide", "M", 1, 471),
    ("oil_brent/brent-month.xls", "date_column", "M", 1, 375),
    ("oil_brent/brent-week.xls", "date_column", "W", 1, 1_631),
    ("worldbank_cpi_raw/FP.CPI.TOTL.ZG.csv", "wide", "A", 266, 11_182),
]


def tnt(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def read_by(folder: Path, name: str, file: Path) -> tuple[SeriesSpec, NormalizedCapture]:
    spec = dataset_specs(folder)[name]
    assert isinstance(spec, SeriesSpec)
    return spec, read_capture(spec, file.read_bytes())


def is_valid(folder: Path) -> bool:
    """Tell whether the datasets are in order once the units of a draft are filled in."""
    for path in folder.glob("*/defs.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace("TODO unit", "index"), encoding="utf-8")
    return validate_datasets(folder, Settings.from_environment({}), strict_env=True).faults == []


@pytest.fixture
def book(tmp_path: Path) -> Path:
    rows = [["Mes", "Índice", "Variación"], *[[day, 100.5 + at, -0.5] for at, day in enumerate(months(24))]]
    path = tmp_path / "índices 2024.xlsx"
    path.write_bytes(workbook({"Datos": rows}))
    return path


def test_a_workbook_becomes_a_dataset_in_order_whose_observations_are_shown(
    book: Path, tmp_path: Path
) -> None:
    result = tnt("new", "series", "prices", "--from", str(book), "--to", str(tmp_path / "defs"))
    assert result.exit_code == 0, result.output
    assert "2 series, 48 observations, 0 rejected" in result.output
    shown = [line.split() for line in result.output.splitlines() if "PRICES_INDICE_M" in line]
    assert shown == [["24", "2020-01-01", "100.5", "2021-12-01", "123.5", "TODO", "unit", "PRICES_INDICE_M"]]
    assert is_valid(tmp_path / "defs")
    _, read = read_by(tmp_path / "defs", "prices", book)
    assert read.counts.published == 48


def test_the_drafted_file_says_what_was_recognised_and_what_is_to_do(book: Path, tmp_path: Path) -> None:
    tnt("new", "series", "prices", "--from", str(book), "--to", str(tmp_path))
    text = (tmp_path / "prices" / "defs.yaml").read_text(encoding="utf-8")
    assert "# - sheet 'Datos'" in text
    for option in ("description", "owners", "provider", "timezone", "url"):
        assert any(line.strip().startswith(f"{option}:") and "# TODO" in line for line in text.splitlines())


def test_a_drafted_dataset_loads_into_dagster(book: Path, tmp_path: Path) -> None:
    tnt("new", "series", "prices", "--from", str(book), "--to", str(tmp_path))
    document = yaml.safe_load((tmp_path / "prices" / "defs.yaml").read_text(encoding="utf-8"))
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(SeriesDataset, defs_path="prices", defs_yaml_contents=document)
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, loaded):
            built = dg.Definitions.merge(loaded, dg.Definitions(resources={"platform": Platform()}))
            keys = {spec.key.to_user_string() for spec in built.resolve_all_asset_specs()}
    assert {f"prices/{step}" for step in ("capture", "series")} <= keys
    assert len(keys) == 3


def test_a_dataset_that_exists_is_never_overwritten(book: Path, tmp_path: Path) -> None:
    tnt("new", "series", "prices", "--from", str(book), "--to", str(tmp_path))
    path = tmp_path / "prices" / "defs.yaml"
    path.write_text("mine")
    result = tnt("new", "series", "prices", "--from", str(book), "--to", str(tmp_path))
    assert result.exit_code == 1
    assert "prices/defs.yaml" in "".join(result.output.split())
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["two words", "../up", "a-b", ""])
def test_a_name_that_no_dataset_can_have_is_rejected(name: str, book: Path, tmp_path: Path) -> None:
    result = tnt("new", "series", name, "--from", str(book), "--to", str(tmp_path / "defs"))
    assert result.exit_code == 1
    assert repr(name) in result.output
    assert not (tmp_path / "defs").exists()


def test_a_file_in_which_nothing_is_recognised_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("name,size\na,1\nb,2\n")
    result = tnt("new", "series", "people", "--from", str(file), "--to", str(tmp_path / "defs"))
    assert result.exit_code == 1
    assert not (tmp_path / "defs").exists()


def test_what_is_rejected_is_shown_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("d,v\n2020-01,1.5\n2020-02,unknown\n2020-03,2.5\n2020-04,2.5\n")
    result = tnt("new", "series", "prices", "--from", str(file), "--to", str(tmp_path / "defs"))
    assert result.exit_code == 0
    assert "3 observations, 1 rejected" in result.output
    assert "'unknown'" in result.output
    assert re.search(r"^bad_value\s+1\s", result.output, re.MULTILINE)


def test_a_member_of_a_zip_is_drafted_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "prices.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("prices.json", json.dumps([{"d": f"2020-0{m}", "v": m / 8} for m in range(1, 9)]))
    assert tnt("new", "series", "prices", "--from", str(file), "--to", str(tmp_path / "defs")).exit_code == 0
    spec, read = read_by(tmp_path / "defs", "prices", file)
    assert spec.source.member == "prices.json"
    assert read.counts.published == 8


@needs_shared_data
@pytest.mark.parametrize(("file", "reader", "frequency", "series", "observations"), REAL)
def test_a_real_file_is_drafted_whole(
    file: str, reader: str, frequency: str, series: int, observations: int, tmp_path: Path
) -> None:
    path = SHARED / file
    result = tnt("new", "series", "real", "--from", str(path), "--to", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert is_valid(tmp_path)
    spec, read = read_by(tmp_path, "real", path)
    assert spec.reader == reader
    assert set(read.cells.codes["frequency"]) == {frequency}
    assert (read.cells.codes.height, read.counts.published, read.counts.quarantined) == (
        series,
        observations,
        0,
    )


@needs_shared_data
@pytest.mark.parametrize("month", ["12_25", "02_26", "03_26"])
def test_the_statistics_office_s_workbook_is_drafted_with_all_its_blocks(month: str, tmp_path: Path) -> None:
    path = SHARED / "indec_ipc_xls" / f"sh_ipc_{month}.xls"
    expected = json.loads((SHARED / "indec_ipc_xls" / "EXPECTED.json").read_text())["expected"]
    assert tnt("new", "series", "ipc", "--from", str(path), "--to", str(tmp_path)).exit_code == 0
    assert is_valid(tmp_path)
    _, read = read_by(tmp_path, "ipc", path)
    assert read.counts.quarantined == 0
    counts = dict(read.normalized.observations["internal_series_code"].value_counts().iter_rows())
    for sheet, code in (
        (
            "Variación mensual IPC Nacional",
            "IPC_VARIACION_MENSUAL_IPC_NACIONAL_TOTAL_NACIONAL_NIVEL_GENERAL_M",
        ),
        ("Var. interanual IPC Nacional", "IPC_VAR_INTERANUAL_IPC_NACIONAL_TOTAL_NACIONAL_NIVEL_GENERAL_M"),
        (
            "Índices IPC Cobertura Nacional",
            "IPC_INDICES_IPC_COBERTURA_NACIONAL_TOTAL_NACIONAL_NIVEL_GENERAL_M",
        ),
    ):
        assert counts[code] == expected[path.name]["sheets"][sheet]["n"]
    national = [code for code in counts if "IPC_NACIONAL" in code or "COBERTURA_NACIONAL" in code]
    cells = sum(counts[code] for code in national)
    assert cells == expected["_all_cells"]["numeric_cells_under_a_date_header_3_sheets_7_blocks"][month]


def test_the_scaffold_of_dg_writes_a_dataset_is_valid(tmp_path: Path) -> None:
    (tmp_path / "my_rates").mkdir()
    request = dg.ScaffoldRequest(
        type_name="tnt_platform.components.SeriesDataset",
        target_path=tmp_path / "my_rates",
        scaffold_format="yaml",
        project_root=Path(tnt_platform.__file__).parents[1],
        params=None,
    )
    SeriesScaffolder().scaffold(request)
    path = tmp_path / "my_rates" / "defs.yaml"
    assert "MY_RATES_TODO_M" in path.read_text()
    faults = validate_datasets(tmp_path, Settings.from_environment({}), strict_env=True).faults
    assert [(fault.line, "TODO unit" in fault.wrong) for fault in faults] == [
        (path.read_text().splitlines().index("      unit: TODO unit") + 1, True)
    ]
    assert is_valid(tmp_path)
    with pytest.raises(FileExistsError):
        SeriesScaffolder().scaffold(request)
