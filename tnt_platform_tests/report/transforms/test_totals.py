"""Totals to the last digit, and the report that they are part of."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.report.transforms.totals import FILES, exact_text, report_of, totals_of


def records(*values: str | None, name: str = "n") -> pl.DataFrame:
    return pl.DataFrame(
        {"line_no": range(2, len(values) + 2), "raw": [f"row {value}" for value in values], name: values},
        schema={"line_no": pl.Int64(), "raw": pl.String(), name: pl.String()},
    )


def total(*values: str | None) -> str | None:
    return exact_text(totals_of(records(*values), ["n"]).sums["n"])


def file(key: str, count: int | None, **sums: str | None) -> dict[str, object]:
    totals = [{"column": name, "total": text} for name, text in sums.items()]
    return {
        **dict.fromkeys(FILES),
        "file_key": key,
        "size_bytes": 9,
        "records": count,
        "bad_records": 0,
        "totals": totals,
    }


def files(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(FILES))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (("1", "2"), "3"),
        (("0.1", "0.2"), "0.3"),
        (("+7", "-9"), "-2"),
        (("9223372036854775807", "9223372036854775807"), "18446744073709551614"),
        (("1e3", ".5", "5."), "1005.5"),
        (("1e60", "1e-60"), "1" + "0" * 60 + "." + "0" * 59 + "1"),
        ((" 4 ", "", None), "4"),
        (("-0", "0.0"), "0"),
        (("", None), None),
        ((), None),
    ],
)
def test_a_total_is_exact(values: tuple[str | None, ...], wanted: str | None) -> None:
    assert total(*values) == wanted


@pytest.mark.parametrize(
    "text", ["five", "1,000", "1 000", "NaN", "inf", "0x10", "1e999", "--1", "1.2.3", "£3", "١"]
)
def test_a_text_that_is_no_plain_number_makes_its_record_bad(text: str) -> None:
    found = totals_of(records("1", text, "2"), ["n"])
    assert found.sums == {"n": 3}
    [(line_no, raw, code, reason)] = found.bad.rows()
    assert (line_no, raw, code) == (3, f"row {text}", "not_a_number")
    assert text in reason


def test_a_record_that_is_bad_in_one_column_adds_to_no_total() -> None:
    frame = records("1", "2").with_columns(m=pl.Series(["10", "x"]))
    found = totals_of(frame, ["n", "m", "absent"])
    assert found.sums == {"n": 1, "m": 10}
    assert found.bad.height == 1


@settings(deadline=None)
@given(st.lists(st.decimals(-(10**20), 10**20, places=6, allow_nan=False), min_size=1, max_size=20))
def test_a_total_is_the_sum_of_fractions(values: list[Decimal]) -> None:
    found = total(*(f"{value:f}" for value in values))
    assert found is not None
    with localcontext(prec=100):
        assert Fraction(found) == sum(map(Fraction, values))


def test_a_report_adds_up_its_files_and_names_those_that_cannot_be_read() -> None:
    day = files(
        file("b", 2, n="3"),
        file("a", 1, n="0.5", m=None),
        file("c", None) | {"totals": None, "problem": "cut"},
    )
    report = report_of("2026-11-20", day, ["n", "m", "other"], ("2026-11-19", None), ("2026-11-13", None))
    assert (report["file_count"], report["total_records"]) == (3, 3)
    assert [one["key"] for one in report["files"]] == ["a", "b", "c"]
    assert report["files"][2]["records"] is None
    assert report["totals"] == {"n": 3.5, "m": None, "other": None}
    assert report["compared"] == {"day_before": None, "same_weekday": None}


def test_a_change_is_unknown_where_one_of_the_two_days_has_no_total() -> None:
    day, before = files(file("a", 5, n="7", m="1")), files(file("a", 8, n="10"))
    report = report_of("2026-11-20", day, ["n", "m"], ("2026-11-19", before), ("2026-11-13", None))
    assert report["compared"]["day_before"] == {
        "date": "2026-11-19",
        "file_count": 1,
        "total_records": 8,
        "total_records_change": -3,
        "totals": {"n": 10, "m": None},
        "totals_change": {"n": -3, "m": None},
    }


def test_whole_totals_of_any_size_are_whole_numbers_in_the_report() -> None:
    day = files(file("a", 1, n="18446744073709551614"))
    report = report_of("2026-11-20", day, ["n"], ("2026-11-19", None), ("2026-11-13", None))
    assert report["totals"]["n"] == 18446744073709551614
