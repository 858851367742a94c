"""Cursors: opaque text that marks a position in a listing and pins the versions it reads."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Hashable
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tnt_platform.web.problems import Problem, bad_parameter

MAX_LENGTH = 6_000
_JSON = json.JSONEncoder(separators=(",", ":")).encode


class Cursor(BaseModel):
    """The pinned versions of a listing, its filters, and the last row of the page before.

    `after` is a record's (dataset, id), or a row's number in the version. A cursor gives access to nothing that
    `?version=` does not, so it is validated but not signed: a forged one reads published rows or is rejected.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    versions: Annotated[dict[str, str], Field(alias="v", max_length=1_000)]
    filters: Annotated[str, Field(alias="f", pattern=r"^[0-9a-f]{16}$")]
    after: Annotated[tuple[str, str] | Annotated[int, Field(ge=0, le=2**62)] | str, Field(alias="a")]

    def encode(self) -> str:
        """Encode the cursor for a URL."""
        text = _JSON({"v": self.versions, "f": self.filters, "a": self.after})
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def cursor_of(versions: dict[str, str], filters: str, after: tuple[str, str] | int | str) -> Cursor:
    """Return a cursor positioned after a row."""
    return Cursor.model_construct(versions=versions, filters=filters, after=after)


def decode(text: str, filters: str) -> Cursor:
    """Decode a cursor.

    Raises:
        Problem: 400, the text is not a cursor, or it belongs to a listing with other filters.
    """
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = Cursor.model_validate_json(body)
    except (ValueError, binascii.Error, ValidationError, RecursionError) as error:
        raise invalid_cursor() from error
    if cursor.filters != filters:
        raise bad_parameter(
            "cursor", "it belongs to a listing with other filters; keep the filters the same on every page"
        )
    return cursor


@lru_cache(maxsize=1024)
def filters_digest(*values: Hashable) -> str:
    """Return a digest that listings with the same filters share."""
    text = json.dumps([str(value) if value is not None else None for value in values])
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def row_number(cursor: Cursor) -> int:
    """Return the row number of a cursor over rows.

    Raises:
        Problem: 400, the cursor belongs to another kind of listing.
    """
    if not isinstance(cursor.after, int):
        raise invalid_cursor()
    return cursor.after


def invalid_cursor() -> Problem:
    """Return the problem of a cursor that this listing did not return."""
    return bad_parameter("cursor", "this listing did not return it; start again without it")
