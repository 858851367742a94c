"""What in an xlsx sheet calamine would give as a number although it is none: texts such as "1.60", TRUE and FALSE."""

from __future__ import annotations

import html
import re
import zipfile
from collections.abc import Iterator
from typing import Final

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.sheet_part import DAMAGE, part_of

SHARED_TEXTS: Final = "xl/sharedstrings.xml"
_PIECE_BYTES: Final = 4 << 20
_BOOLEAN: Final = re.compile(rb"""t=["']b["']""")
_TEXT_CELL: Final = re.compile(rb"""t=["'](?:str|inlineStr)["'][^>]*>(.*?)</(?:\w+:)?c>""", re.DOTALL)
_SHARED_TEXT: Final = re.compile(rb"<(?:\w+:)?si>(.*?)</(?:\w+:)?si>", re.DOTALL)
_RUN: Final = re.compile(rb"<(?:\w+:)?[vt](?:\s[^>]*)?>([^<]*)<")
# Signs of a text that is more than its runs: readings of Japanese words, and characters by their number.
_INTRICATE: Final = (b"rPh", b"_x", b"CDATA")


def shared_lookalikes(archive: zipfile.ZipFile) -> bool:
    """Tell whether a text that the sheets share may pass for a number."""
    try:
        parts = [name for name in archive.namelist() if name.casefold() == SHARED_TEXTS]
        return any(_any_lookalike(archive.read(part), _SHARED_TEXT) for part in parts)
    except DAMAGE:
        return True


def sheet_lookalikes(archive: zipfile.ZipFile, sheet: str) -> bool:
    """Tell whether a boolean, or a text that stands in the sheet itself, may pass for a number."""
    try:
        pieces = _pieces(archive, part_of(archive, sheet))
        return any(
            _BOOLEAN.search(piece) is not None or _any_lookalike(piece, _TEXT_CELL) for piece in pieces
        )
    except (*DAMAGE, InvalidInput):
        return True


def _pieces(archive: zipfile.ZipFile, part: str) -> Iterator[bytes]:
    """Yield a sheet in pieces of whole rows, so that no cell is cut."""
    rest = b""
    with archive.open(part) as xml:
        while piece := xml.read(_PIECE_BYTES):
            rest += piece
            whole = rest.rfind(b"row>") + 1
            yield rest[:whole]
            rest = rest[whole:]
    yield rest


def _any_lookalike(xml: bytes, text: re.Pattern[bytes]) -> bool:
    return any(map(_passes_for_number, set(text.findall(xml))))


def _passes_for_number(body: bytes) -> bool:
    if any(sign in body for sign in _INTRICATE):
        return True
    try:
        float(html.unescape(b"".join(_RUN.findall(body)).decode()))
    except ValueError:
        return False
    return True
