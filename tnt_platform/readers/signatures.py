"""Recognise a file by its first bytes, its text or its members, whatever its name is."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_TEXT_BYTES: Final = 8 << 10
# ORC and Feather end with their magic bytes, too, ORC with one more byte.
_END_BYTES: Final = 8


@dataclass(frozen=True)
class Signature:
    """How a kind of file is recognised, what it is called, and how its numbers can be delivered."""

    found_in: str
    at: str
    pattern: str
    name: str
    cure: str

    def matches(self, data: bytes) -> bool:
        """Tell whether bytes begin as this kind of file does."""
        magic = bytes.fromhex(self.pattern)
        begin = int(self.at.partition(" ")[0])
        if not data.startswith(magic, begin):
            return False
        rest = data[begin + len(magic) :]
        return not self.at.endswith("end") or magic in rest[-_END_BYTES:]


def binary_format(data: bytes) -> Signature | None:
    """Return the kind of a file that is not text; None for text, compressed files and archives that are unpacked."""
    return next((one for one in _signatures("bytes") if one.matches(data)), None)


def text_format(data: bytes) -> Signature | None:
    """Return the kind of a text that is a page or a document, not a table."""
    head = data[:_TEXT_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.replace(b"\0", b"")[2:]
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    return next((one for one in _signatures("text") if re.search(one.pattern, text)), None)


def archive_format(members: Iterable[str]) -> Signature | None:
    """Return the kind of document that a zip archive is, by the names of its members."""
    names = {name.lower() for name in members}
    return next((one for one in _signatures("member") if one.pattern in names), None)


@cache
def _signatures(found_in: str) -> tuple[Signature, ...]:
    with (files(__package__) / "signatures.csv").open(encoding="utf-8") as file:
        return tuple(Signature(**row) for row in csv.DictReader(file) if row["found_in"] == found_in)
