import csv
import gzip
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tnt_platform.readers.delimited import DelimitedLayout, RawFile, Rows, iter_batches, read_rows
from tnt_platform_tests.rounds import tries


def pipes(**options) -> DelimitedLayout:
    """A layout of files without header, unless `options` say otherwise."""
    return DelimitedLayout(**({"separator": "|", "header": False} | options))


PIPES = pipes(min_columns=3, max_columns=5)
CSV = DelimitedLayout()


def read(data: bytes, layout: DelimitedLayout = PIPES, key: str = "a.txt") -> Rows:
    return conserved(read_rows([RawFile(key, data)], layout))


def conserved(rows: Rows) -> Rows:
    """Every row in is a good row, a bad row or a blank line, file by file."""
    good = rows.good.group_by("file_key").len("good")
    bad = rows.bad.group_by("file_key").len("bad")
    joined = (
        rows.files.join(good, on="file_key", how="left").join(bad, on="file_key", how="left").fill_null(0)
    )
    assert (joined["rows_in"] == joined["good"] + joined["bad"] + joined["blank_lines"]).all()
    assert (joined["rows_bad"] == joined["bad"]).all()
    return rows


def cells(rows: Rows) -> list[tuple[str | None, ...]]:
    return rows.good.drop("file_key", "line_no", "raw").rows()


def faults(rows: Rows) -> list[tuple[int, str]]:
    return rows.bad.select("line_no", "reason_code").rows()


def test_rows_keep_their_file_line_and_text():
    rows = read(b"1|00501|NY\n2|00601|PR|5|6\n")
    assert rows.good.rows() == [
        ("a.txt", 1, "1|00501|NY", "1", "00501", "NY", None, None),
        ("a.txt", 2, "2|00601|PR|5|6", "2", "00601", "PR", "5", "6"),
    ]
    assert rows.files.rows() == [("a.txt", 2, 0, 0, "utf-8")]


def test_an_absent_cell_is_null_and_an_empty_one_is_empty():
    assert cells(read(b"1||3|\n")) == [("1", "", "3", "", None)]


def test_too_few_and_too_many_columns_are_reported_with_the_text():
    rows = read(b"1|2|3\n1|2\n1|2|3|4|5|\n")
    assert rows.bad.select("line_no", "raw", "reason_code").rows() == [
        (2, "1|2", "too_few_columns"),
        (3, "1|2|3|4|5|", "too_many_columns"),
    ]
    assert rows.bad["reason"][1] == "the row has 6 columns where 3 to 5 are expected"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_every_line_end_is_read(end, last):
    text = end.join(["1|2|3", "4|5|6", "", "7|8|9"]) + (end if last else "")
    rows = read(text.encode())
    assert cells(rows) == [
        ("1", "2", "3", None, None),
        ("4", "5", "6", None, None),
        ("7", "8", "9", None, None),
    ]
    assert rows.good["line_no"].to_list() == [1, 2, 4]
    assert rows.files["blank_lines"].to_list() == [1]


def test_mixed_line_ends_count_physical_lines():
    assert read(b"1|2|3\r\n4|5|6\r\r\n7|8|9\n").good["line_no"].to_list() == [1, 2, 4]


def test_blank_lines_are_counted_and_are_no_faults():
    rows = read(b"\n1|2|3\n  \t\n\n")
    assert rows.files.select("rows_in", "rows_bad", "blank_lines").rows() == [(4, 0, 3)]


def test_other_separators_of_unicode_do_not_end_a_line():
    assert cells(read("1|a\x0bb\u2028c|\x85\n".encode()))[0][:3] == ("1", "a\x0bb\u2028c", "\x85")


def test_a_row_with_nul_bytes_is_reported_alone():
    rows = read(b"1|2|3\n4|\x00|6\n7|8|9\n")
    assert rows.bad.select("line_no", "raw", "reason_code").rows() == [(2, "4|\\x00|6", "nul_bytes")]
    assert rows.good.height == 2


def test_a_line_of_ten_megabytes_is_reported_with_its_beginning():
    rows = read(b"1|2|3\n" + b"x" * 10_000_000 + b"\n4|5|6\n")
    assert faults(rows) == [(2, "line_too_long")]
    assert rows.bad["raw"].str.len_chars().to_list() == [10_000]
    assert "10,000,000 bytes" in rows.bad["reason"][0]
    assert rows.good["line_no"].to_list() == [1, 3]


def test_a_row_in_another_encoding_is_reported_and_the_others_count():
    rows = read(b"1|2|3\n4|caf\xe9|6\n")
    assert rows.bad.select("line_no", "raw", "reason_code").rows() == [(2, "4|caf\\xe9|6", "undecodable")]
    assert "`encoding:`" in rows.bad["reason"][0]
    assert cells(read(b"4|caf\xe9|6", pipes(max_columns=3, encoding="cp1252"))) == [("4", "café", "6")]


def test_one_bad_file_never_stops_the_others():
    files = [
        RawFile("cut.gz", gzip.compress(b"1|2|3\n" * 1_000)[:-20]),
        RawFile("good", gzip.compress(b"1|2|3\n")),
        RawFile("empty", b""),
        RawFile("mark only", b"\xef\xbb\xbf"),
        RawFile("table.xls", b"\xd0\xcf\x11\xe0" + bytes(100)),
    ]
    rows = conserved(read_rows(files, PIPES))
    assert rows.bad.select("file_key", "line_no", "reason_code").rows() == [
        ("cut.gz", 0, "truncated_gzip"),
        ("empty", 0, "empty_file"),
        ("mark only", 0, "empty_file"),
        ("table.xls", 0, "not_text"),
    ]
    assert rows.good["file_key"].to_list() == ["good"]
    assert rows.files["rows_in"].to_list() == [1, 1, 1, 1, 1]


def test_no_files_and_only_bad_files_keep_the_schema():
    schema = read(b"1|2|3\n").good.schema
    assert read_rows([], PIPES).good.schema == schema
    assert read(b"").good.schema == schema
    chosen = DelimitedLayout(columns=("a", 2))
    assert read(b"", chosen).good.schema == read(b"a,b,c\n1,2,3\n", chosen).good.schema


def test_a_header_names_the_columns_and_is_no_row():
    rows = read(b"\n id , Full  Name\n1,Ana\n", CSV)
    assert rows.good.columns[3:] == ["id", "Full Name"]
    assert rows.good["line_no"].to_list() == [3]
    assert rows.files["rows_in"].to_list() == [1]


def test_a_header_alone_is_a_file_without_rows():
    rows = read(b"id,name\n", CSV)
    assert (rows.good.columns[3:], rows.good.height, rows.bad.height) == (["id", "name"], 0, 0)


def test_a_file_of_blank_lines_has_no_header():
    assert faults(read(b"\n\n", CSV)) == [(0, "empty_file")]


def test_blank_and_repeated_header_names_are_known_by_position():
    rows = read(b"id,,name,ID,raw\n1,2,3,4,5\n", CSV)
    assert rows.good.columns[3:] == ["id", "c1", "name", "c3", "c4"]


def test_chosen_columns_are_found_in_any_case_and_order():
    layout = DelimitedLayout(columns=("weight (kg)", "ID"))
    files = [RawFile("a", b"id,Weight  (Kg),x\n1,2,3\n"), RawFile("b", b"WEIGHT (KG),id\n5,4\n")]
    rows = conserved(read_rows(files, layout))
    assert rows.good.drop("raw").rows() == [("a", 2, "2", "1"), ("b", 2, "5", "4")]


def test_a_missing_column_rejects_the_file_naming_what_there_is():
    layout = DelimitedLayout(
        separator=",", header=True, columns=("id", "weight", "note"), optional=frozenset({"note"})
    )
    rows = conserved(read_rows([RawFile("a", b"id,mass\n1,2\n"), RawFile("b", b"id,weight\n1,2\n")], layout))
    assert rows.bad.select("file_key", "line_no", "reason_code").rows() == [("a", 0, "missing_column")]
    assert "'weight'" in rows.bad["reason"][0]
    assert "'mass'" in rows.bad["reason"][0]
    assert rows.good.select("id", "weight", "note").rows() == [("1", "2", None)]


def test_a_repeated_header_name_matters_only_where_it_is_wanted():
    data = b"id,name,name\n1,2,3\n"
    wanted = DelimitedLayout(columns=("id", "name"))
    assert faults(read(data, wanted)) == [(0, "duplicate_column")]
    by_position = DelimitedLayout(columns=("id", 2))
    assert cells(read(data, by_position)) == [("1", "3")]


def test_rows_under_a_header_have_its_width_unless_declared():
    data = b"a,b,c\n1,2\n1,2,3,4\n1,2,3\n"
    assert faults(read(data, CSV)) == [(2, "too_few_columns"), (3, "too_many_columns")]
    ragged = DelimitedLayout(min_columns=2, max_columns=4)
    assert cells(read(data, ragged)) == [("1", "2", None, None), ("1", "2", "3", "4"), ("1", "2", "3", None)]


def test_skipped_lines_and_comments_are_no_rows():
    layout = DelimitedLayout(skip_rows=1, comment="#")
    rows = read(b'made "by hand\n# a "comment\nid,name\n1,a\n#x\n2,b\n', layout)
    assert rows.good.drop("file_key", "raw").rows() == [(4, "1", "a"), (6, "2", "b")]
    assert rows.files["rows_in"].to_list() == [2]


def test_a_quoted_line_end_belongs_to_its_cell():
    rows = read(b'id,text\n1,"a\r\nb\n\nc"\n2,d\n', CSV)
    assert rows.good.drop("file_key").rows() == [
        (2, '1,"a\r\nb\n\nc"', "1", "a\r\nb\n\nc"),
        (6, "2,d", "2", "d"),
    ]
    assert rows.files["blank_lines"].to_list() == [0]


def test_an_unbalanced_quote_costs_its_line_alone():
    rows = read(b'id,text\n1,"a\n2,b\n3,"c"\n4,d\n', CSV)
    assert rows.bad.select("line_no", "raw", "reason_code").rows() == [(2, '1,"a', "malformed_quotes")]
    assert rows.good["line_no"].to_list() == [3, 4, 5]


def test_a_quote_that_closes_lines_later_with_the_wrong_width_costs_its_line_alone():
    rows = read(b'a,b,c\n1,"x,2\n3,y,4\n5,z",6,7,8\n', CSV)
    assert faults(rows) == [(2, "malformed_quotes"), (4, "too_many_columns")]
    assert rows.good["line_no"].to_list() == [3]


def test_text_after_a_closing_quote_is_malformed():
    assert faults(read(b'id,text\n1,"a"b\n', CSV)) == [(2, "malformed_quotes")]


def test_a_quote_inside_an_unquoted_cell_is_a_character():
    assert cells(read(b'id,text\n1,5" pipe\n', CSV)) == [("1", '5" pipe')]


def test_damage_inside_a_quoted_record_costs_the_whole_record():
    rows = read(b'id,text\n1,"a\n\xff\nb"\n2,c\n', CSV)
    assert faults(rows) == [(2, "undecodable")]
    assert rows.good["line_no"].to_list() == [5]


def test_without_a_quote_character_quotes_are_text():
    layout = pipes(max_columns=2, quote=None)
    assert cells(read(b'"a|b"\n', layout)) == [('"a', 'b"')]


def test_a_long_quoted_cell_is_read_up_to_the_line_limit():
    assert cells(read(b'id,text\n1,"' + b"x\n" * 200_000 + b'"\n', CSV))[0][1] == "x\n" * 200_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize("line", [b'x,"y\n', b'x","y\n'])
def test_a_file_full_of_odd_quotes_takes_linear_time(line):
    """Each line of the second kind closes the quote of the line before and opens another, to the end of the file."""
    rows = read(b"a,b,c\n" + line * 10_000, CSV)
    assert rows.bad.height == 10_000


def test_files_come_out_in_the_order_given():
    files = [
        RawFile(key, data)
        for key, data in [("b", b"id,x\n1,2\n"), ("a", b'x,id\n"3",4\n'), ("c", b"id,x\n5,6\n")]
    ]
    assert conserved(read_rows(files, CSV)).good["file_key"].to_list() == ["b", "a", "c"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_columns": 2, "separator": ""},
        {"max_columns": 2, "escape": "|"},
        {"max_columns": 2, "header_row": 1},
        {"header": True, "header_row": 2, "skip_rows": 1},
        {"max_columns": 2, "separator": "\n"},
        {"max_columns": 2, "quote": "|"},
        {"max_columns": 2, "min_columns": 3},
        {"max_columns": 2, "min_columns": 0},
        {"max_columns": 2, "encoding": "klingon"},
        {"max_columns": 2, "encoding": "base64"},
        {"max_columns": 2, "columns": ("name",)},
        {"max_columns": 2, "columns": (2,)},
        {"max_columns": 2, "comment": ""},
        {"header": True, "columns": ("a", "A ")},
        {"header": True, "columns": ("raw",)},
        {"header": True, "columns": ("a",), "optional": frozenset({"b"})},
    ],
)
def test_a_layout_that_makes_no_sense_is_rejected(options):
    with pytest.raises(ValidationError):
        pipes(**options)


def test_batches_keep_the_order_and_the_limit():
    files = [RawFile(str(i), bytes(size)) for i, size in enumerate([40, 50, 20, 500, 1])]
    batches = list(iter_batches(files, max_bytes=100))
    assert [[file.key for file in batch] for batch in batches] == [["0", "1"], ["2"], ["3"], ["4"]]
    assert list(iter_batches([], max_bytes=100)) == []


def test_a_compressed_file_weighs_more_in_a_batch():
    packed = gzip.compress(b"1|2|3\n")
    assert (
        len(list(iter_batches([RawFile("a", packed), RawFile("b", packed)], max_bytes=15 * len(packed)))) == 2
    )


SEPARATORS = st.sampled_from(",|;\t")
DIRT = st.text(st.sampled_from('ab|,"\r\n\0 #é\u2028\ufeff'), max_size=40).map(str.encode)
BYTES = st.one_of(
    st.binary(max_size=60), DIRT, DIRT.map(lambda d: gzip.compress(d)[:-1]), DIRT.map(gzip.compress)
)
LAYOUTS = st.sampled_from(
    [
        PIPES,
        pipes(max_columns=1),
        pipes(min_columns=1, max_columns=3, quote=None),
        pipes(separator=",", min_columns=1, max_columns=2, max_line_bytes=5),
        pipes(separator=" ", max_columns=2, comment="#", skip_rows=1),
        CSV,
        DelimitedLayout(separator="|", header=True, min_columns=1, max_columns=3),
        DelimitedLayout(columns=("a", 1), optional=frozenset({1})),
        pipes(max_columns=2, encoding="cp1252"),
        pipes(max_columns=2, encoding="utf-16-le"),
        pipes(separator="||", min_columns=1, max_columns=3),
        DelimitedLayout(columns=("a",), escape="#", footer="^b"),
    ]
)


@settings(max_examples=tries(200), deadline=None)
@given(st.lists(BYTES, max_size=4), LAYOUTS)
def test_nothing_in_a_file_raises_and_no_row_vanishes(contents, layout):
    files = [RawFile(f"file {i}", data) for i, data in enumerate(contents)]
    rows = conserved(read_rows(files, layout))
    assert rows.files.height == len(files)
    assert rows.bad.null_count().sum_horizontal().item() == 0


@settings(max_examples=tries(80), deadline=None)
@given(
    st.lists(BYTES, min_size=1, max_size=4),
    st.sampled_from([PIPES, pipes(max_columns=2, encoding="cp1252")]),
)
def test_reading_together_or_apart_gives_the_same_rows(contents, layout):
    files = [RawFile(f"file {i}", data) for i, data in enumerate(contents)]
    together = read_rows(files, layout)
    apart = [read_rows([file], layout) for file in files]
    assert together.good.equals(pl.concat([rows.good for rows in apart]))
    assert together.bad.equals(pl.concat([rows.bad for rows in apart]))
    assert together.files.equals(pl.concat([rows.files for rows in apart]))


CELLS = st.text(
    st.one_of(
        st.sampled_from('ab"|,;\t\r\n \x0b\x1c\u2028é'), st.characters(codec="utf-8", exclude_characters="\0")
    ),
    max_size=8,
)


@settings(max_examples=tries(150), deadline=None)
@given(st.data(), SEPARATORS, st.sampled_from(["\n", "\r\n", "\r"]), st.integers(2, 4), st.booleans())
def test_what_a_csv_writer_wrote_is_read_back_cell_by_cell(data, separator, end, width, quote_all):
    # csv.writer leaves a CR unquoted where lines end with LF (and the reverse): such a file is ambiguous.
    allowed = (
        CELLS
        if quote_all or end == "\r\n"
        else CELLS.map(lambda cell: cell.replace("\r", "").replace("\n", ""))
    )
    table = data.draw(st.lists(st.lists(allowed, min_size=width, max_size=width), min_size=1, max_size=8))
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting).writerows(table)
    rows = read(("\ufeff" + out.getvalue()).encode(), pipes(separator=separator, max_columns=width))
    assert rows.bad.height == 0
    # A line of nothing but separators and spaces is a blank one.
    assert cells(rows) == [tuple(row) for row in table if quote_all or any(cell.strip(" \t") for cell in row)]
