"""Write workbook cells as text: numbers as the shortest decimal, moments in ISO format, text unchanged."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import polars as pl

from tnt_platform.series.readers.cells import text_cells

# How fastexcel writes a number as text: at most nine decimals, no exponent. Other text is exact, or not a number.
ROUNDED_NUMBER: Final = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]{0,8}[1-9])?$"
_ROUNDING: Final = 5.1e-10
_LONG_CHARS: Final = 16
# Outside this range polars writes floats with an exponent.
_POWERS_FROM: Final = 1e15
_POWERS_BELOW: Final = 1e-3
_BOOLEANS: Final = ("true", "false")
_MOMENT: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?$"
_SECONDS_A_DAY: Final = 86_400


def number_text(numbers: pl.Series) -> pl.Series:
    """Write floats or integers as the shortest decimal, without exponent, that reads back as the same number."""
    return _plain_decimals(numbers, numbers.cast(pl.String))


def _plain_decimals(numbers: pl.Series, text: pl.Series) -> pl.Series:
    """Remove the .0 of whole numbers, and exponents, from the text that polars writes for `numbers`."""
    if not numbers.dtype.is_float():
        return text
    # Searching the text costs more than writing it, and few columns need either step.
    if (numbers % 1 == 0).any():
        text = text.str.strip_suffix(".0")
    sizes = numbers.abs()
    if ((sizes >= _POWERS_FROM) | ((sizes < _POWERS_BELOW) & (sizes > 0))).any():
        powers = text.filter(text.str.contains("e", literal=True).fill_null(False)).unique()
        text = text.replace({power: format(Decimal(power), "f") for power in powers})
    return text


def moment_text(moments: pl.Series) -> pl.Series:
    """Write datetimes, rounded to the second, as YYYY-MM-DD at midnight, otherwise as YYYY-MM-DD HH:MM:SS."""
    # Dates in a workbook are floats: less than half a second is noise.
    micros = moments.cast(pl.Datetime("us")).cast(pl.Int64)
    seconds = (micros + 500_000) // 1_000_000
    whole = (seconds * 1_000_000).cast(pl.Datetime("us")).rename("whole")
    midnight = (seconds % _SECONDS_A_DAY == 0).rename("midnight")
    text = (
        pl.when("midnight")
        .then(pl.col("whole").dt.to_string("%Y-%m-%d"))
        .otherwise(pl.col("whole").dt.to_string("%Y-%m-%d %H:%M:%S"))
    )
    return pl.DataFrame([whole, midnight]).select(text).to_series()


def typed_texts(columns: dict[int, pl.Series]) -> dict[int, pl.Series]:
    """Write columns as text, each with cells of one type."""
    numbers = [column.alias(str(at)) for at, column in columns.items() if column.dtype.is_numeric()]
    # All at once, so that polars uses every processor.
    written = pl.DataFrame(numbers).select(pl.all().cast(pl.String))
    return {
        at: _plain_decimals(column, written[str(at)]) if column.dtype.is_numeric() else _typed_text(column)
        for at, column in columns.items()
    }


def _typed_text(cells: pl.Series) -> pl.Series:
    if cells.dtype == pl.Boolean:
        return cells.cast(pl.String).str.to_uppercase()
    if cells.dtype == pl.Date:
        return cells.dt.to_string("%Y-%m-%d")
    if cells.dtype == pl.Datetime:
        return moment_text(cells)
    return _moments_in(text_cells(cells.cast(pl.String)))


def hides_numbers(cells: pl.Series) -> bool:
    """Tell whether a column as typed by fastexcel may differ from its cells in more than booleans."""
    if cells.dtype == pl.String:
        return bool((cells.str.contains(ROUNDED_NUMBER) | cells.is_in(_BOOLEANS)).any())
    if cells.dtype.is_float():
        return bool(cells.is_nan().any())  # a text such as "nan", since no number is
    return not cells.dtype.is_integer() and cells.dtype not in (pl.Boolean, pl.Date, pl.Datetime, pl.Null)


def may_hold_booleans(cells: pl.Series) -> bool:
    """Tell whether some numbers of a column may be booleans."""
    return cells.dtype.is_numeric() and bool(((cells == 0) | (cells == 1)).any())


def exact_text(strings: pl.Series, floats: pl.Series) -> pl.Series:
    """Return the text of cells of any type, read by fastexcel both as strings and as floats.

    Its strings round numbers to nine decimals, and its floats include text such as "1.60": only both together lose
    nothing.
    """
    numbers = floats.is_not_null()
    if not numbers.any():
        return _moments_in(text_cells(strings))
    frame = pl.DataFrame({"text": strings, "float": floats})
    is_boolean = pl.col("float").is_not_null() & pl.col("text").is_in(_BOOLEANS)
    frame = frame.with_columns(
        pl.when(is_boolean).then(pl.col("text").str.to_uppercase()).otherwise(pl.col("text")).alias("text")
    )
    typed = frame.select(
        pl.when(_is_rounded_number(frame)).then(number_text(floats)).otherwise(frame["text"]).alias("text")
    )
    return _moments_in(text_cells(typed.to_series()))


def _is_rounded_number(frame: pl.DataFrame) -> pl.Series:
    """Tell where `text` is how fastexcel writes the number `float`, not text in the file."""
    written = pl.when(pl.col("text").str.contains(ROUNDED_NUMBER)).then(pl.col("text"))
    off = (written.cast(pl.Float64, strict=False) - pl.col("float")).abs()
    is_number = frame.select((off <= _ROUNDING).fill_null(False)).to_series()
    # Long text may be a number with more digits than a float has.
    long = frame.select(pl.col("text").str.len_chars() > _LONG_CHARS).to_series() & is_number
    if not long.any():
        return is_number
    same = [
        text == f"{number:.9f}".rstrip("0").rstrip(".")
        for text, number in frame.filter(long).select("text", "float").iter_rows()
    ]
    return is_number.scatter(long.arg_true(), same)


def _moments_in(text: pl.Series) -> pl.Series:
    """Write the moments in a column of text as `moment_text` does."""
    found = text.str.contains(_MOMENT)
    if not found.any():
        return text
    spelled = text.filter(found).unique()
    moments = spelled.str.replace("T", " ", literal=True).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
    )
    known = pl.DataFrame({"old": spelled, "new": moment_text(moments)}).drop_nulls()
    return text.replace(known["old"], known["new"])
