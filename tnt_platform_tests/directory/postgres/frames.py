"""Frames of a mall directory for tests, from the few columns that matter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from tnt_platform.directory.postgres import staging

CATEGORIES = pl.DataFrame(
    [
        {"code": "FASHION", "name_en": "Fashion", "name_th": "แฟชั่น", "name_zh": "时尚"},
        {"code": "RESTAURANT", "name_en": "Restaurants", "name_th": "ร้านอาหาร", "name_zh": None},
    ],
    schema=staging.CATEGORIES.schema(),
)
FLOORS = pl.DataFrame(
    [{"code": "GF", "name": "Ground floor", "sort_order": 0}, {"code": "1F", "name": "1st", "sort_order": 1}],
    schema=staging.FLOORS.schema(),
)


def tenant(
    unique_id: str, *, kind: str = "shop", slug_base: str | None = None, **columns: Any
) -> dict[str, Any]:
    """Make one row of TENANTS with defaults; the fingerprint follows from the other columns."""
    row: dict[str, Any] = dict.fromkeys(staging.TENANTS.columns)
    row |= {
        "unique_id": unique_id,
        "tenant_id": f"T-{unique_id}",
        "kind": kind,
        "slug_base": slug_base or f"slug-of-{unique_id}",
        "title_en": f"Name of {unique_id}",
        "attributes": "{}",
        "gallery": [],
        **columns,
    }
    content = json.dumps(row, sort_keys=True, default=str, ensure_ascii=True)
    return {**row, "fingerprint": columns.get("fingerprint") or hashlib.sha256(content.encode()).hexdigest()}


def tenants(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=staging.TENANTS.schema())


def issues(rows: Iterable[Mapping[str, Any]] = ()) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=staging.ISSUES.schema())


def unmapped(rows: Iterable[Mapping[str, Any]] = ()) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=staging.UNMAPPED.schema())
