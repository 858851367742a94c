"""What kind of file somebody brought, and how it is a table or sheets, when nothing is declared yet."""

from __future__ import annotations

import csv
import fnmatch
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import unpack_member
from tnt_platform.readers.encoding import decode
from tnt_platform.readers.served_page import refuse_page
from tnt_platform.series.readers.layouts import TableLayout

SEPARATORS: Final = (",", ";", "\t", "|")
LIKELIEST_ENCODING: Final = "cp1252"
SNIFFED_LINES: Final = 2_000
_ZIP: Final = b"PK\x03\x04"
_OLE: Final = b"\xd0\xcf\x11\xe0"
_LIMIT_BYTES: Final = 512 << 20
_MAX_RATIO: Final = 250
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# How deep lists of records are looked for.
_DEPTH: Final = 4
_MIN_RECORDS: Final = 2


@dataclass(frozen=True)
class FoundFile:
    """A file as a reader takes it: `member` is the name inside a zip, `table` None for a workbook."""

    data: bytes
    member: str | None
    table: TableLayout | None


def found_files(data: bytes) -> Iterator[FoundFile]:
    """Yield what a file may be read as, the likeliest first: itself, or each member of a zip, largest first.

    Raises:
        InvalidInput: html_page, or not_a_table: neither workbook nor JSON nor a text with columns.
    """
    refuse_page(data)
    if data.startswith(_ZIP) and not _is_workbook(data):
        for member in _members(data):
            pattern = re.sub(r"([\[\]?*])", "[\\1]", member)
            inner = unpack_member(data, pattern, limit_bytes=_LIMIT_BYTES, max_ratio=_MAX_RATIO)
            if fnmatch.fnmatch(member, "*.htm*"):
                continue
            yield from (FoundFile(inner, pattern, table) for table in tables_of(inner))
        return
    yield from (FoundFile(data, None, table) for table in tables_of(data))


def tables_of(data: bytes) -> list[TableLayout | None]:
    """How bytes may be a table, the likeliest first; [None] for a workbook.

    Raises:
        InvalidInput: not_a_table.
    """
    if data.startswith((_OLE, _ZIP)):
        return [None]
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        try:
            return [*json_tables(json.loads(data.decode(json.detect_encoding(data)).removeprefix("\ufeff")))]
        except ValueError as fault:
            raise InvalidInput(
                "not_json", f"the file starts like JSON but is none ({fault}); fetch it again"
            ) from fault
    found = csv_table(data)
    if found is None:
        starts = data[:60].decode("utf-8", "replace")
        raise InvalidInput(
            "not_a_table",
            f"no columns were recognised; the file starts with {starts!r}. Give an Excel workbook, JSON, or a text "
            f"whose columns are separated by one of {' '.join(map(repr, SEPARATORS))}",
        )
    return [found]


def csv_table(data: bytes) -> TableLayout | None:
    """The separator that gives most lines the same number of cells, and the line of the header.

    The encoding is left out where it is certain, else the likeliest: that of Windows in western Europe and America.
    """
    decoded = decode(data, declared=None)
    encoding = LIKELIEST_ENCODING if decoded.undecodable_at else None
    if encoding is not None:
        decoded = decode(data, declared=encoding)
    text = decoded.text_utf8.decode("utf-8", "backslashreplace")
    best: tuple[float, TableLayout] | None = None
    for separator in SEPARATORS:
        rows = _rows(text, separator)
        widths = Counter(len(cells) for _, cells in rows if len(cells) > 1)
        if not widths:
            continue
        # A few long rows are data, many short ones a preamble: the width that covers most cells is the table's.
        width, lines = max(widths.items(), key=lambda item: (item[0] * item[1], item[0]))
        header = next((line for line, cells in rows if _is_header(cells, width)), None)
        if header is None:
            continue
        score = lines / len(rows) * (1 + width / 1000)
        if best is None or score > best[0]:
            best = (score, TableLayout(separator=separator, header_row=header, encoding=encoding))
    return best[1] if best else None


def _rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Rows with the line each starts on, blank ones left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((start, cells))
            start = reader.line_num + 1
            if len(rows) >= SNIFFED_LINES:
                break
    except csv.Error:
        pass
    return rows


def _is_header(cells: list[str], width: int) -> bool:
    """A header names nearly all columns; the last may be the empty one behind a trailing separator."""
    named = sum(bool(cell.strip()) for cell in cells)
    return width - 1 <= len(cells) <= width + 1 and named >= max(2, (len(cells) + 1) // 2)


def json_tables(document: Any) -> Iterator[TableLayout]:
    """Every list of records in a JSON document, the longest first, as expressions that give flat records."""
    found = sorted(_lists(document, "", _DEPTH), key=lambda pair: -len(pair[1]))
    for path, records in found:
        if expression := _flat(path, records):
            yield TableLayout(format="json", records=expression)


def _lists(value: Any, path: str, depth: int) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, list):
        if len(value) >= _MIN_RECORDS and all(isinstance(one, dict | list) for one in value[1:]):
            yield path or "@", value
        children = [(f"{path}[{at}]", one) for at, one in enumerate(value[:3])]
    elif isinstance(value, dict):
        children = [
            (f"{path}.{_quoted(name)}" if path else _quoted(name), one) for name, one in value.items()
        ]
    else:
        return
    if depth:
        for inner, one in children:
            # What is inside a list of records is a record, not another table.
            if not (isinstance(value, list) and isinstance(one, dict)):
                yield from _lists(one, inner, depth - 1)


def _flat(path: str, records: list[Any]) -> str | None:
    """The JMESPath of records without objects inside; a list of lists gets names."""
    sample = records[:200]
    if all(isinstance(one, dict) for one in sample):
        parts = {name: value for one in sample for name, value in one.items() if value is not None}
        if not any(isinstance(value, dict | list) for value in parts.values()):
            return path
        chosen = [f"{_quoted(_joined(keys))}: {'.'.join(map(_quoted, keys))}" for keys in _leaves(parts, ())]
        return f"{'' if path == '@' else path}[*].{{{', '.join(chosen)}}}" if chosen else None
    rows = [one for one in sample if isinstance(one, list)]
    if len(rows) < len(sample) or any(isinstance(cell, dict | list) for row in rows for cell in row):
        return None
    width = max(map(len, rows))
    names = [f"c{at + 1}: [{at}]" for at in range(width)]
    return f"{'' if path == '@' else path}[*].{{{', '.join(names)}}}" if width > 1 else None


def _leaves(parts: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, value in parts.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, name))
        elif not isinstance(value, list):
            yield (*above, name)


def _joined(keys: tuple[str, ...]) -> str:
    return "_".join(re.sub(r"\W+", "_", key) for key in keys)


def _quoted(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def _is_workbook(data: bytes) -> bool:
    return any(name.casefold() == "xl/workbook.xml" for name in _names(data))


def _members(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [e for e in archive.infolist() if not e.is_dir() and not e.filename.startswith("__MACOSX/")]
    return [entry.filename for entry in sorted(entries, key=lambda entry: -entry.file_size)]


def _names(data: bytes) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.namelist()
    except zipfile.BadZipFile as fault:
        raise InvalidInput(
            "truncated_workbook",
            f"the file stops before its end ({fault}), as a download that was cut short does; fetch it again",
        ) from fault
