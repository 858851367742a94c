"""The columns of tenants from the clean texts of records: names, matched codes, hours, days, addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from tnt_platform.directory.transforms.issues import all_issues, issues_where
from tnt_platform.directory.transforms.lookups import Lookups
from tnt_platform.directory.transforms.matching import match_values
from tnt_platform.directory.transforms.opening_hours import hours_of
from tnt_platform.directory.transforms.slugs import slug
from tnt_platform.directory.transforms.values import days_of, images_of, instants_of, tels_of, websites_of

# A category that has one of these words is a place to eat or drink; "barber" and "barcode" have none.
DINING_WORDS: Final = ("foods?", "beverages?", "restaurants?", "caf[eé]s?", "bars?", r"take[\s-]*homes?")

_NO_LETTER: Final = r"[^\p{L}\p{M}]"
_DINING: Final = rf"(?i)(?:^|{_NO_LETTER})(?:{'|'.join(DINING_WORDS)})(?:$|{_NO_LETTER})"
_GALLERY: Final = ("gallery_1", "gallery_2", "gallery_3", "gallery_4")
_MATCH: Final = ("method", "score", "candidates")


def tenant_columns(
    texts: pl.DataFrame, lookups: Lookups, timezone: str, score_floor: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add every column of TENANTS but the fingerprint to the texts of `record_texts`, row by row.

    Also added: floor_candidates and category_candidates (String, JSON; null unless unmapped). Returns that frame and
    its ISSUES. Values that can't be read are null and have an issue.
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
    found = match_values(rows[source].drop_nulls(), codes, mapping, score_floor=score_floor)
    named = found.rename({"value": source, "code": name, **{part: f"{name}_{part}" for part in _MATCH}})
    return rows.drop(name, strict=False).join(named, on=source, how="left", maintain_order="left")


def _with_kind(rows: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    # A Thai category counts by the English name of what it was matched with.
    named = pl.col("category").replace_strict(
        categories["code"], categories["name_en"], return_dtype=pl.String
    )
    words = pl.concat_str("categoryNameEn", "categoryNameTh", named, separator="|", ignore_nulls=True)
    kind = pl.when(words.str.contains(_DINING)).then(pl.lit("dining")).otherwise(pl.lit("shop"))
    return rows.with_columns(kind=kind)


def _with_hours(rows: pl.DataFrame) -> pl.DataFrame:
    known = rows["opening_hours_text"].drop_nulls().unique()
    read = [hours_of(text) for text in known]
    schema = {name: pl.String() for name in ("opening_hours", "hours_issue", "hours_message")}
    columns = pl.DataFrame(
        [(hours.ranges, hours.issue_code, hours.message) for hours in read], schema=schema, orient="row"
    )
    return rows.join(
        columns.with_columns(opening_hours_text=known),
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
    hours, said = pl.col("hours_issue"), pl.col("hours_message")
    yield issues_where(rows, hours.is_not_null(), "openingHours", hours, pl.col("openingHours"), said)
    yield issues_where(
        rows,
        pl.col("title_en").is_not_null() & ~pl.col("title_en").str.contains(r"\p{Latin}"),
        "shopNameEnglish",
        "no_latin_letters",
        pl.col("title_en"),
    )
    read = {
        "tel": ("read_tel", "bad_tel"),
        "website": ("read_website", "bad_url"),
        **{name: (f"read_{name}", "bad_url") for name in ("logo", *_GALLERY)},
        "startDate": ("starts_on", "bad_date"),
        "endDate": ("ends_on", "bad_date"),
        "tenantLastUpdate": ("tenant_last_update", "bad_time"),
        "mallLastUpdate": ("mall_last_update", "bad_time"),
    }
    for name, (column, code) in read.items():
        refused = pl.col(name).is_not_null() & pl.col(column).is_null()
        yield issues_where(rows, refused, name, code, pl.col(name))
    reversed_dates = pl.col("ends_on") < pl.col("starts_on")
    yield issues_where(rows, reversed_dates, "endDate", "ends_before_start", pl.col("endDate"))
