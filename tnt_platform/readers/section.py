"""Take one delimited file apart: plain lines, quoted records, blank lines, damaged lines and its header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import decompress
from tnt_platform.readers.encoding import Decoded, decode
from tnt_platform.readers.layout import FRAME_COLUMNS, RAW_LIMIT_CHARS, DelimitedLayout, RawFile, normalised
from tnt_platform.readers.lines import Lines, Mask, split_lines
from tnt_platform.readers.quoted import QuotedRecord, QuotedRecords

# What can be wrong with the bytes of one line, the worst last.
SOUND, UNDECODABLE, NUL_BYTES, TOO_LONG = range(4)
LINE_FAULT_CODES: Final = {UNDECODABLE: "undecodable", NUL_BYTES: "nul_bytes", TOO_LONG: "line_too_long"}

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

    @property
    def rows_in(self) -> int:
        return int(self.plain.sum()) + len(self.rejected) + len(self.records) + self.blank_lines

    def raw(self, first: int, last: int) -> str:
        """Return the text of lines `first` to `last` as quarantine shows it."""
        return self.lines.text(first, last)[:RAW_LIMIT_CHARS].replace("\0", "\\x00")

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
    lines = split_lines(decoded.text_utf8)
    faults = _line_faults(lines, decoded, layout)
    skipped = _skipped(lines, layout)
    blank = _blank(lines, layout.separator) & ~skipped
    quoted = lines.holding(ord(layout.quote)) if layout.quote else np.zeros(len(lines), np.bool_)
    quoted_records = QuotedRecords(lines, quoted=quoted, barred=faults == TOO_LONG, layout=layout)
    header: list[str] = []
    if layout.header:
        header, last = _found_header(
            lines, np.flatnonzero(~(skipped | blank)), quoted, quoted_records, faults, layout
        )
        skipped[: last + 1] = True
        blank[: last + 1] = False
    widths = layout.widths(header_width=len(header))
    candidates = quoted & ~skipped & ~blank & (faults != TOO_LONG)
    records = tuple(quoted_records.all_from(candidates, widths=widths))
    free = ~skipped
    for record in records:
        free[record.first : record.last + 1] = False
    rows = free & ~blank
    fits = (faults == SOUND) & _fitting(lines, layout.separator, widths)
    return Section(
        key=file.key,
        lines=lines,
        encoding=decoded.encoding,
        separator=layout.separator,
        selection=_selection(header, widths[1], layout),
        widths=widths,
        plain=rows & fits,
        rejected=np.flatnonzero(rows & ~fits),
        records=records,
        blank_lines=int((free & blank).sum()),
        faults=faults,
    )


def _decoded(file: RawFile, layout: DelimitedLayout) -> Decoded:
    data = decompress(file.data, limit_bytes=layout.max_file_bytes, max_ratio=layout.max_ratio)
    decoded = decode(data, declared=layout.encoding)
    if not decoded.text_utf8:
        raise InvalidInput("empty_file", "the file is empty; deliver it again, or delete it if that is meant")
    return decoded


def _found_header(
    lines: Lines,
    rows: npt.NDArray[np.int64],
    quoted: Mask,
    quoted_records: QuotedRecords,
    faults: npt.NDArray[np.uint8],
    layout: DelimitedLayout,
) -> tuple[list[str], int]:
    """Return the cells of the header, the first of `rows`, and its last line."""
    if not len(rows):
        raise InvalidInput("empty_file", "the file has no header line; deliver it again with its header")
    first = int(rows[0])
    return _header(lines, first, quoted_records if quoted[first] else None, faults, layout)


def _line_faults(lines: Lines, decoded: Decoded, layout: DelimitedLayout) -> npt.NDArray[np.uint8]:
    faults = np.zeros(len(lines), np.uint8)
    if decoded.undecodable_at:
        faults[lines.at(np.asarray(decoded.undecodable_at))] = UNDECODABLE
    faults[lines.holding(0)] = NUL_BYTES
    faults[(lines.ends - lines.starts) > layout.max_line_bytes] = TOO_LONG
    return faults


def _skipped(lines: Lines, layout: DelimitedLayout) -> Mask:
    skipped = np.zeros(len(lines), np.bool_)
    skipped[: layout.skip_rows] = True
    if layout.comment_prefix is not None:
        prefix = layout.comment_prefix.encode()
        if prefix in lines.data:
            starts = lines.starts.tolist()
            skipped |= np.fromiter(
                (lines.data.startswith(prefix, at) for at in starts), np.bool_, len(starts)
            )
    return skipped


def _blank(lines: Lines, separator: str) -> Mask:
    """Find lines of nothing but spaces and tabs, unless these separate cells."""
    blank: Mask = lines.starts == lines.ends
    padding = bytes(byte for byte in b" \t" if byte != ord(separator) and byte in lines.data)
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


def _header(
    lines: Lines,
    first: int,
    quoted_records: QuotedRecords | None,
    faults: npt.NDArray[np.uint8],
    layout: DelimitedLayout,
) -> tuple[list[str], int]:
    """Return the cells of the header and its last line."""
    if quoted_records is None or faults[first] == TOO_LONG:
        record = QuotedRecord(first=first, last=first, cells=lines.text(first).split(layout.separator))
    else:
        record = quoted_records.read(first)
    fault = int(faults[first : record.last + 1].max())
    if record.cells is None or fault != SOUND:
        wrong = LINE_FAULT_CODES.get(fault, "quotes that don't match")
        raise InvalidInput(
            "malformed_header",
            f"the header on line {first + 1} can't be read ({wrong}): {lines.text(first)[:200]!r}; "
            "correct it, or declare `encoding:` or `quote:`",
        )
    if layout.max_columns is not None and len(record.cells) > layout.max_columns:
        raise InvalidInput(
            "malformed_header",
            f"the header has {len(record.cells)} columns where max_columns is {layout.max_columns}; raise it",
        )
    return record.cells, record.last


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
