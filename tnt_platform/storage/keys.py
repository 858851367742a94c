"""Keys and pointers: what a bucket and a folder agree on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tnt_platform.errors import Refused

# A folder lake keeps everything that is not an object here: lock files, and files being written.
SIDE_FOLDER = ".tnt"

# Empty, `.` or `..` parts, control characters, or the side folder. polars' str.contains understands it too.
UNUSABLE_KEY = r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f]|^\.tnt(/|$)"
_UNUSABLE = re.compile(UNUSABLE_KEY)


@dataclass(frozen=True)
class Pointer:
    """A small object as it was read: its bytes, and the etag that it must still have when it is swapped."""

    value: bytes
    etag: str


def shown(pointer: Pointer | None) -> str:
    """Return a pointer's value as an error message shows it."""
    return "nothing" if pointer is None else repr(pointer.value[:80])


def checked_key(key: str) -> str:
    """Return the key, unless it could leave the lake or exists on one kind of store only.

    Raises:
        Refused: the key is not usable.
    """
    if _UNUSABLE.search(key):
        raise Refused(
            f"key {key!r} is not usable: give a relative path without empty, `.` or `..` parts, without "
            f"control characters, and not below `{SIDE_FOLDER}/`"
        )
    return key


def checked_prefix(prefix: str) -> str:
    """Return the prefix, which may be empty, end with a slash, or end inside a name; see `checked_key`."""
    if prefix:
        checked_key(prefix.removesuffix("/"))
    return prefix
