"""Where a reader is: opaque text that pins the versions it reads."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Hashable
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tnt_platform.web.problems import Problem, bad

MAX_LENGTH = 6_000
_JSON = json.JSONEncoder(separators=(",", ":")).encode


class Cursor(BaseModel):
    """The versions a listing began with, the filters it has, and the last row that was given.

    `after` is a record's (dataset, id), or a row's number in the version. A cursor holds nothing that `?version=`
    does not give to everybody, so it is checked and not signed: whatever somebody writes into one, it reads
    published rows or is refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    versions: Annotated[dict[str, str], Field(alias="v", max_length=1_000)]
    filters: Annotated[str, Field(alias="f", pattern=r"^[0-9a-f]{16}$")]
    after: Annotated[tuple[str, str] | Annotated[int, Field(ge=0, le=2**62)] | str, Field(alias="a")]

    def encode(self) -> str:
        """The cursor as text for a URL."""
        text = _JSON({"v": self.versions, "f": self.filters, "a": self.after})
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def cursor_of(versions: dict[str, str], filters: str, after: tuple[str, str] | int | str) -> Cursor:
    """A cursor behind a row that was just given."""
    return Cursor.model_construct(versions=versions, filters=filters, after=after)


def decode(text: str, filters: str) -> Cursor:
    """Read a cursor back.

    Raises:
        Problem: 400, the text is no cursor, or it belongs to a listing with other filters.
    """
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = Cursor.model_validate_json(body)
    except (ValueError, binascii.Error, ValidationError, RecursionError) as error:
        raise _not_ours() from error
    if cursor.filters != filters:
        raise bad("cursor", "it belongs to a listing with other filters; send the same ones with every page")
    return cursor


@lru_cache(maxsize=1024)
def filters_digest(*values: Hashable) -> str:
    """What two listings with the same filters share."""
    text = json.dumps([str(value) if value is not None else None for value in values])
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def row_number(cursor: Cursor) -> int:
    """The row number of a cursor over rows.

    Raises:
        Problem: 400, it is a cursor over something else.
    """
    if not isinstance(cursor.after, int):
        raise _not_ours()
    return cursor.after


def _not_ours() -> Problem:
    return bad("cursor", "not one that this listing gave; start again without it")
