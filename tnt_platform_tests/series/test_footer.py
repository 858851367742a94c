"""A dated number is never outside the equation: below a footer it goes to quarantine."""

from pathlib import Path

import pytest

from tnt_platform.errors import InvalidInput
from tnt_platform.series.reading import read_capture
from tnt_platform.series.spec import SeriesSpec
from tnt_platform_tests.series.readers.workbook_files import xls, xlsx

BASE = {
    "description": "x",
    "owners": ["team:x"],
    "provider": "x",
    "timezone": "UTC",
    "frequency": "M",
    "source": {"url": "x"},
}
WIDE = {"reader": "wide", "table": {"date_column": "Mes", "code": "X_{column}", "unit": "u"}}
LONG = {
    "reader": "long",
    "table": {"date_column": "Mes", "value_column": "V", "code": "X_{Clave}", "unit": "u"},
}
COLUMN = {
    "reader": "date_column",
    "series": [
        {"code": "X", "unit": "u", "sheet": "S", "header_row": 1, "date_column": "A", "value_column": "B"}
    ],
}


def sheet(*rows, make=xlsx):
    return make(
        {"S": {(y, x): v for y, row in enumerate(rows, 1) for x, v in enumerate(row, 1) if v is not None}}
    )


def read(body, **attributes):
    spec = SeriesSpec.model_validate({**BASE, **attributes}).placed_in(Path("x"))
    found = read_capture(spec, body)
    assert found.counts.rows_in == found.counts.published + found.counts.quarantined + found.counts.filtered
    return found


def below(found):
    return found.normalized.rejected.filter(reason_code="below_footer").select("place", "raw").rows()


NEWEST_FIRST = "Mes,V\n2024-06,6\n(*) 2024-05,5\n2024-04,4\n(1) provisional\n2024-03,3\nFuente: x,\n"


def test_rows_below_a_note_are_rejected_with_their_place():
    found = read(NEWEST_FIRST.encode(), footer=r"^[(]", marks=["(*)"], **WIDE)
    assert below(found) == [("line 3, column V", "5"), ("line 4, column V", "4"), ("line 6, column V", "3")]
    assert (found.counts.published, found.counts.quarantined) == (1, 3)


def test_notes_alone_are_cut_off():
    found = read(b"Mes,V\n2024-06,6\nFuente: x\nNota: 2024 vale 3,5\n", footer="^Fuente", **WIDE)
    assert (found.counts.rows_in, found.counts.quarantined) == (1, 0)


def test_a_dated_line_that_cannot_be_split_is_rejected_below_a_note_too():
    found = read(b"Mes,V\n2024-06,6\nFuente: x\n2024-05,5,5\n", footer="^Fuente", **WIDE)
    assert found.cells.rejected.select("line_no").rows() == [(4,)]


def test_a_series_that_stands_only_below_a_note_is_rejected():
    body = b"Clave,Mes,V\na,2024-06,6\nFuente,,\nb,2024-06,7\n,2024-06,8\n"
    found = read(body, footer="^Fuente", **LONG)
    assert found.normalized.rejected.select("series_code", "raw").rows() == [("X_B", "7"), ("X_{Clave}", "8")]


@pytest.mark.parametrize("make", [xlsx, xls])
def test_rows_of_a_sheet_below_a_note_are_rejected(make):
    rows = [["Mes", "V"], ["2024-06", 6], ["* provisional", None], ["2024-05", 5]]
    found = read(sheet(*rows, make=make), footer="^[*]", **COLUMN)
    assert below(found) == [("S!B4", "5")]


def test_a_footer_that_matches_the_first_row_is_named():
    with pytest.raises(InvalidInput) as caught:
        read(sheet(["Mes", "V"], ["* a", 6], ["2024-05", 5]), footer="^[*]", **COLUMN)
    assert (caught.value.reason_code, "S!A2" in str(caught.value)) == ("footer_above_data", True)
    with pytest.raises(InvalidInput) as caught:
        read(b"Mes,V\n*2024-06,6\n", footer="^[*]", **WIDE)
    assert caught.value.reason_code == "footer_above_data"
