"""Turn the records of a directory API into tenants: normalized, matched with the lookups, each with its issues."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from tnt_platform.directory.transforms.issues import all_issues, issues_where
from tnt_platform.directory.transforms.lookups import SCORE_FLOOR, Lookups, match_values
from tnt_platform.directory.transforms.opening_hours import hours_of
from tnt_platform.directory.transforms.plain_text import slug
from tnt_platform.directory.transforms.records import RawRecord, raw_json, record_texts
from tnt_platform.directory.transforms.values import days_of, images_of, instants_of, tels_of, websites_of
from tnt_platform.directory.transforms.words import word_list

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
# The lake's quarantine, with the page instead of the file_key: only the caller knows the page's object.
QUARANTINED: Final[dict[str, pl.DataType]] = {
    "page": pl.Int64(),
    "line_no": pl.Int64(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
    "unique_id": pl.String(),
}

# Well below the 2,704 bytes that an entry of a PostgreSQL index can hold.
UNIQUE_ID_BYTES_MAX: Final = 1000
_REASONS: Final = {
    "not_an_object": "the entry in `data` is not a JSON object; fix it or remove it at the source",
    "no_unique_id": "uniqueId is missing, blank or not text, so the record cannot be identified",
    "unique_id_too_long": "uniqueId has more than 1,000 bytes, more than an index of the database holds; shorten it",
    "no_tenant_id": "tenantId is missing, blank or not text, so the record belongs to no tenant",
    "no_name": "there is no shop or brand name in any language; a tenant needs one to be shown",
}
_NOT_CONTENT: Final = ("tenant_last_update", "mall_last_update", "page", "position", "fingerprint")
_FIELD_MARK: Final = "\x1f"
_NULL_MARK: Final = "\x00"
_NO_LETTER: Final = r"[^\p{L}\p{M}]"
_GALLERY: Final = ("gallery_1", "gallery_2", "gallery_3", "gallery_4")
_MATCH: Final = ("method", "score", "candidates")
# Field of the source -> the column it is read into, and the issue if it cannot be read.
_READ_FIELDS: Final = {
    "tel": ("read_tel", "bad_tel"),
    "website": ("read_website", "bad_url"),
    **{name: (f"read_{name}", "bad_url") for name in ("logo", *_GALLERY)},
    "startDate": ("starts_on", "bad_date"),
    "endDate": ("ends_on", "bad_date"),
    "tenantLastUpdate": ("tenant_last_update", "bad_time"),
    "mallLastUpdate": ("mall_last_update", "bad_time"),
}


@dataclass(frozen=True)
class Directory:
    """The tenants of a set of pages, their issues and unmapped values, and the records left out.

    The frames are TENANTS, ISSUES, UNMAPPED and QUARANTINED; records in = tenants + quarantine + deduplicated.
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
    """Turn the records of all pages into tenants.

    records: (page, position on the page, JSON value), both numbers from 1, in any order. `timezone` is that of times
    without an offset; `score_floor` is the lowest similarity (0-100) at which a floor or category is matched.

    A record that is not an object, or has no uniqueId, tenantId or name, is quarantined. Records that share a
    uniqueId and have the same content become one tenant (the newest update is kept); if their content differs, all of
    them are quarantined.

    Raises:
        ConfigError: the lookups contradict each other.
    """
    in_order = sorted(records, key=lambda record: record[:2])
    objects = [RawRecord(page, at, value) for page, at, value in in_order if isinstance(value, dict)]
    others = [(page, at, value) for page, at, value in in_order if not isinstance(value, dict)]
    texts, type_issues = record_texts(objects)
    rows, value_issues = _columns(texts, lookups, timezone, score_floor)
    rows = _with_reason(_with_fingerprint(_with_read_values(rows)))
    rejected = rows.filter(pl.col("reason_code").is_not_null())
    tenants = _newest(rows.filter(pl.col("reason_code").is_null()))
    shown = pl.concat([tenants.select("page", "position"), rejected.select("page", "position")])
    issues = all_issues([type_issues, value_issues])
    return Directory(
        tenants.select(pl.col(name).cast(dtype) for name, dtype in TENANTS.items()),
        issues.join(shown, on=["page", "position"], how="semi", maintain_order="left"),
        pl.concat([_unmapped(tenants, kind) for kind in ("floor", "category")]),
        _quarantine(rejected, objects, others),
        rows.height - shown.height,
    )


def _columns(
    texts: pl.DataFrame, lookups: Lookups, timezone: str, score_floor: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add the columns of TENANTS, except the fingerprint, to the strings of `record_texts`; also return ISSUES.

    floor_candidates and category_candidates (String, JSON; null unless unmapped) are added too. Values that cannot be
    read are null and have an issue.
    """
    rows = _named(texts)
    rows = _matched(rows, "floor", lookups.floors, lookups.floor_mapping, score_floor)
    rows = _matched(rows, "category", lookups.categories, lookups.category_mapping, score_floor)
    rows = _with_kind(rows, lookups.categories)
    rows = _with_hours(rows)
    rows = _with_values(rows, timezone)
    return rows, all_issues(list(_issues(rows)))


def _named(texts: pl.DataFrame) -> pl.DataFrame:
    rows = texts.with_columns(
        pl.col("tenantId").alias("tenant_id"),
        pl.coalesce("shopNameEnglish", "brandNameEn").alias("title_en"),
        pl.coalesce("shopNameThai", "brandNameTh").alias("title_th"),
        pl.coalesce("shopNameChinese", "brandNameZh").alias("title_zh"),
        pl.col("descriptionEn").alias("description_en"),
        pl.col("descriptionTh").alias("description_th"),
        pl.col("descriptionZh").alias("description_zh"),
        pl.coalesce("categoryNameEn", "categoryNameTh").alias("category_source"),
        pl.coalesce("floorRevised", "floor").alias("floor_source"),
        pl.col("openingHours").alias("opening_hours_text"),
        pl.col("status").alias("source_active"),
    )
    slugs = (
        (slug(title) if title else None) or slug(f"shop-{tenant_id or ''}")
        for title, tenant_id in rows.select("title_en", "tenant_id").iter_rows()
    )
    return rows.with_columns(slug_base=pl.Series(slugs, dtype=pl.String))


def _matched(
    rows: pl.DataFrame, name: str, codes: pl.DataFrame, mapping: pl.DataFrame, score_floor: float
) -> pl.DataFrame:
    source = f"{name}_source"
    matches = match_values(rows[source].drop_nulls(), codes, mapping, score_floor=score_floor)
    columns = matches.rename({"value": source, "code": name, **{part: f"{name}_{part}" for part in _MATCH}})
    return rows.drop(name, strict=False).join(columns, on=source, how="left", maintain_order="left")


def _with_kind(rows: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """Tell dining from shops by whole words in the category ("bar", but neither "barber" nor "barcode")."""
    words = "|".join(row["pattern"] for row in word_list("dining_words"))
    dining = rf"(?i)(?:^|{_NO_LETTER})(?:{words})(?:$|{_NO_LETTER})"
    # The English name of the matched category lets a Thai category count too.
    matched = pl.col("category").replace_strict(
        categories["code"], categories["name_en"], return_dtype=pl.String
    )
    names = pl.concat_str("categoryNameEn", "categoryNameTh", matched, separator="|", ignore_nulls=True)
    kind = pl.when(names.str.contains(dining)).then(pl.lit("dining")).otherwise(pl.lit("shop"))
    return rows.with_columns(kind=kind)


def _with_hours(rows: pl.DataFrame) -> pl.DataFrame:
    texts = rows["opening_hours_text"].drop_nulls().unique()
    hours = [hours_of(text) for text in texts]
    schema = {name: pl.String() for name in ("opening_hours", "hours_issue", "hours_message")}
    columns = pl.DataFrame(
        [(each.ranges, each.issue_code, each.message) for each in hours], schema=schema, orient="row"
    )
    return rows.join(
        columns.with_columns(opening_hours_text=texts),
        on="opening_hours_text",
        how="left",
        maintain_order="left",
    )


def _with_values(rows: pl.DataFrame, timezone: str) -> pl.DataFrame:
    images = {f"read_{name}": images_of(rows[name]) for name in ("logo", *_GALLERY)}
    return rows.with_columns(
        read_tel=tels_of(rows["tel"]),
        read_website=websites_of(rows["website"]),
        **images,
        starts_on=days_of(rows["startDate"]),
        ends_on=days_of(rows["endDate"]),
        tenant_last_update=instants_of(rows["tenantLastUpdate"], timezone),
        mall_last_update=instants_of(rows["mallLastUpdate"], timezone),
    ).with_columns(gallery=pl.concat_list(f"read_{name}" for name in _GALLERY).list.drop_nulls())


def _issues(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for name in ("floor", "category"):
        unmapped = pl.col(f"{name}_source").is_not_null() & pl.col(name).is_null()
        yield issues_where(rows, unmapped, name, f"unmapped_{name}", pl.col(f"{name}_source"))
    code, message = pl.col("hours_issue"), pl.col("hours_message")
    yield issues_where(rows, code.is_not_null(), "openingHours", code, pl.col("openingHours"), message)
    title = pl.col("title_en")
    no_latin = title.is_not_null() & ~title.str.contains(r"\p{Latin}")
    yield issues_where(rows, no_latin, "shopNameEnglish", "no_latin_letters", title)
    for name, (column, issue_code) in _READ_FIELDS.items():
        unreadable = pl.col(name).is_not_null() & pl.col(column).is_null()
        yield issues_where(rows, unreadable, name, issue_code, pl.col(name))
    ends_early = pl.col("ends_on") < pl.col("starts_on")
    yield issues_where(rows, ends_early, "endDate", "ends_before_start", pl.col("endDate"))


def _with_read_values(rows: pl.DataFrame) -> pl.DataFrame:
    """Replace the strings of tel, website and logo with the values read from them."""
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
        # In hundredths: the fingerprint must not depend on how floats are printed.
        value = (value * 100).round().cast(pl.Int64)
    return value.cast(pl.String).fill_null(_NULL_MARK)


def _with_reason(rows: pl.DataFrame) -> pl.DataFrame:
    """Add reason_code and reason (String): why a record cannot be used, null where it can."""
    no_name = pl.all_horizontal(pl.col(f"title_{locale}").is_null() for locale in ("en", "th", "zh"))
    own_reason = (
        pl.when(pl.col("unique_id").is_null())
        .then(pl.lit("no_unique_id"))
        .when(pl.col("unique_id").str.len_bytes() > UNIQUE_ID_BYTES_MAX)
        .then(pl.lit("unique_id_too_long"))
        .when(pl.col("tenant_id").is_null())
        .then(pl.lit("no_tenant_id"))
        .when(no_name)
        .then(pl.lit("no_name"))
    )
    contents = pl.struct("fingerprint", "reason_code").n_unique().over("unique_id")
    conflicting = pl.col("reason_code").is_null() & (contents > 1)
    place = pl.format("page {}, record {}", "page", "position")
    conflict = pl.format(
        "uniqueId {} has different content on {}; keep one of these records at the source",
        "unique_id",
        place.sort_by("page", "position").str.join(" and ").over("unique_id"),
    )
    return rows.with_columns(reason_code=own_reason).with_columns(
        reason=pl.when(conflicting).then(conflict).otherwise(pl.col("reason_code").replace(_REASONS)),
        reason_code=pl.when(conflicting).then(pl.lit("conflicting_records")).otherwise("reason_code"),
    )


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    """Keep the row of each unique_id that was updated last, sorted by unique_id."""
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
    rejected: pl.DataFrame, objects: Sequence[RawRecord], others: Sequence[tuple[int, int, object]]
) -> pl.DataFrame:
    raw = [raw_json(objects[row].fields) for row in rejected["row"]]
    rows = rejected.select(
        "page", pl.col("position").alias("line_no"), "reason_code", "reason", "unique_id"
    ).with_columns(raw=pl.Series(raw, dtype=pl.String))
    not_objects = [
        (page, at, raw_json(value), "not_an_object", _REASONS["not_an_object"], None)
        for page, at, value in others
    ]
    frames = [rows.select(list(QUARANTINED)), pl.DataFrame(not_objects, schema=QUARANTINED, orient="row")]
    return pl.concat(frames).sort("page", "line_no")
