"""Why a cell is no observation, and what in the dataset's YAML would make it one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, get_args

import polars as pl

from tnt_platform.readers.printed_dates import EXPECTED_DATES, DateOrder, dates_of
from tnt_platform.readers.printed_marks import parted
from tnt_platform.readers.printed_numbers import DECIMAL_MARKS, THOUSANDS_MARKS, numbers_of

if TYPE_CHECKING:
    from tnt_platform.series.transforms.conventions import Conventions

SHOWN_CHARS: Final = 80
SHOWN_DUPLICATES: Final = 5
# Of more different texts than this, no one reads what would mend each.
HINTED_TEXTS: Final = 2_000

_KEY: Final = ("internal_series_code", "period")
_PLACED: Final = ("at", pl.col("internal_series_code").alias("series_code"), "line_no", "place", "period")


def unread_reasons(unread: pl.DataFrame, conventions: Conventions) -> pl.DataFrame:
    """Say of each cell that was not read what is wrong with it: at, the columns of REJECTED.

    unread: at, internal_series_code, line_no, place, period, printed_date, value_text, frequency, na, value, fault
    (missing_date, bad_date or bad_value).
    """
    missing = (
        _quoted("value_text", "value") + " has no date; correct the layout, or take the row out by `footer:`"
    )
    bad_value = _quoted("value_text", "value") + f" is not {_expected_number(conventions)}"
    reasons = [
        pl.when(pl.col("fault") == "missing_date").then(missing),
        pl.when(pl.col("fault") == "bad_date").then(_bad_date(unread, conventions)),
        pl.when(~pl.col("na") & pl.col("value").is_null()).then(
            bad_value + _value_hints(unread, conventions)
        ),
    ]
    is_value = pl.col("fault") != "bad_date"
    return unread.select(
        *_PLACED,
        raw=pl.when(is_value).then("value_text").otherwise("printed_date"),
        reason_code="fault",
        reason=pl.concat_str(reasons, separator="; ", ignore_nulls=True),
    )


def contradictions(rows: pl.DataFrame) -> pl.DataFrame:
    """Say of sound cells with different values of one key which values these are; columns as `unread_reasons`."""
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


def _expected_number(conventions: Conventions) -> str:
    thousands = (
        f", thousands mark {conventions.thousands!r}" if conventions.thousands else ", no thousands mark"
    )
    return f"a plain number (decimal mark {conventions.decimal!r}{thousands}) or one of `not_available:`"


def _date_hints(unread: pl.DataFrame) -> pl.Expr:
    """What would make a date of `printed_date`, "" where nothing is known."""
    hints: dict[str, str] = {}
    bad = unread.filter(pl.col("fault") == "bad_date")
    for (frequency,), rows in bad.partition_by("frequency", as_dict=True).items():
        texts = _parted(rows["printed_date"])
        days = texts.select("text", "marks", day=dates_of(pl.col("rest"), str(frequency))).drop_nulls()
        hints |= {text: _mark_hint(marks) for text, marks, _ in days.iter_rows() if marks}
    return _of_text("printed_date", hints)


def _value_hints(unread: pl.DataFrame, conventions: Conventions) -> pl.Expr:
    """What would make a number of `value_text`, "" where nothing is known."""
    texts = _parted(unread.filter(~pl.col("na") & pl.col("value").is_null())["value_text"])
    hints: dict[str, str] = {}
    for said, number in _other_readings(conventions):
        read = texts.select("text", "marks", number=number).drop_nulls()
        hints = {text: said(marks) for text, marks, _ in read.iter_rows()} | hints
    return _of_text("value_text", hints)


def _other_readings(conventions: Conventions) -> Iterator[tuple[Callable[[list[str]], str], pl.Expr]]:
    """What to say of a text, given its marks, that is a number if it is read in another way; the likeliest first."""
    rest, decimal, thousands = pl.col("rest"), conventions.decimal, conventions.thousands
    yield (
        lambda _: "; if brackets mean below zero, set `negative_parentheses: true`",
        numbers_of(pl.col("text"), decimal, thousands, negative_parentheses=True),
    )
    yield _mark_hint, numbers_of(rest, decimal, thousands)
    for mark in DECIMAL_MARKS:
        for group in (None, *THOUSANDS_MARKS):
            if mark == group:
                continue
            told = f"; it is one with `decimal: {mark!r}`" + (f" and `thousands: {group!r}`" if group else "")
            if conventions.numbers_as_such and group == ".":
                told = (
                    "; points between thousands can't be told from decimal points where other cells are numbers: "
                    "export the file as CSV and read that"
                )
            yield lambda marks, told=told: told + _mark_hint(marks), numbers_of(rest, mark, group)  # type: ignore[misc]


def _mark_hint(marks: list[str]) -> str:
    listed = ", ".join(f'"{mark}"' for mark in marks)
    return f"; if {listed} is a note or a unit beside it, declare `marks: [{listed}]`" if marks else ""


def _parted(texts: pl.Series) -> pl.DataFrame:
    """Return different texts with what is left of each without its likely marks, and these marks."""
    unique = texts.drop_nulls().unique(maintain_order=True).head(HINTED_TEXTS)
    parts = [(text, *parted(text)) for text in unique]
    schema = {"text": pl.String(), "rest": pl.String(), "marks": pl.List(pl.String())}
    return pl.DataFrame(parts, schema=schema, orient="row")


def _of_text(column: str, hints: dict[str, str]) -> pl.Expr:
    return pl.col(column).replace_strict(hints, default="", return_dtype=pl.String).fill_null("")
