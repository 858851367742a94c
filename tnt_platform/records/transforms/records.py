"""Map the items of a JSON API to records: a stable id, typed fields, and a fingerprint of the fields."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import jmespath
import jmespath.exceptions
import polars as pl
from pydantic import AfterValidator, Field

from tnt_platform.specs.fields import JmesPath
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
# The columns of a record besides the fields that its YAML declares.
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
REJECTED: Final[Mapping[str, pl.DataType]] = {
    "line_no": pl.Int64(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
}
_RAW_LIMIT_CHARS: Final = 10_000
_INT64: Final = range(-(2**63), 2**63)
_RESERVED_NAMES: Final = frozenset({*RECORD, "partition", "last_seen_at"})


def _check_field_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text):
        raise mistake(
            f"{text!r} is not a valid column name", "a letter, then letters, digits and _", "rename the field"
        )
    if text in _RESERVED_NAMES:
        raise mistake(f"{text!r} is already a column of every record", "another name", "rename the field")
    return text


class RecordField(Spec):
    """One column of the records."""

    name: Annotated[str, AfterValidator(_check_field_name), Field(description="Name of the column.")]
    path: Annotated[
        JmesPath | None,
        Field(description="JMESPath of the value in an item; defaults to `name`."),
    ] = None
    type: Annotated[
        FieldType, Field(description="Type of the column; an item with another type is rejected.")
    ] = "text"
    required: Annotated[bool, Field(description="Reject an item that lacks the value.")] = False

    @property
    def where(self) -> str:
        """Return the JMESPath of the value in an item."""
        return self.path or self.name


class RecordMapping(Spec):
    """How items map to records."""

    item_id: Annotated[JmesPath, Field(description="JMESPath of the id in an item.")]
    fields: Annotated[tuple[RecordField, ...], Field(description="The columns of the records.")]

    @rule
    def _field_names_are_unique(self) -> Iterator[Mistake]:
        if not self.fields:
            fix = "add lines such as `- {name: title}`"
            yield Mistake("fields is empty", "at least one field", fix, at=("fields",))
        seen: dict[str, int] = {}
        for position, field in enumerate(self.fields):
            if field.name in seen:
                wrong, other = f"the field {field.name} occurs twice", ("fields", seen[field.name])
                at = ("fields", position)
                yield Mistake(wrong, "unique names", "rename or delete one of them", at, see=other)
            seen.setdefault(field.name, position)

    @property
    def schema_of_records(self) -> dict[str, pl.DataType]:
        """Return the columns that `map_items` returns."""
        return {**MAPPED, **{field.name: TYPES[field.type] for field in self.fields}}


@dataclass(frozen=True)
class MappedItems:
    """The items of one capture.

    records: the mapping's schema, one row per id, in the order of the capture.
    rejected: REJECTED, one row per invalid item with its reason, or all items if there are too many of these; line_no
        is the item's position, counted from 1.
    deduplicated: the number of items that repeat another one exactly.
    """

    records: pl.DataFrame
    rejected: pl.DataFrame
    deduplicated: int = 0


class _InvalidItem(Exception):
    """An item can't be mapped to a record."""

    def __init__(self, reason_code: str, reason: str) -> None:
        super().__init__(reason)
        self.reason_code = reason_code


def map_items(
    items: Sequence[Any],
    mapping: RecordMapping,
    source: str,
    rejects_all: Callable[[int, int], bool] = lambda invalid, of: invalid > 0,
) -> MappedItems:
    """Map every item of `source` to a record.

    Invalid items, and ids with two contents, reject all items if `rejects_all(invalid items, items)`: by default, one
    does.

    Reason codes: missing_id, bad_id, missing_value, not_text, not_integer, not_number, not_boolean, bad_text,
    unmappable, conflicting_duplicate; capture_refused for items that are rejected because of others.
    """
    rows: list[tuple[Any, ...]] = []
    faults: dict[int, tuple[str, str]] = {}
    for index, item in enumerate(items):
        try:
            rows.append(_map_item(index, item, mapping, source))
        except _InvalidItem as error:
            faults[index] = (error.reason_code, str(error))
    records = pl.DataFrame(rows, schema=mapping.schema_of_records, orient="row")
    faults |= _conflicts(records)
    if faults and rejects_all(len(faults), len(items)):
        return MappedItems(records.clear(), _reject_all(items, faults))
    valid = records.filter(~pl.col("item_index").is_in(list(faults)))
    unique = valid.unique("id", keep="first", maintain_order=True)
    rejected = [_rejected_row(index, items[index], fault) for index, fault in sorted(faults.items())]
    return MappedItems(
        unique, pl.DataFrame(rejected, schema=dict(REJECTED), orient="row"), valid.height - unique.height
    )


def content_digest(records: pl.DataFrame) -> str:
    """Return a digest of the records and their content that does not depend on their order."""
    pairs = sorted(records.select("id", "fingerprint").iter_rows())
    return hashlib.sha256("\n".join(" ".join(pair) for pair in pairs).encode()).hexdigest()


def bucket_of(record_id: str) -> str:
    """Return the partition of a record, which depends on its id alone: `bucket=00` to `bucket=15`."""
    return f"bucket={hashlib.sha256(record_id.encode()).digest()[0] % BUCKETS:02d}"


def changed_records(
    fresh: pl.DataFrame, known: pl.DataFrame, captured: Mapping[str, pl.Expr]
) -> pl.DataFrame:
    """Return the records of a capture that are new or whose content changed.

    Args:
        fresh: `MappedItems.records`.
        known: id, fingerprint, first_seen_at and captured_at of the published records; one that a later capture
            changed is left alone.
        captured: captured_at, processed_at and raw_s3_key of this capture.

    Returns:
        RECORD and the mapped fields; known records keep their first_seen_at.
    """
    fields = [name for name in fresh.columns if name not in MAPPED]
    joined = fresh.join(
        known.select(pl.all().name.prefix("known_")), left_on="id", right_on="known_id", how="left"
    ).with_columns(**captured)
    is_changed = pl.col("fingerprint").ne_missing(pl.col("known_fingerprint"))
    is_later = pl.col("known_captured_at").is_null() | (pl.col("known_captured_at") <= pl.col("captured_at"))
    first_seen = pl.coalesce("known_first_seen_at", "captured_at").alias("first_seen_at")
    return joined.filter(is_changed & is_later).with_columns(first_seen).select(*RECORD, *fields)


def fingerprint(values: Mapping[str, Any]) -> str:
    """Hash the fields of a record as canonical JSON, so that the order of the fields does not matter."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _map_item(index: int, item: Any, mapping: RecordMapping, source: str) -> tuple[Any, ...]:
    item_id = _item_id(item, mapping)
    values = {field.name: _field_value(item, field) for field in mapping.fields}
    return (f"{source}:{item_id}", source, item_id, fingerprint(values), index, *values.values())


def _item_id(item: Any, mapping: RecordMapping) -> str:
    value = _search(item, mapping.item_id, "item_id")
    if value is None or value == "":
        raise _InvalidItem("missing_id", f"item_id: the item has no value at {mapping.item_id!r}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _InvalidItem(
            "bad_id",
            f"item_id: {_shorten(value)} at {mapping.item_id!r} is neither a string nor a whole number",
        )
    return _valid_text(str(value), "item_id")


def _field_value(item: Any, field: RecordField) -> Any:
    value = _search(item, field.where, field.name)
    if value is None:
        if field.required:
            raise _InvalidItem(
                "missing_value", f"{field.name}: the item has no value at {field.where!r}, which is required"
            )
        return None
    kind = type(value)
    if field.type == "text" and kind in (str, int):
        return _valid_text(str(value), field.name)
    if field.type == "integer" and kind is int and value in _INT64:
        return value
    if field.type == "number" and kind in (int, float) and math.isfinite(value) and float(value) == value:
        return float(value)
    if field.type == "boolean" and kind is bool:
        return value
    raise _InvalidItem(
        f"not_{field.type}",
        f"{field.name}: {_shorten(value)} is not of type {field.type}; correct the field's type or path",
    )


def _search(item: Any, path: str, name: str) -> Any:
    try:
        return _compiled(path).search(item)
    except jmespath.exceptions.JMESPathError as error:
        raise _InvalidItem(
            "unmappable", f"{name}: {path!r} can't be applied to the item ({error})"
        ) from error


@lru_cache(maxsize=256)
def _compiled(path: str) -> Any:
    return jmespath.compile(path)


def _valid_text(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _InvalidItem(
            "bad_text", f"{name}: {text[:60]!r} has an unpaired surrogate; only the source can fix it"
        ) from None
    return text


def _conflicts(records: pl.DataFrame) -> dict[int, tuple[str, str]]:
    """Return the items whose id occurs with different contents."""
    if records.is_empty():
        return {}
    conflicting = records.filter(pl.col("fingerprint").n_unique().over("id") > 1)
    return {
        index: ("conflicting_duplicate", f"the id {item_id} occurs with different contents in one capture")
        for index, item_id in conflicting.select("item_index", "item_id").iter_rows()
    }


def _reject_all(items: Sequence[Any], faults: Mapping[int, tuple[str, str]]) -> pl.DataFrame:
    first = min(faults)
    because_of_others = (
        "capture_refused",
        f"{len(faults)} items of this capture are invalid, the first at position {first + 1} ({faults[first][0]}): "
        "more than max_rejected_share, so nothing of it is accepted",
    )
    rows = [
        _rejected_row(index, item, faults.get(index, because_of_others)) for index, item in enumerate(items)
    ]
    return pl.DataFrame(rows, schema=dict(REJECTED), orient="row")


def _rejected_row(index: int, item: Any, fault: tuple[str, str]) -> tuple[int, str, str, str]:
    return (index + 1, _shorten(item, _RAW_LIMIT_CHARS), *fault)


def _shorten(value: Any, chars: int = 80) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        # Unpaired surrogates can't be stored; write them as escapes.
        text = json.dumps(value)
    return text if len(text) <= chars else text[: chars - 1] + "…"
