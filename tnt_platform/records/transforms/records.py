"""Items of a JSON API become records: an id that never changes, typed fields, and a fingerprint of them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import jmespath
import jmespath.exceptions
import polars as pl
from pydantic import AfterValidator, Field

from tnt_platform.specs.spec import Mistake, Spec, mistake, rule

FieldType = Literal["text", "integer", "number", "boolean"]

BUCKETS: Final = 16
TYPES: Final[Mapping[FieldType, pl.DataType]] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}
MAPPED: Final[Mapping[str, pl.DataType]] = {
    "id": pl.String(),
    "source": pl.String(),
    "item_id": pl.String(),
    "fingerprint": pl.String(),
    "item_index": pl.Int64(),
}
UTC_TIME: Final = pl.Datetime("us", "UTC")
# What a record has besides the fields of its YAML.
RECORD: Final[Mapping[str, pl.DataType]] = {
    "id": pl.String(),
    "source": pl.String(),
    "item_id": pl.String(),
    "fingerprint": pl.String(),
    "first_seen_at": UTC_TIME,
    "captured_at": UTC_TIME,
    "processed_at": UTC_TIME,
    "raw_s3_key": pl.String(),
    "item_index": pl.Int64(),
}
REFUSED: Final[Mapping[str, pl.DataType]] = {
    "line_no": pl.Int64(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
}
_RAW_LIMIT_CHARS: Final = 10_000
_INT64: Final = range(-(2**63), 2**63)


# Columns that every record has, whatever its fields.
_TAKEN: Final = frozenset({*RECORD, "partition", "last_seen_at"})


def _path(text: str) -> str:
    try:
        jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        wrong = f"{text!r} is not a JMESPath: {' '.join(str(error).split())}"
        raise mistake(wrong, "a path such as login.uuid", "fix that position") from error
    return text


def _field_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text):
        raise mistake(
            f"{text!r} can't name a column", "a letter, then letters, digits and _", "rename the field"
        )
    if text in _TAKEN:
        raise mistake(f"{text!r} is a column of every record", "another name", "rename the field")
    return text


JmesPath = Annotated[str, AfterValidator(_path)]


class RecordField(Spec):
    """One column of the records."""

    name: Annotated[str, AfterValidator(_field_name), Field(description="Name of the column.")]
    path: Annotated[
        JmesPath | None,
        Field(description="Where an item has the value, as a JMESPath; its `name` by default."),
    ] = None
    type: Annotated[
        FieldType, Field(description="Type of the column; an item with another one is rejected.")
    ] = "text"
    required: Annotated[bool, Field(description="Reject an item that lacks the value.")] = False

    @property
    def where(self) -> str:
        """The JMESPath of the value in an item."""
        return self.path or self.name


class RecordMapping(Spec):
    """How the items of a source become records."""

    item_id: Annotated[JmesPath, Field(description="Where an item has its own id, as a JMESPath.")]
    fields: Annotated[tuple[RecordField, ...], Field(description="The columns of the records.")]

    @rule
    def _fields_have_names_of_their_own(self) -> Iterator[Mistake]:
        if not self.fields:
            fix = "add lines such as `- {name: title}`"
            yield Mistake("fields is empty", "what a record holds", fix, at=("fields",))
        seen: dict[str, int] = {}
        for position, one in enumerate(self.fields):
            if one.name in seen:
                wrong, other = f"the field {one.name} occurs twice", ("fields", seen[one.name])
                at = ("fields", position)
                yield Mistake(wrong, "each name once", "rename or delete one of them", at, see=other)
            seen.setdefault(one.name, position)

    @property
    def schema_of_records(self) -> dict[str, pl.DataType]:
        """The columns that `map_items` gives."""
        return {**MAPPED, **{field.name: TYPES[field.type] for field in self.fields}}


@dataclass(frozen=True)
class Mapped:
    """One capture's items, taken whole or refused whole.

    records: the mapping's schema, one row an id, in the order of the capture; empty if anything was refused.
    refused: REFUSED; line_no is the item's place counted from 1. If one item is refused all are, each with its reason.
    deduplicated: how many items repeat another one exactly.
    """

    records: pl.DataFrame
    refused: pl.DataFrame
    deduplicated: int = 0


class _Unfit(Exception):
    """An item can't become a record."""

    def __init__(self, reason_code: str, reason: str) -> None:
        super().__init__(reason)
        self.reason_code = reason_code


def map_items(items: Sequence[Any], mapping: RecordMapping, source: str) -> Mapped:
    """Map every item of `source`; one that can't be mapped, or an id with two contents, refuses the capture whole.

    Reason codes: missing_id, bad_id, missing_value, not_text, not_integer, not_number, not_boolean, bad_text,
    unmappable, conflicting_duplicate; capture_refused for the items that are refused because of others.
    """
    rows: list[tuple[Any, ...]] = []
    faults: dict[int, tuple[str, str]] = {}
    for index, item in enumerate(items):
        try:
            rows.append(_row(index, item, mapping, source))
        except _Unfit as fault:
            faults[index] = (fault.reason_code, str(fault))
    records = pl.DataFrame(rows, schema=mapping.schema_of_records, orient="row")
    faults |= _conflicts(records)
    if faults:
        return Mapped(records.clear(), _refused(items, faults))
    kept = records.unique("id", keep="first", maintain_order=True)
    return Mapped(kept, pl.DataFrame(schema=dict(REFUSED)), records.height - kept.height)


def content_digest(records: pl.DataFrame) -> str:
    """A digest of which records there are and what they hold, whatever their order."""
    pairs = sorted(records.select("id", "fingerprint").iter_rows())
    return hashlib.sha256("\n".join(f"{one} {other}" for one, other in pairs).encode()).hexdigest()


def bucket_of(record_id: str) -> str:
    """The partition of a record, decided by its id alone: `bucket=00` to `bucket=15`."""
    return f"bucket={hashlib.sha256(record_id.encode()).digest()[0] % BUCKETS:02d}"


def changed_records(
    fresh: pl.DataFrame, known: pl.DataFrame, captured: Mapping[str, pl.Expr]
) -> pl.DataFrame:
    """The records of a capture that are new, or hold something else than what is known.

    Args:
        fresh: `Mapped.records`.
        known: id, fingerprint, first_seen_at, captured_at of the published records. One that was changed by a later
            capture than this one stays.
        captured: captured_at, processed_at and raw_s3_key of this capture.

    Returns:
        RECORD and the mapped fields; first_seen_at is kept.
    """
    fields = [name for name in fresh.columns if name not in MAPPED]
    both = fresh.join(
        known.select(pl.all().name.prefix("known_")), left_on="id", right_on="known_id", how="left"
    )
    both = both.with_columns(**captured)
    is_news = pl.col("fingerprint").ne_missing(pl.col("known_fingerprint"))
    is_later = pl.col("known_captured_at").is_null() | (pl.col("known_captured_at") <= pl.col("captured_at"))
    first_seen = pl.coalesce("known_first_seen_at", "captured_at").alias("first_seen_at")
    return both.filter(is_news & is_later).with_columns(first_seen).select(*RECORD, *fields)


def _row(index: int, item: Any, mapping: RecordMapping, source: str) -> tuple[Any, ...]:
    item_id = _id_of(item, mapping)
    values = {field.name: _value(item, field) for field in mapping.fields}
    return (
        f"{source}:{item_id}",
        source,
        item_id,
        fingerprint(values),
        index,
        *values.values(),
    )


def fingerprint(values: Mapping[str, Any]) -> str:
    """The hash of a record's fields in canonical JSON: the same for the same values, whatever their order."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _id_of(item: Any, mapping: RecordMapping) -> str:
    value = _searched(item, mapping.item_id, "item_id")
    if value is None or value == "":
        raise _Unfit(
            "missing_id", f"item_id: {mapping.item_id!r} gives nothing; an item is known by its id alone"
        )
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Unfit(
            "bad_id", f"item_id: {mapping.item_id!r} gives {_short(value)}, which is no text or whole number"
        )
    return _text(str(value), "item_id")


def _value(item: Any, field: RecordField) -> Any:
    value = _searched(item, field.where, field.name)
    if value is None:
        if field.required:
            raise _Unfit(
                "missing_value", f"{field.name}: {field.where!r} gives nothing, and the field is required"
            )
        return None
    kind = type(value)
    if field.type == "text" and kind in (str, int):
        return _text(str(value), field.name)
    if field.type == "integer" and kind is int and value in _INT64:
        return value
    if field.type == "number" and kind in (int, float) and math.isfinite(value) and float(value) == value:
        return float(value)
    if field.type == "boolean" and kind is bool:
        return value
    code = f"not_{field.type}"
    raise _Unfit(code, f"{field.name}: {_short(value)} is no {field.type}; correct the field's type or path")


def _searched(item: Any, path: str, name: str) -> Any:
    try:
        return _compiled(path).search(item)
    except jmespath.exceptions.JMESPathError as fault:
        raise _Unfit("unmappable", f"{name}: {path!r} can't be applied to the item ({fault})") from fault


@lru_cache(maxsize=256)
def _compiled(path: str) -> Any:
    return jmespath.compile(path)


def _text(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unfit(
            "bad_text", f"{name}: {text[:60]!r} holds half of a character; the source must mend it"
        ) from None
    return text


def _conflicts(records: pl.DataFrame) -> dict[int, tuple[str, str]]:
    """The items whose id stands for more than one content."""
    contents = pl.col("fingerprint").n_unique().over("id")
    odd = records.filter(contents > 1) if records.height else records
    return {
        index: (
            "conflicting_duplicate",
            f"the id {item_id} occurs in this capture with different contents; which is right isn't ours to guess",
        )
        for index, item_id in odd.select("item_index", "item_id").iter_rows()
    }


def _refused(items: Sequence[Any], faults: Mapping[int, tuple[str, str]]) -> pl.DataFrame:
    first = min(faults)
    others = (
        "capture_refused",
        f"{len(faults)} items of this capture can't be taken, the first at place {first + 1} ({faults[first][0]}); a "
        "capture is taken whole or not at all",
    )
    rows = [
        (index + 1, _short(item, _RAW_LIMIT_CHARS), *faults.get(index, others))
        for index, item in enumerate(items)
    ]
    return pl.DataFrame(rows, schema=dict(REFUSED), orient="row")


def _short(value: Any, chars: int = 80) -> str:
    try:
        # Half characters are written as escapes, so that the text can be stored.
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value)
    return text if len(text) <= chars else text[: chars - 1] + "…"
