"""Read telephone numbers, web addresses, dates and timestamps; null where a string is none of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import polars as pl

from tnt_platform.directory.transforms.words import word_list
from tnt_platform.readers.printed_dates import dates_of

_TEL_DIGITS_MIN: Final = 4
_DASHES: Final = re.compile("[\u2010-\u2015\u2212]")
_HOST: Final = re.compile(r"(?:[\w-]+\.)+[^\W\d_]{2,}\.?(?::\d+)?", re.IGNORECASE)
# Nearly all addresses match this and need no parser.
_PLAIN_ADDRESS: Final = re.compile(r"https?://(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[^\s?#]*(?:\?[^\s#]+)?)?")
_SCHEME: Final = re.compile("[a-z][a-z0-9+.-]*:", re.IGNORECASE)
# The Buddhist years of 1857 to 2156; no source means the 25th century.
_BUDDHIST_YEAR: Final = re.compile(r"(?<!\d)(2[4-6]\d\d)(?=[-/. T]|$)")
_BUDDHIST_ERA: Final = 543
_ALL_DIGITS: Final = re.compile(r"\d+")
_COMPACT_DATE_DIGITS: Final = 8
_UNITS_PER_SECOND_BY_DIGITS: Final = {10: 1, 13: 1_000}  # epoch seconds and milliseconds
_PRINTED_TIMES: Final = (
    *("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y"),
    *("%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y"),
    *("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d"),
    *("%d %b %Y %H:%M:%S", "%d %b %Y %H:%M", "%d %b %Y", "%a, %d %b %Y %H:%M:%S %Z"),
)


def tels_of(texts: pl.Series) -> pl.Series:
    """Read telephone numbers: in ASCII digits, without the label before them; null if a value is not one."""
    return _each(texts, _tel, pl.String())


def websites_of(texts: pl.Series) -> pl.Series:
    """Read web addresses: scheme and host in lower case, https by default; null if a value is not one."""
    return _each(texts, _website, pl.String())


def images_of(texts: pl.Series) -> pl.Series:
    """Read web addresses like `websites_of`, and keep paths on the source's own host ("/img/1.png") as they are."""
    return _each(texts, lambda text: text if _is_path(text) else _website(text), pl.String())


def days_of(texts: pl.Series) -> pl.Series:
    """Read dates in ISO and day-first formats, also with Buddhist years; null if there is not exactly one reading."""
    years = _each(texts, _gregorian, pl.String())
    digits = pl.col("text").str.contains("^[0-9]+$") & (
        pl.col("text").str.len_chars() != _COMPACT_DATE_DIGITS
    )
    # The source is Thai: 01/02/2024 is the first of February. A bare number is not a spreadsheet's serial date here.
    day = pl.when(~digits).then(dates_of(pl.col("text"), "D", "dmy"))
    return years.alias("text").to_frame().select(day.alias(texts.name)).to_series()


def instants_of(texts: pl.Series, timezone: str) -> pl.Series:
    """Read timestamps (Datetime[us, UTC]) in ISO, day-first and epoch formats; null if a value is not one.

    `timezone` is that of values without an offset.
    """
    zone = ZoneInfo(timezone)
    return _each(texts, lambda text: _instant(text, zone), pl.Datetime("us", "UTC"))


def _each(texts: pl.Series, read: Callable[[str], object], dtype: pl.DataType) -> pl.Series:
    known = {text: read(text) for text in texts.drop_nulls().unique()}
    return pl.Series(texts.name, [text and known[text] for text in texts], dtype=dtype)


@cache
def _tel_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Build the patterns of the label before a telephone number and of the number itself."""
    words = {
        use: "|".join(row["pattern"] for row in word_list("tel_words") if row["use"] == use)
        for use in ("label", "within")
    }
    label = rf"^(?:{words['label']})(?:\s*no)?\s*[.:]*\s*"
    number = rf"(?:[\d+()\-/.,;#*&\s]|{words['within']})+"
    return re.compile(label, re.IGNORECASE), re.compile(number, re.IGNORECASE)


def _tel(text: str) -> str | None:
    label, number = _tel_patterns()
    plain = _DASHES.sub("-", unicodedata.normalize("NFC", text))
    plain = "".join(str(unicodedata.decimal(char, char)) for char in plain)
    plain = label.sub("", plain)
    has_digits = sum(char.isdigit() for char in plain) >= _TEL_DIGITS_MIN
    return plain if has_digits and number.fullmatch(plain) else None


def _website(text: str) -> str | None:
    if _PLAIN_ADDRESS.fullmatch(text):
        return text
    if len(text.split()) != 1:
        return None
    host = text.split("/", 1)[0]
    # "x.example:8080" is a host with a port, not a scheme.
    has_scheme = "://" in text or (_SCHEME.match(text) and not _HOST.fullmatch(host))
    try:
        parts = urlsplit(text if has_scheme else f"https://{text.removeprefix('//')}")
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(parts.netloc):
        return None
    return parts._replace(netloc=parts.netloc.lower()).geturl()


def _is_path(text: str) -> bool:
    return text.startswith("/") and not text.startswith("//") and len(text.split()) == 1


def _gregorian(text: str) -> str:
    return _BUDDHIST_YEAR.sub(lambda found: str(int(found[1]) - _BUDDHIST_ERA), text)


def _instant(text: str, zone: ZoneInfo) -> datetime | None:
    if _ALL_DIGITS.fullmatch(text) and len(text) != _COMPACT_DATE_DIGITS:
        per_second = _UNITS_PER_SECOND_BY_DIGITS.get(len(text))
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return epoch + timedelta(milliseconds=int(text) * 1_000 // per_second) if per_second else None
    time = _printed(_gregorian(text))
    try:
        return time and (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return None


def _printed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for time_format in _PRINTED_TIMES:
        try:
            return datetime.strptime(text, time_format)  # noqa: DTZ007  (the caller knows the zone)
        except ValueError:
            continue
    return None
