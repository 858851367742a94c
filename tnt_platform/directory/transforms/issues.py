"""Issues: what is wrong with a record that is published all the same, one row per finding."""

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
# The message of each code, for readers of the sync log.
ISSUE_CODES: Final[dict[str, str]] = {
    "number_for_text": "a number instead of text; its digits are used as the text",
    "not_text": "a list, an object or a boolean instead of text; the field is left empty",
    "not_boolean": "the status is not a boolean; it is used if it has an obvious meaning, else left empty",
    "markup": "HTML tags in a short field; they are removed",
    "no_latin_letters": "an English name without Latin letters; the slug is made from the tenant's id",
    "unmapped_floor": "an unknown floor, not close enough to any code; the floor is left empty",
    "unmapped_category": "an unknown category, not close enough to any code; the category is left empty",
    "unreadable_hours": "opening hours that cannot be read; only the text is kept",
    "ambiguous_hours": "opening hours that can be read in more than one way; only the text is kept",
    "overlapping_hours": "opening hours that overlap; only the text is kept",
    "hours_on_holidays": "hours on public holidays; they are kept in the text only",
    "bad_tel": "not a telephone number; the field is left empty",
    "bad_url": "not a web address; the field is left empty",
    "bad_date": "not a date, or one that can be read in more than one way; the field is left empty",
    "bad_time": "not a timestamp; the field is left empty",
    "ends_before_start": "the end date is before the start date; both are kept",
}
VALUE_CHARS_MAX: Final = 300


def issues_where(
    rows: pl.DataFrame,
    condition: pl.Expr | pl.Series,
    field: str,
    code: str | pl.Expr,
    value: pl.Expr,
    message: pl.Expr | None = None,
) -> pl.DataFrame:
    """Make a row of ISSUES for each row (with unique_id, page, position) where `condition` is true.

    Without a `message`, the one in ISSUE_CODES is used.
    """
    code = pl.lit(code) if isinstance(code, str) else code
    default = code.replace_strict(ISSUE_CODES, default=None, return_dtype=pl.String)
    return rows.filter(condition).select(
        "unique_id",
        "page",
        "position",
        field=pl.lit(field),
        issue_code=code,
        value=value.cast(pl.String).str.slice(0, VALUE_CHARS_MAX),
        message=default if message is None else pl.coalesce(message, default),
    )


def all_issues(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Combine frames of ISSUES into one, sorted by page, position, field and code."""
    combined = pl.concat([pl.DataFrame(schema=ISSUES), *frames], how="vertical")
    return combined.sort("page", "position", "field", "issue_code", maintain_order=True)
