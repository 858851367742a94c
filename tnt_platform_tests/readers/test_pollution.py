"""A polluted table is read exactly, or what is not is rejected with the reason: never is it read wrongly.

The shares are counted over all files of the generator for each of its readers: a dataset that names its columns
(transit), a report that knows nothing of its files, and the draft of a series with the reader that it declares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import yaml

from tnt_platform.cli.new import draft_text
from tnt_platform.errors import InvalidInput
from tnt_platform.readers.column import Column
from tnt_platform.readers.columns import parse_columns
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, read_rows
from tnt_platform.report.readers.files import read_report_file
from tnt_platform.report.transforms.totals import totals_of
from tnt_platform.series.drafting.files import draft_layout
from tnt_platform.series.reading import read_capture
from tnt_platform.series.spec import SeriesSpec
from tnt_platform_tests.readers.pollution import NAMES, ROWS, Polluted, polluted

FILES = {file.name: file for file in polluted()}
EXACT, REJECTED, WRONG = "exact", "rejected", "wrong"
# What is wrong with a file, by the name of its pollution, where a dataset that names its columns rejects some of it.
TRUE_REASONS = {
    name: code
    for code, names in {
        "missing_column": (
            "separator semicolon",
            "separator tab",
            "separator pipe",
            "separator two pipes",
            "separator space",
            "single quotes",
            "decimal commas",
            "above, semicolons: a title",
            "above, semicolons: a padded title",
            "no header",
            "one name changed",
            "one name missing",
            "one name twice",
            "a web page",
        ),
        "malformed_quotes": (
            "quotes escaped by a backslash",
            "an open quote",
        ),
        "too_few_columns": (
            "below: a note",
            "below: a blank line and a note",
            "below: an end mark",
            "below: the number of rows",
            "no separator in one row",
            "a note between rows",
            "a row cut short",
            "another table below",
        ),
        "invalid_text": (
            "below: a padded note",
            "below: a total",
            "a row of units",
            "another table of the same width below",
        ),
        "too_many_columns": (
            "a separator too many",
            "a separator at one end",
            "a separator at every end but the header",
            "a comma in a number",
            "a line joined with the next",
        ),
        "invalid_number": ("a word for a number",),
        "invalid_date": ("a word for a date",),
        "undecodable": (
            "encoding cp1252",
            "encoding latin-1",
            "encoding cp850",
        ),
        "nul_bytes": ("a NUL",),
        "repeated_header": (
            "the same table twice",
            "the same header again",
        ),
        "other_header": ("the columns swapped half-way",),
        "empty_file": ("nothing",),
    }.items()
    for name in names
}
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
        assert row in clean, row
        clean.remove(row)
    if clean:
        assert not rejected.is_empty(), f"{len(clean)} rows are missing and nothing was rejected"


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
    total = sum((Decimal(row[3]) for row in file.said), Decimal(0))
    if not rejected:
        assert (records, totals.get("amount", total) or 0) == (len(file.said), total)


def in_report(file: Polluted) -> str:
    """Whether a report counts the file exactly."""
    records, totals, rejected = read_undeclared(file)
    total = sum((Decimal(row[3]) for row in file.said), Decimal(0))
    if (records, totals.get("amount") or total) == (len(file.said), total):
        return EXACT
    return REJECTED if rejected else WRONG


def in_transit(file: Polluted) -> str:
    """Whether a dataset that names its columns publishes the file exactly, and rejects for the true reason."""
    published, rejected = read_declared(file)
    if not set(published) <= set(file.rows) or set(rejected["reason_code"]) - {TRUE_REASONS.get(file.name)}:
        return WRONG
    return EXACT if sorted(published) == sorted(file.rows) else REJECTED


def in_series(file: Polluted) -> str:
    """Whether the draft of the file declares a series of its amounts that reads them exactly."""
    amounts, all_amounts = ({row[2]: float(row[3]) for row in rows} for rows in (file.said, ROWS))
    try:
        draft = draft_layout(file.data, "x", None)
        declared = yaml.safe_load(draft_text(draft, Path("/none.csv")))["attributes"]
        read = read_capture(SeriesSpec.model_validate(declared).placed_in(Path("x")), file.data)
    except InvalidInput:
        return REJECTED
    rows = read.normalized.observations.filter(pl.col("internal_series_code").str.contains("AMOUNT"))
    found = {f"{period}": value for period, value in rows.select("period", "value").iter_rows()}
    # A number is a number in every encoding, so rows whose letters cannot be read may be there too.
    if found and amounts.items() <= found.items() <= all_amounts.items():
        return EXACT
    named = read.normalized.rejected.height + read.cells.rejected.height + len(draft.check)
    return REJECTED if named and found.items() <= all_amounts.items() else WRONG


@pytest.mark.parametrize("read", [in_transit, in_report, in_series])
@pytest.mark.heavy
def test_most_files_are_read_exactly_and_nearly_all_others_are_rejected_for_the_true_reason(
    read: Callable[[Polluted], str],
) -> None:
    outcomes = {name: read(file) for name, file in FILES.items()}
    counts = Counter(outcomes.values())
    assert len(FILES) >= 80
    assert counts[EXACT] / len(FILES) >= 0.7, counts
    assert (counts[EXACT] + counts[REJECTED]) / len(FILES) >= 0.95, counts
    assert [name for name, outcome in outcomes.items() if outcome == WRONG] == []
