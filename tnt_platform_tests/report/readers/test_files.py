"""Files of every kind that a day may bring: what each is, how many records it holds, and which can't be read."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tnt_platform.errors import InvalidInput
from tnt_platform.report.readers.files import ReportFile, read_report_file
from tnt_platform_tests.rounds import tries


def read(name: str, data: bytes | str, *wanted: str) -> ReportFile:
    found = read_report_file(name, data.encode() if isinstance(data, str) else data, wanted)
    assert found.rows_in == found.records.height + found.bad.height
    return found


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


TABLE = parquet(pl.DataFrame({"a": [1, 2]}))


@pytest.mark.parametrize(
    ("name", "data", "kind", "records", "columns"),
    [
        ("a.csv", "a,b\n1,2\n", "csv", 1, ["a", "b"]),
        ("a.txt", "a|b\n1|2\n3|4\n", "csv", 2, ["a", "b"]),
        ("a", "a;b\n1;2\n", "csv", 1, ["a", "b"]),
        ("a.tsv", "a\tb\n1\t2\n", "csv", 1, ["a", "b"]),
        ("a.csv", '"a;x",b\n1,2\n', "csv", 1, ["a;x", "b"]),
        ("a.csv", "one\n1\n2\n", "csv", 2, ["one"]),
        ("a.csv", "a,b\n", "csv", 0, ["a", "b"]),
        ("a.csv", 'a,b\r\n1,"x\r\ny"\r\n\r\n2,z', "csv", 2, ["a", "b"]),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "csv", 1, ["a", "b"]),
        ("a.csv", "[a],b\n1,2\n", "csv", 1, ["[a]", "b"]),
        ("a.csv", '{"a": 1}\n{"a": 2}\n', "jsonl", 2, ["a"]),
        ("a.jsonl", '{"a": 1}\n\n{"b": 2}', "jsonl", 2, ["a", "b"]),
        ("a.ndjson", '{"a": 1}', "jsonl", 1, ["a"]),
        ("a.json", '{"a": 1}\n{"a": 2}\n', "jsonl", 2, ["a"]),
        ("a.json", '{\n "a": 1\n}', "json", 1, ["a"]),
        ("a.json", '{"a": {"b": []}}', "json", 1, ["a"]),
        ("a.json", '[{"a": 1},\n{"b": 2}]', "json", 2, ["a", "b"]),
        ("a.json", "[]", "json", 0, []),
        ("a.jsonl", '[{"a": 1}]', "json", 1, ["a"]),
        ("a.parquet", TABLE, "parquet", 2, ["a"]),
        ("a.csv", TABLE, "parquet", 2, ["a"]),
    ],
)
def test_a_file_is_what_its_content_and_name_say(
    name: str, data: bytes | str, kind: str, records: int, columns: list[str]
) -> None:
    found = read(name, data)
    assert (found.format, found.records.height, list(found.columns)) == (kind, records, columns)
    assert found.bad.is_empty()
    assert found.compression is None


@pytest.mark.parametrize(
    ("name", "pack", "compression"),
    [
        ("a.csv.gz", gzip.compress, "gzip"),
        ("a.csv", gzip.compress, "gzip"),
        ("a.csv.bz2", bz2.compress, "bzip2"),
        ("a.csv.xz", lzma.compress, "xz"),
        ("a.csv.zip", lambda data: zipped(**{"a.csv": data.decode()}), "zip"),
    ],
)
def test_a_compressed_file_is_read_whatever_its_name(name: str, pack: Any, compression: str) -> None:
    found = read(name, pack(b"a,b\n1,2\n"))
    assert (found.format, found.compression, found.records.height) == ("csv", compression, 1)


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.csv", b"", "empty_file"),
        ("a.csv", b" \n\n", "empty_file"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "empty_file"),
        ("a.csv.gz", gzip.compress(b"a,b\n" * 999)[:-9], "truncated_gzip"),
        ("a.zip", zipped(a="x", b="y"), "several_members"),
        ("a.csv", b"<html><head><title>Login</title></head></html>", "html_page"),
        ("a.json", b"a,b\n1,2\n", "not_json"),
        ("a.json", b'{"a": ', "not_json"),
        ("a.json", b"7", "not_json"),
        ("a.parquet", b"a,b\n1,2\n", "not_parquet"),
        ("a.parquet", TABLE[:-1], "not_parquet"),
        ("a.parquet", b"PAR1" + b"\x00" * 40 + b"PAR1", "not_parquet"),
        ("a.csv", b"%PDF-1.7\n", "not_text"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_reason(name: str, data: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_report_file(name, data)
    assert raised.value.reason_code == code


def test_invalid_lines_are_bad_with_their_line_number_and_text() -> None:
    found = read("a.jsonl", '{"a": 1}\n7\nnull\n{"a": NaN}\n{"a": "\\ud800"}\noops\n')
    assert found.bad.select("line_no", "raw", "reason_code").rows() == [
        (2, "7", "not_an_object"),
        (3, "null", "not_an_object"),
        (4, '{"a": NaN}', "not_json"),
        (6, "oops", "not_json"),
    ]
    words = ("int", "null", "NaN", "")
    assert all(word in reason for word, reason in zip(words, found.bad["reason"], strict=True))
    assert found.records["line_no"].to_list() == [1, 5]


def test_items_of_an_array_that_are_not_objects_are_bad() -> None:
    found = read("a.json", '[{"a": 1}, 2, "\\ud800"]')
    assert found.bad.select("line_no", "raw").rows() == [(2, "2"), (3, '"\\ud800"')]


def test_rows_of_another_width_are_bad_and_the_others_count() -> None:
    found = read("a.csv", "a,b\n1,2\n1\n1,2,3\n3,4\n")
    assert (found.records.height, found.bad["line_no"].to_list()) == (2, [3, 4])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "a,b,c\n1.50,,x\n"),
        ("a.jsonl", '{"a": 1.50, "c": "x"}'),
        ("a.json", '[{"a": 1.50, "b": null, "c": "x"}]'),
    ],
)
def test_wanted_columns_are_returned_as_written(name: str, data: str) -> None:
    rows = read(name, data, "a", "b", "absent").records.to_dicts()
    assert rows[0]["a"] == "1.50"
    assert not rows[0].get("b")
    assert "absent" not in rows[0]


def test_parquet_values_are_strings_too() -> None:
    frame = pl.DataFrame({"n": [1, None], "f": [0.1, float("nan")], "l": [[1], []], "d": [True, None]})
    records = read("a.parquet", parquet(frame), "n", "f", "l", "d", "no").records
    assert records.select("n", "f", "l", "d").rows() == [
        ("1", "0.1", "[1]", "True"),
        (None, "NaN", "[]", None),
    ]
    assert json.loads(records["raw"][0]) == {"n": "1", "f": "0.1", "l": "[1]", "d": "True"}


def test_a_separator_at_the_end_of_the_header_alone_names_no_column() -> None:
    rows = "".join(f"{number},Salta,10\n" for number in range(1, 9))
    found = read("a.csv", f"id,city,amount,\n{rows}9,Salta,,30\n", "amount")
    assert found.columns == ("id", "city", "amount")
    assert found.records["amount"].to_list() == ["10"] * 8
    assert found.bad["reason_code"].to_list() == ["too_many_columns"]


# Without digits: beside a column of numbers, a row that has none there may be a note or name units.
CELLS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Nd"], exclude_characters="\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=tries(60))
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=6))
@example(rows=[("", ""), ("", "0")])
def test_a_csv_that_quotes_everything_has_the_records_that_were_written(rows: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([("first", "second"), *rows])
    found = read("a.csv", text.getvalue())
    assert (found.records.height, found.bad.height) == (len(rows), 0)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@settings(deadline=None, max_examples=tries(60))
@given(items=st.lists(st.dictionaries(st.text(max_size=4), VALUES, min_size=1), min_size=1))
def test_lines_and_array_of_the_same_objects_have_the_same_records(items: list[dict[str, Any]]) -> None:
    lines = read("a.jsonl", "\n".join(json.dumps(item) for item in items))
    array = read("a.json", json.dumps(items))
    assert lines.records.height == array.records.height == len(items)
    assert set(lines.columns) == set(array.columns)


@settings(deadline=None, max_examples=tries(80))
@given(
    name=st.sampled_from(["a.csv", "a.json", "a.jsonl", "a.parquet", "a.gz", "a"]),
    data=st.binary(max_size=80) | st.text('{}[]",:1a\n', max_size=40).map(str.encode),
)
def test_any_bytes_are_counted_or_refused(name: str, data: bytes) -> None:
    try:
        found = read_report_file(name, data, ("a",))
    except InvalidInput:
        return
    assert found.rows_in == found.records.height + found.bad.height


@pytest.mark.parametrize(
    ("data", "records", "bad"),
    [
        ('{"id":1}{"id":2}{"id":3}', 3, 0),
        ('{"id":1}{"id":2}\n{"id":3}{"id":4}\n', 4, 0),
        ('{"a":{"b":1}} {"a":{"b":2}}', 2, 0),
        ('{"id":1\n{"id":2}\n{"id":3}\n', 2, 1),
        ('# comment\n{"id":1}\n{"id":2}\n', 2, 1),
        ('[1,"a"]\n[2,"b"]\n', 0, 2),
        ('{"id":1,"id":2}\n{"id":3}\n', 1, 1),
    ],
)
def test_json_is_known_by_its_content_whatever_its_name(data: str, records: int, bad: int) -> None:
    found = read_report_file("data", data.encode())
    assert (found.format, found.records.height, found.bad.height) == ("jsonl", records, bad)


def parquet_of(rows: int) -> bytes:
    out = io.BytesIO()
    pl.DataFrame({"id": range(rows), "amount": [1.5] * rows}).write_parquet(out)
    return out.getvalue()


def test_a_parquet_file_cut_in_the_middle_is_refused_though_its_footer_is_whole() -> None:
    data = parquet_of(1_000)
    cut = data[:4] + data[len(data) // 2 :]
    with pytest.raises(InvalidInput) as refused:
        read_report_file("a.parquet", cut, ["amount"])
    assert refused.value.reason_code == "not_parquet"


def test_a_parquet_file_that_would_fill_the_memory_is_refused_before_it_is_read() -> None:
    table = pa.table({"amount": pa.array([1] * 2_000_000).dictionary_encode().cast(pa.int64())})
    out = io.BytesIO()
    with pq.ParquetWriter(out, table.schema) as writer:
        for _ in range(20):
            writer.write_table(table)
    assert len(out.getvalue()) < 1_000_000
    with pytest.raises(InvalidInput) as refused:
        read_report_file("a.parquet", out.getvalue(), ["amount"])
    assert refused.value.reason_code == "too_large"


def test_a_json_document_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_report_file("a.json.gz", gzip.compress(b"[" + b"[]," * (25 << 20) + b"[]]"))
    assert refused.value.reason_code in ("too_large", "suspicious_ratio")


def test_a_summary_of_other_parquet_files_is_no_data() -> None:
    table, rows, summary = pa.table({"id": [1, 2]}), io.BytesIO(), io.BytesIO()
    collected: list[Any] = []
    pq.write_table(table, rows, metadata_collector=collected)
    collected[0].set_file_path("part-0.parquet")
    collected[0].write_metadata_file(summary)
    with pytest.raises(InvalidInput) as refused:
        read_report_file("_metadata", summary.getvalue(), ["id"])
    assert refused.value.reason_code == "summary_file"
    assert read_report_file("part-0.parquet", rows.getvalue(), ["id"]).records.height == 2
