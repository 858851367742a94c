"""What each type of column takes a text for: its parser, its dtype and the words for what it expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from tnt_platform.readers.column import Column

POSTAL_CODE: Final = (
    "[0-9]{5}(-[0-9]{4})?|[ABCEGHJ-NPRSTVXY][0-9][ABCEGHJ-NPRSTV-Z] [0-9][ABCEGHJ-NPRSTV-Z][0-9]"
)


def _text(cell: pl.Expr, column: Column) -> pl.Expr:
    return cell if column.pattern is None else _matching(cell, column.pattern)


def _postal_code(cell: pl.Expr, column: Column) -> pl.Expr:
    return _matching(cell, column.pattern or POSTAL_CODE)


def _five_digits(cell: pl.Expr, column: Column) -> pl.Expr:
    if column.pattern is not None:
        return _postal_code(cell, column)
    is_number = cell.cast(pl.UInt32, strict=False).is_not_null() & ~cell.str.starts_with("+")
    return pl.when((cell.str.len_bytes() == 5) & is_number).then(cell)


def _matching(cell: pl.Expr, pattern: str) -> pl.Expr:
    return pl.when(cell.str.contains(f"^(?:{pattern})$")).then(cell)


def _days(cell: pl.Expr, column: Column) -> pl.Expr:
    days = _integer(cell, column)
    return pl.when(days >= 0).then(days)


def _integer(cell: pl.Expr, column: Column) -> pl.Expr:
    return _plain_digits(cell, column).cast(pl.Int64, strict=False)


def _number(cell: pl.Expr, column: Column) -> pl.Expr:
    number = _plain_digits(cell, column).cast(pl.Float64, strict=False)
    # The cast also takes "nan" and "inf", which no file means as a quantity.
    return pl.when(number.is_finite()).then(number)


def _plain_digits(cell: pl.Expr, column: Column) -> pl.Expr:
    """Take off what the column declares (currency, thousands, decimal comma); leave anything else in the way."""
    if column.currency is not None:
        cell = cell.str.strip_prefix(column.currency).str.strip_suffix(column.currency).str.strip_chars(" ")
    if column.thousands is not None:
        mark = f"\\x{{{ord(column.thousands):x}}}"
        grouped = cell.str.contains(f"^[+-]?[0-9]{{1,3}}({mark}[0-9]{{3}})+([^0-9{mark}]|$)")
        bare = cell.str.replace_all(column.thousands, "", literal=True)
        # "1,23" with thousands "," is a misplaced mark, not 123.
        cell = pl.when(grouped).then(bare).when(~cell.str.contains(column.thousands, literal=True)).then(cell)
    if column.decimal != ".":
        english = cell.str.contains(".", literal=True)
        cell = pl.when(~english).then(cell.str.replace(column.decimal, ".", literal=True))
    return cell


def _date(cell: pl.Expr, column: Column) -> pl.Expr:
    """Read the one date all matching formats agree on; 01/02/06 under both orders is refused."""
    readings = [_date_in(cell, text) for text in column.formats]
    if len(readings) == 1:
        return readings[0]
    first = pl.min_horizontal(readings)
    return pl.when(first == pl.max_horizontal(readings)).then(first)


def _date_in(cell: pl.Expr, text: str) -> pl.Expr:
    date = cell.str.to_date(text, strict=False)
    year = date.dt.year()
    if "%y" in text:
        # Python's pivot: 69 to 99 are 1969 to 1999. chrono, which polars uses, makes 69 a 2069.
        return pl.when(year == 2069).then(date.dt.offset_by("-100y")).otherwise(date)
    # chrono takes "09" for %Y as the year 9.
    return pl.when(year >= 1000).then(date)


def _boolean(cell: pl.Expr, column: Column) -> pl.Expr:
    # Ten times faster than is_in for the one or two words there are.
    is_true = pl.any_horizontal(cell == word for word in column.true_values)
    is_false = pl.any_horizontal(cell == word for word in column.false_values)
    return pl.when(is_true | is_false).then(is_true)


def _category(cell: pl.Expr, column: Column) -> pl.Expr:
    return pl.when(cell.is_in(list(column.values))).then(cell)


Parser = Callable[[pl.Expr, Column], pl.Expr]
# A parser turns text into a value, or null where the text has no such value; never into a guess.
PARSERS: Final[Mapping[str, Parser]] = {
    "text": _text,
    "postal_code": _postal_code,
    "days": _days,
    "integer": _integer,
    "number": _number,
    "date": _date,
    "boolean": _boolean,
    "category": _category,
}
# What most rows look like, at a third of the cost; a row refused here is read again by PARSERS.
QUICK_PARSERS: Final[Mapping[str, Parser]] = {**PARSERS, "postal_code": _five_digits}
DTYPES: Final[Mapping[str, pl.DataType]] = {
    "text": pl.String(),
    "postal_code": pl.String(),
    "days": pl.Int64(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "date": pl.Date(),
    "boolean": pl.Boolean(),
    "category": pl.String(),
}
EXPECTED: Final[Mapping[str, Callable[[Column], str]]] = {
    "text": lambda c: f"text like {c.pattern}",
    "postal_code": lambda c: (
        f"a postal code like {c.pattern}" if c.pattern else "a postal code (12345, 12345-6789 or A1A 1A1)"
    ),
    "days": lambda _: "a whole number of days, 0 or more",
    "integer": lambda _: "a whole number",
    "number": lambda _: "a number",
    "date": lambda c: f"a date in one reading of {', '.join(c.formats)}",
    "boolean": lambda c: f"one of {', '.join((*c.true_values, *c.false_values))}",
    "category": lambda c: f"one of {', '.join(c.values)}",
}
# Types whose parser gives null for an empty cell without being told.
NEVER_EMPTY: Final = frozenset({"postal_code", "days", "integer", "number", "date"})
