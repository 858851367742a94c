"""Look into the XML of an xlsx sheet for what calamine does not report.

calamine holds a sheet as one rectangle from the first to the last value: two cells in opposite corners take 17 billion
cells, and the process dies. And it returns some texts and booleans as numbers: "1.60", TRUE.
"""

from __future__ import annotations

import html
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.layouts import column_index, column_letters

MAX_CELLS: Final = 12_000_000
# Counting the cells of a sheet takes a third of the time of reading it. Above this size the declared dimension is
# trusted, since a sheet with few values far apart is small.
COUNTED_BYTES: Final = 2 << 20
_PIECE_BYTES: Final = 1 << 20
_ROWS_BYTES: Final = 4 << 20

_DIMENSION: Final = re.compile(rb'<(?:\w+:)?dimension\s+ref="([A-Z]+)([0-9]+)(?::([A-Z]+)([0-9]+))?"')
# A cell with content; a cell with only a style is self-closing (<c r="A1" s="2"/>).
_CELL: Final = re.compile(rb'<(?:\w+:)?c(?:\s+[a-z]+="[^"]*")*?\s+r="([A-Z]{1,3})([0-9]{1,7})"[^>]*(?<!/)>')
_BOOLEAN: Final = re.compile(rb"""\st=["']b["']""")
_FROM_1904: Final = re.compile(rb"""\sdate1904=["'](?:1|true)["']""")
_TEXT_CELL: Final = re.compile(rb"""t=["'](?:str|inlineStr)["'][^>]*>(.*?)</(?:\w+:)?c>""", re.DOTALL)
# A formula without a result, as programs write it that don't calculate; the result "" has the type str.
_NO_RESULT: Final = re.compile(
    rb"""<(?:\w+:)?c\s(?![^>]*\bt=["']str["'])(?=[^>]*?\br=["']([A-Z]{1,3})([0-9]{1,7})["'])[^>]*>\s*"""
    rb"""<(?:\w+:)?f(?:\s[^>]*)?(?:/>|>([^<]*)</(?:\w+:)?f>)\s*(?:<(?:\w+:)?v\s*(?:/>|></(?:\w+:)?v>))?\s*</(?:\w+:)?c>"""
)
_FORMULA: Final = re.compile(rb"<(?:\w+:)?f[\s/>]")
_BLANK_FORMULA: Final = '""'
_SHARED_TEXT: Final = re.compile(rb"<(?:\w+:)?si>(.*?)</(?:\w+:)?si>", re.DOTALL)
_RUN: Final = re.compile(rb"<(?:\w+:)?[vt](?:\s[^>]*)?>([^<]*)<")
# Signs that a text is more than its runs: phonetic readings, and characters given by number.
_INTRICATE: Final = (b"rPh", b"_x", b"CDATA")
SHARED_TEXTS: Final = "xl/sharedstrings.xml"
DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    ElementTree.ParseError,
    KeyError,
    ValueError,
    OSError,
    RuntimeError,
    EOFError,
)


def refuse_far_cells(archive: zipfile.ZipFile, sheet: str) -> None:
    """Refuse a sheet that would take more than MAX_CELLS cells of memory.

    Raises:
        InvalidInput: too_large, or corrupt_workbook.
    """
    try:
        part = part_of(archive, sheet)
        rows, columns, last = _declared(archive, part)
        if archive.getinfo(part).file_size <= COUNTED_BYTES or rows * columns > MAX_CELLS:
            rows, columns, last = _counted(archive, part)
    except DAMAGE as fault:
        raise InvalidInput(
            "corrupt_workbook",
            f"sheet {sheet!r} can't be found or unpacked ({fault}); open the file with a spreadsheet program, save it "
            "again and deliver that",
        ) from fault
    if rows * columns > MAX_CELLS:
        raise InvalidInput(
            "too_large",
            f"sheet {sheet!r} has values as far as {last}: {rows:,} rows by {columns:,} columns, more than "
            f"{MAX_CELLS:,} cells; delete stray cells at its far end, or split it",
        )


def has_booleans(archive: zipfile.ZipFile, sheet: str) -> bool:
    """Tell whether a sheet may hold TRUE or FALSE, which fastexcel returns as 1 and 0 among numbers."""
    try:
        return _BOOLEAN.search(archive.read(part_of(archive, sheet))) is not None
    except DAMAGE:
        return True


def formulas_without_result(archive: zipfile.ZipFile, sheet: str) -> dict[int, dict[int, str]]:
    """Return the formulas that have no stored result, by column and row from 0: calamine returns blank cells."""
    try:
        xml = archive.read(part_of(archive, sheet))
    except DAMAGE:
        return {}
    found: dict[int, dict[int, str]] = {}
    if _FORMULA.search(xml) is None:
        return found
    for letters, row, formula in _NO_RESULT.findall(xml):
        text = html.unescape(formula.decode("utf-8", "replace"))
        if text == _BLANK_FORMULA:
            continue
        found.setdefault(column_index(letters.decode()), {})[int(row) - 1] = f"={text or 'formula'}"
    return found


def counts_from_1904(archive: zipfile.ZipFile) -> bool:
    """Tell whether the workbook says that its days count from 1904."""
    try:
        return _FROM_1904.search(archive.read("xl/workbook.xml")) is not None
    except DAMAGE:
        return False


def part_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """Return the name of the part that holds a sheet, or raise one of `DAMAGE` if there is none."""
    # expat rejects entity bombs by itself, and the sizes were checked.
    book = ElementTree.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314
    links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    targets = {link.get("Id"): link.get("Target", "") for link in links}
    for entry in book.iterfind(".//{*}sheet"):
        if entry.get("name") == sheet:
            link_id = next((value for name, value in entry.items() if name.endswith("}id")), None)
            target = targets.get(link_id, "")
            return posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")
    raise KeyError(f"the workbook lists no sheet {sheet!r}")


def _declared(archive: zipfile.ZipFile, part: str) -> tuple[int, int, str]:
    """Return rows, columns and last cell as the sheet declares them; if it does not, those of the largest sheet."""
    with archive.open(part) as xml:
        found = _DIMENSION.search(xml.read(8192))
    if found is None:
        return 1 << 20, 1 << 14, ""
    first_column, first_row, last_column, last_row = (
        text.decode() if text else "" for text in found.groups()
    )
    last_column, last_row = last_column or first_column, last_row or first_row
    columns = column_index(last_column) - column_index(first_column) + 1
    return int(last_row) - int(first_row) + 1, columns, f"{last_column}{last_row}"


def _counted(archive: zipfile.ZipFile, part: str) -> tuple[int, int, str]:
    """Return rows, columns and last cell of the rectangle around all cells with content."""
    rows: set[bytes] = set()
    columns: set[bytes] = set()
    rest = b""
    with archive.open(part) as xml:
        while piece := xml.read(_PIECE_BYTES):
            rest += piece
            whole = rest.rfind(b">") + 1
            for column, row in _CELL.findall(rest, 0, whole):
                columns.add(column)
                rows.add(row)
            rest = rest[whole:]
    if not rows:
        return 0, 0, ""
    numbers = [int(row) for row in rows]
    places = [column_index(column.decode()) for column in columns]
    return (
        max(numbers) - min(numbers) + 1,
        max(places) - min(places) + 1,
        f"{column_letters(max(places))}{max(numbers)}",
    )


def shared_lookalikes(archive: zipfile.ZipFile) -> bool:
    """Tell whether a text that the sheets share may be read as a number."""
    try:
        parts = [name for name in archive.namelist() if name.casefold() == SHARED_TEXTS]
        return any(_any_lookalike(archive.read(part), _SHARED_TEXT) for part in parts)
    except DAMAGE:
        return True


def sheet_lookalikes(archive: zipfile.ZipFile, sheet: str) -> bool:
    """Tell whether a boolean, or a text in the sheet itself, may be read as a number."""
    try:
        pieces = _pieces(archive, part_of(archive, sheet))
        return any(
            _BOOLEAN.search(piece) is not None or _any_lookalike(piece, _TEXT_CELL) for piece in pieces
        )
    except (*DAMAGE, InvalidInput):
        return True


def _pieces(archive: zipfile.ZipFile, part: str) -> Iterator[bytes]:
    """Yield a sheet in pieces of whole rows, so that no cell is split."""
    rest = b""
    with archive.open(part) as xml:
        while piece := xml.read(_ROWS_BYTES):
            rest += piece
            whole = rest.rfind(b"row>") + 1
            yield rest[:whole]
            rest = rest[whole:]
    yield rest


def _any_lookalike(xml: bytes, text: re.Pattern[bytes]) -> bool:
    return any(map(_reads_as_number, set(text.findall(xml))))


def _reads_as_number(body: bytes) -> bool:
    if any(sign in body for sign in _INTRICATE):
        return True
    try:
        float(html.unescape(b"".join(_RUN.findall(body)).decode()))
    except ValueError:
        return False
    return True
