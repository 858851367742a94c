"""Read delimited files (CSV, pipe, tab) into frames of strings: many at once, each row right or reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import is_compressed
from tnt_platform.readers.layout import (
    BAD_SCHEMA,
    FILES_SCHEMA,
    GOOD_SCHEMA,
    DelimitedLayout,
    RawFile,
    Rows,
    column_name,
)
from tnt_platform.readers.lines import selected_stretches
from tnt_platform.readers.plain import PlainLines, plain_lines
from tnt_platform.readers.quoted import QuotedRecord
from tnt_platform.readers.section import Section, Selection, read_section

__all__ = [
    "DelimitedLayout",
    "PlainLines",
    "RawFile",
    "Rows",
    "Sections",
    "iter_batches",
    "read_rows",
    "take_apart",
]

# Text commonly compresses 5 to 10 times; what bounds a batch is its size once decompressed.
PACKED_BYTES_WEIGHT: Final = 10

# Frames under construction know their file by its place in the batch.
_ORDER: Final = ["file_at", "line_no"]
_PLACED: Final = ["file_at", "file_key", "line_no", "raw"]
_Placed = tuple[int, Section]
_BadRow = tuple[int, int, str, str, str]
# What files that are read together share: their selection, widths, separator, and how they spell it.
_ReadAlike = tuple[Selection, tuple[int, int], str, str]


def iter_batches(files: Iterable[RawFile], *, max_bytes: int = 12 << 20) -> Iterator[list[RawFile]]:
    """Group files, in order, into lists of at most `max_bytes` (a compressed file counts ten times its size).

    A larger file is a batch of its own. Reading and parsing a batch takes about 20 times its size in memory.
    """
    batch: list[RawFile] = []
    size_bytes = 0
    for file in files:
        weight_bytes = len(file.data) * (PACKED_BYTES_WEIGHT if is_compressed(file.data) else 1)
        if batch and size_bytes + weight_bytes > max_bytes:
            yield batch
            batch, size_bytes = [], 0
        batch.append(file)
        size_bytes += weight_bytes
    if batch:
        yield batch


def read_rows(files: Sequence[RawFile], layout: DelimitedLayout) -> Rows:
    """Read every row of every file, or report why it can't be read; no content makes this raise.

    Lines without quotes are parsed in bulk over all files, records with quotes one by one. A file that can't be read
    at all is one row of `bad` at line 0 and doesn't affect the others. See `Rows` for the frames.
    """
    return take_apart(files, layout).rows()


def take_apart(files: Sequence[RawFile], layout: DelimitedLayout) -> Sections:
    """Find what each line of each file is, without reading its cells; no content makes this raise."""
    sections: list[_Placed] = []
    bad: list[_BadRow] = []
    for at, file in enumerate(files):
        try:
            section = read_section(file, layout)
        except InvalidInput as fault:
            bad.append((at, 0, "", fault.reason_code, str(fault)))
        else:
            sections.append((at, section))
            bad += _rejected_lines(at, section)
    return Sections(files, layout, sections, bad, {at: section.rows_in for at, section in sections})


@dataclass(frozen=True)
class Sections:
    """Files taken apart: plain lines can be read quickly first, all others then with their raw text."""

    files: Sequence[RawFile]
    layout: DelimitedLayout
    placed: list[_Placed]
    bad: list[_BadRow]
    rows_in: dict[int, int]

    def plain(self) -> list[PlainLines]:
        """Return the plain lines, those of files with the same selection of columns together."""
        return [
            plain_lines(group, selection, widths[1], separator)
            for (selection, widths, separator, _), group in self._groups().items()
        ]

    def without(self, lines: PlainLines, but: npt.NDArray[np.uint32]) -> Sections:
        """Leave out plain lines that were read already, except those at the positions `but`."""
        kept_at = lines.file_at.gather(but).to_numpy()
        kept_no = lines.line_no.gather(but).to_numpy()
        left = []
        for at, section in self.placed:
            if at in lines.taken:
                plain = section.plain & ~lines.taken[at]
                plain[kept_no[kept_at == at] - 1] = True
                section = replace(section, plain=plain)
            left.append((at, section))
        return replace(self, placed=left)

    @property
    def lines_left(self) -> int:
        """Count the lines and records that `rows` will read."""
        return sum(int(np.count_nonzero(s.plain)) + len(s.records) for _, s in self.placed)

    def rows(self) -> Rows:
        """Read every row that was not left out; `files` of the result counts all."""
        bad = list(self.bad)
        good: list[pl.LazyFrame] = []
        for (selection, widths, separator, spelled), group in self._groups().items():
            plain = _plain_rows(group, selection, widths, separator)
            good.append(plain if spelled == separator else _spelled(plain, separator, spelled))
            good += _quoted_rows(group, selection, bad)
        return _assembled(self, good, bad)

    def _groups(self) -> dict[_ReadAlike, list[_Placed]]:
        groups: dict[_ReadAlike, list[_Placed]] = {}
        for at, section in self.placed:
            alike = (section.selection, section.widths, section.separator, section.spelled_separator)
            groups.setdefault(alike, []).append((at, section))
        return groups


def _rejected_lines(at: int, section: Section) -> list[_BadRow]:
    return [
        (at, line + 1, section.raw(line, line), *section.rejection(line))
        for line in section.rejected.tolist()
    ]


def _plain_rows(
    group: Sequence[_Placed], selection: Selection, widths: tuple[int, int], separator: str
) -> pl.LazyFrame:
    """Split the lines without quotes of files that share a selection of columns, all at once."""
    cells = _cells_of_raw(separator=separator, width=widths[1])
    kept = (
        pl.lit(None, pl.String).alias(name) if at is None else pl.col(f"c{at}").alias(name)
        for name, at in selection
    )
    return _placed_lines(group).lazy().select(*_PLACED, cells).select(*_PLACED, *kept)


def _spelled(rows: pl.LazyFrame, separator: str, spelled: str) -> pl.LazyFrame:
    return rows.with_columns(pl.col("raw").str.replace_all(separator, spelled, literal=True))


def _placed_lines(group: Sequence[_Placed]) -> pl.DataFrame:
    raw = _raw_lines(chain.from_iterable(selected_stretches(s.lines, s.plain) for _, s in group))
    counts = [int(section.plain.sum()) for _, section in group]
    if raw.height != sum(counts):
        raise AssertionError(f"{sum(counts)} lines were parsed as {raw.height} rows")
    at = np.repeat(np.arange(len(group)), counts)
    places = {
        "file_at": np.array([at for at, _ in group], np.int64)[at],
        "file_key": pl.Series([section.key for _, section in group], dtype=pl.String).gather(at),
        "line_no": np.concatenate([np.flatnonzero(section.plain) + 1 for _, section in group]),
    }
    return pl.DataFrame(places).hstack(raw)


def _raw_lines(text: Iterable[bytes | memoryview]) -> pl.DataFrame:
    """Return raw (String), one row per line of the joined `text`, which has LF ends, no NUL and no blank line."""
    # A first line of our own keeps polars from removing a byte order mark from the first row.
    return pl.scan_csv(
        b"".join((b"x\n", *text)),
        has_header=False,
        separator="\0",
        quote_char=None,
        schema={"raw": pl.String},
        empty_string_is_null=False,
        truncate_ragged_lines=True,
    ).collect()[1:]


def _cells_of_raw(*, separator: str, width: int) -> pl.Expr:
    """Split raw at every separator into c0 to c{width-1} (String): an absent cell is null, an empty one ""."""
    # Splitting one string column keeps the raw text of every row and tells an absent cell from an empty one. polars'
    # CSV reader does neither, and with a second pass for the raw text it took 20% longer.
    names = [f"c{at}" for at in range(width)]
    return pl.col("raw").str.splitn(separator, width).struct.rename_fields(names).struct.unnest()


def _quoted_rows(group: Sequence[_Placed], selection: Selection, bad: list[_BadRow]) -> list[pl.LazyFrame]:
    """Return the good records with quotes of a group; the others go to `bad`."""
    rows = []
    for at, section in group:
        for record in section.records:
            fault = _record_fault(section, record)
            if fault is None:
                cells = section.cells(record)
                kept = (cells[i] if i is not None and i < len(cells) else None for _, i in selection)
                rows.append(
                    (at, section.key, record.first + 1, section.text(record.first, record.last), *kept)
                )
            else:
                bad.append((at, record.first + 1, section.raw(record.first, record.last), *fault))
    if not rows:
        return []
    schema = _placed_schema(name for name, _ in selection)
    return [pl.LazyFrame(rows, schema=schema, orient="row")]


def _record_fault(section: Section, record: QuotedRecord) -> tuple[str, str] | None:
    if section.line_fault(record.first, record.last):
        return section.damage(record.first, record.last)
    if record.cells is None:
        return "malformed_quotes", (
            "a quote in this line is not closed, or text follows a closing quote; double the quotes inside "
            "a cell, or set `quote:` to null if the file doesn't use them"
        )
    low, high = section.widths
    return None if low <= len(record.cells) <= high else section.misfit(len(record.cells))


def _assembled(sections: Sections, good: list[pl.LazyFrame], bad: list[_BadRow]) -> Rows:
    files = sections.files
    # The bulk rows of a single group are in order already; sorting them would cost more than parsing.
    if len(good) != 1:
        good = [pl.concat([_no_rows(sections.layout), *good], how="diagonal").sort(_ORDER)]
    bad.sort(key=lambda row: row[:2])
    rows_bad = Counter(at for at, *_ in bad)
    by_file = dict(sections.placed)
    counts = [
        (file.key, sections.rows_in[at], rows_bad[at], s.blank_lines, s.encoding)
        if (s := by_file.get(at))
        else (file.key, 1, rows_bad[at], 0, None)
        for at, file in enumerate(files)
    ]
    misses = [(files[at].key, *row) for at, *row in bad]
    return Rows(
        good_cells=good[0].drop("file_at"),
        bad=pl.DataFrame(misses, schema=BAD_SCHEMA, orient="row"),
        files=pl.DataFrame(counts, schema=FILES_SCHEMA, orient="row"),
    )


def _no_rows(layout: DelimitedLayout) -> pl.LazyFrame:
    """Return no rows with the columns that every file has, so that a batch of rejected files keeps the schema."""
    positions = range(layout.max_columns or 0) if not layout.header else range(0)
    names = [column_name(column) for column in layout.columns or positions]
    return pl.LazyFrame(schema=_placed_schema(names))


def _placed_schema(names: Iterable[str]) -> dict[str, pl.DataType]:
    cells: dict[str, pl.DataType] = {name: pl.String() for name in names}
    return {"file_at": pl.Int64(), **GOOD_SCHEMA, **cells}
