# ruff: noqa: DTZ001 - the dates of a workbook have no zone
import contextlib
import datetime as dt
import io
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Collection

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.workbook import open_workbook
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.series.readers.workbook_files import Grid, made, oracle, repacked, text_of, xls, xlsx

ONE = {(1, 1): "date", (1, 2): "value", (2, 1): dt.datetime(2024, 1, 1), (2, 2): 1.5}


def grid_of(data: bytes, sheet: str) -> Grid:
    cells = open_workbook(data).sheet(sheet).all_cells()
    return {
        (row, at + 1): text
        for at in cells.used
        for row, text in enumerate(cells.column(at).to_list(), start=1)
        if text is not None
    }


def fault_of(data: bytes, sheet: str = "S") -> InvalidInput:
    with pytest.raises(InvalidInput) as fault:
        open_workbook(data).sheet(sheet).all_cells()
    return fault.value


# Sixteen digits is what a workbook keeps of a number.
NUMBERS = st.one_of(
    st.floats(-1e300, 1e300).map(lambda x: float(f"{x:.16G}") + 0.0),
    st.integers(-(10**14), 10**14),
    st.decimals(-(10**6), 10**6, places=4).map(lambda x: float(x) + 0.0),
    st.sampled_from([0, 1, 0.0, 1.0, -1, 1e15, 1e16, 1e-7, 1e-10, 0.1 + 0.2, 5e-324, 1.7e308]),
)
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\u200b"), max_size=8),
    st.sampled_from(
        ["1.60", "1e3", "007", "1,5", "NaN", "nan", "N/A", "#N/A", "null", "true", "TRUE", "inf", "-0", "+1",
         " 5 ", "\xa0", "Enero-09", "2024-01-01", "1.234", "12345678901234567890", "123456789.1234567891",
         "0.300000000",
         "s/d", "", "  "]
    ),
)  # fmt: skip
# None that some reader may take for a number.
PLAIN_TEXTS = st.text(
    st.characters(categories=["L", "S", "Zs", "Mn"], include_characters="\"'\\/\t"), max_size=9
).map(lambda text: f"s/d {text}")
DATES = st.datetimes(dt.datetime(1901, 1, 1), dt.datetime(2199, 12, 31)).map(
    lambda day: day.replace(microsecond=0)
)
CELLS = st.one_of(NUMBERS, TEXTS, DATES, st.booleans())
PLACES = st.tuples(st.integers(1, 12), st.integers(1, 6))


@settings(deadline=None, max_examples=tries(150))
@given(st.dictionaries(PLACES, CELLS, max_size=40))
@example({(3, 2): 0.1 + 0.2, (4, 2): "0.3"})
@example({(5, 3): 1e-10})
@example({(2, 2): True, (3, 2): 1.0, (4, 2): "true"})
def test_every_cell_of_a_workbook_reads_as_an_independent_reader_finds_it(grid):
    data = xlsx({"S": grid})
    assert grid_of(data, "S") == oracle(data)["S"]


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-200), min_size=1, max_size=20))
def test_a_number_reads_as_the_decimal_that_gives_it_back_to_the_last_digit(numbers):
    rows = "".join(
        f'<row r="{row}"><c r="A{row}"><v>{number!r}</v></c></row>' for row, number in enumerate(numbers, 1)
    )
    sheet_data = f"<sheetData>{rows}</sheetData>".encode()
    data = repacked(
        xlsx({"S": {}}),
        lambda name, part: part.replace(b"<sheetData/>", sheet_data) if "sheet1" in name else part,
    )
    sheet = open_workbook(data).sheet("S")
    quick = sheet.cells_below(1, 0, [0]).column(0)
    assert [float(text) for text in (quick if quick is not None else ())] == numbers[1:]
    assert [float(text) for text in sheet.all_cells().column(0)] == numbers


XLS_DATES = DATES.map(lambda day: day.replace(hour=0, minute=0, second=0))


@settings(deadline=None, max_examples=tries(60))
@given(st.dictionaries(PLACES, st.one_of(NUMBERS, TEXTS, XLS_DATES, st.booleans()), min_size=1, max_size=40))
def test_every_cell_of_a_legacy_workbook_reads_as_it_was_written(grid):
    wanted = {place: text for place, value in grid.items() if (text := text_of(value)) is not None}
    assert grid_of(xls({"S": grid}), "S") == wanted


def below(data: bytes, header_row: int, skip_rows: int, width: int, numbers: Collection[int] = ()) -> Grid:
    cells = open_workbook(data).sheet("S").cells_below(header_row, skip_rows, range(width), numbers)
    return {
        (cells.first_row + down, at + 1): text
        for at in cells.used
        for down, text in enumerate(cells.column(at).to_list())
        if text is not None
    }


@settings(deadline=None, max_examples=tries(150))
@given(
    st.lists(st.sampled_from([NUMBERS, TEXTS, DATES, st.booleans(), CELLS]), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(0, 3),
    st.data(),
)
def test_the_quick_reading_of_typed_columns_gives_the_same_text_as_the_thorough_one(
    kinds, header_row, skip, data
):
    columns = [data.draw(st.lists(st.none() | kind, max_size=6)) for kind in kinds]
    grid = {
        (header_row + skip + 1 + down, at): value
        for at, column in enumerate(columns, start=1)
        for down, value in enumerate(column)
        if value is not None
    }
    grid |= {(header_row, at): f"head {at}" for at in range(1, len(columns) + 1)}
    # Written row by row, texts stand in the sheet itself; else the sheets share them.
    book = xlsx({"S": dict(sorted(grid.items()))}, constant_memory=data.draw(st.booleans()))
    wanted = {place: text for place, text in oracle(book)["S"].items() if place[0] > header_row + skip}
    assert below(book, header_row, skip, len(columns)) == wanted
    numbers = data.draw(st.sets(st.integers(0, len(columns) - 1)))
    assert below(book, header_row, skip, len(columns), numbers) == wanted


@settings(deadline=None, max_examples=tries(150))
@given(st.lists(NUMBERS | PLAIN_TEXTS, min_size=1, max_size=30), st.booleans())
def test_numbers_with_texts_among_them_are_read_once_and_as_the_thorough_reading_has_them(values, inline):
    grid = {(1, 1): "day", (1, 2): "value"}
    for row, value in enumerate(values, start=2):
        grid |= {(row, 1): dt.datetime(2024, 1, 1), (row, 2): value}
    book = xlsx({"S": grid}, constant_memory=inline)
    sheet = open_workbook(book).sheet("S")
    quick = sheet.cells_below(1, 0, [0, 1], numbers=[1]).column(1)
    assert sheet._all is None
    wanted = oracle(book)["S"]
    assert list(quick) == [wanted.get((row, 2)) for row in range(2, len(quick) + 2)]


def test_a_text_that_looks_like_a_number_among_numbers_keeps_its_digits():
    def fill(book):
        sheet = book.add_worksheet("S")
        sheet.write_string(0, 0, "head")
        sheet.write_number(1, 0, 2.5)
        sheet.write_formula(2, 0, '=T("1.60")', None, "1.60")
        sheet.write_rich_string(3, 0, book.add_format({"bold": True}), "2", ".50")

    texts = {(2, 1): "2.5", (3, 1): "1.60", (4, 1): "2.50"}
    assert below(made(fill), 1, 0, 1, {0}) == texts
    assert below(made(fill), 1, 0, 1) == texts


def test_a_date_among_numbers_stays_a_date():
    grid = {(1, 1): "head", (2, 1): 2.5, (3, 1): dt.datetime(2024, 2, 29), (4, 1): "s/d"}
    assert below(xlsx({"S": grid}), 1, 0, 1, {0}) == {(2, 1): "2.5", (3, 1): "2024-02-29", (4, 1): "s/d"}


def test_dates_count_from_1904_where_the_workbook_says_so():
    grid = {(1, 1): dt.datetime(2017, 1, 1), (2, 1): dt.datetime(2017, 1, 1, 10, 30)}
    data = xlsx({"S": grid}, date_1904=True)
    assert b'date1904="1"' in zipfile.ZipFile(io.BytesIO(data)).read("xl/workbook.xml")
    assert grid_of(data, "S") == {(1, 1): "2017-01-01", (2, 1): "2017-01-01 10:30:00"}


def test_the_noise_of_dates_stored_as_floats_is_rounded_to_the_second():
    def fill(book):
        sheet, date_format = book.add_worksheet("S"), book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        for row, serial in enumerate([42736.00000000001, 42735.99999999, 42736.4375000001]):
            sheet.write_number(row, 0, serial, date_format)
            sheet.write_number(row, 1, serial)
        sheet.write_string(4, 0, "note")

    data = made(fill)
    dates = ["2017-01-01", "2017-01-01", "2017-01-01 10:30:00"]
    assert [grid_of(data, "S")[row, 1] for row in (1, 2, 3)] == dates
    assert grid_of(data, "S")[1, 2] == "42736.00000000001"
    # The quick path takes them as datetimes, the thorough one as text.
    quick = open_workbook(data).sheet("S").cells_below(1, 0, [1])
    assert quick.column(1).drop_nulls().to_list() == ["42735.99999999", "42736.4375000001"]


def test_errors_read_as_excel_shows_them():
    def fill(book):
        sheet = book.add_worksheet("S")
        for row, error in enumerate(["#N/A", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!"]):
            sheet.write_formula(row, 1, "=A1", None, error)
        sheet.write_number(9, 1, 2.5)

    cells = open_workbook(made(fill)).sheet("S").cells_below(1, 0, [1]).column(1).to_list()
    assert cells == ["#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!", None, None, "2.5"]


def test_cells_that_hold_an_empty_text_are_blank_and_cost_no_second_reading():
    def fill(book):
        sheet = book.add_worksheet("S")
        for row in range(1, 50):
            sheet.write_formula(row, 0, '=""', None, "")
            sheet.write_number(row, 1, 2.5)
        sheet.write_number(50, 0, 3.5)

    sheet = open_workbook(made(fill)).sheet("S")
    assert sheet.cells_below(1, 0, [0, 1]).column(0).drop_nulls().to_list() == ["3.5"]
    assert sheet._all is None


def test_a_boolean_among_numbers_is_no_number():
    data = xlsx({"S": {(1, 1): "head", (2, 1): 0, (3, 1): 2.5, (4, 1): True}})
    assert below(data, 1, 0, 1) == {(2, 1): "0", (3, 1): "2.5", (4, 1): "TRUE"}


def test_a_merged_cell_reads_where_it_starts():
    data = made(lambda book: book.add_worksheet("S").merge_range("B2:D3", "Total"))
    assert grid_of(data, "S") == {(2, 2): "Total"}


def test_a_hidden_sheet_can_be_read():
    def fill(book):
        book.add_worksheet("S").write(0, 0, 1)
        hidden = book.add_worksheet("H")
        hidden.write(0, 0, 2)
        hidden.hide()

    assert grid_of(made(fill), "H") == {(1, 1): "2"}


@pytest.mark.parametrize("write", [xlsx, xls])
def test_the_name_of_a_sheet_is_found_whatever_its_white_space_and_accents(write):
    name = "Variación mensual IPC "
    data = write({unicodedata.normalize("NFD", name): ONE})
    assert grid_of(data, " " + unicodedata.normalize("NFC", name)) != {}


def test_a_missing_sheet_is_named_with_those_there_are():
    fault = fault_of(xlsx({"Tasas": ONE, "Reservas": ONE}))
    assert fault.reason_code == "missing_sheet"
    assert "'S'" in str(fault)
    assert "'Tasas', 'Reservas'" in str(fault)


PAGE = b"<!DOCTYPE html><html><head><title>\n 404 &mdash; P\xc3\xa1gina no encontrada</title></head>"


@pytest.mark.parametrize(
    "page", [PAGE, b"\xef\xbb\xbf \n" + PAGE, PAGE.decode().encode("utf-16"), b"<!-- x -->" + PAGE]
)
def test_a_web_page_is_called_by_its_title(page):
    fault = fault_of(page)
    assert fault.reason_code == "html_page"
    assert "404 — Página no encontrada" in str(fault)


OLD_XML = b'<?xml version="1.0"?>\n<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>'


def encrypted() -> bytes:
    return (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(1016)
        + "EncryptedPackage".encode("utf-16-le")
        + bytes(2000)
    )


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"", "empty_file", "empty"),
        (b"date;value\n2024-01-01;1\n", "not_a_workbook", "date;value"),
        (OLD_XML, "not_a_workbook", "2003"),
        (b"%PDF-1.7\0\xff\xfe", "not_a_workbook", "a PDF"),
        (encrypted(), "encrypted_workbook", "password"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(3000), "corrupt_workbook", "can't be read"),
    ],
)  # fmt: skip
def test_what_is_no_workbook_is_rejected_with_what_it_is(data, code, says):
    fault = fault_of(data)
    assert fault.reason_code == code
    assert says in str(fault)


def test_a_zip_without_a_workbook_lists_what_it_holds():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("series.csv", "a,b")
    fault = fault_of(out.getvalue())
    assert fault.reason_code == "not_a_workbook"
    assert "series.csv" in str(fault)


WHOLE = xlsx({"S": {(row, column): row * column + 0.25 for row in range(1, 300) for column in range(1, 5)}})
LEGACY = xls({"S": {(row, column): row * column + 0.25 for row in range(1, 300) for column in range(1, 5)}})


@settings(deadline=None, max_examples=tries(60))
@given(st.integers(1, len(WHOLE) - 1))
def test_a_workbook_cut_anywhere_is_rejected(cut):
    assert fault_of(WHOLE[: max(cut, 4)]).reason_code == "truncated_workbook"


@settings(deadline=None, max_examples=tries(60))
@given(st.integers(8, len(LEGACY) - 1))
def test_a_legacy_workbook_cut_anywhere_is_rejected_or_read_whole(cut):
    with contextlib.suppress(InvalidInput):
        assert grid_of(LEGACY[:cut], "S") == grid_of(LEGACY, "S")


@settings(deadline=None, max_examples=tries(80))
@given(st.sampled_from(["xlsx", "xls"]), st.data())
def test_a_damaged_byte_is_rejected_or_read_never_a_crash(kind, data):
    whole = {"xlsx": WHOLE, "xls": LEGACY}[kind]
    damaged = bytearray(whole)
    damaged[data.draw(st.integers(8, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        grid = grid_of(bytes(damaged), "S")
    except InvalidInput:
        assert fault_of(bytes(damaged)).reason_code
    else:
        assert all(row >= 1 and column >= 1 for row, column in grid)


def test_a_bomb_inside_a_workbook_is_rejected_before_it_is_unpacked():
    fault = fault_of(
        repacked(WHOLE, lambda name, part: part + b" " * (60 << 20) if "theme" in name else part)
    )
    assert fault.reason_code == "suspicious_ratio"


def test_a_workbook_that_unpacks_to_more_than_the_limit_is_too_large(monkeypatch):
    monkeypatch.setattr("tnt_platform.series.readers.workbook.UNPACKED_LIMIT_BYTES", 10_000)
    assert fault_of(WHOLE).reason_code == "too_large"


def claims_all_rows(name: str, part: bytes) -> bytes:
    return (
        part.replace(b'<dimension ref="A1:B2"/>', b'<dimension ref="A1:XFD1048576"/>')
        if "sheet1" in name
        else part
    )


def test_a_sheet_that_claims_every_row_reads_the_cells_it_has():
    data = repacked(xlsx({"S": ONE}), claims_all_rows)
    assert b"XFD1048576" in zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")
    assert open_workbook(data).sheet("S").all_cells().height == 2


FAR = """
import resource, sys
from tnt_platform.series.readers.workbook import open_workbook
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
book = open_workbook(open(sys.argv[1], "rb").read())
cells = book.sheet("S").cells_below(1, 0, [0, 1])
print(cells.height, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.heavy
def test_a_million_rows_of_nothing_but_styles_take_little_memory(tmp_path):
    def fill(book):
        sheet, style = book.add_worksheet("S"), book.add_format({"num_format": "0.00"})
        sheet.write_row(0, 0, ["date", "value"])
        sheet.write_row(1, 0, [1.5, 2.5])
        for row in range(2, 1_048_576):
            sheet.write_blank(row, 0, None, style)

    path = tmp_path / "rows.xlsx"
    path.write_bytes(made(fill, constant_memory=True))
    done = subprocess.run([sys.executable, "-c", FAR, str(path)], capture_output=True, text=True, check=True)
    rows, grown_kib = map(int, done.stdout.split())
    assert rows == 1
    assert grown_kib < 300 << 10


@pytest.mark.parametrize("dimension", [b'<dimension ref="A1:B2"/>', b""])
def test_two_cells_at_the_opposite_ends_of_a_sheet_are_rejected(dimension):
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'

    def change(name: str, part: bytes) -> bytes:
        if "sheet1" not in name:
            return part
        return part.replace(b'<dimension ref="A1:B2"/>', dimension).replace(b"</sheetData>", far)

    fault = fault_of(repacked(xlsx({"S": ONE}), change))
    assert fault.reason_code == "too_large"
    assert "XFD1048576" in str(fault)


def test_a_far_cell_in_a_sheet_that_nobody_reads_does_no_harm():
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    data = repacked(
        xlsx({"S": ONE, "T": ONE}),
        lambda name, part: part.replace(b"</sheetData>", far) if "sheet2" in name else part,
    )
    assert len(grid_of(data, "S")) == 4
    assert fault_of(data, "T").reason_code == "too_large"


def test_an_empty_sheet_has_no_cells():
    cells = open_workbook(xlsx({"S": {}})).sheet("S")
    assert (cells.all_cells().used, cells.all_cells().height) == ([], 0)
    assert cells.cells_below(8, 2, [0, 1]).height == 0
