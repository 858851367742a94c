"""Series found in the wild, with the figures an independent count gave; skipped where the data isn't there."""

import json
from typing import Any

import polars as pl
import pytest

from tnt_platform.series.readers.cells import SeriesCells
from tnt_platform.series.readers.layouts import (
    ColumnSeries,
    DateColumnLayout,
    DateRowLayout,
    LongLayout,
    LongTable,
    RowBlock,
    RowSeries,
    WideLayout,
    WideSeries,
    WideTable,
)
from tnt_platform.series.readers.workbook import open_workbook
from tnt_platform.series.reading import READERS
from tnt_platform_tests.paths import SHARED

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data")


def expected(folder: str) -> dict[str, Any]:
    path = SHARED / folder / "EXPECTED.json"
    return json.loads(path.read_text())["expected"] if path.is_file() else {}


def read(folder: str, name: str, reader: str, layout: Any) -> SeriesCells:
    return READERS[reader]((SHARED / folder / name).read_bytes(), layout)


def observed(cells: pl.DataFrame) -> list[tuple[str, float]]:
    kept = cells.drop_nulls(["date_text", "value_text"])
    return list(zip(kept["date_text"], kept["value_text"].cast(pl.Float64), strict=True))


def total(cells: pl.DataFrame) -> float:
    return sum(value for _, value in observed(cells))


INDEC = sorted(name for name in expected("indec_ipc_xls") if not name.startswith("_"))


@pytest.mark.parametrize("name", INDEC)
def test_the_national_level_of_the_consumer_prices(name):
    sheets = expected("indec_ipc_xls")[name]["sheets"]
    series = tuple(
        RowSeries(
            code=f"S{at}",
            sheet=sheet,
            unit="u",
            dates_row=6,
            first_column="B",
            values_row=10,
            label="Nivel general",
        )
        for at, sheet in enumerate(sheets)
    )
    found = read("indec_ipc_xls", name, "date_row", DateRowLayout(series=series))
    for at, facts in enumerate(sheets.values()):
        points = observed(found.cells.filter(series_code=f"S{at}"))
        assert len(points) == facts["n"]
        assert (list(points[0]), list(points[-1])) == (facts["first"], facts["last"])
        assert sum(value for _, value in points) == pytest.approx(facts["sum"])
        assert list(max(points, key=lambda point: point[1])) == facts["max"]
        assert list(min(points, key=lambda point: point[1])) == facts["min"]


@pytest.mark.parametrize("name", INDEC)
def test_all_regions_of_the_consumer_prices(name):
    facts = expected("indec_ipc_xls")
    data = (SHARED / "indec_ipc_xls" / name).read_bytes()
    sheets = list(facts[name]["sheets"])
    blocks = []
    for at, sheet in enumerate(sheets):
        cells = open_workbook(data).sheet(sheet).all_cells()
        labels, first_dates = cells.column(0).to_list(), cells.column(1).to_list()
        rows = [row for row, text in enumerate(first_dates, 1) if text and text.startswith("201")]
        assert len(rows) == 7, labels
        ends = [row - 1 for row in rows[1:]] + [len(labels)]
        blocks += [
            RowBlock(
                code=f"S{at}_R{dates_row}_{{label}}",
                sheet=sheet,
                unit="u",
                dates_row=dates_row,
                first_column="B",
                first_row=dates_row + 1,
                last_row=end,
            )
            for dates_row, end in zip(rows, ends, strict=True)
        ]
    found = READERS["date_row"](data, DateRowLayout(series=tuple(blocks)))
    cells = found.cells.drop_nulls(["date_text", "value_text"])
    numbers = cells["value_text"].cast(pl.Float64, strict=False).is_not_null().sum()
    wanted = facts["_all_cells"]["numeric_cells_under_a_date_header_3_sheets_7_blocks"]
    assert numbers == wanted[name.removeprefix("sh_ipc_").removesuffix(".xls")]
    assert found.rejected.is_empty()


def test_the_wholesale_rate_has_rows_with_and_without_true_dates():
    facts = expected("bcra_com3500")["com3500.xls"]
    series = ColumnSeries(
        code="TC",
        unit="u",
        sheet=facts["sheet"],
        header_row=facts["header_row"],
        skip_rows_after_header=1,
        date_column="A",
        value_column="B",
    )
    cells = read("bcra_com3500", "com3500.xls", "date_column", DateColumnLayout(series=(series,))).cells
    dated = cells.filter(pl.col("date_text").str.contains(r"^\d{4}-\d{2}-\d{2}$"))
    assert (cells.height, dated.height) == (241, facts["observations"])
    points = observed(dated)
    assert (list(points[0]), list(points[-1])) == (facts["first"], facts["last"])
    assert total(dated) == pytest.approx(facts["sum"])


@pytest.mark.parametrize("name", ["brent-month.xls", "brent-week.xls"])
def test_oil_prices_of_a_workbook(name):
    facts = expected("oil_brent")[name]
    series = ColumnSeries(
        code="B",
        unit="u",
        sheet=facts["sheet"],
        header_row=facts["header_row"],
        date_column="A",
        value_column="B",
    )
    cells = read("oil_brent", name, "date_column", DateColumnLayout(series=(series,))).cells
    points = observed(cells)
    assert len(points) == cells.height == facts["observations"]
    assert (list(points[0]), list(points[-1])) == (facts["first"], facts["last"])
    assert total(cells) == pytest.approx(facts["sum"])


@pytest.mark.parametrize("name", ["brent-daily.csv", "brent-weekly.csv", "brent-monthly.csv"])
def test_oil_prices_of_a_csv(name):
    facts = expected("oil_brent")[name]
    layout = WideLayout(
        table=WideTable(date_column="Date"), series=(WideSeries(code="B", column="Price", unit="u"),)
    )
    cells = read("oil_brent", name, "wide", layout).cells
    points = observed(cells)
    assert len(points) == facts["records"]
    assert (points[0][0], points[-1][0]) == (facts["first"], facts["last"])
    assert total(cells) == pytest.approx(facts["sum"])


def test_inflation_of_the_world_bank():
    facts = expected("worldbank_cpi_raw")["FP.CPI.TOTL.ZG.csv"]
    layout = WideLayout(table=WideTable(code="WB_CPI_{Country Code}_A", date_columns=r"\d{4}", unit="%"))
    found = read("worldbank_cpi_raw", "FP.CPI.TOTL.ZG.csv", "wide", layout)
    assert (found.codes.height, found.cells.height) == (facts["countries_rows"], facts["cells"])
    assert found.cells["value_text"].count() == facts["observations_non_empty"]
    assert total(found.cells) == pytest.approx(facts["sum"])
    assert found.cells.select(pl.col("date_text").min(), pl.col("date_text").max().alias("last")).row(0) == (
        facts["year_first"],
        facts["year_last"],
    )


@pytest.mark.parametrize(("name", "column"), [("monthly.csv", "Exchange rate"), ("yearly.csv", "Value")])
def test_exchange_rates_by_country(name, column):
    facts = expected("fx_monthly")[name]
    layout = LongLayout(
        table=LongTable(date_column="Date", value_column=column, code="FX_{Country}_M", unit="u")
    )
    found = read("fx_monthly", name, "long", layout)
    assert (found.cells.height, found.codes.height) == (facts["records"], facts["countries"])
    assert total(found.cells) == pytest.approx(facts["sum"])
    assert found.rejected.is_empty()
