"""Published files found in the wild, through the whole chain, with the figures an independent count gave."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tnt_platform.kinds import series_spec
from tnt_platform.series.spec import SeriesSpec
from tnt_platform_tests.paths import SHARED
from tnt_platform_tests.series.scene import SeriesScene

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data")

BASE = {"provider": "x", "timezone": "UTC", "frequency": "M", "source": {"url": "x"}}


def expected(folder: str) -> dict[str, Any]:
    return json.loads((SHARED / folder / "EXPECTED.json").read_text())["expected"]


def scene_of(tmp_path: Path, **attributes: Any) -> SeriesScene:
    return SeriesScene(tmp_path, SeriesSpec.model_validate({**BASE, **attributes}).placed_in(Path("real")))


def figures(rows: pl.DataFrame) -> dict[str, object]:
    rows = rows.sort("period")
    ends = rows.select("period", "value").rows()
    return {
        "n": rows.height,
        "first": list(map(str, ends[0])),
        "last": list(map(str, ends[-1])),
        "sum": round(rows["value"].sum(), 4),
    }


def test_vintages_of_the_argentine_price_index_add_their_months_and_revise_nothing(tmp_path):
    # Years instead of months: a tenth of the files, the same observations.
    scene = SeriesScene(
        tmp_path, series_spec("indec_ipc").model_copy(update={"partition_strategy": "series_year"})
    )
    codes = {
        "Variación mensual IPC Nacional": "INDEC_IPC_VARIACION_MENSUAL_PCT_M",
        "Var. interanual IPC Nacional": "INDEC_IPC_VARIACION_INTERANUAL_PCT_M",
        "Índices IPC Cobertura Nacional": "INDEC_IPC_INDICE_M",
    }
    added = []
    for name in ("sh_ipc_12_25.xls", "sh_ipc_02_26.xls", "sh_ipc_03_26.xls"):
        done = scene.load(SHARED / "indec_ipc_xls" / name)
        assert done["series"].counts.quarantined == 0
        log = scene.current.manifest.about["changelog"]
        added.append((log["data_points_added"], log["data_points_updated"], log["data_points_removed"]))
        for sheet, wanted in expected("indec_ipc_xls")[name]["sheets"].items():
            found = figures(scene.published.filter(internal_series_code=codes[sheet]))
            assert found == {
                "n": wanted["n"],
                "first": [wanted["first"][0], str(wanted["first"][1])],
                "last": [wanted["last"][0], str(wanted["last"][1])],
                "sum": wanted["sum"],
            }
    # 54 national rows a month: 18 in each of three sheets.
    assert added[1:] == [(108, 0, 0), (54, 0, 0)]
    version = scene.current.version
    assert not any(
        step.changed for step in scene.load(SHARED / "indec_ipc_xls" / "sh_ipc_03_26.xls").values()
    )
    assert scene.current.version == version


def test_the_argentine_exchange_rate_is_read_with_its_month_names(tmp_path):
    scene = scene_of(
        tmp_path,
        reader="date_column",
        timezone="America/Argentina/Buenos_Aires",
        series=[
            {
                "code": "TCNPM_M",
                "sheet": "Serie de TCNPM",
                "header_row": 1,
                "skip_rows_after_header": 1,
                "date_column": "A",
                "value_column": "B",
                "unit": "ARS per USD",
            }
        ],
    )
    done = scene.load(SHARED / "bcra_com3500" / "com3500.xls")
    wanted = expected("bcra_com3500")["com3500.xls"]
    rows = scene.published
    # The independent count knows true Excel dates only; ten months of 2009 are words ("Enero-09").
    true_dates = rows.filter(pl.col("printed_date").str.starts_with("2"))
    assert true_dates.height == wanted["observations"] == 231
    assert round(true_dates["value"].sum(), 4) == wanted["sum"]
    assert rows.height == 241
    assert done["series"].counts.quarantined == 0
    assert [str(rows["period"].min()), str(rows["period"].max())] == [wanted["first"][0], wanted["last"][0]]


def test_exchange_rates_by_country_are_as_many_as_counted(tmp_path):
    scene = SeriesScene(tmp_path, series_spec("fx_monthly"))
    scene.load(SHARED / "fx_monthly" / "monthly.csv")
    wanted = expected("fx_monthly")["monthly.csv"]
    rows = scene.published
    counts = dict(rows.group_by("internal_series_code").len().iter_rows())
    slug = lambda country: f"FX_{country.upper().replace(' ', '_')}_M"  # noqa: E731
    assert counts == {slug(country): n for country, n in wanted["per_country"].items()}
    assert round(rows["value"].sum(), 4) == wanted["sum"]
    assert [str(rows["period"].min()), str(rows["period"].max())] == [wanted["first"], wanted["last"]]


def test_exchange_rates_by_year_differ_in_yaml_only(tmp_path):
    table = {"date_column": "Date", "value_column": "Value", "code": "FX_{Country}_A", "unit": "x"}
    scene = scene_of(tmp_path, reader="long", frequency="A", table=table, partition_strategy="year")
    scene.load(SHARED / "fx_monthly" / "yearly.csv")
    wanted = expected("fx_monthly")["yearly.csv"]
    assert scene.published.height == wanted["records"]
    assert round(scene.published["value"].sum(), 4) == wanted["sum"]


@pytest.mark.parametrize(
    ("frequency", "old", "new", "vintage"),
    [("M", "brent-month.xls", "brent-monthly.csv", "_vintage_xls_then_csv_monthly"),
     ("W", "brent-week.xls", "brent-weekly.csv", "_vintage_xls_then_csv_weekly")],
)  # fmt: skip
def test_brent_as_a_workbook_then_as_a_csv_only_adds(tmp_path, frequency, old, new, vintage):
    code = "BRENT"
    workbook = {
        "reader": "date_column",
        "frequency": frequency,
        "series": [
            {
                "code": code,
                "sheet": "Data 1",
                "header_row": 3,
                "date_column": "A",
                "value_column": "B",
                "unit": "USD",
            }
        ],
    }
    table = {
        "reader": "wide",
        "frequency": frequency,
        "table": {"date_column": "Date"},
        "series": [{"code": code, "column": "Price", "unit": "USD"}],
    }
    scene = scene_of(tmp_path, **workbook)
    scene.load(SHARED / "oil_brent" / old)
    wanted = expected("oil_brent")[old]
    rows = scene.published
    assert (rows.height, round(rows["value"].sum(), 2)) == (wanted["observations"], wanted["sum"])
    assert rows.sort("period")["printed_date"][0] == wanted["first"][0]
    scene.spec = SeriesSpec.model_validate({**BASE, **table}).placed_in(Path("real"))
    scene.load(SHARED / "oil_brent" / new)
    wanted, step = expected("oil_brent")[new], expected("oil_brent")[vintage]
    rows = scene.published
    assert (rows.height, round(rows["value"].sum(), 2)) == (wanted["records"], wanted["sum"])
    log = scene.current.manifest.about["changelog"]
    assert (log["data_points_added"], log["data_points_updated"]) == (
        step["csv_not_in_xls"],
        step["revised_count"],
    )


def test_daily_brent_is_as_counted(tmp_path):
    series = [{"code": "BRENT_D", "column": "Price", "unit": "USD"}]
    scene = scene_of(
        tmp_path,
        reader="wide",
        frequency="D",
        table={"date_column": "Date"},
        series=series,
        partition_strategy="series_year",
    )
    scene.load(SHARED / "oil_brent" / "brent-daily.csv")
    wanted = expected("oil_brent")["brent-daily.csv"]
    rows = scene.published
    assert (rows.height, round(rows["value"].sum(), 2)) == (wanted["records"], wanted["sum"])
    assert (rows["value"].min(), rows["value"].max()) == (wanted["min"], wanted["max"])


def test_the_world_banks_years_across_become_observations(tmp_path):
    table = {"date_columns": r"\d{4}", "code": "WB_CPI_{Country Code}_A", "unit": "percent"}
    scene = scene_of(tmp_path, reader="wide", frequency="A", table=table, partition_strategy="year")
    done = scene.load(SHARED / "worldbank_cpi_raw" / "FP.CPI.TOTL.ZG.csv")
    wanted = expected("worldbank_cpi_raw")["FP.CPI.TOTL.ZG.csv"]
    rows = scene.published
    assert rows.height == wanted["observations_non_empty"] == 11_182
    assert round(rows["value"].sum(), 6) == wanted["sum"]
    assert done["series"].counts.rows_in == wanted["cells"]
    assert done["series"].counts.filtered == wanted["cells"] - wanted["observations_non_empty"]
    assert rows.filter(pl.col("internal_series_code") == "WB_CPI_ARG_A").is_empty()
