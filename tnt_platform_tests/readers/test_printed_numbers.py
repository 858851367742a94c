import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.readers.printed_numbers import numbers_of


def read(*texts: str | None, decimal: str = ".", thousands: str | None = None) -> list[float | None]:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    numbers = frame.select(numbers_of(pl.col("text"), decimal, thousands)).to_series()
    assert numbers.dtype == pl.Float64
    return numbers.to_list()


def test_plain_numbers_read_exactly():
    texts = [
        "1.6",
        "100",
        "-0.1",
        "\u22122.5",
        "+3",
        "1e-05",
        "1.5E+3",
        ".5",
        "5.",
        "007",
        "9007199254740993",
    ]
    assert read(*texts) == [1.6, 100, -0.1, -2.5, 3, 1e-05, 1500, 0.5, 5, 7, 9007199254740992]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "1.2.3", "1,5", "1 000", "5%", "$5", "5-", "(5)", "- 5", "--5", "nan", "NaN", "inf", "-Infinity",
        "1e", "e5", ".", "-", "0x1F", "1_000", "1e400", "1e-400", "\u0661", "1.5 (p)", "1.5*", "TRUE", "#N/A", " 5",
        "5\n",
    ],
)  # fmt: skip
def test_anything_else_is_rejected(text):
    assert read(text) == [None]


def test_blank_is_no_number():
    assert read(None) == [None]


def test_declared_marks_come_off_where_they_belong():
    assert read("1.234", "1.234.567,5", "0,61", "-12,5", "1234", decimal=",", thousands=".") == [
        1234.0,
        1234567.5,
        0.61,
        -12.5,
        1234.0,
    ]
    assert read("1,234.5", "12,345,678", "0.123", thousands=",") == [1234.5, 12345678.0, 0.123]


@pytest.mark.parametrize("space", [" ", "\u00a0", "\u2009", "\u202f"])
def test_every_kind_of_space_is_a_thousands_space(space):
    assert read(f"1{space}234{space}567,8", decimal=",", thousands=" ") == [1234567.8]


@pytest.mark.parametrize("mark", ["'", "\u2019"])
def test_both_apostrophes_are_thousands_marks(mark):
    assert read(f"1{mark}234.5", thousands="'") == [1234.5]


@pytest.mark.parametrize(
    "text",
    ["1,23", "12,34,567", "1234,567", ",123", "1,2345", "1.5,000", "0,123", "1,,234", "1,234,", "1,234e,5"],
)
def test_a_misplaced_thousands_mark_is_rejected(text):
    assert read(text, thousands=",") == [None]


def test_a_point_is_no_decimal_mark_when_the_comma_is():
    assert read("1.5", "1,5", "1,5,5", decimal=",") == [None, 1.5, None]
    assert read("1.5", decimal=",", thousands=".") == [None]


def test_zero_has_no_sign():
    assert [math.copysign(1, value) for value in read("-0", "-0.00", "0", "-0e5")] == [1, 1, 1, 1]


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([".", ","]))
def test_every_float_survives_being_printed(value, decimal):
    assert read(repr(value).replace(".", decimal), decimal=decimal) == [value]


@settings(deadline=None)
@given(
    st.decimals(-(10**12), 10**12, places=3),
    st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'"), (".", None)]),
)
def test_a_grouped_number_is_the_number_without_groups(value, marks):
    decimal, thousands = marks
    text = f"{value:,.3f}".replace(",", "t").replace(".", decimal).replace("t", thousands or "")
    assert read(text, decimal=decimal, thousands=thousands) == [float(value)]


@settings(deadline=None)
@given(st.text(max_size=12), st.sampled_from([(".", ","), (",", "."), (",", " "), (".", None)]))
def test_whatever_is_read_is_a_finite_number(text, marks):
    (value,) = read(text, decimal=marks[0], thousands=marks[1])
    assert value is None or math.isfinite(value)
