"""A polluted table is read exactly, or what is not is rejected with the reason: never is it read wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import polars as pl
import pytest

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.column import Column
from tnt_platform.readers.columns import parse_columns
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, read_rows
from tnt_platform.report.readers.files import read_report_file
from tnt_platform.report.transforms.totals import totals_of
from tnt_platform_tests.readers.pollution import NAMES, Polluted, polluted

FILES = {file.name: file for file in polluted()}
LAYOUT = DelimitedLayout(columns=NAMES)
COLUMNS = (
    Column(name="id", source="id", required=True, pattern=r"\d{5}"),
    Column(name="city", source="city"),
    Column(name="due", source="due", type="date", required=True),
    Column(name="amount", source="amount", type="number", required=True),
)


def read_declared(file: Polluted) -> tuple[list[tuple[str, ...]], pl.DataFrame]:
    """What a dataset that names these columns publishes, and what it rejects."""
    rows = read_rows([RawFile("a.csv", file.data)], LAYOUT)
    typed, rejected = parse_columns(rows.good_cells, COLUMNS)
    published = typed.sort("line_no").select(NAMES).iter_rows()
    cells = [(key, city or "", f"{due:%Y-%m-%d}", f"{amount:.2f}") for key, city, due, amount in published]
    bad = pl.concat([rows.bad, rejected.select(rows.bad.columns)])
    counts = rows.files.row(0, named=True)
    assert counts["rows_in"] == len(cells) + bad.height + counts["blank_lines"]
    return cells, bad


@pytest.mark.parametrize("name", FILES)
def test_a_dataset_that_names_its_columns_publishes_clean_rows_alone(name: str) -> None:
    file = FILES[name]
    published, rejected = read_declared(file)
    clean = list(file.rows)
    for row in published:
        assert row in clean or (name == "an empty cell" and row[1] == ""), row
        if row in clean:
            clean.remove(row)
    if clean and name != "an empty cell":
        assert not rejected.is_empty(), f"{len(clean)} rows are missing and nothing was rejected"


def test_most_polluted_files_are_read_exactly_and_nearly_all_of_the_others_are_rejected() -> None:
    exact = sum(sorted(read_declared(file)[0]) == sorted(file.rows) for file in FILES.values())
    assert len(FILES) >= 80
    assert exact / len(FILES) >= 0.7, f"{exact} of {len(FILES)}"


def read_undeclared(file: Polluted) -> tuple[int, Mapping[str, Decimal | None], int]:
    """What a report counts in a file that nobody described: records, totals, and what it rejects."""
    try:
        found = read_report_file("a.csv", file.data, ["amount"])
    except InvalidInput:
        return 0, {}, 1
    totals = totals_of(found.records, ["amount"])
    return found.records.height - totals.bad.height, totals.sums, found.bad.height + totals.bad.height


@pytest.mark.parametrize("name", FILES)
def test_a_report_counts_what_the_file_says_or_rejects_something(name: str) -> None:
    file = FILES[name]
    records, totals, rejected = read_undeclared(file)
    total = sum((Decimal(row[3]) for row in file.rows), Decimal(0))
    # A report knows no types, so a word in a column of dates is a record to it.
    if not rejected and file.rows and name != "a word for a date":
        assert (records, totals.get("amount", total)) == (len(file.rows), total)
