"""Build the distinct requests that a table of rows needs, without sending them."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import polars as pl

from tnt_platform.errors import ConfigError
from tnt_platform.transit.transforms.request_template import (
    RequestTemplate,
    Slot,
    WrittenAs,
    canonical_json,
)

DELIVERY_WINDOW_DAYS = 7
_WRITABLE = (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Decimal, pl.Categorical, pl.Enum, pl.Null)


@dataclass(frozen=True)
class BuiltRequests:
    """What to ask, and which row asks it.

    `requests`: request_id (64 hex characters; key), method, url, request_payload (canonical JSON body; null without
    one), in the order of the first row that asks. `asked_by`: one row per input row, in the same order: request_id
    (null when no request can be made), reason_code, reason. All are strings.
    """

    requests: pl.DataFrame
    asked_by: pl.DataFrame


def with_ship_dates(rows: pl.DataFrame, ship_date: dt.date) -> pl.DataFrame:
    """Add ship_date and expected_delivery_date (Date, seven days later), the same for all rows."""
    expected = ship_date + dt.timedelta(days=DELIVERY_WINDOW_DAYS)
    return rows.with_columns(ship_date=pl.lit(ship_date), expected_delivery_date=pl.lit(expected))


def build_requests(
    rows: pl.DataFrame, template: RequestTemplate, constants: Mapping[str, str] | None = None
) -> BuiltRequests:
    """Write each row's request and ask identical ones once.

    `constants` are fields of the run, such as api_url; they are written into the URL as they are, while
    row values are percent-encoded. The id is the sha256 of method, URL (its constants by name: an API that
    moves to another host is still the same API) and canonical body: no header and no clock is in it.
    A null inside a longer string or the URL, or a number JSON can't hold, makes the row unaskable (reason_code
    `missing_value` | `bad_number`); a null that is a whole value is JSON null.

    Raises:
        ConfigError: the template names a field that is neither a column nor a constant, a name is
            both, or a column has a type that can't be written (list, struct, binary ...).
    """
    given = dict(constants or {})
    if both := sorted(set(given) & set(rows.columns)):
        raise ConfigError(f"{template.source}: {both[0]!r} is both a column and a constant; rename one")
    template.check_fields([*rows.columns, *given])
    by_name = {name: f"{{{name}}}" for name in given}
    written = pl.DataFrame(
        {
            "place": _write_rows(rows, template.url, by_name, template.source),
            "url": _write_rows(rows, template.url, given, template.source),
            "request_payload": _write_rows(rows, template.body, given, template.source),
        }
    )
    faults = rows.with_columns(fault=_first_fault(rows, template, given)).select("fault").unnest("fault")
    askable = faults["reason_code"].is_null()
    ids = [
        _request_id(template.method, place, payload) if ok else None
        for place, payload, ok in zip(written["place"], written["request_payload"], askable, strict=True)
    ]
    numbered = written.with_columns(request_id=pl.Series(ids, dtype=pl.Utf8), method=pl.lit(template.method))
    requests = numbered.filter(askable).unique("request_id", keep="first", maintain_order=True)
    return BuiltRequests(
        requests.select("request_id", "method", "url", "request_payload"),
        faults.select(numbered["request_id"], "reason_code", "reason"),
    )


def _request_id(method: str, place: str, payload: str | None) -> str:
    # Neither a method nor an encoded URL holds a space, so different requests hash different strings.
    return hashlib.sha256(f"{method} {place} {payload or ''}".encode()).hexdigest()


def _write_rows(
    rows: pl.DataFrame, pieces: tuple[str | Slot, ...] | None, constants: Mapping[str, str], source: str
) -> pl.Series:
    """Write the pieces for each row; null where there is nothing to write or a value can't be written."""
    if pieces is None:
        return pl.Series([None] * rows.height, dtype=pl.Utf8)
    columns = {
        str(number): _write_column(rows[piece.field], piece, source)
        for number, piece in enumerate(pieces)
        if isinstance(piece, Slot) and piece.field not in constants
    }
    parts = [
        pl.col(str(number)) if str(number) in columns else pl.lit(_write_constant(piece, constants))
        for number, piece in enumerate(pieces)
    ]
    # The row number gives the frame its height where every piece is a constant.
    frame = pl.DataFrame({"row": pl.int_range(rows.height, eager=True), **columns})
    return frame.with_columns(text=pl.concat_str(parts))["text"]


def _write_constant(piece: str | Slot, constants: Mapping[str, str]) -> str:
    if isinstance(piece, str):
        return piece
    value = constants[piece.field]
    if piece.written_as is WrittenAs.URL_PART:
        # An address is not encoded. "http://host/" and "http://host" are the same one.
        return value.rstrip("/")
    return _write(value, piece.written_as) or ""


def _write_column(column: pl.Series, slot: Slot, source: str) -> pl.Series:
    """Write each distinct value once: a column of the shipper reference has few."""
    dtype = column.dtype
    if not (dtype.is_numeric() or dtype in _WRITABLE):
        raise ConfigError(
            f"{source}: {slot.where}: field {slot.field!r} has the type {dtype}, which can't be written into "
            "a request; use a string, a number, true/false or a date"
        )
    values = column.to_list()
    texts = {value: _write(value, slot.written_as) for value in set(values)}
    return pl.Series([texts[value] for value in values], dtype=pl.Utf8)


def _write(value: Any, written_as: WrittenAs) -> str | None:
    """Write one value; None if that is impossible (`_first_fault` says why)."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if written_as is WrittenAs.JSON_VALUE:
        if isinstance(value, decimal.Decimal):
            return format(value, "f")
        return canonical_json(value.isoformat() if isinstance(value, dt.date) else value)
    if value is None:
        return None
    text = value.isoformat() if isinstance(value, dt.date) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    return quote(text, safe="") if written_as is WrittenAs.URL_PART else canonical_json(text)[1:-1]


def _first_fault(rows: pl.DataFrame, template: RequestTemplate, constants: Mapping[str, str]) -> pl.Expr:
    """Find the first slot that a row can't fill: a struct of reason_code and reason, nulls if it fills all."""
    faults = []
    for slot in template.slots:
        if slot.field in constants:
            continue
        value = pl.col(slot.field)
        if slot.written_as is not WrittenAs.JSON_VALUE:
            faults.append(
                (value.is_null(), "missing_value", f"{slot.field} is missing; {slot.where} needs it")
            )
        if slot.written_as is WrittenAs.URL_PART and rows.schema[slot.field] == pl.Utf8:
            # An empty or dotted part would lead to another path.
            bad_part = value.is_in(["", ".", ".."])
            faults.append((bad_part, "bad_url_part", f"{slot.field} can't be a part of the URL"))
        if rows.schema[slot.field].is_float():
            bad = ~value.is_finite()
            faults.append((bad, "bad_number", f"{slot.field} is not a finite number; {slot.where} needs one"))
    found = _fault(None, None)
    for condition, code, reason in reversed(faults):
        found = pl.when(condition).then(_fault(code, reason)).otherwise(found)
    return found


def _fault(code: str | None, reason: str | None) -> pl.Expr:
    return pl.struct(reason_code=pl.lit(code, pl.Utf8), reason=pl.lit(reason, pl.Utf8))
