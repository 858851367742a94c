import re
from collections import Counter
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.errors import ConfigError
from tnt_platform.series.transforms.conventions import DEFAULT_NA, Conventions
from tnt_platform.series.transforms.observations import (
    REJECTED,
    Normalized,
    observation_schema,
    observations_of,
)
from tnt_platform.validation.schema import spec_mistakes
from tnt_platform_tests.rounds import tries

CELLS = {
    "series_code": pl.String,
    "date_text": pl.String,
    "value_text": pl.String,
    "place": pl.String,
    "line_no": pl.Int64,
}
Cell = tuple[str | None, str | None]
CAPTURED = date(2026, 3, 15)


def codes(**frequencies: str) -> pl.DataFrame:
    rows = [(code, "ARS", frequency) for code, frequency in frequencies.items()]
    schema = {"series_code": pl.String, "unit": pl.String, "frequency": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


class OfWorkbook(Conventions):
    """The conventions of a file whose cells may be numbers."""

    @property
    def numbers_as_such(self) -> bool:
        return True


def normalize(
    *cells: Cell,
    frequency: str = "M",
    timezone: str = "UTC",
    numbers_as_such: bool = False,
    epoch: int | None = None,
    **conventions: Any,
) -> Normalized:
    """Normalize cells of one series X, at the places B1, B2, ..."""
    kind = OfWorkbook if numbers_as_such else Conventions
    rows = [("X", when, value, f"B{line}", line) for line, (when, value) in enumerate(cells, 1)]
    found = observations_of(
        pl.DataFrame(rows, schema=CELLS, orient="row"),
        codes(X=frequency),
        kind(timezone=timezone, **conventions),
        captured=CAPTURED,
        epoch=epoch,
    )
    assert dict(found.observations.schema) == observation_schema(timezone)
    assert dict(found.rejected.schema) == dict(REJECTED)
    assert (
        len(cells) == found.observations.height + found.rejected.height + found.filtered + found.deduplicated
    )
    return found


def published(found: Normalized) -> list[tuple[str, float]]:
    return [(str(period), value) for period, value in found.observations.select("period", "value").rows()]


def rejections(found: Normalized) -> list[tuple[int, str, str]]:
    return found.rejected.select("line_no", "raw", "reason_code").rows()


def test_cells_become_observations_sorted_by_key():
    rows = [
        ("Y", "Feb-20", "2", "S!C3", 3),
        ("Y", "Jan-20", "1", "S!C2", 2),
        ("X", "2007-12-30", "1.5", "S!B9", 9),
    ]
    found = observations_of(
        pl.DataFrame(rows, schema=CELLS, orient="row"),
        codes(Y="M", X="D"),
        Conventions(timezone="America/Argentina/Buenos_Aires"),
        captured=CAPTURED,
    )
    shown = found.observations.with_columns(pl.col("obs_time").dt.to_string("%Y-%m-%d %H:%M"))
    assert shown.rows() == [
        ("X", date(2007, 12, 30), "2007-12-30 01:00", 1.5, "ARS", "D", "2007-12-30", "S!B9", 9),
        ("Y", date(2020, 1, 1), "2020-01-01 00:00", 1.0, "ARS", "M", "Jan-20", "S!C2", 2),
        ("Y", date(2020, 2, 1), "2020-02-01 00:00", 2.0, "ARS", "M", "Feb-20", "S!C3", 3),
    ]
    assert (found.dst_gaps, found.dst_repeats, found.rejected.height) == (1, 0, 0)


def test_a_midnight_that_exists_twice_is_counted():
    found = normalize(("2023-11-05", "1"), ("2023-11-06", "2"), frequency="D", timezone="America/Havana")
    assert (found.dst_gaps, found.dst_repeats) == (0, 1)


def test_a_month_typed_as_some_day_of_it_is_that_month():
    typed = ["1997-01", "1997-01-15", "31/01/1997", "Enero-97", "199701"]
    for text in typed:
        assert published(normalize((text, "1"))) == [("1997-01-01", 1.0)]
    months = normalize(*((text, "1") for text in typed if text.count("-") < 2 and "/" not in text))
    assert (published(months), months.deduplicated) == ([("1997-01-01", 1.0)], 2)


def test_each_cell_that_is_not_read_has_its_reason():
    found = normalize(
        ("hoy", "1"), ("01/02/2024", "1"), (None, "7"), ("ene-24", "1,5"), ("2024", "x"), ("feb-24", "#REF!")
    )
    assert published(found) == []
    assert found.rejected.select("place", "raw", "reason_code").rows() == [
        ("B1", "hoy", "bad_date"),
        ("B2", "01/02/2024", "bad_date"),
        ("B3", "7", "missing_date"),
        ("B4", "1,5", "bad_value"),
        ("B5", "2024", "bad_date"),
        ("B6", "#REF!", "bad_value"),
    ]
    reasons = found.rejected["reason"].to_list()
    assert [reason for reason in reasons if "`date_order:`" in reason] == [reasons[1]]
    assert [reason for reason in reasons if "`footer:`" in reason] == [reasons[2]]
    assert [reason for reason in reasons if "`decimal: ','`" in reason] == [reasons[3]]
    assert "'2024'" in reasons[4]
    assert "'x'" in reasons[4]


def test_a_date_that_breaks_the_declared_order_is_not_called_ambiguous():
    found = normalize(("12/31/2024", "1"), date_order="dmy")
    assert rejections(found) == [(1, "12/31/2024", "bad_date")]
    assert "`date_order:`" not in found.rejected["reason"][0]


@pytest.mark.parametrize("token", [*DEFAULT_NA[1:], "nan", "nd", None])
def test_a_cell_without_a_value_is_filtered_and_never_a_zero(token):
    found = normalize(("ene-24", token), (None, token), ("feb-24", "1"))
    assert (published(found), found.filtered) == ([("2024-02-01", 1.0)], 2)


def test_a_note_in_the_date_column_is_rejected_even_without_a_value():
    assert rejections(normalize(("Fuente: INDEC", None))) == [(1, "Fuente: INDEC", "bad_date")]


def test_declared_na_tokens_replace_the_usual_ones():
    assert rejections(normalize(("ene-24", "n/d"), ("feb-24", "-"), not_available=("n/d",))) == [
        (2, "-", "bad_value")
    ]


def test_a_declared_zero_is_zero_and_not_a_missing_value():
    found = normalize(("ene-24", "-"), ("feb-24", "- (p)"), ("mar-24", ".."), zeros=("-",), marks=("(p)",))
    assert (published(found), found.filtered) == ([("2024-01-01", 0.0), ("2024-02-01", 0.0)], 1)


def test_declared_marks_are_used():
    found = normalize(("ene-24", "1.234,5"), ("feb-24", "1.5"), decimal=",", thousands=".")
    assert published(found) == [("2024-01-01", 1234.5)]
    assert rejections(found) == [(2, "1.5", "bad_value")]
    assert "','" in found.rejected["reason"][0]
    assert "'.'" in found.rejected["reason"][0]


def test_declared_marks_are_removed_from_values_and_dates_that_cannot_be_read_with_them():
    found = normalize(
        ("ene-24 (p)", "1.5 (p)"),
        ("feb-24*", "2.5**"),
        ("(r) mar-24", "3.5 (r) (p)"),
        ("abr-24", "† 4.5"),
        ("may-24", "s/d (p)"),
        ("jun-24", "(p)"),
        ("sep", "7"),
        marks=("(p)", "*", "**", "(r)", "†", "p"),
    )
    assert published(found) == [(f"2024-0{month}-01", month + 0.5) for month in (1, 2, 3, 4)]
    assert found.filtered == 1
    assert rejections(found) == [(6, "(p)", "bad_value"), (7, "sep", "bad_date")]
    assert found.observations["printed_date"][0] == "ene-24 (p)"


def test_a_mark_never_changes_what_can_be_read_with_it():
    found = normalize(("sep-24", "1e5"), ("ene-24", "5e"), marks=("e", "p", "sep"))
    assert published(found) == [("2024-01-01", 5.0), ("2024-09-01", 1e5)]


def test_parentheses_mean_a_negative_value_only_where_that_is_declared():
    cells = (("ene-24", "(1.5)"), ("feb-24", "2"), ("mar-24", "(-3)"), ("abr-24", "( 1,200 )"))
    found = normalize(*cells, thousands=",", negative_parentheses=True)
    assert published(found) == [("2024-01-01", -1.5), ("2024-02-01", 2.0), ("2024-04-01", -1200.0)]
    assert published(normalize(*cells)) == [("2024-02-01", 2.0)]


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("1.5 (p)", '`marks: ["(p)"]`'),
        ("1.5*", '`marks: ["*"]`'),
        ("12.5 %", '`marks: ["%"]`'),
        ("US$ 12.5", '`marks: ["US$"]`'),
        ("2.5 p", '`marks: ["p"]`'),
        ("(1.5)", "`negative_parentheses: true`"),
        ("1,5", "`decimal: ','`"),
        ("1.234,5", "`decimal: ','` and `thousands: '.'`"),
        ("1\u00a0234.5", "`decimal: '.'` and `thousands: ' '`"),
        ("1'234.5", "`decimal: '.'` and `thousands: \"'\"`"),
        ("1 234,5 (e)", "`decimal: ','` and `thousands: ' '`"),
        ("1 234,5 (e)", '`marks: ["(e)"]`'),
    ],
)
def test_a_rejected_number_comes_with_the_setting_that_would_read_it(text, setting):
    assert setting in normalize(("ene-24", text)).rejected["reason"][0]


def test_a_rejected_date_with_a_mark_comes_with_the_setting_that_would_read_it():
    found = normalize(("2023 (p)", "1"), ("2024*", "2"), ("Total", "3"), frequency="A")
    marks = [re.findall("`marks: .*?`", reason) for reason in found.rejected["reason"]]
    assert marks == [['`marks: ["(p)"]`'], ['`marks: ["*"]`'], []]


def test_points_between_thousands_of_texts_in_a_workbook_are_to_be_read_from_a_csv():
    found = normalize(("ene-24", "1.200,5"), decimal=",", numbers_as_such=True)
    assert rejections(found) == [(1, "1.200,5", "bad_value")]
    assert "CSV" in found.rejected["reason"][0]


TWICE = (("ene-24", "1"), ("feb-24", "2"), ("Feb 2024", "3"), ("2024-02", "2"), ("mar-24", "4"))


def test_different_values_of_one_period_are_all_rejected():
    found = normalize(*TWICE)
    assert published(found) == [("2024-01-01", 1.0), ("2024-03-01", 4.0)]
    assert rejections(found) == [
        (line, raw, "contradictory_duplicate") for line, raw in [(2, "2"), (3, "3"), (4, "2")]
    ]
    (reason,) = found.rejected["reason"].unique()
    assert [
        part for part in ("2024-02-01", "2 (B2), 3 (B3), 2 (B4)", "`duplicates:`") if part not in reason
    ] == []
    assert set(found.rejected["period"]) == {date(2024, 2, 1)}


@pytest.mark.parametrize(("rule", "value", "place"), [("first", 2.0, "B2"), ("last", 2.0, "B4")])
def test_a_declared_rule_takes_one_of_them(rule, value, place):
    found = normalize(*TWICE, duplicates=rule)
    assert published(found)[1] == ("2024-02-01", value)
    assert found.observations["place"].to_list() == ["B1", place, "B5"]
    assert (found.deduplicated, found.rejected.height) == (2, 0)


def test_the_first_and_the_last_are_those_of_the_file():
    cells = (("feb-24", "3"), ("2024-02", "2"))
    assert published(normalize(*cells, duplicates="first")) == [("2024-02-01", 3.0)]
    assert published(normalize(*cells, duplicates="last")) == [("2024-02-01", 2.0)]


def test_equal_values_of_one_period_are_one_observation_whatever_their_spelling():
    found = normalize(("ene-24", "1.50"), ("2024-01", "1.5"), ("ene-24", "15e-1"))
    assert (published(found), found.deduplicated) == ([("2024-01-01", 1.5)], 2)
    assert found.observations["place"].to_list() == ["B1"]


def test_a_rejected_value_has_its_period_where_its_date_was_read():
    found = normalize(("31-ene-24", "x"), ("hoy", "1"), (None, "2"))
    assert found.rejected["period"].to_list() == [date(2024, 1, 1), None, None]


def test_series_of_different_frequencies_read_the_same_text_differently():
    rows = [(code, "2024-05-16", "1", "B1", 1) for code in "DWMQA"] + [
        ("A", "2023-05-31", "2", "B2", 2),
        ("M", "2023", "2", "B2", 2),
    ]
    found = observations_of(
        pl.DataFrame(rows, schema=CELLS, orient="row"),
        codes(**{code: code for code in "DWMQA"}),
        Conventions(timezone="UTC"),
        captured=CAPTURED,
    )
    assert found.observations.select("internal_series_code", pl.col("period").cast(pl.String)).rows() == [
        ("A", "2023-01-01"),
        ("A", "2024-01-01"),
        ("D", "2024-05-16"),
        ("M", "2024-05-01"),
        ("Q", "2024-04-01"),
        ("W", "2024-05-13"),
    ]
    assert found.rejected["series_code"].to_list() == ["M"]


def test_without_cells_there_are_no_observations():
    assert published(normalize()) == []


@pytest.mark.parametrize("declared", [codes(), pl.concat([codes(X="M"), codes(X="D")]), codes(X="monthly")])
def test_a_series_needs_one_known_frequency(declared):
    cells = pl.DataFrame([("X", "2024-01", "1", "B1", 1)], schema=CELLS, orient="row")
    with pytest.raises(ConfigError, match="'X'"):
        observations_of(cells, declared, Conventions(timezone="UTC"), captured=CAPTURED)


@pytest.mark.parametrize(
    ("conventions", "place"),
    [
        ({"decimal": ";"}, ("decimal",)),
        ({"thousands": "_"}, ("thousands",)),
        ({"date_order": "ydm"}, ("date_order",)),
        ({"duplicates": "mean"}, ("duplicates",)),
        ({"decimal": ",", "thousands": ","}, ("thousands",)),
        ({"marks": ("(p)", " ")}, ("marks", 1)),
        ({"marks": ("(1)", "¹", "2")}, ("marks", 2)),
    ],
)
def test_conventions_that_do_not_exist_are_rejected(conventions, place):
    found, _ = spec_mistakes(Conventions, {"timezone": "UTC", **conventions})
    assert [one.at for one in found] == [place]


DATES = st.sampled_from(
    [None, "ene-24", "2024-01", "2024-01-31", "feb-24", "01/02/2024", "31/12/2023", "hoy", "-"]
)
VALUES = st.sampled_from([None, "1", "1.0", "2", "-", "n/a", "x", "1,5", "-0", "0"])
PAIRS = st.tuples(DATES, VALUES).filter(lambda pair: pair != (None, None))


@settings(max_examples=tries(50), deadline=None)
@given(st.lists(PAIRS, max_size=25), st.sampled_from(["refuse", "first", "last"]))
def test_every_cell_is_published_rejected_filtered_or_a_repetition(cells, rule):
    found = normalize(*cells, duplicates=rule)
    assert found.observations.select("internal_series_code", "period").is_unique().all()
    assert found.observations["value"].is_finite().all()
    lines = Counter(found.rejected["line_no"]) + Counter(found.observations["line_no"])
    assert set(lines.values()) <= {1}
    assert found.rejected.null_count().select("reason_code", "reason", "raw", "place").row(0) == (0, 0, 0, 0)
    assert (rule == "refuse") or "contradictory_duplicate" not in set(found.rejected["reason_code"])


@settings(max_examples=tries(50), deadline=None)
@given(st.lists(PAIRS, max_size=12), st.randoms())
def test_what_is_rejected_does_not_depend_on_the_order_of_the_file(cells, shuffle):
    shuffled = list(cells)
    shuffle.shuffle(shuffled)
    found, other = normalize(*cells), normalize(*shuffled)
    assert published(found) == published(other)
    assert sorted(found.rejected["raw"]) == sorted(other.rejected["raw"])


def test_a_number_in_a_workbook_keeps_its_decimal_point_beside_texts_with_a_comma():
    found = normalize(
        ("2024-01", "1.6"), ("2024-02", "2,5"), ("2024-03", "1.234"), decimal=",", numbers_as_such=True
    )
    assert [value for _, value in published(found)] == [1.6, 2.5, 1.234]


def test_a_point_between_thousands_is_rejected_where_cells_are_numbers():
    declared = {"timezone": "UTC", "decimal": ",", "thousands": "."}
    assert [one.at for one in spec_mistakes(OfWorkbook, declared)[0]] == [("thousands",)]
    assert spec_mistakes(Conventions, declared)[0] == []
