"""Draft the layout of a file: find out whether it is a workbook, CSV or JSON, and draft how to read it."""

from __future__ import annotations

import contextlib
import csv
import fnmatch
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import unpack_member
from tnt_platform.readers.encoding import decode
from tnt_platform.readers.served_page import refuse_page
from tnt_platform.readers.signatures import archive_format, text_format
from tnt_platform.series.drafting.draft import Draft
from tnt_platform.series.drafting.sheets import draft_workbook
from tnt_platform.series.drafting.tables import draft_table
from tnt_platform.series.readers.layouts import TableLayout
from tnt_platform.series.readers.workbook import open_workbook

SEPARATORS: Final = (",", ";", "\t", "|")
LIKELIEST_ENCODING: Final = "cp1252"
SNIFFED_LINES: Final = 2_000
_ZIP: Final = b"PK\x03\x04"
_OLE: Final = b"\xd0\xcf\x11\xe0"
_LIMIT_BYTES: Final = 512 << 20
_MAX_RATIO: Final = 250
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# How deep in a document to search for lists of records.
_DEPTH: Final = 4
_MIN_RECORDS: Final = 2


@dataclass(frozen=True)
class FoundFile:
    """A file as a reader takes it: `member` is its glob inside a zip, `table` is None for a workbook."""

    data: bytes
    member: str | None
    table: TableLayout | None


def draft_layout(data: bytes, name: str, sheet: str | None = None) -> Draft:
    """Draft how to read a file, whole or one sheet of it; codes start with `name`, that of the dataset.

    Raises:
        InvalidInput: nothing_recognised, missing_sheet, not_a_workbook, or as `found_files` and the readers.
    """
    rejections = []
    for found in found_files(data):
        if sheet is not None and found.table is not None:
            raise InvalidInput("not_a_workbook", f"the file has no sheets: leave out {sheet!r}")
        try:
            if found.table is None:
                draft = draft_workbook(open_workbook(found.data), name, sheet)
            else:
                draft = draft_table(found.data, found.table, name)
        except InvalidInput as fault:
            rejections.append(fault)
            continue
        return replace(draft, member=found.member)
    if rejections:
        raise rejections[0]
    raise InvalidInput("nothing_recognised", "the file holds no records; check that it is the right one")


def found_files(data: bytes) -> Iterator[FoundFile]:
    """Yield what a file may be read as, the likeliest first: itself, or each member of a zip, the largest first.

    Raises:
        InvalidInput: not_delimited, html_page, truncated_workbook, not_a_workbook, not_json, not_a_table.
    """
    if kind := text_format(data):
        raise InvalidInput("not_delimited", f"the file is {kind.name}; {kind.cure}")
    refuse_page(data)
    if data.startswith(_ZIP) and not _is_workbook(data):
        members = _members(data)
        if kind := archive_format(members):
            raise InvalidInput("not_a_workbook", f"the file is {kind.name}; {kind.cure}")
        for member in members:
            pattern = re.sub(r"([\[\]?*])", "[\\1]", member)
            if not fnmatch.fnmatch(member, "*.htm*"):
                inner = unpack_member(data, pattern, limit_bytes=_LIMIT_BYTES, max_ratio=_MAX_RATIO)
                yield from (FoundFile(inner, pattern, table) for table in tables_of(inner))
        return
    yield from (FoundFile(data, None, table) for table in tables_of(data))


def tables_of(data: bytes) -> list[TableLayout | None]:
    """Return how bytes may be read as a table, the likeliest first; [None] for a workbook.

    Raises:
        InvalidInput: not_json, not_a_table.
    """
    if data.startswith((_OLE, _ZIP)):
        return [None]
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        try:
            return [*json_tables(json.loads(data.decode(json.detect_encoding(data)).removeprefix("\ufeff")))]
        except ValueError as fault:
            raise InvalidInput(
                "not_json", f"the file starts like JSON but isn't ({fault}); fetch it again"
            ) from fault
    found = csv_table(data)
    if found is None:
        start = data[:60].decode("utf-8", "replace")
        raise InvalidInput(
            "not_a_table",
            f"no columns were recognised; the file starts with {start!r}. Give an Excel workbook, JSON, or text "
            f"whose columns are separated by one of {' '.join(map(repr, SEPARATORS))}",
        )
    return [found]


def csv_table(data: bytes) -> TableLayout | None:
    """Find the separator that gives most lines the same number of cells, and the line of the header.

    The encoding is left out where it is certain; otherwise it is that of Windows in western Europe and America.
    """
    decoded = decode(data, declared=None)
    encoding = LIKELIEST_ENCODING if decoded.undecodable_at else None
    if encoding is not None:
        decoded = decode(data, declared=encoding)
    text = decoded.text_utf8.decode("utf-8", "backslashreplace")
    found: list[tuple[float, TableLayout]] = []
    for separator in SEPARATORS:
        rows = _rows(text, separator)
        widths = Counter(len(cells) for _, cells in rows if len(cells) > 1)
        # A few long rows are data, many short ones a preamble: the table's width covers most cells.
        width, lines = max(widths.items(), key=lambda item: (item[0] * item[1], item[0]), default=(0, 0))
        header = next((line for line, cells in rows if width and _is_header(cells, width)), None)
        if header is not None:
            score = lines / len(rows) * (1 + width / 1000)
            found.append((score, TableLayout(separator=separator, header_row=header, encoding=encoding)))
    return max(found, key=lambda one: one[0])[1] if found else None


def _rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Return the rows that aren't blank, each with the line it starts on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[tuple[int, list[str]]] = []
    start = 1
    # What precedes a malformed row is enough to recognise the table; reading it reports the row.
    with contextlib.suppress(csv.Error):
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((start, cells))
            start = reader.line_num + 1
            if len(rows) >= SNIFFED_LINES:
                break
    return rows


def _is_header(cells: list[str], width: int) -> bool:
    """Tell whether a row names nearly all columns; a trailing separator may add an empty one."""
    named = sum(bool(cell.strip()) for cell in cells)
    return width - 1 <= len(cells) <= width + 1 and named >= max(2, (len(cells) + 1) // 2)


def json_tables(document: Any) -> Iterator[TableLayout]:
    """Yield every list of records in a JSON document, the longest first, as expressions that give flat records."""
    for path, records in sorted(_lists(document, "", _DEPTH), key=lambda pair: -len(pair[1])):
        if expression := _flat(path, records):
            yield TableLayout(format="json", records=expression)


def _lists(value: Any, path: str, depth: int) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, list):
        if len(value) >= _MIN_RECORDS and all(isinstance(one, dict | list) for one in value[1:]):
            yield path or "@", value
        # What is inside a list of records is a record, not another table.
        children = [
            (f"{path}[{at}]", one)
            for at, one in enumerate(value[:3])
            if not isinstance(one, dict) or len(value) < _MIN_RECORDS
        ]
    elif isinstance(value, dict):
        children = [
            (f"{path}.{_quoted(name)}" if path else _quoted(name), one) for name, one in value.items()
        ]
    else:
        return
    if depth:
        for inner, one in children:
            yield from _lists(one, inner, depth - 1)


def _flat(path: str, records: list[Any]) -> str | None:
    """Return the JMESPath of records without objects inside; the cells of lists get names."""
    sample, root = records[:200], "" if path == "@" else path
    if all(isinstance(one, dict) for one in sample):
        fields = {name: value for one in sample for name, value in one.items() if value is not None}
        if not any(isinstance(value, dict | list) for value in fields.values()):
            return path
        chosen = [f"{_quoted(_joined(keys))}: {'.'.join(map(_quoted, keys))}" for keys in _leaves(fields, ())]
        return f"{root}[*].{{{', '.join(chosen)}}}" if chosen else None
    if any(not isinstance(row, list) or any(isinstance(cell, dict | list) for cell in row) for row in sample):
        return None
    width = max(map(len, sample))
    names = [f"c{at + 1}: [{at}]" for at in range(width)]
    return f"{root}[*].{{{', '.join(names)}}}" if width > 1 else None


def _leaves(fields: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, name))
        elif not isinstance(value, list):
            yield (*above, name)


def _joined(keys: tuple[str, ...]) -> str:
    return "_".join(re.sub(r"\W+", "_", key) for key in keys)


def _quoted(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def _is_workbook(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(name.casefold() == "xl/workbook.xml" for name in archive.namelist())
    except zipfile.BadZipFile as fault:
        raise InvalidInput(
            "truncated_workbook",
            f"the file ends too early ({fault}), as an interrupted download does; fetch it again",
        ) from fault


def _members(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [e for e in archive.infolist() if not e.is_dir() and not e.filename.startswith("__MACOSX/")]
    return [entry.filename for entry in sorted(entries, key=lambda entry: -entry.file_size)]
