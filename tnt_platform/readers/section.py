"""Take one delimited file apart: plain lines, quoted records, blank lines, damaged lines and its header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import decompress
from tnt_platform.readers.encoding import Decoded, decode
from tnt_platform.readers.header import (
    LINE_FAULT_CODES,
    NUL_BYTES,
    OTHER_HEADER,
    REPEATED_HEADER,
    SOUND,
    TOO_LONG,
    UNDECODABLE,
    Header,
    HeaderSearch,
    mark_repeated_headers,
)
from tnt_platform.readers.layout import FRAME_COLUMNS, RAW_LIMIT_CHARS, DelimitedLayout, RawFile, normalised
from tnt_platform.readers.lines import Lines, Mask, split_lines
from tnt_platform.readers.quoted import QuotedRecord, QuotedRecords

# What separates cells inside, where the file's own separator has several characters.
_UNIT_SEPARATOR: Final = "\x1f"
_SEP_LINE: Final = re.compile(rb'"?sep=([\x20-\x7e\t])"?[ \t]*(?:\r\n|\r|\n|$)', re.IGNORECASE)

# The name of each chosen column and the cell it comes from, None where the file lacks it.
Selection = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Section:
    """The lines of one file by what they are; each row is in exactly one of plain, rejected, records."""

    key: str
    lines: Lines
    encoding: str
    separator: str
    selection: Selection
    widths: tuple[int, int]
    plain: Mask
    rejected: npt.NDArray[np.int64]
    records: tuple[QuotedRecord, ...]
    blank_lines: int
    faults: npt.NDArray[np.uint8]
    spelled_separator: str

    @property
    def rows_in(self) -> int:
        return int(self.plain.sum()) + len(self.rejected) + len(self.records) + self.blank_lines

    def raw(self, first: int, last: int) -> str:
        """Return the text of lines `first` to `last` as quarantine shows it."""
        return self.text(first, last)[:RAW_LIMIT_CHARS].replace("\0", "\\x00")

    def text(self, first: int, last: int) -> str:
        """Return the text of lines `first` to `last` as the file has it."""
        return self.lines.text(first, last).replace(self.separator, self.spelled_separator)

    def cells(self, record: QuotedRecord) -> list[str]:
        """Return the cells of a record as the file has them."""
        if self.separator == self.spelled_separator:
            return record.cells or []
        return [cell.replace(self.separator, self.spelled_separator) for cell in record.cells or ()]

    def line_fault(self, first: int, last: int) -> int:
        """Return the worst fault of lines `first` to `last`."""
        return int(self.faults[first : last + 1].max())

    def rejection(self, line: int) -> tuple[str, str]:
        """Return reason_code and reason of a rejected line."""
        if self.faults[line] != SOUND:
            return self.damage(line, line)
        return self.misfit(self.lines.text(line).count(self.separator) + 1)

    def misfit(self, width: int) -> tuple[str, str]:
        """Return reason_code and reason of a row with a wrong number of cells."""
        low, high = self.widths
        code = "too_few_columns" if width < low else "too_many_columns"
        wanted = low if low == high else f"{low} to {high}"
        return code, f"the row has {width} columns where {wanted} are expected"

    def damage(self, first: int, last: int) -> tuple[str, str]:
        """Return reason_code and reason of lines `first` to `last`, of which one is damaged."""
        fault = self.line_fault(first, last)
        size_bytes = int(self.lines.ends[last] - self.lines.starts[first])
        reasons = {
            REPEATED_HEADER: "the header stands here again, as it does where files were joined; the rows below it "
            "are read",
            OTHER_HEADER: "a line above this one names the same columns in another order, so it is not known which "
            "cell is which; deliver the two tables as files of their own",
            UNDECODABLE: f"the row has bytes that are not {self.encoding} text; declare the file's `encoding:` "
            "(such as cp1252), or deliver it as UTF-8",
            NUL_BYTES: "the row has NUL bytes, as a damaged or binary file does; deliver the file again",
            TOO_LONG: f"the line has {size_bytes:,} bytes, more than max_line_bytes; correct its line ends",
        }
        return LINE_FAULT_CODES[fault], reasons[fault]


def read_section(file: RawFile, layout: DelimitedLayout) -> Section:
    """Take one file apart.

    Raises:
        InvalidInput: the whole file can't be read: empty_file, malformed_header, missing_column,
            duplicate_column, or what decompress and decode raise.
    """
    decoded = _decoded(file, layout)
    text_utf8, separator, spelled = _separated(decoded.text_utf8, layout)
    lines = split_lines(text_utf8)
    faults = _line_faults(lines, decoded, layout)
    skipped = _skipped(lines, layout)
    blank = (_blank(lines, separator) | _footers(lines, layout)) & ~skipped
    quoted = _quoted(lines, layout)
    quoted_records = QuotedRecords(
        lines, quoted=quoted, barred=faults == TOO_LONG, layout=layout, separator=separator
    )
    header = Header((), -1)
    if layout.header:
        search = HeaderSearch(lines, quoted, quoted_records, faults, separator, layout)
        header = search.find(np.flatnonzero(~(skipped | blank)))
        skipped[: header.last + 1] = True
        blank[: header.last + 1] = False
        mark_repeated_headers(lines, header, faults, separator, layout)
    widths = layout.widths(header_width=len(header.cells), named=header.named if layout.header else None)
    candidates = quoted & ~skipped & ~blank & (faults != TOO_LONG)
    records = tuple(quoted_records.all_from(candidates, widths=widths))
    free = _outside(records, ~skipped)
    rows = free & ~blank
    fits = (faults == SOUND) & _fitting(lines, separator, widths)
    return Section(
        key=file.key,
        lines=lines,
        encoding=decoded.encoding,
        separator=separator,
        selection=_selection(list(header.cells), widths[1], layout),
        widths=widths,
        plain=rows & fits,
        rejected=np.flatnonzero(rows & ~fits),
        records=records,
        blank_lines=int((free & blank).sum()),
        faults=faults,
        spelled_separator=spelled,
    )


def _outside(records: Sequence[QuotedRecord], lines: Mask) -> Mask:
    """Leave out of `lines` those of the records."""
    for record in records:
        lines[record.first : record.last + 1] = False
    return lines


def _separated(text_utf8: bytes, layout: DelimitedLayout) -> tuple[bytes, str, str]:
    """Return the text, the character that separates its cells, and how the file spells it."""
    named = _SEP_LINE.match(text_utf8)
    spelled = named[1].decode() if named else layout.separator
    if len(spelled) == 1:
        return text_utf8, spelled, spelled
    if _UNIT_SEPARATOR.encode() in text_utf8:
        raise InvalidInput(
            "not_text",
            f"the file holds the control character U+001F, so {spelled!r} can't be read as its separator; "
            "deliver it without control characters",
        )
    return text_utf8.replace(spelled.encode(), _UNIT_SEPARATOR.encode()), _UNIT_SEPARATOR, spelled


def _quoted(lines: Lines, layout: DelimitedLayout) -> Mask:
    """Find the lines whose cells can't be split at each separator."""
    quoted = np.zeros(len(lines), np.bool_)
    for character in filter(None, (layout.quote, layout.escape)):
        quoted |= lines.holding(ord(character))
    return quoted


def _decoded(file: RawFile, layout: DelimitedLayout) -> Decoded:
    data = decompress(file.data, limit_bytes=layout.max_file_bytes, max_ratio=layout.max_ratio)
    decoded = decode(data, declared=layout.encoding)
    if not decoded.text_utf8:
        raise InvalidInput("empty_file", "the file is empty; deliver it again, or delete it if that is meant")
    return decoded


def _line_faults(lines: Lines, decoded: Decoded, layout: DelimitedLayout) -> npt.NDArray[np.uint8]:
    faults = np.zeros(len(lines), np.uint8)
    if decoded.undecodable_at:
        # The offsets are those of the text before its separator was replaced, which keeps the lines.
        faults[split_lines(decoded.text_utf8).at(np.asarray(decoded.undecodable_at))] = UNDECODABLE
    faults[lines.holding(0)] = NUL_BYTES
    faults[(lines.ends - lines.starts) > layout.max_line_bytes] = TOO_LONG
    return faults


def _skipped(lines: Lines, layout: DelimitedLayout) -> Mask:
    skipped = np.zeros(len(lines), np.bool_)
    skipped[: layout.skip_rows] = True
    if _SEP_LINE.match(lines.data):
        skipped[0] = True
    if layout.comment is not None:
        prefix = layout.comment.encode()
        if prefix in lines.data:
            starts = lines.starts.tolist()
            skipped |= np.fromiter(
                (lines.data.startswith(prefix, at) for at in starts), np.bool_, len(starts)
            )
    return skipped


def _footers(lines: Lines, layout: DelimitedLayout) -> Mask:
    found = np.zeros(len(lines), np.bool_)
    if layout.footer is not None:
        is_footer = re.compile(layout.footer).search
        found[:] = [is_footer(lines.text(line)) is not None for line in range(len(lines))]
    return found


def _blank(lines: Lines, separator: str) -> Mask:
    """Find lines that hold nothing but spaces, tabs and separators: every cell is empty."""
    blank: Mask = lines.starts == lines.ends
    padding = bytes(byte for byte in b" \t" + separator.encode() if byte in lines.data)
    if not padding:
        return blank
    codes = np.frombuffer(lines.data, np.uint8)
    first_code = codes[np.minimum(lines.starts, len(codes) - 1)]
    for line in np.flatnonzero(np.isin(first_code, np.frombuffer(padding, np.uint8)) & ~blank).tolist():
        blank[line] = not lines.data[lines.starts[line] : lines.ends[line]].strip(padding)
    return blank


def _fitting(lines: Lines, separator: str, widths: tuple[int, int]) -> Mask:
    """Tell which lines have a right number of cells, provided they hold no quotes."""
    found = (np.frombuffer(lines.data, np.uint8) == ord(separator)).view(np.uint8)
    # The narrowest type that can't overflow: counting in 64 bits takes three times as long.
    longest = int((lines.ends - lines.starts).max())
    count_type = np.uint8 if longest <= 0xFF else np.uint16 if longest <= 0xFFFF else np.int64
    separators = np.add.reduceat(found, lines.starts, dtype=count_type)
    fitting: Mask = (separators >= widths[0] - 1) & (separators <= widths[1] - 1)
    return fitting


def _selection(header: list[str], width: int, layout: DelimitedLayout) -> Selection:
    if not layout.header:
        return tuple((f"c{at}", at) for at in (layout.columns or range(width)) if isinstance(at, int))
    labels = [normalised(cell) for cell in header]
    if not layout.columns:
        names = [
            f"c{at}"
            if not label or label in labels[:at] or _is_taken(label)
            else " ".join(header[at].split())
            for at, label in enumerate(labels)
        ]
        return tuple((name, at) for at, name in enumerate(names)) + tuple(
            (f"c{at}", at) for at in range(len(names), width)
        )
    return _chosen(labels, width, layout)


def _is_taken(label: str) -> bool:
    return label in FRAME_COLUMNS or (label.startswith("c") and label[1:].isdecimal())


def _chosen(labels: list[str], width: int, layout: DelimitedLayout) -> Selection:
    chosen: list[tuple[str, int | None]] = []
    missing: list[str] = []
    for column in layout.columns:
        if isinstance(column, int):
            found = [column] if column < width else []
            name = f"c{column}"
        else:
            found = [at for at, label in enumerate(labels) if label == normalised(column)]
            name = column
        if len(found) > 1:
            raise InvalidInput(
                "duplicate_column",
                f"the header has {column!r} {len(found)} times, at positions {found}; rename one in the file, "
                "or refer to the column by its position",
            )
        if not found and column not in layout.optional:
            missing.append(repr(column))
        chosen.append((name, found[0] if found else None))
    if missing:
        raise InvalidInput(
            "missing_column",
            f"the header lacks {', '.join(missing)}; it has {', '.join(map(repr, labels[:60]))}. Deliver the file "
            "with these columns, or correct `separator:` or the column's `source:`",
        )
    return tuple(chosen)
