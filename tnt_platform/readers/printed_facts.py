"""What one printed date says, and what only the column around it decides: fineness, century, order, zone, epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, get_args

import polars as pl

from tnt_platform.readers.printed_dates import (
    FIRST_SERIAL,
    LAST_SERIAL,
    SERIAL_OF_1970,
    DateOrder,
    dates_of,
)

# What spreadsheets count days from, and the serial number that 1970-01-01 has then.
SERIALS_OF_1970: Final[Mapping[int, int]] = {1900: SERIAL_OF_1970, 1904: SERIAL_OF_1970 - 1_462}
ORDERS: Final[tuple[DateOrder, ...]] = get_args(DateOrder)
# The finest first: what reads as a day is printed as one.
FINENESSES: Final = ("D", "W", "M", "Q", "A")

FACTS: Final[Mapping[str, pl.DataType]] = {
    "text": pl.String(),
    "day": pl.Date(),
    "fineness": pl.String(),
    "serial": pl.Int32(),
    "old": pl.Date(),
    "new": pl.Date(),
    **{order: pl.Date() for order in ORDERS},
    "is_typed": pl.Boolean(),
    "is_season": pl.Boolean(),
    "clock": pl.Time(),
    "moment": pl.Datetime("us", "UTC"),
}

_SERIAL: Final = "^([0-9]{5})(?:[.][0-9]+)?$"
_TYPED: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T]|$)"
_DIGITS: Final = r"^[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2})(?:[ T]|$)"
_FULL_YEAR: Final = "[0-9]{4}"
_YEAR_AND_TWO: Final = r"^[0-9]{2}([0-9]{2})[-/]([0-9]{2})$"
_ZONED: Final = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.][0-9]+)? ?"
    r"(?:Z|UTC|([+-])([0-9]{2}):?([0-9]{2})?)$"
)


def facts_of(texts: pl.Series, frequency: str, order: DateOrder | None) -> pl.DataFrame:
    """Return `FACTS` of distinct strings.

    day: as `dates_of`, and null for serial numbers. fineness: the finest frequency that the string is fine enough
    for. serial: days since the epoch of a spreadsheet. old, new: the day in the 20th and the 21st century where the
    year has two digits. dmy, mdy, ymd: the day in each order, of all-digit dates. is_typed: an ISO day, as cells
    that are dates are written. is_season: it may be a fiscal year such as 2004-05; null where it has another form.
    clock, moment: the time as printed, and the instant, of a time with a zone.
    """
    text = pl.col("text")
    frame = texts.rename("text").to_frame()
    serial = text.str.strip_chars().str.extract(_SERIAL).cast(pl.Int32)
    is_serial = serial.is_between(FIRST_SERIAL, LAST_SERIAL) & pl.lit(frequency != "A")
    seasons = text.str.extract_groups(_YEAR_AND_TWO)
    begins, ends = (seasons.struct[at].cast(pl.Int32) for at in (0, 1))
    facts = frame.with_columns(
        serial=pl.when(is_serial).then(serial),
        day=dates_of(text, frequency, order),
        fineness=_fineness(frequency, order),
        is_typed=text.str.contains(_TYPED),
        is_season=ends == (begins + 1) % 100,
        **dict(_moments(text)),
    ).with_columns(day=pl.when(pl.col("serial").is_null()).then("day"))
    facts = _with_readings(facts, text.str.contains(_DIGITS), {one: (one, 69) for one in ORDERS}, frequency)
    short = pl.col("day").is_not_null() & ~text.str.contains(_FULL_YEAR)
    facts = _with_readings(facts, short, {"old": (order, 0), "new": (order, 100)}, frequency)
    return facts.select(pl.col(name).cast(kind) for name, kind in FACTS.items())


def _fineness(frequency: str, order: DateOrder | None) -> pl.Expr:
    finer = FINENESSES[: FINENESSES.index(frequency)]
    read = [(one, dates_of(pl.col("text"), one, order)) for one in finer]
    return pl.coalesce(
        *(pl.when(day.is_not_null()).then(pl.lit(one)) for one, day in read), pl.lit(frequency)
    )


def _with_readings(
    facts: pl.DataFrame,
    which: pl.Expr,
    readings: Mapping[str, tuple[DateOrder | None, int]],
    frequency: str,
) -> pl.DataFrame:
    """Add other readings of some strings, each with an order and a pivot; most files have no such strings."""
    some = facts.filter(which).select("text")
    if some.is_empty():
        return facts.with_columns(pl.lit(None, pl.Date).alias(name) for name in readings)
    found = some.with_columns(
        dates_of(pl.col("text"), frequency, order, pivot=pivot).alias(name)
        for name, (order, pivot) in readings.items()
    )
    return facts.join(found, on="text", how="left", maintain_order="left")


def _moments(text: pl.Expr) -> Iterator[tuple[str, pl.Expr]]:
    parts = text.str.to_uppercase().str.strip_chars().str.extract_groups(_ZONED)
    clock = parts.struct[1]
    clock = pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock)
    local = (parts.struct[0] + " " + clock).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    hours, minutes = (parts.struct[at].cast(pl.Int64).fill_null(0) for at in (3, 4))
    sign = pl.when(parts.struct[2] == "-").then(-1).otherwise(1)
    offset = pl.duration(minutes=sign * (60 * hours + minutes))
    yield "clock", local.dt.time()
    yield "moment", (local - offset).dt.replace_time_zone("UTC")
