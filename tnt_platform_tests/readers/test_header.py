"""Which line of a file is its header, and what the lines above it and its repetitions are."""

import pytest

from tnt_platform.readers.delimited import DelimitedLayout, RawFile, Rows, read_rows

WANTED = DelimitedLayout(columns=("id", "days"))


def read(text: str, layout: DelimitedLayout = WANTED) -> Rows:
    return read_rows([RawFile("a.csv", text.encode())], layout)


def cells(rows: Rows) -> list[tuple[str | None, ...]]:
    return rows.good.drop("file_key", "line_no", "raw").rows()


def faults(rows: Rows) -> list[tuple[int, str]]:
    return rows.bad.select("line_no", "reason_code").rows()


@pytest.mark.parametrize(
    ("above", "first_row"),
    [
        ("Shipments of January\n", 3),
        ("Shipments of January\n\nmade by hand, not checked\n", 5),
        ("Report;2026\n# comment\n", 4),
        ("Shipments,,\nPage 1,,\n", 4),
        ("\n\n", 4),
    ],
)
def test_a_header_below_a_preamble_is_found_by_the_columns_it_must_have(above, first_row):
    rows = read(f"{above}id,days,zone\n1,2,3\n")
    assert cells(rows) == [("1", "2")]
    assert rows.good["line_no"].to_list() == [first_row]
    assert faults(rows) == []


def test_the_first_line_that_fits_is_the_header():
    assert cells(read("id,days\nid,x\n1,2\n")) == [("id", "x"), ("1", "2")]


def test_rows_of_data_above_a_header_are_never_taken_for_a_preamble():
    assert faults(read("7,8,9\n1,2,3\nid,days,zone\n4,5,6\n")) == [(0, "missing_column")]


def test_a_file_without_the_header_names_the_line_that_comes_closest():
    rows = read("Shipments of January\nid,dayz,zone\n1,2,3\n")
    assert faults(rows) == [(0, "missing_column")]
    assert "'days'" in rows.bad["reason"][0]
    assert "'dayz'" in rows.bad["reason"][0]


def test_a_declared_header_row_is_the_header_whatever_stands_above():
    layout = DelimitedLayout(columns=("id", "days"), header_row=3)
    assert cells(read("9,9\n8,8\nid,days\n1,2\n", layout)) == [("1", "2")]
    assert faults(read("9,9\nid,days\n1,2\n", layout)) == [(0, "missing_column")]
    assert faults(read("id,days\n", layout)) == [(0, "empty_file")]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=;\r"])
def test_a_line_that_names_the_separator_is_obeyed(first):
    assert cells(read(f"{first}\nid;days\n1;2\n")) == [("1", "2")]
    assert cells(read(f"{first}\nid;days\n1;2\n", DelimitedLayout())) == [("1", "2")]
    headerless = DelimitedLayout(header=False, max_columns=2)
    assert cells(read(f"{first}\n1;2\n", headerless)) == [("1", "2")]


def test_files_that_name_different_separators_are_read_together():
    files = [RawFile("a", b"id,days\n1,2\n"), RawFile("b", b"sep=|\nid|days\n3|4\n")]
    rows = read_rows(files, WANTED)
    assert rows.good.select("file_key", "id", "days").rows() == [("a", "1", "2"), ("b", "3", "4")]


def test_a_repeated_header_is_reported_and_the_rows_below_it_count():
    rows = read("id,days\n1,2\nid,days\n3,4\n")
    assert cells(rows) == [("1", "2"), ("3", "4")]
    assert faults(rows) == [(3, "repeated_header")]
    quoted = read('"id","days"\n1,2\n"id","days"\n3,4\n')
    assert (cells(quoted), faults(quoted)) == ([("1", "2"), ("3", "4")], [(3, "repeated_header")])


def test_rows_below_a_header_in_another_order_are_not_read_by_the_first_one():
    rows = read('id,days,zone\n1,2,3\ndays,id,zone\n4,5,6\n7,"8",9\nid,days,zone\n1,1,1\n')
    assert cells(rows) == [("1", "2"), ("1", "1")]
    assert faults(rows) == [
        (3, "other_header"),
        (4, "other_header"),
        (5, "other_header"),
        (6, "repeated_header"),
    ]


def test_cells_that_the_header_does_not_name_may_be_missing_at_the_end_alone():
    assert cells(read("id,days,,\n1,2,,\n3,4\n")) == [("1", "2"), ("3", "4")]
    shifted = read("id,,days\n1,2\n")
    assert (cells(shifted), faults(shifted)) == ([], [(2, "too_few_columns")])


def test_lines_of_a_footer_are_counted_and_are_not_rows():
    layout = DelimitedLayout(columns=("id", "days"), footer="(?i)^(total|source:)")
    rows = read("id,days\n1,2\nTOTAL,2\nSource: the carrier\n", layout)
    assert cells(rows) == [("1", "2")]
    assert rows.files.select("rows_in", "rows_bad", "blank_lines").rows() == [(3, 0, 2)]


def test_a_separator_of_several_characters_separates():
    layout = DelimitedLayout(separator="||", columns=("id", "days"))
    rows = read('id||days\n1||2\n"a||b"||3|4\n1\n', layout)
    assert cells(rows) == [("1", "2"), ("a||b", "3|4")]
    assert rows.good["raw"].to_list() == ["1||2", '"a||b"||3|4']
    assert rows.bad.select("line_no", "raw", "reason_code").rows() == [(4, "1", "too_few_columns")]


def test_an_escape_character_escapes_and_marks_null():
    layout = DelimitedLayout(columns=("id", "days"), escape="\\")
    rows = read('id,days\n1,"a \\"b\\", c"\n2,a\\,b\n3,\\N\n', layout)
    assert cells(rows) == [("1", 'a "b", c'), ("2", "a,b"), ("3", "")]
