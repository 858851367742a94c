"""Files found in the wild, with the figures an independent count gave; skipped where the data isn't there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tnt_platform.readers.delimited import DelimitedLayout, RawFile, Rows, read_rows
from tnt_platform_tests.paths import SHARED

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data")


def expected(folder: str) -> dict[str, Any]:
    path = SHARED / folder / "EXPECTED.json"
    return json.loads(path.read_text())["expected"] if path.is_file() else {}


def read(path: Path, **options: Any) -> Rows:
    return read_rows([RawFile(path.name, path.read_bytes())], DelimitedLayout(**{"header": False, **options}))


SPECTRUM = sorted(Path(name).stem for name in expected("csv_spectrum") if not name.startswith("_"))


@pytest.mark.parametrize("name", SPECTRUM)
def test_a_csv_of_the_spectrum_equals_its_json(name):
    data = (SHARED / "csv_spectrum" / "csvs" / f"{name}.csv").read_bytes()
    if name.endswith("_crlf"):
        # The stored copies lost their CRs (their own facts say so); the JSON still has them.
        data = data.replace(b"\n", b"\r\n")
    rows = read_rows([RawFile(name, data)], DelimitedLayout(separator=",", header=True))
    wanted = json.loads((SHARED / "csv_spectrum" / "json" / f"{name}.json").read_text())
    found = rows.good.drop("file_key", "line_no", "raw").to_dicts()
    if name == "location_coordinates":
        # Its JSON has another phone number and replaced characters other than those of the CSV.
        assert [list(row) for row in found] == [list(wanted)]
        assert found[0]["Cities"] == wanted["Cities"]
    else:
        assert found == wanted


BAD = expected("frictionless_bad_csv")
TABLES = sorted(name for name, facts in BAD.items() if "width_histogram" in facts)


@pytest.mark.parametrize("name", TABLES)
def test_each_record_of_a_bad_table_is_right_or_reported(name):
    facts = BAD[name]
    rows = read(
        SHARED / "frictionless_bad_csv" / name,
        separator=facts["delimiter_by_width_consistency"],
        min_columns=1,
        max_columns=max(map(int, facts["width_histogram"])),
    )
    counts = rows.files.row(0, named=True)
    # The facts count a line of separators alone as a record; here it is a blank line.
    blank_records = facts["csv_records_incl_header"] - rows.good.height - rows.bad.height
    assert 0 <= blank_records <= counts["blank_lines"]
    assert counts["rows_in"] == rows.good.height + rows.bad.height + counts["blank_lines"]
    cells = rows.good.drop("file_key", "line_no", "raw")
    widths = [sum(cell is not None for cell in row) for row in cells.rows()]
    if facts.get("gunzip", facts)["utf8"]:
        assert rows.bad.height == 0
        missing = {w: count - widths.count(int(w)) for w, count in facts["width_histogram"].items()}
        assert sum(missing.values()) == blank_records
        assert min(missing.values()) >= 0
    else:
        assert set(rows.bad["reason_code"]) == {"undecodable"}


@pytest.mark.parametrize(
    ("name", "encoding"), [("latin1.csv", "latin-1"), ("table-with-accents.csv", "cp1252")]
)
def test_a_declared_encoding_reads_every_row(name, encoding):
    facts = BAD[name]
    separator = facts["delimiter_by_width_consistency"]
    rows = read(SHARED / "frictionless_bad_csv" / name, separator=separator, header=True, encoding=encoding)
    assert (rows.good.height, rows.bad.height) == (facts["csv_records_incl_header"] - 1, 0)


@pytest.mark.parametrize(
    "name", ["table.csv.gz", "table.csv.bz2", "table.csv.xz", "table.csv.zip", "table.csv"]
)
def test_one_table_reads_the_same_in_any_wrapping(name):
    rows = read(SHARED / "frictionless_bad_csv" / name, separator=",", header=True)
    assert rows.good.drop("file_key", "line_no", "raw").to_dicts() == [
        {"id": "1", "name": "english"},
        {"id": "2", "name": "中国人"},
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [("table.xls", "not_text"), ("table.xlsx", "several_members"), ("sheet2.xlsx", "several_members")],
)
def test_a_workbook_is_rejected_as_a_whole(name, code):
    rows = read(SHARED / "frictionless_bad_csv" / name, separator=",", header=True)
    assert rows.bad.select("line_no", "reason_code").rows() == [(0, code)]


def test_leading_zeros_stay():
    rows = read(SHARED / "frictionless_bad_csv" / "leading-zeros.csv", separator=",", header=True)
    assert rows.good.drop("file_key", "line_no", "raw").to_series().to_list() == ["01", "002", "00003"]


@pytest.mark.parametrize("name", ["Ground.csv", "NextDayAir.csv", "2ndDayAir.csv"])
def test_a_rate_table_has_its_sum(name):
    facts = expected("ups_zone_chart")[name]
    rows = read(SHARED / "ups_zone_chart" / name, separator=",", header=True)
    cells = rows.good.drop("file_key", "line_no", "raw")
    assert (cells.columns, cells.height) == (facts["header"], facts["records"])
    assert cells.drop("Exceed").cast(float).sum().sum_horizontal().item() == pytest.approx(
        facts["sum_all_numeric"]
    )
    assert cells["Exceed"][-1] == facts["last_label"]


def test_the_zone_chart_gives_its_rows_and_reports_preamble_and_footnotes():
    facts = expected("ups_zone_chart")["450.csv"]
    rows = read(SHARED / "ups_zone_chart" / "450.csv", separator=",", max_columns=7)
    table = rows.good.drop("file_key", "line_no", "raw").rows()
    assert list(table[0]) == facts["header"]
    zones = {row[0]: list(row[1:]) for row in table[1:] if re.fullmatch("[0-9]{3}(-[0-9]{3})?", row[0])}
    assert len(zones) == facts["zone_rows"]
    assert zones["004-005"] == facts["lookup"]["005"]
    assert set(rows.bad["reason_code"]) == {"too_few_columns", "too_many_columns"}


SCMS = SHARED / "scms_delivery_history" / "SCMS_Delivery_History_Dataset.csv"


def test_bare_cr_and_a_mark_and_quoted_commas_of_the_delivery_history():
    facts = expected("scms_delivery_history")[SCMS.name]
    rows = read(SCMS, separator=",", header=True)
    assert (rows.good.height, rows.bad.height) == (facts["records"], 0)
    assert len(rows.good.columns) - 3 == facts["columns"]
    assert rows.good["ID"].n_unique() == facts["unique_ids"]
    assert rows.good["line_no"].to_list() == list(range(2, facts["records"] + 2))
