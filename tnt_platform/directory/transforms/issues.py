"""What is wrong with a record that is published all the same: one row for each finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

ISSUES: Final[dict[str, pl.DataType]] = {
    "unique_id": pl.String(),
    "page": pl.Int64(),
    "position": pl.Int64(),
    "field": pl.String(),
    "issue_code": pl.String(),
    "value": pl.String(),
    "message": pl.String(),
}
# In order of the platform's words: what a reader of the sync log can look up.
ISSUE_CODES: Final[dict[str, str]] = {
    "number_for_text": "a number where the API has text; its digits are taken as the text",
    "not_text": "a list, an object or a truth value where the API has text; the field is left empty",
    "not_boolean": "a status that is no truth value; it is read where it has one meaning, else left empty",
    "markup": "HTML tags in a short field; they are taken out",
    "no_latin_letters": "an English name without a Latin letter; the slug comes from the tenant's id",
    "unmapped_floor": "a floor that no code, mapping or likeness explains; the floor is left empty",
    "unmapped_category": "a category that no code, mapping or likeness explains; the category is left empty",
    "unreadable_hours": "opening hours in prose; the text is kept",
    "ambiguous_hours": "opening hours with more than one reading; the text is kept",
    "overlapping_hours": "opening hours that overlap; the text is kept",
    "hours_on_holidays": "hours on public holidays; they are in the text only",
    "bad_tel": "no telephone number; the field is left empty",
    "bad_url": "no web address; the field is left empty",
    "bad_date": "no date, or one with more than one reading; the field is left empty",
    "bad_time": "no point in time; the field is left empty",
    "ends_before_start": "an end date before the start date; both are kept",
}
SHOWN_CHARS: Final = 300

_PLACE: Final = ("unique_id", "page", "position")


def issues_where(
    rows: pl.DataFrame,
    found: pl.Expr | pl.Series,
    field: str,
    code: str | pl.Expr,
    value: pl.Expr,
    message: pl.Expr | None = None,
) -> pl.DataFrame:
    """An ISSUES row for each row (with unique_id, page, position) where `found` is true.

    `message` is what ISSUE_CODES says about the code, unless it is given.
    """
    code = pl.lit(code) if isinstance(code, str) else code
    said = code.replace_strict(ISSUE_CODES, default=None, return_dtype=pl.String)
    return rows.filter(found).select(
        *_PLACE,
        field=pl.lit(field),
        issue_code=code,
        value=value.cast(pl.String).str.slice(0, SHOWN_CHARS),
        message=said if message is None else pl.coalesce(message, said),
    )


def all_issues(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One ISSUES frame of all, sorted by place, field and code."""
    joined = pl.concat([pl.DataFrame(schema=ISSUES), *frames], how="vertical")
    return joined.sort("page", "position", "field", "issue_code", maintain_order=True)
