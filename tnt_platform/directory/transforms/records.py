"""Turn the records of the directory API into a frame of clean strings, one column per known field."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import polars as pl

from tnt_platform.directory.transforms.issues import ISSUES, VALUE_CHARS_MAX, all_issues, issues_where
from tnt_platform.directory.transforms.plain_text import decode, decode_address, plain_texts, tidy
from tnt_platform.directory.transforms.words import word_list

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
# Known fields without a column of TENANTS; they are kept among the attributes so that nothing is lost.
WITHOUT_COLUMN: Final = (
    *("brandNameEn", "brandNameTh", "brandNameZh"),
    *("categoryNameTh", "subCategoryEn", "subCategoryTh", "floor"),
)
RAW_LIMIT_CHARS: Final = 4_000
MAX_DEPTH: Final = 32

_BLANK: Final[tuple[object, ...]] = (None, "", [], {})
_KNOWN: Final = frozenset({STATUS, *TEXTS})

# row, field, issue code, value
_Finding = tuple[int, str, str, str]


@dataclass(frozen=True)
class RawRecord:
    """One entry of a page's `data`, as the API served it; page and position count from 1."""

    page: int
    position: int
    fields: Mapping[str, object]


def record_texts(records: Sequence[RawRecord]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clean the fields of the records, and list the issues with their types and markup.

    Returns one row per record, in the same order, and ISSUES. The columns are row, page, position (Int64), unique_id
    and each of TEXTS (String; null where blank, a placeholder or not text), status (Boolean) and attributes (String:
    a JSON object of all other fields that are not blank).
    """
    frame = pl.DataFrame(
        {
            "row": pl.Series(range(len(records)), dtype=pl.Int64),
            "page": pl.Series([record.page for record in records], dtype=pl.Int64),
            "position": pl.Series([record.position for record in records], dtype=pl.Int64),
        }
    )
    findings: list[_Finding] = []
    columns = [_texts(records, name, findings) for name in TEXTS]
    raw = frame.with_columns(columns).with_columns(_statuses(records, findings))
    frame, tagged = _cleaned(raw)
    frame = frame.with_columns(unique_id="uniqueId").with_columns(_attributes(records, frame))
    markup = [
        issues_where(frame.with_columns(raw=raw[name]), had_tags, name, "markup", pl.col("raw"))
        for name, had_tags in tagged.items()
        if name in SHORT_TEXTS
    ]
    return frame, all_issues([_type_issues(frame, findings), *markup])


def raw_json(fields: object) -> str:
    """Print a record as compact JSON, cut to RAW_LIMIT_CHARS; what UTF-8 cannot encode is escaped."""
    try:
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str)
    except RecursionError:
        text = "(nested too deeply to show)"
    return text[:RAW_LIMIT_CHARS].encode(errors="backslashreplace").decode()


def _texts(records: Sequence[RawRecord], name: str, findings: list[_Finding]) -> pl.Series:
    """Take the strings of one field; numbers become strings, anything else null, both with a finding."""
    values = [record.fields.get(name) for record in records]
    for row, value in enumerate(values):
        if value is None or type(value) is str:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        findings.append((row, name, "number_for_text" if is_number else "not_text", raw_json(value)))
        # An id written once as 12.0 and once as 12 would be two ids, so a float is never an id.
        is_usable = is_number and not (name in IDS and isinstance(value, float))
        values[row] = str(value) if is_usable else None
    try:
        return pl.Series(name, values, dtype=pl.String)
    except UnicodeEncodeError:
        texts = [str(value).encode(errors="replace").decode() if value else None for value in values]
        return pl.Series(name, texts, dtype=pl.String)


def _statuses(records: Sequence[RawRecord], findings: list[_Finding]) -> pl.Series:
    meanings = {row["word"]: row["is_active"] == "yes" for row in word_list("status_words")}
    statuses: list[bool | None] = []
    for row, record in enumerate(records):
        value = record.fields.get(STATUS)
        if value is not None and not isinstance(value, bool):
            findings.append((row, STATUS, "not_boolean", raw_json(value)))
            word = str(value).strip().casefold() if isinstance(value, str | int) else ""
            value = meanings.get(word)
        statuses.append(value)
    return pl.Series(STATUS, statuses, dtype=pl.Boolean)


def _type_issues(frame: pl.DataFrame, findings: Sequence[_Finding]) -> pl.DataFrame:
    if not findings:
        return pl.DataFrame(schema=ISSUES)
    schema = {"row": pl.Int64(), "field": pl.String(), "issue_code": pl.String(), "value": pl.String()}
    found = pl.DataFrame(findings, schema=schema, orient="row").with_columns(
        pl.col("value").str.slice(0, VALUE_CHARS_MAX)
    )
    located = found.join(frame.select("row", "unique_id", "page", "position"), on="row", how="left")
    parts = [
        issues_where(rows, pl.lit(value=True), str(name), pl.col("issue_code"), pl.col("value"))
        for (name,), rows in located.group_by("field", maintain_order=True)
    ]
    return all_issues(parts)


def _cleaned(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """Decode and tidy the strings of all fields, and tell which values of text fields had tags in them."""
    columns: list[pl.Series] = []
    tagged: dict[str, pl.Series] = {}
    for name in (*SHORT_TEXTS, *LONG_TEXTS):
        plain = plain_texts(frame[name])
        columns.append(plain["text"].alias(name))
        tagged[name] = plain["had_tags"]
    columns += [_by_value(frame[name], tidy) for name in IDS]
    columns += [_by_value(frame[name], decode_address) for name in ADDRESSES]
    cleaned = frame.with_columns(columns).with_columns(
        pl.when(~pl.col(name).str.to_lowercase().is_in(_placeholders(name))).then(pl.col(name)).alias(name)
        for name in TEXTS
    )
    return cleaned, tagged


def _placeholders(field: str) -> list[str]:
    """List what sources write into `field` for "nothing". A shop may be called "Na" or "None", but not "-"."""
    rows = word_list("placeholders")
    return ["", *(row["text"] for row in rows if field not in NAMES or row["can_be_a_name"] == "no")]


def _by_value(texts: pl.Series, clean: Callable[[str], str]) -> pl.Series:
    return pl.Series(texts.name, [text and clean(text) for text in texts], dtype=pl.String)


def _attributes(records: Sequence[RawRecord], cleaned: pl.DataFrame) -> pl.Series:
    decoded: dict[str, str] = {}
    extra = cleaned.select(WITHOUT_COLUMN).iter_rows()
    texts = [
        json.dumps(_other_fields(record.fields, texts, decoded), ensure_ascii=False, sort_keys=True)
        for record, texts in zip(records, extra, strict=True)
    ]
    return pl.Series("attributes", texts, dtype=pl.String)


def _other_fields(
    fields: Mapping[str, object], extra: Sequence[str | None], decoded: dict[str, str]
) -> dict[str, object]:
    """Collect the fields that are not blank and have no column; `extra` are the values of WITHOUT_COLUMN."""
    # Most attributes are empty strings: skip those before the slower decoding.
    filled = [(name, fields[name]) for name in fields.keys() - _KNOWN if fields[name] not in _BLANK]
    others = _decoded_pairs(sorted(filled, key=itemgetter(0)), decoded, 1) if filled else {}
    others.update((name, text) for name, text in zip(WITHOUT_COLUMN, extra, strict=True) if text)
    return others


def _decoded_pairs(
    pairs: Iterable[tuple[str, object]], decoded: dict[str, str], depth: int
) -> dict[str, object]:
    plain = ((_decoded_text(name, decoded), _decoded_value(value, decoded, depth)) for name, value in pairs)
    return {name: value for name, value in plain if value not in _BLANK}


def _decoded_value(value: object, decoded: dict[str, str], depth: int) -> object:
    """Decode every string in a JSON value, and replace what a JSON column would not accept."""
    if isinstance(value, str):
        return _decoded_text(value, decoded)
    if depth > MAX_DEPTH:
        return raw_json(value)
    if isinstance(value, Mapping):
        return _decoded_pairs(value.items(), decoded, depth + 1)
    if isinstance(value, list):
        return [_decoded_value(each, decoded, depth + 1) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _decoded_text(text: str, decoded: dict[str, str]) -> str:
    found = decoded.get(text)
    if found is None:
        found = decoded[text] = decode(text)
    return found
