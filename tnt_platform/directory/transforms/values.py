"""Telephone numbers, web addresses, days and points in time of the directory: read, or refused as null."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import polars as pl

from tnt_platform.readers.printed_dates import dates_of

_TEL_LABEL: Final = re.compile(r"^(?:tel(?:ephone)?|phone|โทรศัพท์|โทร)(?:\s*no)?\s*[.:]*\s*", re.IGNORECASE)
_TEL: Final = re.compile(r"(?:[\d+()\-/.,;#*&\s]|ext\.?|x(?=\s*\d)|to|and|or|ต่อ|ถึง|และ|หรือ)+", re.IGNORECASE)
_FEWEST_DIGITS: Final = 4
_DASHES: Final = re.compile("[\u2010-\u2015\u2212]")
_HOST: Final = re.compile(r"(?:[\w-]+\.)+[^\W\d_]{2,}\.?(?::\d+)?", re.IGNORECASE)
# What needs no parser: nearly all addresses there are.
_PLAIN_ADDRESS: Final = re.compile(r"https?://(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[^\s?#]*(?:\?[^\s#]+)?)?")
_SCHEME: Final = re.compile("[a-z][a-z0-9+.-]*:", re.IGNORECASE)
# Buddhist years of 1857 to 2156: no source means the 25th century.
_BUDDHIST_YEAR: Final = re.compile(r"(?<!\d)(2[4-6]\d\d)(?=[-/. T]|$)")
_BUDDHIST_ERA: Final = 543
_ALL_DIGITS: Final = re.compile(r"\d+")
_COMPACT_DAY: Final = 8
_EPOCH_DIGITS: Final = {10: 1, 13: 1_000}
_PRINTED_TIMES: Final = (
    *("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y"),
    *("%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y"),
    *("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d"),
    *("%d %b %Y %H:%M:%S", "%d %b %Y %H:%M", "%d %b %Y", "%a, %d %b %Y %H:%M:%S %Z"),
)


def tels_of(texts: pl.Series) -> pl.Series:
    """Telephone numbers in ASCII digits, without a label before them; null where there are none."""
    return _each(texts, _tel, pl.String())


def websites_of(texts: pl.Series) -> pl.Series:
    """Web addresses with scheme and host in lower case, https where none is given; null where there is none."""
    return _each(texts, _website, pl.String())


def images_of(texts: pl.Series) -> pl.Series:
    """Web addresses as in `websites_of`, or paths on the source's own host ("/img/1.png") as they are."""
    return _each(texts, lambda text: text if _is_path(text) else _website(text), pl.String())


def days_of(texts: pl.Series) -> pl.Series:
    """Days (Date) in ISO and day-first forms, Buddhist years too; null where there is no or more than one reading."""
    years = _each(texts, _gregorian, pl.String())
    digits = pl.col("text").str.contains("^[0-9]+$") & (pl.col("text").str.len_chars() != _COMPACT_DAY)
    # The source is Thai: 01/02/2024 is the first of February. Bare numbers are no spreadsheet's serials here.
    day = pl.when(~digits).then(dates_of(pl.col("text"), "D", "dmy"))
    return years.alias("text").to_frame().select(day.alias(texts.name)).to_series()


def instants_of(texts: pl.Series, timezone: str) -> pl.Series:
    """Points in time (Datetime[us, UTC]) in ISO, day-first and epoch forms; null where there is none.

    `timezone` is where clocks without an offset hang.
    """
    zone = ZoneInfo(timezone)
    return _each(texts, lambda text: _instant(text, zone), pl.Datetime("us", "UTC"))


def _each(texts: pl.Series, read: Callable[[str], object], dtype: pl.DataType) -> pl.Series:
    known = {text: read(text) for text in texts.drop_nulls().unique()}
    return pl.Series(texts.name, [text and known[text] for text in texts], dtype=dtype)


def _tel(text: str) -> str | None:
    plain = _DASHES.sub("-", unicodedata.normalize("NFC", text))
    plain = "".join(str(unicodedata.decimal(char, char)) for char in plain)
    plain = _TEL_LABEL.sub("", plain)
    enough = sum(char.isdigit() for char in plain) >= _FEWEST_DIGITS
    return plain if enough and _TEL.fullmatch(plain) else None


def _website(text: str) -> str | None:
    if _PLAIN_ADDRESS.fullmatch(text):
        return text
    if len(text.split()) != 1:
        return None
    named = text.split("/", 1)[0]
    has_scheme = "://" in text or (_SCHEME.match(text) and not _HOST.fullmatch(named))
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
    if _ALL_DIGITS.fullmatch(text) and len(text) != _COMPACT_DAY:
        per_second = _EPOCH_DIGITS.get(len(text))
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return epoch + timedelta(milliseconds=int(text) * 1_000 // per_second) if per_second else None
    read = _printed(_gregorian(text))
    try:
        return read and (read if read.tzinfo else read.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return None


def _printed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _PRINTED_TIMES:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007  (the caller knows the zone)
        except ValueError:
            continue
    return None
