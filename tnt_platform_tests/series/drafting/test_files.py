"""Files without a declared layout are recognised as workbooks, JSON records or separated text."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from tnt_platform.errors import InvalidInput
from tnt_platform.series.drafting.files import csv_table, found_files, tables_of
from tnt_platform.series.readers.layouts import TableLayout
from tnt_platform.series.readers.table import read_table
from tnt_platform_tests.series.dataset_files import workbook


def records_of(document: object) -> list[str]:
    return [table.records for table in tables_of(json.dumps(document).encode()) if table is not None]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_the_one_that_gives_most_lines_the_same_cells(separator: str) -> None:
    text = "\n".join(separator.join(row) for row in (["Fecha", "A"], ["2024-01", "1"], ["2024-02", "2"]))
    assert csv_table(text.encode()) == TableLayout(separator=separator, header_row=1)


def test_a_decimal_comma_is_not_a_separator() -> None:
    text = "Fecha;Uno;Dos\n01/02/2024;1,5;2,25\n01/03/2024;1,75;2,5\n"
    assert csv_table(text.encode()) == TableLayout(separator=";", header_row=1)


def test_the_header_is_the_first_line_that_names_nearly_all_columns_below_a_preamble() -> None:
    text = '"Source","Bank",\r\n\r\n"Updated","2025-01-28",\r\n\r\n"Country","Code","1960","1961","1962",\r\n'
    text += '"Aruba","ABW","","1","2",\r\n"Congo, Rep.","COG","1","","",\r\n'
    found = csv_table(text.encode())
    assert found == TableLayout(separator=",", header_row=5)
    assert read_table(text.encode(), found).names[:3] == ("Country", "Code", "1960")


def test_a_quoted_line_break_counts_as_a_line_of_the_file() -> None:
    found = csv_table(b'"a note\nof two lines"\nFecha,Uno\n2024-01,1\n2024-02,2\n')
    assert found == TableLayout(separator=",", header_row=3)


def test_records_are_found_wherever_they_are_and_the_longest_list_comes_first() -> None:
    rows = [{"date": "2024-01", "value": 1}, {"date": "2024-02", "value": 2}, {"date": "2024-03", "value": 3}]
    assert records_of(rows) == ["@"]
    assert records_of({"a b": {"rows": rows}, "meta": [{"x": 1}, {"x": 2}]}) == ['"a b".rows', "meta"]
    assert records_of([{"page": 1}, rows])[0] == "[1]"


def test_records_with_objects_inside_are_flattened_so_that_the_reader_takes_them() -> None:
    rows = [{"country": {"id": "AR", "my name": "Argentina"}, "date": "2024", "tags": [1]} for _ in range(3)]
    (expression,) = records_of({"data": rows})
    table = read_table(json.dumps({"data": rows}).encode(), TableLayout(format="json", records=expression))
    assert set(table.names) == {"country_id", "country_my_name", "date"}
    assert table.frame.row(0)[1:] == ("AR", "Argentina", "2024")
    assert table.rejected.is_empty()


def test_lists_of_lists_get_names() -> None:
    document = {"data": [["2024-01-01", 1.5], ["2024-02-01", None], ["2024-03-01", 3]]}
    (expression,) = records_of(document)
    table = read_table(json.dumps(document).encode(), TableLayout(format="json", records=expression))
    assert table.names == ("c1", "c2")
    assert table.frame["c1"].to_list() == ["1.5", None, "3"]


def test_a_workbook_is_neither_a_table_nor_an_archive() -> None:
    (found,) = found_files(workbook({"A": [["x"]]}))
    assert (found.table, found.member) == (None, None)


def test_the_members_of_a_zip_come_largest_first_under_names_that_match_only_them() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("meta.csv", "a,b\n1,2\n")
        archive.writestr("in/data [1].csv", "date,close\n" + "2024-01-01,1.5\n" * 50)
    members = [found.member for found in found_files(data.getvalue())]
    assert members == ["in/data [[]1[]].csv", "meta.csv"]


@pytest.mark.parametrize(
    ("data", "reason_code", "start"),
    [
        (b"<!doctype html><title>Moved</title>", "html_page", "Moved"),
        (b"", "not_a_table", "''"),
        (b"just a sentence\nand another\n", "not_a_table", "just a sentence"),
        (b'{"a": 1,}', "not_json", ""),
        (b"PK\x03\x04 and then nothing", "truncated_workbook", ""),
    ],
)
def test_a_file_that_is_not_a_table_is_rejected_with_its_start(
    data: bytes, reason_code: str, start: str
) -> None:
    with pytest.raises(InvalidInput) as rejected:
        list(found_files(data))
    assert rejected.value.reason_code == reason_code
    assert start in str(rejected.value)
