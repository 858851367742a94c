"""`tnt import-legacy`: old dataset files become valid datasets, and each of their fields is accounted for."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.cli.main import main
from tnt_platform.errors import ConfigError
from tnt_platform.kinds import dataset_specs, validate_datasets
from tnt_platform.series.legacy.convert import Converted, convert
from tnt_platform.series.reading import read_capture
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.settings import Settings
from tnt_platform_tests.series.dataset_files import days, months, workbook

BCRA = """\
dataset_id: bcra_infomondia_series
provider: bcra
frequency: daily
source:
  kind: http
  url: https://www.bcra.gob.ar/Pdfs/PublicacionesEstadisticas/series.xlsm
  format: xlsm
parse:
  plugin: bcra_infomondia
normalize:
  plugin: bcra_infomondia
  primary_keys: [obs_time, internal_series_code]
  timezone: America/Argentina/Buenos_Aires
transform:
  plugin: none
load:
  plugin: s3_versioned
  bucket: economic-series
  region: us-east-1
  partition_strategy: series_year_month
  compression: snappy
state:
  kind: s3
  path: state/series.json
lock:
  key: etl:{dataset_id}
  timeout: 300
parse_config:
  series_map:
    - internal_series_code: BCRA_TC_OFICIAL_A3500_PESOSxUSD_D
      sheet: RESERVAS
      header_row: 8
      skip_rows_after_header: 2
      date_col: A
      value_col: P
      unit: PESOSxUSD
      frequency: D
      drop_na: true
    - internal_series_code: BCRA_RESERVAS_USD_M_D
      sheet: RESERVAS
      header_row: 8
      skip_rows_after_header: 2
      date_col: A
      value_col: C
      unit: USD_M
      frequency: D
      drop_na: true
    - internal_series_code: BCRA_BASE_MONETARIA_TOTAL_ARS_BN_D
      sheet: BASE MONETARIA
      header_row: 8
      skip_rows_after_header: 1
      date_col: A
      value_col: AD
      unit: ARS_BN
      frequency: D
      drop_na: true
"""

IPC = """\
dataset_id: indec_ipc
provider: indec
frequency: monthly
source:
  kind: http
  url_template: https://www.indec.gob.ar/ftp/cuadros/economia/sh_ipc_{MM}_{YY}.xls
  format: xls
parse: {plugin: indec_ipc}
normalize: {plugin: indec_ipc, primary_keys: [internal_series_code, obs_time], timezone: America/Argentina/Buenos_Aires}
transform: {plugin: identity}
load: {plugin: s3_versioned, bucket: economic-series, region: us-east-1, partition_strategy: series_year_month}
state: {kind: file, path: state/series.json}
lock: {timeout: 600}
parse_config:
  series_map:
    INDEC_IPC_VARIACION_MENSUAL_PCT_M:
      {sheet: Variación mensual IPC Nacional, dates_row: 6, start_column: B, values_row: 10, unit: pct, frequency: M}
    INDEC_IPC_VARIACION_INTERANUAL_PCT_M:
      {sheet: Var. interanual IPC Nacional, dates_row: 6, start_column: B, values_row: 10, unit: pct, frequency: M}
"""


def imported(text: str, root: Path) -> Result:
    file = root / "old.yml"
    file.write_text(text, encoding="utf-8")
    return CliRunner(env={"COLUMNS": "250"}).invoke(
        main, ["import-legacy", str(file), "--to", str(root / "defs")]
    )


def spec_of(root: Path, name: str) -> SeriesSpec:
    report = validate_datasets(root / "defs", Settings.from_environment({}), strict_env=True)
    assert report.faults == []
    spec = dataset_specs(root / "defs")[name]
    assert isinstance(spec, SeriesSpec)
    return spec


def fates(text: str) -> dict[str, list[tuple[str, str]]]:
    """Return what became of each field, with the description."""
    found: dict[str, list[tuple[str, str]]] = {}
    for note in convert(yaml.safe_load(text), "old.yml").notes:
        found.setdefault(note.field, []).append((note.fate, note.description))
    return found


def is_assumed(notes: list[tuple[str, str]], name: str) -> bool:
    return any(fate == "assumed" and name in description for fate, description in notes)


def test_the_dataset_of_columns_reads_a_workbook_of_that_layout(tmp_path: Path) -> None:
    result = imported(BCRA, tmp_path)
    assert result.exit_code == 0, result.output
    spec = spec_of(tmp_path, "bcra_infomondia_series")
    assert (spec.provider, spec.reader, spec.partition_strategy, spec.lock_timeout_s) == (
        "bcra",
        "date_column",
        "series_year_month",
        300,
    )
    assert spec.lock_key is None
    dates = days(15)

    def sheet(skipped: int, *columns: int) -> list[list[Any]]:
        rows: list[list[Any]] = (
            [["x"]] + [[] for _ in range(6)] + [["Fecha"] + [f"h{at}" for at in range(30)]]
        )
        rows += [[None, *(["unidad"] * 30)] for _ in range(skipped)]
        return rows + [
            [day, *(at * 100 + column + 0.5 for column in range(1, 31))] for at, day in enumerate(dates)
        ]

    read = read_capture(spec, workbook({"RESERVAS": sheet(2), "BASE MONETARIA": sheet(1)}))
    assert read.counts.quarantined == 0
    observations = {
        (c, p): v
        for c, p, v in read.normalized.observations.select("internal_series_code", "period", "value").rows()
    }
    columns = {
        "BCRA_TC_OFICIAL_A3500_PESOSxUSD_D": 15,
        "BCRA_RESERVAS_USD_M_D": 2,
        "BCRA_BASE_MONETARIA_TOTAL_ARS_BN_D": 29,
    }
    assert observations == {
        (code, day): at * 100 + column + 0.5
        for code, column in columns.items()
        for at, day in enumerate(dates)
    }
    assert dict(read.cells.codes.select("series_code", "unit").rows())["BCRA_RESERVAS_USD_M_D"] == "USD_M"


def test_the_dataset_of_rows_reads_a_workbook_of_that_layout(tmp_path: Path) -> None:
    assert imported(IPC, tmp_path).exit_code == 0
    spec = spec_of(tmp_path, "indec_ipc")
    assert spec.source.url.endswith("sh_ipc_{MM}_{YY}.xls")
    assert spec.timezone == "America/Argentina/Buenos_Aires"
    dates = months(18)
    sheet: list[list[Any]] = [["Índice"], [], [], [], [], ["Total nacional", *dates], [], ["Divisiones"], []]
    sheet += [["Nivel general", *(at + 0.5 for at in range(18))], ["Alimentos", *range(18)]]
    read = read_capture(
        spec, workbook({"Variación mensual IPC Nacional": sheet, "Var. interanual IPC Nacional": sheet})
    )
    rows = read.normalized.observations.sort("internal_series_code", "period")
    assert read.counts.quarantined == 0
    assert rows["period"].to_list() == dates * 2
    assert rows["value"].to_list() == [at + 0.5 for at in range(18)] * 2


def _leaves(value: Any, path: str = "") -> set[str]:
    if isinstance(value, Mapping):
        inside = "[]" if path.endswith("series_map") else ""
        keys = {"": value} if not inside else {f"{path}[]": value}
        if inside:
            return {leaf for one in value.values() for leaf in _leaves(one, f"{path}[]")}
        return {
            leaf
            for name, one in keys[""].items()
            for leaf in _leaves(one, f"{path}.{name}" if path else str(name))
        }
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return {leaf for one in value for leaf in _leaves(one, f"{path}[]")}
    return {path}


@pytest.mark.parametrize("text", [BCRA, IPC])
def test_every_field_of_the_old_file_is_accounted_for(text: str) -> None:
    fields = fates(text)
    missing = {
        leaf
        for leaf in _leaves(yaml.safe_load(text))
        if not any(leaf == f or leaf.startswith(f"{f}.") for f in fields)
    }
    assert missing == set()


def test_fields_that_are_not_needed_are_listed_with_the_reason(tmp_path: Path) -> None:
    fields = fates(BCRA)
    for field in (
        "state",
        "load.bucket",
        "load.compression",
        "lock.key",
        "parse_config.series_map[].drop_na",
    ):
        assert [fate for fate, _ in fields[field]] == ["not needed"]
    assert "TNT_LAKE_URL" in fields["load.bucket"][0][1]
    assert "'etl:{dataset_id}'" in fields["lock.key"][0][1]
    output = imported(BCRA, tmp_path).output
    for field in fields:
        assert field in output


def test_unknown_fields_are_listed_and_written_into_the_file_as_to_do(tmp_path: Path) -> None:
    text = BCRA.replace("frequency: daily\n", "frequency: daily\npriority: high\nhooks: {before: ping}\n")
    text = text.replace("      value_col: P\n", "      value_col: P\n      scale: 1000\n")
    fields = fates(text)
    for name in ("priority", "hooks.before", "parse_config.series_map[].scale"):
        assert [fate for fate, _ in fields[name]] == ["to do"]
    assert imported(text, tmp_path).exit_code == 0
    written = (tmp_path / "defs" / "bcra_infomondia_series" / "defs.yaml").read_text(encoding="utf-8")
    assert "# TODO parse_config.series_map[].scale: 1000" in written


def test_other_spellings_are_read_and_noted_as_assumed() -> None:
    text = (
        BCRA.replace("date_col:", "dateColumn:")
        .replace("value_col:", "value-column:")
        .replace("sheet:", "sheet_name:")
    )
    text = text.replace("internal_series_code:", "series_code:").replace("dataset_id:", "id:")
    assert convert(yaml.safe_load(text), "x").attributes == convert(yaml.safe_load(BCRA), "x").attributes
    fields = fates(text)
    assert is_assumed(fields["parse_config.series_map[].dateColumn"], "date_col")
    assert is_assumed(fields["parse_config.series_map[].sheet_name"], "sheet")
    assert is_assumed(fields["id"], "dataset_id")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{MM}_{YY}", "{MM}_{YY}"),
        ("{mm}_{yy}", "{MM}_{YY}"),
        ("{month:02d}_{year}", "{MM}_{YYYY}"),
        ("%m_%y", "{MM}_{YY}"),
    ],
)
def test_marks_for_the_month_are_converted(old: str, new: str) -> None:
    attributes = convert(yaml.safe_load(IPC.replace("{MM}_{YY}", old)), "x").attributes
    assert attributes["source"]["url"].endswith(f"sh_ipc_{new}.xls")


def of_series(**changes: Any) -> Converted:
    document = yaml.safe_load(BCRA)
    (document["parse_config"]["series_map"][0]).update(changes)
    return convert(document, "x")


def test_columns_in_lower_case_numbers_or_booleans_become_letters() -> None:
    assert of_series(value_col="ad").attributes["series"][0]["value_column"] == "AD"
    assert of_series(value_col=30).attributes["series"][0]["value_column"] == "AD"
    assert yaml.safe_load("x: ON")["x"] is True
    assert of_series(value_col=True).attributes["series"][0]["value_column"] == "ON"


def test_defaults_beside_the_series_hold_for_all_of_them() -> None:
    text = IPC.replace("dates_row: 6, start_column: B, ", "").replace(
        "parse_config:\n", "parse_config:\n  date_row: 6\n  start_col: C\n"
    )
    for one in convert(yaml.safe_load(text), "x").attributes["series"]:
        assert (one["dates_row"], one["first_column"]) == (6, "C")


def test_a_missing_start_column_is_assumed_to_be_b() -> None:
    text = IPC.replace("start_column: B, ", "")
    assert {one["first_column"] for one in convert(yaml.safe_load(text), "x").attributes["series"]} == {"B"}
    assert is_assumed(fates(text)["parse_config.series_map"], "column B")


def test_a_lock_of_its_own_and_a_file_source_are_carried_over() -> None:
    document = yaml.safe_load(BCRA)
    document["lock"] = {"key": "shared:{dataset_id}", "timeout": 30}
    document["source"] = {"kind": "file", "path": "data/series.xlsm"}
    found = convert(document, "x")
    assert found.attributes["lock_key"] == "shared:bcra_infomondia_series"
    assert found.attributes["source"]["url"] == "data/series.xlsm"
    assert any(note.fate == "to do" and "TNT_RAW_URL" in note.description for note in found.notes)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (BCRA, "- just\n- a list\n", "old.yml"),
        ("frequency: daily", "frequency: sometimes", "'sometimes'"),
        ("  url: https://www.bcra.gob.ar/Pdfs/PublicacionesEstadisticas/series.xlsm\n", "", "url_template"),
        (BCRA[BCRA.index("  series_map:") :], "  x: 1\n", "series_map"),
        ("      value_col: P\n", "", "BCRA_TC_OFICIAL_A3500_PESOSxUSD_D lacks value_col"),
        (
            "    - internal_series_code: BCRA_RESERVAS_USD_M_D\n      sheet",
            "    - sheet",
            "internal_series_code",
        ),
        ("      value_col: P\n", "      dates_row: 5\n      value_row: 9\n", "series_map"),
        ("format: xlsm", "format: parquet", "tnt new series"),
        (BCRA, "a: [", "old.yml"),
    ],
)
def test_what_cannot_be_guessed_is_rejected(old: str, new: str, name: str, tmp_path: Path) -> None:
    assert old in BCRA
    result = imported(BCRA.replace(old, new), tmp_path)
    assert result.exit_code == 1
    assert name in result.output
    assert not (tmp_path / "defs").exists()


def test_a_dataset_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    imported(BCRA, tmp_path)
    result = imported(BCRA, tmp_path)
    assert result.exit_code == 1
    assert str(Path("bcra_infomondia_series") / "defs.yaml") in result.output


def test_a_mistake_of_the_old_file_is_found_by_validation_at_once(tmp_path: Path) -> None:
    text = BCRA.replace("America/Argentina/Buenos_Aires", "America/Buenos_Ayres")
    result = imported(text, tmp_path)
    assert result.exit_code == 1
    assert "America/Buenos_Ayres" in result.output


_ANY = st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], {}, ["a"], {"a": 1}, [{"a": 1}]])
_PATHS = [
    ("source",), ("source", "url"), ("source", "headers"), ("parse",), ("normalize",), ("normalize", "primary_keys"),
    ("load",), ("load", "partition_strategy"), ("lock",), ("lock", "timeout"), ("frequency",), ("dataset_id",),
    ("parse_config",), ("parse_config", "series_map"), ("transform",), ("state",), ("schedule",), ("owners",),
]  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from(_PATHS), _ANY)
def test_any_value_of_a_field_gives_a_dataset_or_a_config_error(path: tuple[str, ...], value: Any) -> None:
    document = yaml.safe_load(BCRA)
    parent = document
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = value
    with contextlib.suppress(ConfigError):
        assert convert(document, "old.yml").attributes["series"]
