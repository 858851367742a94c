# ruff: noqa: DTZ001 - the dates of a workbook have no zone
import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.date_row import read_date_row
from tnt_platform.series.readers.layouts import DateRowLayout, RowBlock, RowSeries, column_letters
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.series.readers.workbook_files import oracle, xls, xlsx

GRID = {
    (3, 1): "Total nacional",
    (3, 2): dt.datetime(2024, 1, 1),
    (3, 3): dt.datetime(2024, 2, 1),
    (3, 4): "mar-24*",
    (5, 1): "Divisiones",
    (6, 1): "Nivel  general",
    (6, 2): 20.6,
    (6, 3): 13.2,
    (7, 1): "Alimentos y bebidas (1)",
    (7, 2): 20.4,
    (7, 4): "///",
    (8, 1): "Núcleo",
    (8, 3): 12,
}


def row(code: str = "A", **options) -> RowSeries:
    return RowSeries(
        **{"code": code, "sheet": "S", "dates_row": 3, "first_column": "B", "values_row": 6, "unit": "u"}
        | options
    )


def block(code: str = "IPC_{label}_M", **options) -> RowBlock:
    places = {
        "sheet": "S",
        "dates_row": 3,
        "first_column": "B",
        "label_column": "A",
        "first_row": 4,
        "last_row": 40,
        "unit": "u",
    }
    return RowBlock(**{"code": code} | places | options)


def fault_of(grid, *series) -> InvalidInput:
    with pytest.raises(InvalidInput) as fault:
        read_date_row(xlsx({"S": grid}), DateRowLayout(series=series))
    return fault.value


@pytest.mark.parametrize("write", [xlsx, xls])
def test_a_row_of_values_is_paired_with_the_row_of_dates(write):
    found = read_date_row(
        write({"S": GRID}), DateRowLayout(series=(row(label="nivel general", unit="%", frequency="M"),))
    )
    assert found.cells.drop("scale").rows() == [
        ("A", "2024-01-01", "20.6", "S!B6", 6),
        ("A", "2024-02-01", "13.2", "S!C6", 6),
        ("A", "mar-24*", None, "S!D6", 6),
    ]
    assert found.codes.rows() == [("A", "%", "M")]


def test_each_row_of_a_block_with_a_label_and_a_value_is_a_series():
    found = read_date_row(xlsx({"S": GRID}), DateRowLayout(series=(block(),)))
    codes = ["IPC_NIVEL_GENERAL_M", "IPC_ALIMENTOS_Y_BEBIDAS_1_M", "IPC_NUCLEO_M"]
    assert found.codes["series_code"].to_list() == codes
    assert found.cells.filter(series_code=codes[1])["value_text"].to_list() == ["20.4", None, "///"]
    assert found.rejected.height == 0


def test_values_without_a_label_are_rejected_with_their_row():
    found = read_date_row(
        xlsx({"S": GRID | {(9, 2): 5, (10, 1): "***", (10, 3): 6}}), DateRowLayout(series=(block(),))
    )
    assert found.rejected.select("line_no", "reason_code").rows() == [(9, "no_label"), (10, "no_label")]
    assert found.rejected["raw"][0] == " | 5 |  | "


CELLS = (
    st.none()
    | st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.12G}") + 0.0)
    | st.sampled_from([0, True, "///", "1.60"])
)


@settings(deadline=None, max_examples=tries(60))
@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.lists(CELLS, min_size=1, max_size=5), min_size=1, max_size=5),
)
def test_every_row_equals_what_a_reader_of_single_cells_finds(dates_row, first, rows):
    grid = {(dates_row, first + at): dt.datetime(2020, 1 + at, 1) for at in range(5)}
    for down, values in enumerate(rows, start=1):
        grid |= {
            (dates_row + down, first + at): value for at, value in enumerate(values) if value is not None
        }
    book = xlsx({"S": grid})
    cells = oracle(book)["S"]
    series = [
        row(
            f"R{down}",
            dates_row=dates_row,
            values_row=dates_row + down,
            first_column=column_letters(first - 1),
        )
        for down in range(1, len(rows) + 1)
    ]
    wanted = [
        (s.code, date, value, f"S!{column_letters(at - 1)}{s.values_row}", s.values_row)
        for s in series
        for at in range(first, first + 5)
        for date, value in [(cells.get((s.dates_row, at)), cells.get((s.values_row, at)))]
        if date is not None or value is not None
    ]
    assert read_date_row(book, DateRowLayout(series=tuple(series))).cells.drop("scale").rows() == wanted


def test_a_label_that_moved_is_rejected_with_where_it_is_now():
    moved = {(at + 1 if at > 3 else at, column): value for (at, column), value in GRID.items()}
    fault = fault_of(moved, row(label="Nivel general"))
    assert fault.reason_code == "label_moved"
    assert "'Divisiones'" in str(fault)
    assert "row 7 (cell A7)" in str(fault)


def test_two_labels_that_give_one_code_are_rejected():
    fault = fault_of(GRID | {(9, 1): "NUCLEO *", (9, 2): 5}, block())
    assert (fault.reason_code, "IPC_NUCLEO_M" in str(fault)) == ("duplicate_series", True)


@pytest.mark.parametrize("series", [block(first_row=20), row(dates_row=90, values_row=91)])
def test_rows_where_nothing_stands_are_rejected(series):
    assert fault_of(GRID, series).reason_code == "no_rows"


@pytest.mark.parametrize(
    "options", [{"code": "IPC_M"}, {"code": "{label}{other}"}, {"last_row": 3}, {"dates_row": 0}]
)
def test_a_block_that_makes_no_sense_is_an_error_of_the_layout(options):
    with pytest.raises(ValidationError):
        block(**options)


@pytest.mark.parametrize("write", [xlsx, xls])
def test_a_year_above_its_first_month_holds_until_the_next_text_in_its_row(write):
    years = {(2, 2): "Año 2023", (2, 4): 2024, (2, 6): "Variación"}
    months = {(3, at): name for at, name in enumerate(["Nov", "Dic", "Ene", "Feb", "Ene-Feb"], start=2)}
    values = {(6, at): at + 0.5 for at in range(2, 7)}
    data = write({"S": {**years, **months, **values, (6, 1): "Nivel general"}})
    for series in (row(years_row=2), block(years_row=2)):
        found = read_date_row(data, DateRowLayout(series=(series,)))
        assert found.cells.select("date_text", "value_text").rows() == [
            ("Nov 2023", "2.5"),
            ("Dic 2023", "3.5"),
            ("Ene 2024", "4.5"),
            ("Feb 2024", "5.5"),
            ("Ene-Feb", "6.5"),
        ]
