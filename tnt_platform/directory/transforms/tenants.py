"""A mall's tenants out of its directory API's records: normalized, matched, each with its issues."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from tnt_platform.directory.transforms.columns import tenant_columns
from tnt_platform.directory.transforms.issues import all_issues
from tnt_platform.directory.transforms.lookups import Lookups
from tnt_platform.directory.transforms.matching import SCORE_FLOOR
from tnt_platform.directory.transforms.records import RawRecord, raw_json, record_texts

TENANTS: Final[dict[str, pl.DataType]] = {
    "unique_id": pl.String(),
    "tenant_id": pl.String(),
    "kind": pl.String(),
    "slug_base": pl.String(),
    "title_en": pl.String(),
    "title_th": pl.String(),
    "title_zh": pl.String(),
    "description_en": pl.String(),
    "description_th": pl.String(),
    "description_zh": pl.String(),
    "category": pl.String(),
    "category_source": pl.String(),
    "category_method": pl.String(),
    "category_score": pl.Float64(),
    "floor": pl.String(),
    "floor_source": pl.String(),
    "floor_method": pl.String(),
    "floor_score": pl.Float64(),
    "zone": pl.String(),
    "unit": pl.String(),
    "opening_hours_text": pl.String(),
    "opening_hours": pl.String(),
    "tel": pl.String(),
    "website": pl.String(),
    "logo": pl.String(),
    "gallery": pl.List(pl.String()),
    "source_active": pl.Boolean(),
    "starts_on": pl.Date(),
    "ends_on": pl.Date(),
    "tenant_last_update": pl.Datetime("us", "UTC"),
    "mall_last_update": pl.Datetime("us", "UTC"),
    "attributes": pl.String(),
    "page": pl.Int64(),
    "position": pl.Int64(),
    "fingerprint": pl.String(),
}
UNMAPPED: Final[dict[str, pl.DataType]] = {
    "kind": pl.String(),
    "value": pl.String(),
    "records": pl.Int64(),
    "candidates": pl.String(),
}
# The quarantine of the lake, with the page from which its caller knows the file_key.
REFUSED: Final[dict[str, pl.DataType]] = {
    "page": pl.Int64(),
    "line_no": pl.Int64(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
    "unique_id": pl.String(),
}

_REASONS: Final = {
    "not_an_object": "the entry of `data` is no JSON object; the source has to leave it out or mend it",
    "no_unique_id": "uniqueId is missing, blank or no text; without it the record can't be told from others",
    "no_tenant_id": "tenantId is missing, blank or no text; without it the record belongs to nobody",
    "no_name": "no shop or brand name in any language; a tenant needs one to be shown",
}
_NOT_CONTENT: Final = ("tenant_last_update", "mall_last_update", "page", "position", "fingerprint")
_FIELD_MARK: Final = "\x1f"
_NOTHING: Final = "\x00"


@dataclass(frozen=True)
class Directory:
    """What a set of pages says: TENANTS, ISSUES, UNMAPPED, REFUSED, and how many records were repetitions.

    records in = tenants + quarantine + deduplicated.
    """

    tenants: pl.DataFrame
    issues: pl.DataFrame
    unmapped: pl.DataFrame
    quarantine: pl.DataFrame
    deduplicated: int


def tenants_of(
    records: Sequence[tuple[int, int, object]],
    lookups: Lookups,
    *,
    timezone: str = "UTC",
    score_floor: float = SCORE_FLOOR,
) -> Directory:
    """Make tenants of the records of all pages: (page, position in the page, JSON value), both from 1.

    `timezone` is where the source's clocks without an offset hang; `score_floor` is the least likeness (0-100) by
    which a floor or category may be matched. A record that is not an object, or has no uniqueId, no tenantId or no
    name, is quarantined. Records of one uniqueId with the same content are one tenant (the newest update stands); with
    different content all of them are quarantined. The order of `records` has no effect.

    Raises:
        ConfigError: the lookups contradict themselves.
    """
    in_order = sorted(records, key=lambda record: record[:2])
    objects = [RawRecord(page, at, value) for page, at, value in in_order if isinstance(value, dict)]
    others = [(page, at, value) for page, at, value in in_order if not isinstance(value, dict)]
    texts, type_issues = record_texts(objects)
    rows, value_issues = tenant_columns(texts, lookups, timezone, score_floor)
    rows = _with_reason(_with_fingerprint(_with_own_columns(rows)))
    refused = rows.filter(pl.col("reason_code").is_not_null())
    tenants = _newest(rows.filter(pl.col("reason_code").is_null()))
    kept = pl.concat([tenants.select("page", "position"), refused.select("page", "position")])
    issues = all_issues([type_issues, value_issues])
    return Directory(
        tenants.select(pl.col(name).cast(dtype) for name, dtype in TENANTS.items()),
        issues.join(kept, on=["page", "position"], how="semi", maintain_order="left"),
        pl.concat([_unmapped(tenants, kind) for kind in ("floor", "category")]),
        _quarantine(refused, objects, others),
        rows.height - kept.height,
    )


def _with_own_columns(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with what was read from tel, website and logo in place of the texts."""
    return rows.with_columns(pl.col(f"read_{name}").alias(name) for name in ("tel", "website", "logo"))


def _with_fingerprint(rows: pl.DataFrame) -> pl.DataFrame:
    content = [_as_text(name, dtype) for name, dtype in TENANTS.items() if name not in _NOT_CONTENT]
    texts = rows.select(pl.concat_str(content, separator=_FIELD_MARK)).to_series()
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    return rows.with_columns(fingerprint=pl.Series(digests, dtype=pl.String))


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(name)
    if isinstance(dtype, pl.List):
        value = value.list.join("\x1e")
    elif isinstance(dtype, pl.Float64):
        # In hundredths: how floats are printed is not ours to say.
        value = (value * 100).round().cast(pl.Int64)
    return value.cast(pl.String).fill_null(_NOTHING)


def _with_reason(rows: pl.DataFrame) -> pl.DataFrame:
    """Add reason_code and reason (String): why a record can't be used, null where it can."""
    no_name = pl.all_horizontal(pl.col(f"title_{locale}").is_null() for locale in ("en", "th", "zh"))
    own = (
        pl.when(pl.col("unique_id").is_null())
        .then(pl.lit("no_unique_id"))
        .when(pl.col("tenant_id").is_null())
        .then(pl.lit("no_tenant_id"))
        .when(no_name)
        .then(pl.lit("no_name"))
    )
    contents = pl.struct("fingerprint", "reason_code").n_unique().over("unique_id")
    conflicting = pl.col("reason_code").is_null() & (contents > 1)
    place = pl.format("page {}, record {}", "page", "position")
    conflict = pl.format(
        "uniqueId {} has different content on {}; the source has to keep one of them",
        "unique_id",
        place.sort_by("page", "position").str.join(" and ").over("unique_id"),
    )
    return rows.with_columns(reason_code=own).with_columns(
        reason=pl.when(conflicting).then(conflict).otherwise(pl.col("reason_code").replace(_REASONS)),
        reason_code=pl.when(conflicting).then(pl.lit("conflicting_records")).otherwise("reason_code"),
    )


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each unique_id, the one updated last, sorted by unique_id."""
    order = ["unique_id", "tenant_last_update", "mall_last_update", "page", "position"]
    descending = [False, True, True, False, False]
    ranked = rows.sort(order, descending=descending, nulls_last=True)
    return ranked.unique("unique_id", keep="first", maintain_order=True)


def _unmapped(tenants: pl.DataFrame, kind: str) -> pl.DataFrame:
    unmapped = tenants.filter(pl.col(f"{kind}_candidates").is_not_null())
    counted = unmapped.group_by(pl.col(f"{kind}_source").alias("value")).agg(
        records=pl.len().cast(pl.Int64), candidates=pl.col(f"{kind}_candidates").first()
    )
    rows = counted.select(pl.lit(kind).alias("kind"), "value", "records", "candidates")
    return rows.sort("records", "value", descending=[True, False]).cast(UNMAPPED)  # type: ignore[arg-type]


def _quarantine(
    refused: pl.DataFrame, objects: Sequence[RawRecord], others: Sequence[tuple[int, int, object]]
) -> pl.DataFrame:
    raw = [raw_json(objects[row].fields) for row in refused["row"]]
    rows = refused.select(
        "page", pl.col("position").alias("line_no"), "reason_code", "reason", "unique_id"
    ).with_columns(raw=pl.Series(raw, dtype=pl.String))
    strange = [
        (page, at, raw_json(value), "not_an_object", _REASONS["not_an_object"], None)
        for page, at, value in others
    ]
    frames = [rows.select(list(REFUSED)), pl.DataFrame(strange, schema=REFUSED, orient="row")]
    return pl.concat(frames).sort("page", "line_no")
