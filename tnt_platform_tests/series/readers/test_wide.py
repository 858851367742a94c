import csv
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.layouts import WideLayout, WideSeries, WideTable
from tnt_platform.series.readers.table_series import read_wide
from tnt_platform_tests.rounds import tries

CSV = "Fecha,Oficial,Blue €\n2024-01-01,810.65,1000\n2024-01-02,,1.025\n,,\n2024-01-03,n.d.,\n"


def one(code: str, column: str, unit: str = "u", frequency: str | None = None) -> WideSeries:
    return WideSeries(code=code, column=column, unit=unit, frequency=frequency)


def wide(
    text: str | bytes, *series: WideSeries, date_column: str = "Fecha", footer: str | None = None, **table
):
    data = text if isinstance(text, bytes) else text.encode()
    code = None if series else "FX_{column}"
    columns = WideTable(date_column=date_column, code=code, unit="ARS", **table)
    return read_wide(data, WideLayout(table=columns, series=series, footer=footer))


def fault_of(text: str | bytes, *series: WideSeries, **table) -> InvalidInput:
    with pytest.raises(InvalidInput) as fault:
        wide(text, *series, **table)
    return fault.value


def test_each_other_column_is_a_series_by_the_template():
    found = wide(CSV)
    assert found.codes.rows() == [("FX_OFICIAL", "ARS", None), ("FX_BLUE", "ARS", None)]
    assert found.cells.drop("scale").rows() == [
        ("FX_OFICIAL", "2024-01-01", "810.65", "line 2, column Oficial", 2),
        ("FX_OFICIAL", "2024-01-02", None, "line 3, column Oficial", 3),
        ("FX_OFICIAL", "2024-01-03", "n.d.", "line 5, column Oficial", 5),
        ("FX_BLUE", "2024-01-01", "1000", "line 2, column Blue €", 2),
        ("FX_BLUE", "2024-01-02", "1.025", "line 3, column Blue €", 3),
        ("FX_BLUE", "2024-01-03", None, "line 5, column Blue €", 5),
    ]


def test_listed_series_have_their_own_unit_and_frequency():
    found = wide(CSV, one("B", " Blue €", "EUR", "M"))
    assert found.codes.rows() == [("B", "EUR", "M")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_marks_and_encodings_read_the_same(encoding):
    declared = None if encoding != "cp1252" else encoding
    assert wide(CSV.encode(encoding), encoding=declared).cells.equals(wide(CSV).cells)


def test_a_packed_table_reads_like_the_plain_one():
    assert wide(gzip.compress(CSV.encode())).cells.equals(wide(CSV).cells)


def test_preamble_separator_and_decimal_comma():
    text = 'Serie histórica; "x\nFuente: BCRA\n\nFecha;Oficial\n01/02/2024;1.810,65\n'
    found = wide(text, separator=";", header_row=3)
    assert found.cells.drop("scale").rows() == [
        ("FX_OFICIAL", "01/02/2024", "1.810,65", "line 5, column Oficial", 5)
    ]


def test_quoted_cells_may_hold_separators_and_line_ends():
    found = wide('"Fecha","A, ""b"""\n"2024-01-01","1,5"\n"2024\n-01-02",2\n2024-01-03,3\n')
    assert found.codes["series_code"].to_list() == ["FX_A_B"]
    assert found.cells["value_text"].to_list() == ["1,5", "2", "3"]
    assert found.cells["line_no"].to_list() == [2, 3, 5]


def test_a_ragged_row_is_rejected_with_its_line_and_the_others_stay():
    found = wide("Fecha,A\n2024-01-01,1\n2024-01-02\n2024-01-03,3,4\n2024-01-04,4\n")
    assert found.cells["line_no"].to_list() == [2, 5]
    assert found.rejected.select("line_no", "raw", "reason_code").rows() == [
        (3, "2024-01-02", "too_few_columns"),
        (4, "2024-01-03,3,4", "too_many_columns"),
    ]


@pytest.mark.parametrize("row", ["2024-01-01,1", "2024-01-01,1,"])
def test_a_header_may_end_with_an_empty_column(row):
    found = wide(f"Fecha,A,\n{row}\n")
    assert found.codes["series_code"].to_list() == ["FX_A"]
    assert found.cells["value_text"].to_list() == ["1"]


def test_a_column_with_values_and_no_name_is_rejected():
    assert fault_of("Fecha,A,\n2024-01-01,1,5\n").reason_code == "unnamed_column"


@pytest.mark.parametrize("note", ["Fuente: BCRA", "Fuente: BCRA,", '"Fuente: BCRA, 2024",,,'])
def test_a_footer_and_all_after_it_are_no_data(note):
    found = wide(f"Fecha,A\n2024-01-01,1\n{note}\n2024-01-02,2\nx,y,z\n", footer="^Fuente")
    assert (found.cells.height, found.rejected.height) == (1, 0)
    assert found.below.filter(date_text="2024-01-02")["value_text"].to_list() == ["2"]


NAMES = st.text(st.sampled_from("abcXYZ09 é_-,\";'"), min_size=1, max_size=6).map(str.strip).filter(bool)
TEXT_CELLS = st.text(st.sampled_from('ab1.,;" \n-é'), max_size=5)


@settings(deadline=None, max_examples=tries(100))
@given(st.data())
def test_every_cell_of_a_csv_equals_what_the_csv_module_finds(data):
    names = data.draw(
        st.lists(NAMES, min_size=2, max_size=4, unique_by=lambda name: " ".join(name.split()).casefold())
    )
    rows = data.draw(st.lists(st.lists(TEXT_CELLS, min_size=len(names), max_size=len(names)), max_size=6))
    rows.append(["2024-01-01"] * len(names))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([names, *rows])
    series = tuple(one(f"S{at}", name) for at, name in enumerate(names) if at)
    layout = WideLayout(table=WideTable(date_column=names[0]), series=series)
    wanted = [
        (f"S{at}", date, value)
        for at in range(1, len(names))
        for row in csv.reader(io.StringIO(out.getvalue()))
        if row and row is not names
        for date, value in [(row[0].strip() or None, row[at].strip() or None)]
        if date is not None or value is not None
    ]
    header = [(f"S{at}", names[0].strip(), names[at].strip()) for at in range(1, len(names))]
    found = read_wide(out.getvalue().encode(), layout)
    assert found.rejected.is_empty()
    assert header[0] in wanted
    for line in header:
        wanted.remove(line)
    assert found.cells.select("series_code", "date_text", "value_text").rows() == wanted


@pytest.mark.parametrize("name", ["raw", "line_no", "c1", "file_key", "A  b"])
def test_columns_may_have_any_name(name):
    found = wide(f"Fecha,{name}\n2024-01-01,5\n", one("X", name))
    assert found.cells["value_text"].to_list() == ["5"]


def test_an_unknown_column_lists_those_there_are():
    fault = fault_of(CSV, one("X", "oficial"))
    assert fault.reason_code == "missing_column"
    assert "'Fecha', 'Oficial', 'Blue €'" in str(fault)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_file"),
        ("\n\n", "empty_file"),
        ("Fecha,A\n", "no_rows"),
        ("<!doctype html><title>Error 500</title>", "html_page"),
        ("Fecha,A,A\n2024,1,2\n", "duplicate_series"),
        ("Fecha,Fecha,A\n2024,1,2\n", "duplicate_column"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "not_text"),
        ("Fecha\n2024\n", "no_rows"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_rejected(text, code):
    assert fault_of(text).reason_code == code


def test_a_file_of_nothing_but_rejected_rows_says_why():
    fault = fault_of("Fecha,A\n2024-01-01;1\n2024-01-02;2\n")
    assert fault.reason_code == "no_rows"
    assert "line 2" in str(fault)


def test_a_template_without_its_column_is_an_error_of_the_layout():
    with pytest.raises(ValidationError):
        WideTable(date_column="Fecha", code="FX", unit="u")


JSON = """{"data": [
    {"fecha": "2024-01-01", "usd": 1.60, "eur": 1e3, "up": true},
    {"fecha": "2024-01-02", "usd": null, "eur": 12345678901234567890.10}
]}"""


def test_json_numbers_keep_their_text_and_null_is_blank():
    found = wide(JSON, date_column="fecha", format="json", records="data")
    assert found.cells.select("series_code", "value_text", "place").rows() == [
        ("FX_USD", "1.60", "record 1, column usd"),
        ("FX_USD", None, "record 2, column usd"),
        ("FX_EUR", "1e3", "record 1, column eur"),
        ("FX_EUR", "12345678901234567890.10", "record 2, column eur"),
        ("FX_UP", "TRUE", "record 1, column up"),
        ("FX_UP", None, "record 2, column up"),
    ]


def test_lists_can_be_named_by_the_path():
    found = wide(
        '{"data": [["2024-01-01", 1.5], ["2024-02-01", 2]]}',
        date_column="d",
        format="json",
        records="data[*].{d: [0], v: [1]}",
    )
    assert found.cells["value_text"].to_list() == ["1.5", "2"]


def test_a_number_can_be_compared_in_the_path():
    found = wide(
        '[{"d": "a", "v": 1.5}, {"d": "b", "v": 2.5}]', date_column="d", format="json", records="[?v > `2`]"
    )
    assert found.cells["date_text"].to_list() == ["b"]


def test_records_that_are_not_flat_are_rejected_and_the_others_stay():
    records = [{"d": "a", "v": 1}, {"d": "b", "v": {"x": 1}}, 7, {"d": "c", "v": 3}]
    found = wide(json.dumps(records), date_column="d", format="json")
    assert found.cells["line_no"].to_list() == [1, 4]
    assert found.rejected.select("line_no", "reason_code").rows() == [
        (2, "nested_value"),
        (3, "not_an_object"),
    ]
    assert found.rejected["raw"][0] == '{"d": "b", "v": {"x": 1}}'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "not_json"),
        ('[{"a": 1}', "not_json"),
        ("[" * 100_000, "not_json"),
        ('{"error": "x"}', "no_records"),
        ("<html><title>x</title>", "html_page"),
        ("[]", "no_rows"),
        ('[{"a": 1}]', "missing_column"),
        ('[{"d": null, "a": null}]', "no_rows"),
    ],
)
def test_json_that_is_wrong_as_a_whole_is_rejected(text, code):
    with pytest.raises(InvalidInput) as fault:
        wide(text, date_column="d", format="json")
    assert fault.value.reason_code == code


ROWS = 'Country,Code,2020,2021,note,\n"Korea, Rep.",KOR,0.5,,x,\nPerú,PER,1.8,4,y,\n'


def by_rows(text: str, code: str = "WB_{Code}_A", *, footer: str | None = None, **table):
    columns = WideTable(code=code, date_columns=r"\d{4}", unit="%", **table)
    return read_wide(text.encode(), WideLayout(table=columns, footer=footer))


def test_a_row_is_a_series_and_the_names_of_columns_its_dates():
    found = by_rows(ROWS)
    assert found.cells.drop("scale").rows() == [
        ("WB_KOR_A", "2020", "0.5", "line 2, column 2020", 2),
        ("WB_KOR_A", "2021", None, "line 2, column 2021", 2),
        ("WB_PER_A", "2020", "1.8", "line 3, column 2020", 3),
        ("WB_PER_A", "2021", "4", "line 3, column 2021", 3),
    ]
    assert found.codes.rows() == [("WB_KOR_A", "%", None), ("WB_PER_A", "%", None)]


def test_a_row_without_a_code_is_rejected():
    found = by_rows(ROWS + "Total,,1,2,,\n")
    assert found.rejected.select("line_no", "reason_code").rows() == [(4, "no_code")]


@pytest.mark.parametrize(
    ("text", "code", "wanted"),
    [
        (ROWS + "Perú 2,PER,1,2,,\n", "WB_{Code}_A", "duplicate_series"),
        (ROWS + "PERU,PEX,1,2,,\n", "WB_{Country}_A", "duplicate_series"),
        (ROWS, "WB_{Iso}_A", "missing_column"),
        ("Code,a\nKOR,1\n", "WB_{Code}_A", "missing_column"),
    ],
)
def test_rows_that_can_not_be_series_refuse_the_file(text, code, wanted):
    with pytest.raises(InvalidInput) as fault:
        by_rows(text, code)
    assert fault.value.reason_code == wanted
