"""Open an untrusted workbook (xlsx, xlsm, xls)."""

from __future__ import annotations

import io
import unicodedata
import zipfile
from collections.abc import Callable
from typing import Any, Final, TypeVar

import fastexcel

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import RATIO_FREE_BYTES, decompress
from tnt_platform.readers.served_page import first_text, refuse_page
from tnt_platform.readers.signatures import Signature, archive_format, binary_format, text_format
from tnt_platform.series.readers.cells import NotInFile
from tnt_platform.series.readers.sheet import NOT_OF_ONE_TYPE, Sheet
from tnt_platform.series.readers.sheet_formats import percent_cells
from tnt_platform.series.readers.sheet_xml import (
    counts_from_1904,
    formulas_without_result,
    has_booleans,
    refuse_far_cells,
    shared_lookalikes,
    sheet_lookalikes,
)

UNPACKED_LIMIT_BYTES: Final = 400 << 20
MAX_RATIO: Final = 200
# Each further one takes memory for a copy of the file and the cells of a sheet.
SHEETS_AT_ONCE: Final = 2

_GZIP: Final = b"\x1f\x8b\x08"
_ZIP: Final = b"PK\x03\x04"
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
# The record DATEMODE of an xls, with 1.
_XLS_1904: Final = b"\x22\x00\x02\x00\x01\x00"
_ZIP_DAMAGE: Final = (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError, KeyError)

_T = TypeVar("_T")


class Workbook:
    """An open workbook, for several threads; each sheet is read when first asked for, and cached."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._archive = _checked_archive(data)
        reader = self._new_reader()
        self._idle = [reader]
        self.sheet_names = list(reader.sheet_names)
        self._names = {_same_name(name): name for name in self.sheet_names}
        self._sheets: dict[str, Sheet] = {}
        self._shared_lookalikes: bool | None = None
        self.epoch = 1904 if _counts_from_1904(data, self._archive) else 1900

    @property
    def sheets_at_once(self) -> int:
        """How many sheets to read in parallel; an xls is parsed as a whole when it is opened."""
        return SHEETS_AT_ONCE if self._archive is not None else 1

    def sheet(self, name: str) -> Sheet:
        """Return a sheet by its name, ignoring white space around it and the Unicode form of accents.

        Raises:
            InvalidInput: missing_sheet, or too_large for a sheet with values absurdly far apart.
        """
        found = self._names.get(_same_name(name))
        if found is None:
            listed = ", ".join(repr(name) for name in self.sheet_names[:40])
            raise NotInFile(
                "missing_sheet",
                f"the workbook has no sheet {name!r}; it has {listed}. Correct `sheet`, or ask the publisher whether "
                "the sheet is gone",
                name,
            )
        if found not in self._sheets:
            if self._archive is not None:
                refuse_far_cells(self._archive, found)
            formulas = formulas_without_result(self._archive, found) if self._archive else {}
            self._sheets[found] = Sheet(
                found, self._load, self._has_booleans, self._has_lookalikes, formulas, self._percent_cells
            )
        return self._sheets[found]

    def _percent_cells(self, name: str) -> set[tuple[int, int]]:
        return percent_cells(self._archive, name) if self._archive is not None else set()

    def _has_booleans(self, name: str) -> bool:
        return self._archive is None or has_booleans(self._archive, name)

    def _has_lookalikes(self, name: str) -> bool:
        if self._archive is None:
            return True
        if self._shared_lookalikes is None:
            self._shared_lookalikes = shared_lookalikes(self._archive)
        return self._shared_lookalikes or sheet_lookalikes(self._archive, name)

    def _new_reader(self) -> fastexcel.ExcelReader:
        return _calling(lambda: fastexcel.read_excel(self._data), "the workbook")

    def _load(self, name: str, **options: Any) -> fastexcel.ExcelSheet:
        # A reader can be used by one thread at a time.
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = self._new_reader()
        try:
            sheet: fastexcel.ExcelSheet = _calling(
                lambda: reader.load_sheet(name, **options), f"sheet {name!r}"
            )
            return sheet
        finally:
            self._idle.append(reader)


def open_workbook(data: bytes) -> Workbook:
    """Open a workbook, gzipped or not, after checking what it unpacks to.

    Raises:
        InvalidInput: html_page, not_a_workbook, truncated_workbook, corrupt_workbook, encrypted_workbook,
            too_large or suspicious_ratio; truncated_gzip or corrupt_archive.
    """
    if data.startswith(_GZIP):
        data = decompress(data, limit_bytes=UNPACKED_LIMIT_BYTES, max_ratio=MAX_RATIO)
    return Workbook(data)


def _counts_from_1904(data: bytes, archive: zipfile.ZipFile | None) -> bool:
    """Tell whether the workbook counts days from 1904, as those of old Macs do."""
    if archive is None:
        return _XLS_1904 in data
    return counts_from_1904(archive)


def _same_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _calling(call: Callable[[], _T], what: str) -> _T:
    """Call calamine, and turn whatever it fails with into InvalidInput."""
    try:
        return call()
    except NOT_OF_ONE_TYPE:
        raise
    except fastexcel.FastExcelError as fault:
        reason = str(fault).partition("\n")[0]
    except BaseException as fault:
        # Damaged bytes can make calamine panic, which raises a BaseException of this name.
        if type(fault).__name__ != "PanicException":
            raise
        reason = str(fault)
    if "password" in reason.casefold():
        raise _encrypted()
    raise InvalidInput(
        "corrupt_workbook",
        f"{what} can't be read ({reason[:200]}); open the file with a spreadsheet program, save it again and deliver "
        "that, or wait for the publisher to fix it",
    )


def _encrypted() -> InvalidInput:
    return InvalidInput(
        "encrypted_workbook",
        "the workbook is protected by a password; save it without one and deliver that",
    )


def _checked_archive(data: bytes) -> zipfile.ZipFile | None:
    """Return the archive of an xlsx, None for an xls; raise for anything else."""
    if data.startswith(_ZIP):
        return _checked_zip(data)
    if not data.startswith(_OLE):
        raise _no_workbook(data)
    if _ENCRYPTED in data:
        raise _encrypted()
    return None


def _checked_zip(data: bytes) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_DAMAGE as fault:
        raise InvalidInput(
            "truncated_workbook",
            f"the workbook is truncated ({fault}), like an interrupted download; fetch it again",
        ) from fault
    names = archive.namelist()
    if "xl/workbook.xml" not in map(str.lower, names):
        if kind := archive_format(names):
            raise _other_format(kind)
        listed = ", ".join(sorted(names)[:5]) or "nothing"
        raise InvalidInput(
            "not_a_workbook",
            f"the file is a zip archive without an Excel workbook; it contains {listed}. Name the `member` to read, or "
            "save the workbook as xlsx",
        )
    unpacked_bytes = sum(entry.file_size for entry in archive.infolist())
    if unpacked_bytes > UNPACKED_LIMIT_BYTES:
        raise InvalidInput(
            "too_large",
            f"the workbook unpacks to {unpacked_bytes:,} bytes, more than {UNPACKED_LIMIT_BYTES:,}; split it, or "
            "remove the sheets that aren't read",
        )
    if unpacked_bytes > max(RATIO_FREE_BYTES, MAX_RATIO * len(data)):
        raise InvalidInput(
            "suspicious_ratio",
            f"the workbook unpacks to {unpacked_bytes:,} bytes, more than {MAX_RATIO} times its {len(data):,}, like a "
            "decompression bomb; save it again with a spreadsheet program",
        )
    return archive


def _other_format(kind: Signature) -> InvalidInput:
    return InvalidInput(
        "not_a_workbook", f"the file is {kind.name}, not an xlsx or xls workbook; {kind.cure}"
    )


def _no_workbook(data: bytes) -> InvalidInput:
    if not data:
        return InvalidInput("empty_file", "the file is empty; fetch it again")
    if kind := binary_format(data) or text_format(data):
        return _other_format(kind)
    refuse_page(data)
    text = first_text(data)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if "\0" in text or "\ufffd" in first:
        return InvalidInput(
            "not_a_workbook",
            f"the file is not an xlsx or xls workbook (it starts with {data[:8].hex(' ')}); look at what was delivered",
        )
    return InvalidInput(
        "not_a_workbook",
        f"the file is text, not a workbook, despite its name; it starts with {first[:100]!r}. Read it with the reader "
        "wide or long, or deliver the workbook",
    )
