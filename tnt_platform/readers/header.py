"""Find the header of a delimited file: which line it is, what it names, and where it stands again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.layout import DelimitedLayout, normalised
from tnt_platform.readers.lines import Lines, Mask
from tnt_platform.readers.quoted import QuotedRecord, QuotedRecords

# What can be wrong with one line, the worst last.
SOUND, REPEATED_HEADER, OTHER_HEADER, UNDECODABLE, NUL_BYTES, TOO_LONG = range(6)
LINE_FAULT_CODES: Final = {
    REPEATED_HEADER: "repeated_header",
    OTHER_HEADER: "other_header",
    UNDECODABLE: "undecodable",
    NUL_BYTES: "nul_bytes",
    TOO_LONG: "line_too_long",
}
# A title, an address and a table of notes fit above a header; more is another kind of file.
MAX_PREAMBLE_ROWS: Final = 50
_NAMES_SHOWN: Final = 60


@dataclass(frozen=True)
class Header:
    """The cells of a header as the file has them, and its last line."""

    cells: tuple[str, ...]
    last: int

    @property
    def named(self) -> int:
        """Count the cells up to the last one with a name."""
        return max((at for at, cell in enumerate(self.cells, start=1) if cell.strip()), default=0)

    @property
    def labels(self) -> list[str]:
        """Return the names as they are compared."""
        return [normalised(cell) for cell in self.cells]


@dataclass(frozen=True)
class HeaderSearch:
    """The lines of a file among which its header is searched."""

    lines: Lines
    quoted: Mask
    records: QuotedRecords
    faults: npt.NDArray[np.uint8]
    separator: str
    layout: DelimitedLayout

    def find(self, rows: npt.NDArray[np.int64]) -> Header:
        """Return the header: the declared line, or the first of `rows` that names every required column.

        Lines above it are a preamble only if each of them fills fewer cells than the header: rows of data above a
        header are never left out.

        Raises:
            InvalidInput: empty_file, malformed_header, missing_column.
        """
        if self.layout.header_row is not None:
            rows = rows[rows >= self.layout.header_row - 1]
            if not len(rows) or int(rows[0]) != self.layout.header_row - 1:
                raise InvalidInput(
                    "empty_file",
                    f"line {self.layout.header_row}, the declared header_row, is blank or missing; deliver the file "
                    "with its header there, or correct header_row",
                )
            rows = rows[:1]
        if not len(rows):
            raise InvalidInput("empty_file", "the file has no header line; deliver it again with its header")
        required = self._required()
        if not required:
            return self._checked(int(rows[0]))
        closest, widest_above = -1, 0
        nearest: tuple[int, Header] | None = None
        for line in rows[:MAX_PREAMBLE_ROWS].tolist():
            if line <= closest:
                continue
            record = self._read(line)
            header = Header(tuple(record.cells or ()), record.last)
            found = len(required & set(header.labels))
            filled = sum(bool(label) for label in header.labels)
            if found == len(required) and filled > widest_above:
                return self._checked(line)
            if nearest is None or found > nearest[0]:
                nearest = (found, header)
            closest, widest_above = record.last, max(widest_above, filled)
        self._checked(int(rows[0]))
        assert nearest is not None, "there are rows"
        raise InvalidInput("missing_column", self._what_is_missing(required, nearest[1]))

    def _required(self) -> set[str]:
        names = (c for c in self.layout.columns if isinstance(c, str) and c not in self.layout.optional)
        return {normalised(name) for name in names}

    def _what_is_missing(self, required: set[str], nearest: Header) -> str:
        labels = nearest.labels
        missing = [
            repr(name)
            for name in self.layout.columns
            if isinstance(name, str) and normalised(name) in required - set(labels)
        ]
        return (
            f"the header lacks {', '.join(missing)}; line {nearest.last + 1} comes closest: it has "
            f"{', '.join(map(repr, labels[:_NAMES_SHOWN]))}. Deliver the file with these columns, or correct "
            "`separator:`, `header_row:` or the column's `source:`"
        )

    def _read(self, first: int) -> QuotedRecord:
        if not self.quoted[first] or self.faults[first] == TOO_LONG:
            return QuotedRecord(first=first, last=first, cells=self.lines.text(first).split(self.separator))
        return self.records.read(first)

    def _checked(self, first: int) -> Header:
        record = self._read(first)
        fault = int(self.faults[first : record.last + 1].max())
        if record.cells is None or fault != SOUND:
            wrong = LINE_FAULT_CODES.get(fault, "quotes that don't match")
            raise InvalidInput(
                "malformed_header",
                f"the header on line {first + 1} can't be read ({wrong}): {self.lines.text(first)[:200]!r}; "
                "correct it, or declare `encoding:` or `quote:`",
            )
        widest = self.layout.max_columns
        if widest is not None and len(record.cells) > widest:
            raise InvalidInput(
                "malformed_header",
                f"the header has {len(record.cells)} columns where max_columns is {widest}; raise it",
            )
        return Header(tuple(record.cells), record.last)


def mark_repeated_headers(
    lines: Lines,
    header: Header,
    faults: npt.NDArray[np.uint8],
    separator: str,
    layout: DelimitedLayout,
) -> None:
    """Mark in `faults` the lines that are the header again, and those below a header in another order.

    Files that were joined hold their header more than once. Below the same header the rows are read; below one whose
    columns have another order they would be read into the wrong columns.
    """
    labels = header.labels
    names = [label for label in labels if label]
    if len(names) < 2:
        return
    longest = max((cell.strip() for cell in header.cells), key=len).encode()
    begin = int(lines.stops[header.last])
    other_since: int | None = None
    for line in _lines_holding(lines, longest, begin):
        found = [normalised(cell) for cell in _split(lines.text(line), separator, layout.quote)]
        if sorted(found) != sorted(labels):
            continue
        if found == labels:
            if other_since is not None:
                _raise_to(faults, slice(other_since, line), OTHER_HEADER)
                other_since = None
            _raise_to(faults, slice(line, line + 1), REPEATED_HEADER)
        elif other_since is None:
            other_since = line
    if other_since is not None:
        _raise_to(faults, slice(other_since, len(lines)), OTHER_HEADER)


def _raise_to(faults: npt.NDArray[np.uint8], where: slice, fault: int) -> None:
    np.maximum(faults[where], fault, out=faults[where])


def _split(text: str, separator: str, quote: str | None) -> list[str]:
    cells = text.split(separator)
    return [cell.strip().strip(quote) for cell in cells] if quote else cells


def _lines_holding(lines: Lines, text: bytes, begin: int) -> list[int]:
    """Return the lines after offset `begin` that hold `text`."""
    found: list[int] = []
    at = lines.data.find(text, begin)
    while at >= 0:
        line = int(lines.at(at))
        found.append(line)
        at = lines.data.find(text, int(lines.stops[line]))
    return found
