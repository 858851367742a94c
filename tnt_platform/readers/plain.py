"""Lines that hold nothing awkward, split by polars' own reader of CSV: twice as fast as keeping their raw text.

It is exact because of what these lines are known to be: a right number of cells, no quotes (that mean anything), no
NUL, valid UTF-8, LF ends, and no white space, so that no cell needs any taken off. What is left to do is to split at
each separator. A line whose cells turn out not to be what they should is read again from its bytes, with its raw text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tnt_platform.readers.lines import Lines, Mask, selected_bytes
from tnt_platform.readers.section import Section, Selection

# The bytes of a space, a tab, and a no-break space (its second one).
_WHITE_SPACE: Final = (0x20, 0x09, 0xA0)
# Finding the lines with white space costs more than it saves where they are many.
_FEW: Final = 8


@dataclass(frozen=True)
class PlainLines:
    """Lines of files that share a selection of columns, in the order of the files, then of the lines.

    cells: one row a line, columns as in `Rows.good_cells` but without file_key, line_no and raw, and with null for
    an empty cell too. file_at (the file's place in the batch) and line_no (1-based) belong to the rows one by one.
    """

    cells: pl.LazyFrame
    file_at: npt.NDArray[np.uint32]
    line_no: npt.NDArray[np.int64]


def plain_lines(
    group: Sequence[tuple[int, Section]], selection: Selection, width: int, separator: str
) -> PlainLines:
    """Return the plain lines of a group that hold no white space."""
    chosen = [section.plain & ~_spaced(section.lines, separator) for _, section in group]
    texts = [selected_bytes(section.lines, kept) for (_, section), kept in zip(group, chosen, strict=True)]
    line_no = [np.flatnonzero(kept) + 1 for kept in chosen]
    file_at = np.repeat(np.array([at for at, _ in group], np.uint32), [len(lines) for lines in line_no])
    return PlainLines(_cells(texts, selection, width, separator), file_at, np.concatenate(line_no))


def _spaced(lines: Lines, separator: str) -> Mask:
    white = [code for code in _WHITE_SPACE if code != ord(separator) and bytes((code,)) in lines.data]
    if sum(lines.data.count(code) for code in white) > len(lines) // _FEW:
        return np.ones(len(lines), np.bool_)
    spaced = np.zeros(len(lines), np.bool_)
    for code in white:
        spaced |= lines.holding(code)
    return spaced


def _cells(texts: Sequence[bytes], selection: Selection, width: int, separator: str) -> pl.LazyFrame:
    kept = (
        pl.lit(None, pl.String).alias(name) if at is None else pl.col(f"c{at}").alias(name)
        for name, at in selection
    )
    # A first line of our own keeps polars from taking a byte order mark off the first row.
    rows = pl.scan_csv(
        b"".join((b"x\n", *texts)),
        has_header=False,
        separator=separator,
        quote_char=None,
        schema={f"c{at}": pl.String for at in range(width)},
        truncate_ragged_lines=True,
        missing_columns="insert",
    )
    return rows.select(*kept).slice(1)
