"""Encode rows as DynamoDB items with a fingerprint of their content.

Not boto3's TypeSerializer: it rejects floats and keeps the spelling of a number (1.0 and 1), and equal content
must have equal fingerprints.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from hashlib import sha256
from typing import Any, TypeAlias

import polars as pl

from tnt_platform.errors import PermanentError

Rows: TypeAlias = pl.DataFrame | Sequence[Mapping[str, Any]]
Wire: TypeAlias = dict[str, Any]  # an attribute value in the form of the API: {"S": "text"}, {"N": "1.5"} ...

MAX_ITEM_BYTES = 400 * 1024
_MAX_KEY_BYTES = (2048, 1024)  # partition key, sort key
_SIGNIFICANT_DIGITS = 38
_EXACT = Context(prec=_SIGNIFICANT_DIGITS, traps=[Inexact, InvalidOperation])


@dataclass(frozen=True)
class ItemShape:
    """How the rows of one table become items: which columns are the key, which attributes the table adds."""

    key: tuple[str, ...]
    ttl_attribute: str
    fingerprint_attribute: str
    droppable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.key) <= 2 or len(set(self.key)) != len(self.key):
            raise PermanentError(
                f"the key of a table is one or two different attributes, not {list(self.key)}"
            )
        own = {self.ttl_attribute, self.fingerprint_attribute}
        if len(own) < 2 or own & set(self.key):
            raise PermanentError("key, ttl and fingerprint must be different attributes: rename one")
        if set(self.droppable) & set(self.key):
            raise PermanentError(
                f"a key attribute cannot be droppable: {sorted(set(self.droppable) & set(self.key))}"
            )

    @property
    def reserved(self) -> set[str]:
        return {self.ttl_attribute, self.fingerprint_attribute, *(_omitted_flag(d) for d in self.droppable)}


@dataclass(frozen=True)
class Item:
    """One row, ready to be written."""

    attributes: dict[str, Wire]
    key: dict[str, Wire]
    identity: str  # equal for equal keys
    fingerprint: str
    size_bytes: int
    omitted: tuple[str, ...] = ()  # droppable attributes that did not fit


def item_of_row(row: Mapping[str, Any], shape: ItemShape, *, expires_at_s: int | None) -> Item:
    """Encode one row; the fingerprint covers everything stored but the expiry and the fingerprint itself.

    Numbers are kept exactly (a float as the shortest decimal that reads back as the same float), datetimes
    are ISO-8601 UTC with microseconds, None is left out, struct columns become maps. A row over 400 KB loses
    as few `droppable` attributes as needed, the largest first: each turns null, with `<name>_omitted: true`.

    Raises:
        PermanentError: naming the row and the attribute, for a value DynamoDB cannot store exactly, a naive
            datetime, a missing key, a reserved column name, or a row too large even so.
    """
    name = row_name(row, shape.key)
    clash = shape.reserved & set(row)
    if clash:
        raise PermanentError(
            f"{name}: the columns {sorted(clash)} are written by the table itself; drop or rename them"
        )
    content = _content(row, name)
    key = _key(content, shape.key, name)
    own = {shape.fingerprint_attribute: {"S": "0" * 64}}
    if expires_at_s is not None:
        own[shape.ttl_attribute] = {"N": str(expires_at_s)}
    omitted = _make_fit(content, own, shape.droppable, name)
    fingerprint = sha256(_canonical(content).encode()).hexdigest()
    attributes = {**content, **own, shape.fingerprint_attribute: {"S": fingerprint}}
    return Item(attributes, key, key_identity(key), fingerprint, item_size_bytes(attributes), omitted)


def refuse_duplicate_keys(rows: Rows, key: Sequence[str]) -> None:
    """Reject rows that share a key: BatchWriteItem fails on them, and neither row is known to be right.

    Raises:
        PermanentError: naming up to three of the keys, or the key columns that are missing.
    """
    if isinstance(rows, pl.DataFrame):
        missing = [name for name in key if name not in rows.columns]
        if missing:
            raise PermanentError(f"the key columns {missing} are not among {rows.columns}")
        again = (
            rows.select(key).filter(rows.select(key).is_duplicated()).unique(maintain_order=True).to_dicts()
        )
    else:
        occurrences: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            key_only = _content({name: row.get(name) for name in key}, row_name(row, key))
            occurrences.setdefault(key_identity(_key(key_only, key, row_name(row, key))), []).append(row)
        again = [dict(same[0]) for same in occurrences.values() if len(same) > 1]
    if again:
        named = "; ".join(row_name(row, key) for row in again[:3])
        raise PermanentError(
            f"{len(again)} keys occur more than once, such as {named}: deduplicate before writing"
        )


def key_identity(key: Mapping[str, Wire]) -> str:
    """Return a string that is equal for equal keys, however the service formats a number."""
    return _canonical({name: _respelled(value) for name, value in key.items()})


def row_name(row: Mapping[str, Any], key: Sequence[str]) -> str:
    """Name a row in messages: its key, truncated."""
    return "row " + ", ".join(f"{name}={row.get(name)!r}" for name in key)[:200]


def item_size_bytes(attributes: Mapping[str, Wire]) -> int:
    """Compute the size by DynamoDB's published rules: UTF-8 strings, two digits per byte, overhead for nesting."""
    return sum(_utf8_bytes(name) + _value_bytes(value) for name, value in attributes.items())


def _content(row: Mapping[str, Any], name: str) -> dict[str, Wire]:
    content = {}
    for column, value in row.items():
        if value is None:
            continue
        try:
            content[column] = attribute_value(value)
        except (ValueError, DecimalException) as error:
            reason = "has more than 38 significant digits" if isinstance(error, DecimalException) else error
            raise PermanentError(f"{name}: attribute {column!r} cannot be stored: {reason}") from error
    return content


def _key(content: Mapping[str, Wire], key: Sequence[str], name: str) -> dict[str, Wire]:
    for attribute, limit_bytes in zip(key, _MAX_KEY_BYTES, strict=False):
        value = content.get(attribute, {})
        if not (value.keys() & {"S", "N", "B"}) or value in ({"S": ""}, {"B": b""}):
            raise PermanentError(
                f"{name}: key attribute {attribute!r} must be a non-empty string, number or bytes"
            )
        if _value_bytes(value) > limit_bytes:
            raise PermanentError(f"{name}: key attribute {attribute!r} is over {limit_bytes} bytes")
    return {attribute: content[attribute] for attribute in key}


def _make_fit(
    content: dict[str, Wire], own: Mapping[str, Wire], droppable: Sequence[str], name: str
) -> tuple[str, ...]:
    omitted: list[str] = []
    size_bytes = item_size_bytes({**content, **own})
    by_size = sorted((d for d in droppable if d in content), key=lambda d: (-_value_bytes(content[d]), d))
    for attribute in by_size:
        if size_bytes <= MAX_ITEM_BYTES:
            break
        content[attribute] = {"NULL": True}
        content[_omitted_flag(attribute)] = {"BOOL": True}
        omitted.append(attribute)
        size_bytes = item_size_bytes({**content, **own})
    if size_bytes > MAX_ITEM_BYTES:
        raise PermanentError(
            f"{name}: {size_bytes:,} bytes, but DynamoDB accepts {MAX_ITEM_BYTES:,} per item"
            + (f" even without {omitted}" if omitted else "")
            + "; shorten the row or declare a payload column droppable"
        )
    return tuple(omitted)


def _omitted_flag(attribute: str) -> str:
    return f"{attribute}_omitted"


def attribute_value(value: object) -> Wire:
    """Encode one Python value in the form of the API.

    Raises:
        ValueError, DecimalException: it cannot be stored exactly (nan, 39 digits, a naive datetime ...).
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() | float() | Decimal():
            return {"N": _number(value)}
        case str():
            _utf8_bytes(value)  # rejects a lone surrogate here, not halfway through a batch
            return {"S": str(value)}
        case bytes():
            return {"B": value}
        case datetime():
            return {"S": _utc_text(value)}
        case date() | time():
            return {"S": value.isoformat()}
        case Mapping():
            return {"M": {_text(k): attribute_value(v) for k, v in value.items() if v is not None}}
        case list() | tuple():
            return {"L": [attribute_value(v) for v in value]}
    raise ValueError(
        f"a {type(value).__name__} has no exact form in DynamoDB; convert it to a string or a number first"
    )


def _number(value: float | Decimal) -> str:
    # repr, not Decimal(float): 0.1 is meant, not the 55 digits of its binary neighbour.
    exact = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite():
        raise ValueError(f"{value} is not a number")
    if exact == 0:
        return "0"
    canonical = exact.normalize(_EXACT)
    if not -130 <= canonical.adjusted() <= 125:
        raise ValueError(f"{value} is outside 1E-130 to 9.9E+125")
    # Readers such as boto3 accept at most 38 digits, zeros included.
    return f"{canonical:f}" if canonical.adjusted() < _SIGNIFICANT_DIGITS else str(canonical)


def _utc_text(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone; give the column one (UTC)")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the keys of a map must be strings, not {type(value).__name__}")
    return value


def _utf8_bytes(text: str) -> int:
    return len(text.encode())


def _value_bytes(value: Wire) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return _utf8_bytes(content)
        case "N":
            number: str = content
            digits = len(number.partition("E")[0].lstrip("-").replace(".", "").strip("0"))
            return (digits + 1) // 2 + 1 + number.startswith("-")
        case "B":
            return len(bytes(content))
        case "M":
            return 3 + sum(1 + _utf8_bytes(name) + _value_bytes(nested) for name, nested in content.items())
        case "L":
            return 3 + sum(1 + _value_bytes(nested) for nested in content)
    return 1  # NULL, BOOL


def _respelled(value: Wire) -> Wire:
    return {"N": _number(Decimal(value["N"]))} if "N" in value else value


def _canonical(attributes: Mapping[str, Any]) -> str:
    return json.dumps(attributes, sort_keys=True, separators=(",", ":"), default=_base64)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
