"""Which keys the lake can name on a bucket and in a folder alike."""

from __future__ import annotations

import re

from tnt_platform.errors import Refused

# Everything in a folder lake that is not an object lives here: lock files, and files being written.
SIDE_FOLDER = ".tnt"

# Empty, `.` or `..` parts, control characters, or the side folder. Also understood by polars' str.contains.
UNUSABLE_KEY = r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f]|^\.tnt(/|$)"
_UNUSABLE = re.compile(UNUSABLE_KEY)


def checked_key(key: str) -> str:
    """The key itself, or Refused when it could leave the lake or be named on one kind of store only."""
    if _UNUSABLE.search(key):
        raise Refused(
            f"key {key!r} is not usable: give a relative path without empty, `.` or `..` parts, "
            f"control characters, or `{SIDE_FOLDER}/` in front"
        )
    return key


def checked_prefix(prefix: str) -> str:
    """The prefix itself; it may be empty, end with a slash, or end inside a name."""
    if prefix:
        checked_key(prefix.removesuffix("/"))
    return prefix
