"""What a sheet shows of a number besides the number: percent formats, marks that multiply, formulas without result."""

import io
from pathlib import Path

import openpyxl
import pytest
import xlsxwriter

from tnt_platform.readers.printed_marks import multipliers, parted
from tnt_platform.series.reading import read_capture
from tnt_platform.series.spec import SeriesSpec
from tnt_platform_tests.series.test_footer import BASE, COLUMN, WIDE


def read(body, **attributes):
    return read_capture(
        SeriesSpec.model_validate({**BASE, **attributes}).placed_in(Path("x")), body
    ).normalized


def refused(found):
    return found.rejected.select("place", "reason_code").rows()


def percents(*cells):
    """Make a sheet with months and values; a tuple is a value and its format."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet("S")
        sheet.write_row(0, 0, ["Mes", "V"])
        for at, cell in enumerate(cells, 1):
            value, shown = cell if isinstance(cell, tuple) else (cell, None)
            sheet.write(at, 0, f"2024-{at:02d}")
            sheet.write(at, 1, value, *([book.add_format({"num_format": shown})] if shown else []))
    return out.getvalue()


ROW = {
    "reader": "date_row",
    "series": [
        {"code": "X", "unit": "u", "sheet": "S", "dates_row": 1, "first_column": "B", "values_row": 2}
    ],
}


@pytest.mark.parametrize("shown", ["0%", "0.00%", "0.0%", '0.0" aprox." %'])
def test_a_text_with_a_percent_sign_beside_numbers_shown_as_percentages_is_refused(shown):
    found = read(percents((0.25, shown), (0.26, shown), "26.5%"), marks=["%"], **COLUMN)
    assert (found.observations["value"].to_list(), refused(found)) == (
        [0.25, 0.26],
        [("S!B4", "mixed_scale")],
    )


def test_numbers_of_which_some_are_shown_as_percentages_have_two_scales():
    found = read(percents((0.25, "0%"), 26.0, 27.0), **COLUMN)
    assert refused(found) == [("S!B2", "mixed_scale")]
    assert len(refused(read(percents((0.25, "0%"), 26.0), **COLUMN))) == 2


def test_a_percent_sign_in_quotes_or_a_format_of_all_cells_is_no_mixture():
    assert refused(read(percents((0.25, "0%"), (0.26, "0.0%")), **COLUMN)) == []
    assert refused(read(percents((25, '0"%"'), 26), **COLUMN)) == []


def test_percentages_along_a_row_are_compared_too():
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet("S")
        sheet.write_row(0, 1, ["2024-01", "2024-02", "2024-03"])
        sheet.write_row(1, 1, [25, 26])
        sheet.write(1, 3, 0.27, book.add_format({"num_format": "0%"}))
    assert refused(read(out.getvalue(), **ROW)) == [("S!D2", "mixed_scale")]


def test_marks_of_two_scales_are_no_series_although_they_are_declared():
    body = b"Mes,V\n2024-01,1.25M\n2024-02,1.3M\n2024-03,850.1K\n"
    found = read(body, marks=["M", "K"], **WIDE)
    assert refused(found) == [("line 4, column V", "mixed_scale")]


def test_a_mark_that_multiplies_or_says_debit_is_never_proposed_as_a_note():
    for mark in multipliers():
        assert parted(f"1.25 {mark}") == (f"1.25 {mark}", ())
    found = read(b"Mes,V\n2024-01,10.5 CR\n2024-02,10.5 DR\n2024-03,1.2M\n", **WIDE)
    assert {code for _, code in refused(found)} == {"bad_value"}
    assert "marks" not in "".join(found.rejected["reason"])


def unstored(*formulas):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "S"
    sheet.append(["Mes", "V", "W"])
    for at, formula in enumerate(formulas, 1):
        sheet.append([f"2024-{at:02d}", formula, at])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_formula_without_a_stored_result_is_named_with_its_cell():
    found = read(unstored(1, 2, "=C4*2", "=C5*2"), **COLUMN)
    assert found.filtered == 0
    assert refused(found) == [(f"S!B{row}", "formula_without_result") for row in (4, 5)]
    assert found.rejected["raw"].to_list() == ["=C4*2", "=C5*2"]


def test_a_column_of_formulas_alone_is_no_blank_column():
    found = read(unstored("=C2*2", "=C3*2"), **COLUMN)
    assert (found.observations.height, len(refused(found))) == (0, 2)


def test_a_formula_with_a_result_is_its_result_even_where_that_is_blank():
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet("S")
        sheet.write_row(0, 0, ["Mes", "V"])
        sheet.write(1, 0, "2024-01")
        sheet.write_formula(1, 1, "=1+1", None, 2)
        sheet.write(2, 0, "2024-02")
        sheet.write_formula(2, 1, '=IF(1,"a","")', None, "a")
    found = read(out.getvalue(), not_available=["a"], **COLUMN)
    assert (found.observations["value"].to_list(), found.filtered) == ([2.0], 1)
