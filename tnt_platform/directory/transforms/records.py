"""Records of the directory API as a frame of clean texts: one column for each field that is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import polars as pl

from tnt_platform.directory.transforms.issues import ISSUES, SHOWN_CHARS, all_issues, issues_where
from tnt_platform.directory.transforms.plain_text import decode, decode_address, plain_texts, tidy

IDS: Final = ("uniqueId", "tenantId")
NAMES: Final = (
    *("shopNameEnglish", "shopNameThai", "shopNameChinese"),
    *("brandNameEn", "brandNameTh", "brandNameZh"),
)
SHORT_TEXTS: Final = (
    *NAMES,
    *("categoryNameEn", "categoryNameTh", "subCategoryEn", "subCategoryTh"),
    *("zone", "floor", "floorRevised", "unit", "openingHours", "tel"),
    *("startDate", "endDate", "tenantLastUpdate", "mallLastUpdate"),
)
LONG_TEXTS: Final = ("descriptionEn", "descriptionTh", "descriptionZh")
ADDRESSES: Final = ("website", "logo", "gallery_1", "gallery_2", "gallery_3", "gallery_4")
STATUS: Final = "status"
TEXTS: Final = (*IDS, *SHORT_TEXTS, *LONG_TEXTS, *ADDRESSES)
# Fields that the tenants have no column for: they go with the attributes, so that nothing is lost.
WITHOUT_COLUMN: Final = (
    *("brandNameEn", "brandNameTh", "brandNameZh"),
    *("categoryNameTh", "subCategoryEn", "subCategoryTh", "floor"),
)
# What sources write for "nothing".
PLACEHOLDERS: Final = ("-", "--", "\u2013", "\u2014", ".", "n/a", "na", "nil", "none", "null", "undefined")
RAW_LIMIT_CHARS: Final = 4_000
MAX_DEPTH: Final = 32

_BLANK: Final[tuple[object, ...]] = (None, "", [], {})
_KNOWN: Final = frozenset({STATUS, *TEXTS})
_TRUE: Final = frozenset({"true", "1", "yes", "y", "active", "open"})
_FALSE: Final = frozenset({"false", "0", "no", "n", "inactive", "closed"})


@dataclass(frozen=True)
class RawRecord:
    """One entry of a page's `data` as the API gave it; page and position count from 1."""

    page: int
    position: int
    fields: Mapping[str, object]


def record_texts(records: Sequence[RawRecord]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records' fields as clean texts, and the issues with their types and markup.

    Returns rows in the order given: row (Int64), page, position (Int64), unique_id and a String column for each of
    TEXTS (null where blank, a placeholder or not text), status (Boolean) and attributes (String: a JSON object
    of all other fields that are not blank); and ISSUES.
    """
    frame = pl.DataFrame(
        {
            "row": pl.Series(range(len(records)), dtype=pl.Int64),
            "page": pl.Series([record.page for record in records], dtype=pl.Int64),
            "position": pl.Series([record.position for record in records], dtype=pl.Int64),
        }
    )
    odd: list[tuple[int, str, str, str]] = []
    columns = [_texts(records, name, odd) for name in TEXTS]
    frame = frame.with_columns(columns).with_columns(_statuses(records, odd))
    raw = frame
    frame, tagged = _cleaned(raw)
    frame = frame.with_columns(unique_id="uniqueId").with_columns(_attributes(records, frame))
    findings = [
        issues_where(frame.with_columns(raw=raw[name]), had_tags, name, "markup", pl.col("raw"))
        for name, had_tags in tagged.items()
        if name in SHORT_TEXTS
    ]
    return frame, all_issues([_odd_issues(frame, odd), *findings])


def raw_json(fields: object) -> str:
    """The record as compact JSON, cut to RAW_LIMIT_CHARS; text that UTF-8 can't hold is escaped."""
    try:
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str)
    except RecursionError:
        text = "(nested too deep to show)"
    return text[:RAW_LIMIT_CHARS].encode(errors="backslashreplace").decode()


def _texts(records: Sequence[RawRecord], name: str, odd: list[tuple[int, str, str, str]]) -> pl.Series:
    values = [record.fields.get(name) for record in records]
    others = [row for row, value in enumerate(values) if value is not None and type(value) is not str]
    for row in others:
        value = values[row]
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        odd.append((row, name, "number_for_text" if is_number else "not_text", raw_json(value)))
        # 12.0 and 12 would be one id for some and two for others.
        kept = is_number and not (name in IDS and isinstance(value, float))
        values[row] = str(value) if kept else None
    try:
        return pl.Series(name, values, dtype=pl.String)
    except UnicodeEncodeError:
        texts = [str(value).encode(errors="replace").decode() if value else None for value in values]
        return pl.Series(name, texts, dtype=pl.String)


def _statuses(records: Sequence[RawRecord], odd: list[tuple[int, str, str, str]]) -> pl.Series:
    statuses: list[bool | None] = []
    for row, record in enumerate(records):
        value = record.fields.get(STATUS)
        if value is not None and not isinstance(value, bool):
            odd.append((row, STATUS, "not_boolean", raw_json(value)))
            word = str(value).strip().casefold() if isinstance(value, str | int) else ""
            value = True if word in _TRUE else False if word in _FALSE else None
        statuses.append(value)
    return pl.Series(STATUS, statuses, dtype=pl.Boolean)


def _odd_issues(frame: pl.DataFrame, odd: Sequence[tuple[int, str, str, str]]) -> pl.DataFrame:
    if not odd:
        return pl.DataFrame(schema=ISSUES)
    schema = {"row": pl.Int64(), "field": pl.String(), "issue_code": pl.String(), "value": pl.String()}
    found = pl.DataFrame(odd, schema=schema, orient="row").with_columns(
        pl.col("value").str.slice(0, SHOWN_CHARS)
    )
    placed = found.join(frame.select("row", "unique_id", "page", "position"), on="row", how="left")
    everywhere = pl.lit(value=True)
    parts = [
        issues_where(rows, everywhere, str(name), pl.col("issue_code"), pl.col("value"))
        for (name,), rows in placed.group_by("field", maintain_order=True)
    ]
    return all_issues(parts)


def _cleaned(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """The texts as they are read, and which of the short ones had tags in them."""
    columns: list[pl.Series] = []
    tagged: dict[str, pl.Series] = {}
    for name in (*SHORT_TEXTS, *LONG_TEXTS):
        plain = plain_texts(frame[name])
        columns.append(plain["text"].alias(name))
        tagged[name] = plain["had_tags"]
    columns += [_by_value(frame[name], tidy) for name in IDS]
    columns += [_by_value(frame[name], decode_address) for name in ADDRESSES]
    # A shop may be called "Na" or "None", but not "-".
    absent = {name: PLACEHOLDERS[:5] if name in NAMES else PLACEHOLDERS for name in TEXTS}
    cleaned = frame.with_columns(columns).with_columns(
        pl.when(~pl.col(name).str.to_lowercase().is_in(["", *absent[name]])).then(pl.col(name)).alias(name)
        for name in TEXTS
    )
    return cleaned, tagged


def _by_value(texts: pl.Series, clean: Callable[[str], str]) -> pl.Series:
    return pl.Series(texts.name, [text and clean(text) for text in texts], dtype=pl.String)


def _attributes(records: Sequence[RawRecord], cleaned: pl.DataFrame) -> pl.Series:
    known: dict[str, str] = {}
    spare = cleaned.select(WITHOUT_COLUMN).iter_rows()
    texts = [
        json.dumps(_others(record.fields, named, known), ensure_ascii=False, sort_keys=True)
        for record, named in zip(records, spare, strict=True)
    ]
    return pl.Series("attributes", texts, dtype=pl.String)


def _others(
    fields: Mapping[str, object], spare: Sequence[str | None], known: dict[str, str]
) -> dict[str, object]:
    """The fields that have no column, as far as they are not blank; `spare` holds those of WITHOUT_COLUMN."""
    # Most attributes are empty texts: those never reach the slower look.
    filled = [(name, fields[name]) for name in fields.keys() - _KNOWN if fields[name] not in _BLANK]
    others = _plain_pairs(sorted(filled, key=itemgetter(0)), known, 1) if filled else {}
    others.update((name, text) for name, text in zip(WITHOUT_COLUMN, spare, strict=True) if text)
    return others


def _plain_pairs(pairs: Iterable[tuple[str, object]], known: dict[str, str], depth: int) -> dict[str, object]:
    plain = ((_plain_text(name, known), _plain(value, known, depth)) for name, value in pairs)
    return {name: value for name, value in plain if value not in _BLANK}


def _plain(value: object, known: dict[str, str], depth: int) -> object:
    """The value with its texts decoded, and nothing in it that JSON of a database refuses."""
    if isinstance(value, str):
        return _plain_text(value, known)
    if depth > MAX_DEPTH:
        return raw_json(value)
    if isinstance(value, Mapping):
        return _plain_pairs(value.items(), known, depth + 1)
    if isinstance(value, list):
        return [_plain(each, known, depth + 1) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _plain_text(text: str, known: dict[str, str]) -> str:
    found = known.get(text)
    if found is None:
        found = known[text] = decode(text)
    return found
