"""Explain why a cell is not an observation, and which setting of the dataset would make it one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, get_args

import polars as pl

from tnt_platform.readers.printed_dates import EXPECTED_DATES, DateOrder, dates_of
from tnt_platform.readers.printed_marks import parted
from tnt_platform.readers.printed_numbers import DECIMAL_MARKS, THOUSANDS_MARKS, numbers_of

if TYPE_CHECKING:
    from tnt_platform.series.transforms.conventions import Conventions

SHOWN_CHARS: Final = 80
SHOWN_DUPLICATES: Final = 5
# Nobody reads hints for more distinct strings than this.
HINTED_STRINGS: Final = 2_000

# Why a date that can be read is no observation of its series, by reason code; `{}` stands for the date.
DATE_FAULTS: Final[Mapping[str, str]] = {
    "finer_date": "{} is finer than the periods of the series, which belong to dates of another kind or place in the "
    "period; declare a series of its own frequency for it, or leave its rows out",
    "not_weekly": "{} is in a column whose days follow the calendar month, not the week; declare `frequency: D`",
    "fiscal_year": "{} is in a column of fiscal years, each printed as two years, which no frequency has; give the "
    "years one number in `records`, or ask the publisher for another file",
    "mixed_order": "{} is in a column that has all-digit dates in two orders of day and month; ask the publisher "
    "which it means, and correct the file",
    "swapped_date": "{} is out of order, and in order with day and month swapped, as where a spreadsheet read it in "
    "another order than was meant; correct the file, or export it with dates as text",
    "unknown_zone": "{} has a time zone, and is another day or a midnight in another one; declare as `timezone` the "
    "zone in which the publisher's days begin",
    "serial_date": "{} may be a serial number of a spreadsheet; if it is, declare `serial_epoch: 1900` (or 1904, as "
    "old Macs count)",
    "future_period": "{} begins after the file was captured; correct it, or declare `forecasts: true` if the file has "
    "forecasts",
}

_OF_VALUE: Final = ("missing_date", "bad_value", "formula_without_result", "mixed_scale")
_KEY: Final = ("internal_series_code", "period")
_PLACED: Final = ("at", pl.col("internal_series_code").alias("series_code"), "line_no", "place", "period")


def unread_reasons(unread: pl.DataFrame, conventions: Conventions) -> pl.DataFrame:
    """Give each cell that was not read its reason; returns at and the columns of REJECTED.

    unread: at, internal_series_code, line_no, place, period, printed_date, value_text, frequency, na, value, fault
    (missing_date, bad_date, bad_value or one of DATE_FAULTS).
    """
    missing = (
        _quoted("value_text", "value")
        + " has no date; correct the layout, or declare a `footer:` that leaves the row out"
    )
    bad_value = _quoted("value_text", "value") + f" is not {_expected_number(conventions)}"
    reasons = [
        pl.when(pl.col("fault") == "missing_date").then(missing),
        pl.when(pl.col("fault") == "bad_date").then(_bad_date(unread, conventions)),
        *(pl.when(pl.col("fault") == code).then(_with_date(words)) for code, words in DATE_FAULTS.items()),
        pl.when(pl.col("fault") == "mixed_scale").then(_mixed_scale()),
        pl.when(pl.col("fault") == "formula_without_result").then(
            _quoted("value_text", "value") + " is a formula without a stored result; open the file with a "
            "spreadsheet program, save it, and deliver that"
        ),
        pl.when(
            ~pl.col("na") & pl.col("value").is_null() & (pl.col("fault") != "formula_without_result")
        ).then(bad_value + _value_hints(unread, conventions)),
    ]
    is_value = pl.col("fault").is_in(_OF_VALUE)
    return unread.select(
        *_PLACED,
        raw=pl.when(is_value).then("value_text").otherwise("printed_date"),
        reason_code="fault",
        reason=pl.concat_str(reasons, separator="; ", ignore_nulls=True),
    )


def contradictions(rows: pl.DataFrame) -> pl.DataFrame:
    """Give valid cells whose key has different values a reason that lists them; columns as `unread_reasons`."""
    shown = pl.concat_str(pl.col("value_text").str.head(SHOWN_CHARS), pl.lit(" ("), "place", pl.lit(")"))
    values = shown.head(SHOWN_DUPLICATES).str.join(", ").over(_KEY)
    period = pl.col("period").dt.to_string("%Y-%m-%d")
    reason = pl.format(
        "period {} has {} different values: {}; set `duplicates:` to first or last if one of them is meant",
        period, pl.col("value").n_unique().over(_KEY), values,
    )  # fmt: skip
    return rows.select(
        *_PLACED, raw="value_text", reason_code=pl.lit("contradictory_duplicate"), reason=reason
    )


def below_footer(rows: pl.DataFrame) -> pl.DataFrame:
    """Give dated values below a footer their reason; columns as `unread_reasons`."""
    reason = (
        _quoted("value_text", "value")
        + " has a "
        + _quoted("printed_date", "date")
        + " and stands in or below the first row that `footer:` matches; narrow the pattern, or correct the file"
    )
    return rows.select(*_PLACED, raw="value_text", reason_code=pl.lit("below_footer"), reason=reason)


def _bad_date(unread: pl.DataFrame, conventions: Conventions) -> pl.Expr:
    dates = _quoted("printed_date", "date")
    expected = pl.col("frequency").replace_strict(dict(EXPECTED_DATES), return_dtype=pl.String)
    orders = [
        pl.when(pl.col("frequency") == frequency).then(dates_of(pl.col("printed_date"), frequency, order))
        for frequency in unread["frequency"].unique()
        for order in get_args(DateOrder)
        if conventions.date_order is None
    ]
    has_readings = pl.any_horizontal(each.is_not_null() for each in orders) if orders else pl.lit(False)
    return (
        pl.when(has_readings)
        .then(dates + " has more than one reading; declare `date_order:` (dmy, mdy or ymd)")
        .otherwise(dates + " is not " + expected + _date_hints(unread))
    )


def _quoted(column: str, what: str) -> pl.Expr:
    return pl.concat_str(pl.lit(f"{what} '"), pl.col(column).str.head(SHOWN_CHARS), pl.lit("'"))


def _mixed_scale() -> pl.Expr:
    scale = pl.when(pl.col("scale").is_null()).then(pl.lit("without a scale")).otherwise("scale")
    return pl.concat_str(
        _quoted("value_text", "value"),
        pl.lit(" is printed in another scale ("),
        scale,
        pl.lit(") than most values of the series; correct the file, or ask the publisher which is meant"),
    )


def _with_date(words: str) -> pl.Expr:
    before, after = words.split("{}")
    return pl.concat_str(pl.lit(before), _quoted("printed_date", "date"), pl.lit(after))


def _expected_number(conventions: Conventions) -> str:
    thousands = (
        f", thousands mark {conventions.thousands!r}" if conventions.thousands else ", no thousands mark"
    )
    return f"a plain number (decimal mark {conventions.decimal!r}{thousands}) or one of `not_available:`"


def _date_hints(unread: pl.DataFrame) -> pl.Expr:
    """Suggest the setting with which `printed_date` would be a date, "" where there is none."""
    hints: dict[str, str] = {}
    bad = unread.filter(pl.col("fault") == "bad_date")
    for (frequency,), rows in bad.partition_by("frequency", as_dict=True).items():
        texts = _parted(rows["printed_date"])
        days = texts.select("text", "marks", day=dates_of(pl.col("rest"), str(frequency))).drop_nulls()
        hints |= {text: _mark_hint(marks) for text, marks, _ in days.iter_rows() if marks}
    return _of_text("printed_date", hints)


def _value_hints(unread: pl.DataFrame, conventions: Conventions) -> pl.Expr:
    """Suggest the setting with which `value_text` would be a number, "" where there is none."""
    texts = _parted(unread.filter(~pl.col("na") & pl.col("value").is_null())["value_text"])
    hints: dict[str, str] = {}
    for hint_of, number in _other_readings(conventions):
        read = texts.select("text", "marks", number=number).drop_nulls()
        hints = {text: hint_of(marks) for text, marks, _ in read.iter_rows()} | hints
    return _of_text("value_text", hints)


def _other_readings(conventions: Conventions) -> Iterator[tuple[Callable[[list[str]], str], pl.Expr]]:
    """Yield other ways to read a number, the likeliest first, each with the hint for a string with given marks."""
    rest, decimal, thousands = pl.col("rest"), conventions.decimal, conventions.thousands
    yield (
        lambda _: "; if parentheses mean a negative value, set `negative_parentheses: true`",
        numbers_of(pl.col("text"), decimal, thousands, negative_parentheses=True),
    )
    yield _mark_hint, numbers_of(rest, decimal, thousands)
    for mark in DECIMAL_MARKS:
        for group in (None, *THOUSANDS_MARKS):
            if mark == group:
                continue
            hint = f"; it is one with `decimal: {mark!r}`" + (f" and `thousands: {group!r}`" if group else "")
            if conventions.numbers_as_such and group == ".":
                hint = (
                    "; points between thousands can't be distinguished from decimal points where other cells are "
                    "numbers: export the file as CSV and read that"
                )
            yield lambda marks, hint=hint: hint + _mark_hint(marks), numbers_of(rest, mark, group)  # type: ignore[misc]


def _mark_hint(marks: list[str]) -> str:
    listed = ", ".join(f'"{mark}"' for mark in marks)
    return f"; if {listed} is a note or a unit beside it, declare `marks: [{listed}]`" if marks else ""


def _parted(texts: pl.Series) -> pl.DataFrame:
    """Return the distinct strings, what is left of each without its likely marks, and the marks."""
    unique = texts.drop_nulls().unique(maintain_order=True).head(HINTED_STRINGS)
    parts = [(text, *parted(text)) for text in unique]
    schema = {"text": pl.String(), "rest": pl.String(), "marks": pl.List(pl.String())}
    return pl.DataFrame(parts, schema=schema, orient="row")


def _of_text(column: str, hints: dict[str, str]) -> pl.Expr:
    return pl.col(column).replace_strict(hints, default="", return_dtype=pl.String).fill_null("")
