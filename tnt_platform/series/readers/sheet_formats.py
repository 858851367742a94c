"""Find the cells of an xlsx sheet whose numbers are shown as percentages: 0.25 as 25 %.

calamine returns the stored number and not its format, so a column that mixes both has two scales.
"""

from __future__ import annotations

import re
import zipfile
from typing import Final
from xml.etree import ElementTree

from tnt_platform.series.readers.layouts import column_index
from tnt_platform.series.readers.sheet_xml import DAMAGE, part_of

# What a cell so formatted is called in `SeriesCells`.
PERCENT_FORMAT: Final = "percent format"
# Excel's own formats 0% and 0.00%.
_BUILT_IN: Final = frozenset({"9", "10"})
_QUOTED: Final = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
_CELL: Final = (
    rb"""<(?:\w+:)?c\s(?=[^>]*?\bs=["'](?:%s)["'])(?=[^>]*?\br=["']([A-Z]{1,3})([0-9]{1,7})["'])"""
    rb"""[^>]*(?<!/)>"""
)


def percent_cells(archive: zipfile.ZipFile, sheet: str) -> set[tuple[int, int]]:
    """Return row and column, both from 0, of the cells with content and a percent format."""
    try:
        styles = _percent_styles(archive)
        if not styles:
            return set()
        cell = re.compile(_CELL % "|".join(map(str, styles)).encode())
        found = cell.findall(archive.read(part_of(archive, sheet)))
    except DAMAGE:
        return set()
    return {(int(row) - 1, column_index(letters.decode())) for letters, row in found}


def _percent_styles(archive: zipfile.ZipFile) -> list[int]:
    """Return the styles, by their position, that show a number as a percentage."""
    # expat rejects entity bombs by itself, and the sizes were checked.
    sheet = ElementTree.fromstring(archive.read("xl/styles.xml"))  # noqa: S314
    formats = {
        one.get("numFmtId")
        for one in sheet.iterfind(".//{*}numFmts/{*}numFmt")
        if "%" in _QUOTED.sub("", one.get("formatCode", ""))
    } | _BUILT_IN
    styles = sheet.find("{*}cellXfs")
    return [at for at, one in enumerate(styles or ()) if one.get("numFmtId") in formats]
