# ruff: noqa: DTZ001 - the dates of a workbook have no zone
import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tnt_platform.errors import ConfigError, InvalidInput
from tnt_platform.series.readers.cells import CELLS, CODES, REJECTED
from tnt_platform.series.readers.date_column import read_date_column
from tnt_platform.series.readers.layouts import ColumnSeries, DateColumnLayout, column_index, column_letters
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.series.readers.workbook_files import oracle, xls, xlsx

DAY = dt.datetime(2024, 1, 1)


def layout(*series: ColumnSeries, footer: str | None = None) -> DateColumnLayout:
    return DateColumnLayout(series=series, footer=footer)


def one(code: str = "A", sheet: str = "S", header_row: int = 2, skip: int = 1, **options) -> ColumnSeries:
    places = {"date_column": "A", "value_column": "B", "unit": "u"} | options
    return ColumnSeries(code=code, sheet=sheet, header_row=header_row, skip_rows_after_header=skip, **places)


GRID = {
    (2, 1): "Fecha",
    (2, 2): "Tipo de  cambio",
    (3, 2): "ARS",
    (4, 1): DAY,
    (4, 2): 810.65,
    (5, 1): DAY + dt.timedelta(days=1),
    (6, 2): 811,
    (8, 1): "Enero-09",
    (8, 2): "s/d",
}


@pytest.mark.parametrize("write", [xlsx, xls])
def test_each_pair_of_a_date_and_a_value_is_a_row_with_its_place(write):
    found = read_date_column(write({"S": GRID}), layout(one(unit="ARS", frequency="D")))
    assert found.cells.drop("scale").rows() == [
        ("A", "2024-01-01", "810.65", "S!B4", 4),
        ("A", "2024-01-02", None, "S!B5", 5),
        ("A", None, "811", "S!B6", 6),
        ("A", "Enero-09", "s/d", "S!B8", 8),
    ]
    assert found.codes.rows() == [("A", "ARS", "D")]
    assert (dict(found.cells.schema), dict(found.codes.schema)) == (CELLS, CODES)
    assert (dict(found.rejected.schema), found.rejected.height) == (REJECTED, 0)


VALUES = (
    st.none()
    | st.floats(-1e9, 1e9).map(lambda x: float(f"{x:.12G}") + 0.0)
    | st.sampled_from([0, 1, "s/d", "1,5", True])
)
DATES = st.none() | st.integers(0, 20_000).map(lambda days: dt.datetime(1970, 1, 1) + dt.timedelta(days=days))
DATE_CELLS = DATES | st.sampled_from([42736, "Enero-09", "ene-24"])


@settings(deadline=None, max_examples=tries(80))
@given(st.data())
def test_every_series_equals_what_a_reader_of_single_cells_finds(data):
    series, sheets = [], {}
    for number in range(data.draw(st.integers(1, 3))):
        header_row, skip, width = (
            data.draw(st.integers(low, high)) for low, high in ((1, 8), (0, 2), (1, 3))
        )
        first, height = header_row + skip + 1, data.draw(st.integers(1, 8))
        grid = {(header_row, 1): "Fecha", (first, 1): DAY}
        kinds = [
            DATE_CELLS,
            *[
                data.draw(st.sampled_from([VALUES, st.floats(0, 9).map(lambda x: x + 0.0)]))
                for _ in range(width)
            ],
        ]
        for column, kind in enumerate(kinds, start=1):
            drawn = [data.draw(kind) for _ in range(height)]
            grid |= {(first + at, column): value for at, value in enumerate(drawn) if value is not None}
            grid[header_row, column] = f"head {column}"
        sheets[f"Sheet {number}"] = grid
        series += [
            one(f"S{number}_{column}", f"Sheet {number}", header_row, skip, value_column=column_letters(column - 1),
                header=f"Head  {column}")
            for column in range(2, width + 2)
            if any(row >= first and at in (1, column) for row, at in grid)
        ]  # fmt: skip
    book = xlsx(sheets)
    cells = oracle(book)
    wanted = []
    for s in series:
        column = column_index(s.value_column) + 1
        for row in range(s.header_row + s.skip_rows_after_header + 1, 40):
            date, value = cells[s.sheet].get((row, 1)), cells[s.sheet].get((row, column))
            if date is not None or value is not None:
                wanted.append((s.code, date, value, f"{s.sheet}!{s.value_column}{row}", row))
    assert read_date_column(book, layout(*series)).cells.drop("scale").rows() == wanted


@pytest.mark.parametrize("write", [xlsx, xls])
@pytest.mark.parametrize("above", [1, 2])
def test_rows_to_be_skipped_that_hold_a_date_and_a_number_are_read(write, above):
    grid = {(2, 1): "Fecha", (2, 2): "Tipo de cambio"}
    for row in range(5 - above, 7):
        grid |= {(row, 1): DAY + dt.timedelta(days=row), (row, 2): 810.5 + row, (row, 3): 7}
    found = read_date_column(write({"S": grid}), layout(one(skip=2), one("C", skip=2, value_column="C")))
    assert found.cells["line_no"].to_list() == [*range(5 - above, 7)] * 2
    assert found.cells["value_text"].to_list()[-1] == "7"


def test_skipped_rows_with_numbers_but_no_date_stay_skipped():
    grid = GRID | {(3, 1): "1", (3, 2): 2}
    found = read_date_column(xlsx({"S": grid}), layout(one()))
    assert found.cells["line_no"].to_list() == [4, 5, 6, 8]


@pytest.mark.parametrize("write", [xlsx, xls])
def test_rows_marked_as_of_another_kind_are_left_out(write):
    grid = {(1, 1): "Fecha", (1, 2): "Reservas", (1, 3): "Tipo de serie"}
    for row, kind in ((2, "D"), (3, "D"), (4, None), (5, "M"), (6, "M")):
        grid |= {(row, 1): DAY + dt.timedelta(days=row), (row, 2): row} | ({(row, 3): kind} if kind else {})
    series = one(header_row=1, skip=0, leave_out={"C": "M"})
    found = read_date_column(write({"S": grid}), layout(series))
    assert found.cells["line_no"].to_list() == [2, 3, 4]


def test_a_column_of_marks_that_is_not_there_or_holds_numbers_leaves_nothing_out():
    series = one(leave_out={"B": "M", "Z": "M"})
    assert read_date_column(xlsx({"S": GRID}), layout(series)).cells.height == 4


def test_series_come_in_the_order_of_the_layout():
    sheets = {"S": GRID, "T": GRID}
    codes = [("C", "T"), ("A", "S"), ("D", "T"), ("B", "S")]
    found = read_date_column(xlsx(sheets), layout(*(one(code, sheet) for code, sheet in codes)))
    assert found.codes["series_code"].to_list() == ["C", "A", "D", "B"]
    assert found.cells["series_code"].unique(maintain_order=True).to_list() == ["C", "A", "D", "B"]


def test_a_footer_ends_the_data():
    grid = GRID | {(9, 1): "Fuente: BCRA", (10, 1): DAY, (10, 2): 5}
    found = read_date_column(xlsx({"S": grid}), layout(one(), footer="^Fuente"))
    assert found.cells["line_no"].to_list() == [4, 5, 6, 8]


def test_a_sheet_and_cells_with_odd_names_keep_them_in_the_place():
    found = read_date_column(xlsx({"{}a'b": GRID}), layout(one(sheet="{}a'b")))
    assert found.cells["place"][0] == "{}a'b!B4"


def test_a_header_is_compared_without_case_and_white_space():
    assert read_date_column(xlsx({"S": GRID}), layout(one(header=" TIPO de cambio"))).cells.height == 4


def test_two_columns_with_one_header_are_distinguished_by_their_letters():
    grid = GRID | {(2, 3): "Tipo de cambio", (4, 3): 7.5}
    series = (one("A", header="Tipo de cambio"), one("B", header="Tipo de cambio", value_column="C"))
    assert read_date_column(xlsx({"S": grid}), layout(*series)).codes.height == 2


def fault_of(grid, *series: ColumnSeries) -> InvalidInput:
    with pytest.raises(InvalidInput) as fault:
        read_date_column(xlsx({"S": grid}), layout(*series))
    return fault.value


@pytest.mark.parametrize("down", [1, 7])
def test_a_header_row_that_moved_is_rejected_with_where_it_is_now(down):
    moved = {(row + down, column): value for (row, column), value in GRID.items()}
    fault = fault_of(moved, one(header="Tipo de cambio"))
    assert fault.reason_code == "header_moved"
    assert f"row {2 + down} (cell B{2 + down})" in str(fault)


def test_a_header_that_is_gone_is_rejected_with_what_stands_there():
    fault = fault_of(GRID, one(header="Reservas"))
    assert fault.reason_code == "header_moved"
    assert "'Tipo de  cambio'" in str(fault)
    assert "nowhere" in str(fault)


def test_a_column_beyond_the_used_ones_is_missing():
    fault = fault_of(GRID, one(value_column="AD"))
    assert fault.reason_code == "missing_column"
    assert "A to B" in str(fault)


def test_a_series_without_any_cell_has_no_rows():
    fault = fault_of(GRID, one(header_row=30))
    assert fault.reason_code in ("no_rows", "missing_column")


def test_two_series_with_one_code_are_rejected():
    fault = fault_of(GRID, one(), one(value_column="A"))
    assert fault.reason_code == "duplicate_series"
    assert "A" in str(fault)


def test_a_missing_sheet_lists_those_there_are():
    fault = fault_of(GRID, one(sheet="RESERVAS"))
    assert (fault.reason_code, "'S'" in str(fault)) == ("missing_sheet", True)


@pytest.mark.parametrize(
    "options",
    [{"value_column": "XFE"}, {"date_column": "1"}, {"header_row": 0}, {"skip": -1}, {"value_column": ""}],
)
def test_a_place_that_no_sheet_has_is_an_error_of_the_layout(options):
    with pytest.raises((ConfigError, ValidationError)):
        one(**options)


@pytest.mark.parametrize("letters", ["A", "Z", "AA", "AZ", "ZZ", "AAA", "XFD"])
def test_the_letters_of_a_column_survive_both_ways(letters):
    assert column_letters(column_index(letters)) == letters


YEARS_BESIDE = {
    (1, 1): "Año", (1, 2): "Mes", (1, 3): "Valor",
    (2, 1): 2023, (2, 2): "Nov", (2, 3): 1.5,
    (3, 2): "Dic.", (3, 3): 2.5,
    (4, 1): "2024 (p)", (4, 2): "Ene", (4, 3): 3.5,
    (5, 2): "Feb", (5, 3): "s/d",
    (6, 1): "Total", (6, 3): 4.5,
    (7, 2): "Mar", (7, 3): 5.5,
}  # fmt: skip


@pytest.mark.parametrize("write", [xlsx, xls])
def test_a_year_beside_its_first_month_holds_until_the_next_text_in_its_column(write):
    series = one(header_row=1, skip=0, date_column="B", value_column="C", year_column="A")
    found = read_date_column(write({"S": YEARS_BESIDE}), layout(series))
    assert found.cells.select("date_text", "value_text", "place").rows() == [
        ("Nov 2023", "1.5", "S!C2"),
        ("Dic. 2023", "2.5", "S!C3"),
        ("Ene 2024", "3.5", "S!C4"),
        ("Feb 2024", "s/d", "S!C5"),
        (None, "4.5", "S!C6"),
        ("Mar", "5.5", "S!C7"),
    ]


def test_a_column_of_years_beyond_the_used_ones_is_missing():
    series = one(header_row=1, skip=0, date_column="B", value_column="C", year_column="K")
    with pytest.raises(InvalidInput, match="column K"):
        read_date_column(xlsx({"S": YEARS_BESIDE}), layout(series))
