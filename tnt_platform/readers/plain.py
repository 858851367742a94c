"""Lines that hold nothing awkward, split by polars' own reader of CSV: twice as fast as keeping their raw text.

It is exact because of what these lines are known to be: a right number of cells, no quotes (that mean anything), no
NUL, valid UTF-8, LF ends, and no white space, so that no cell needs any taken off. What is left to do is to split at
each separator. A line whose cells turn out not to be what they should is read again from its bytes, with its raw text.
A column that says the same few texts over and over is read as these texts and their places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tnt_platform.readers.lines import Lines, Mask, Offsets, selected_stretches
from tnt_platform.readers.section import Section, Selection

# The bytes of a space, a tab, and a no-break space (its second one).
_WHITE_SPACE: Final = (0x20, 0x09, 0xA0)
# Finding the lines with white space costs more than it saves where they are many.
_FEW: Final = 8
# A column repeats itself when this many lines have at most so many texts, each of them this often on average.
SAMPLE_LINES: Final = 1_000
_MAX_TEXTS: Final = 100
_REPEATS: Final = 8

_Group = Sequence[tuple[int, Section]]


@dataclass(frozen=True)
class PlainLines:
    """Lines of files that share a selection of columns, in the order of the files, then of the lines.

    cells: one row a line, columns as in `Rows.good_cells` but without file_key, line_no and raw, and with null for
    an empty cell too; a column with few texts is a Categorical whose categories are exactly these. file_at (the file's
    place in the batch) and line_no (1-based) belong to the rows one by one; `taken` marks the same lines by file.
    """

    cells: pl.DataFrame
    file_at: pl.Series
    line_no: pl.Series
    taken: Mapping[int, Mask]


def plain_lines(group: _Group, selection: Selection, width: int, separator: str) -> PlainLines:
    """Return the plain lines of a group that hold no white space."""
    taken = {at: section.plain & ~_spaced(section.lines, separator) for at, section in group}
    pieces = [selected_stretches(section.lines, taken[at]) for at, section in group]
    # An empty first line of our own keeps polars from taking a byte order mark off the first row.
    text = b"".join((f"{separator}\n".encode(), *chain.from_iterable(pieces)))
    file_at, line_no = _places(taken)
    cells = _cells(text, len(line_no), selection, width, separator)
    return PlainLines(cells, pl.Series(file_at), pl.Series(line_no), taken)


def _places(taken: Mapping[int, Mask]) -> tuple[npt.NDArray[np.uint32], Offsets]:
    heights = [int(np.count_nonzero(kept)) for kept in taken.values()]
    line_no = np.empty(sum(heights), np.int64)
    done = 0
    for kept, height in zip(taken.values(), heights, strict=True):
        np.add(np.flatnonzero(kept), 1, out=line_no[done : done + height])
        done += height
    return np.repeat(np.array(list(taken), np.uint32), heights), line_no


def _spaced(lines: Lines, separator: str) -> Mask:
    white = [code for code in _WHITE_SPACE if code != ord(separator) and bytes((code,)) in lines.data]
    if sum(lines.data.count(code) for code in white) > len(lines) // _FEW:
        return np.ones(len(lines), np.bool_)
    spaced = np.zeros(len(lines), np.bool_)
    for code in white:
        spaced |= lines.holding(code)
    return spaced


def _cells(text: bytes, height: int, selection: Selection, width: int, separator: str) -> pl.DataFrame:
    few = _repeating(_scanned(_sample(text, height), selection, width, separator))
    try:
        rows = _scanned(text, selection, width, separator, few)
    except pl.exceptions.ComputeError:
        # The sample had missed how many texts there are: more than an 8-bit category can tell apart.
        rows = _scanned(text, selection, width, separator)
    if rows.height != height:
        raise AssertionError(f"{height} lines were parsed as {rows.height} rows")
    return rows


def _sample(text: bytes, height: int) -> bytes:
    """Return lines at equal steps through a text of so many lines after its first one, and that one."""
    if height <= SAMPLE_LINES:
        return text
    ends = (text.index(b"\n", len(text) // SAMPLE_LINES * at) for at in range(SAMPLE_LINES))
    lines = (text[end + 1 : text.find(b"\n", end + 1) + 1] for end in ends)
    return b"".join((text[: text.index(b"\n") + 1], *lines))


def _repeating(sample: pl.DataFrame) -> frozenset[str]:
    most = min(_MAX_TEXTS, sample.height // _REPEATS)
    return frozenset(column.name for column in sample if column.n_unique() <= most)


def _scanned(
    text: bytes, selection: Selection, width: int, separator: str, few: frozenset[str] = frozenset()
) -> pl.DataFrame:
    places = {at for name, at in selection if name in few}
    kept = (
        pl.lit(None, pl.String).alias(name) if at is None else pl.col(f"c{at}").alias(name)
        for name, at in selection
    )
    rows = pl.scan_csv(
        text,
        has_header=False,
        separator=separator,
        quote_char=None,
        schema={f"c{at}": _few_texts() if at in places else pl.String() for at in range(width)},
        truncate_ragged_lines=True,
        missing_columns="insert",
        extra_columns="ignore",
    )
    return rows.select(*kept).slice(1).collect(engine="streaming")


def _few_texts() -> pl.Categorical:
    # Categories of its own: those that polars shares would grow with every text this process ever sees.
    return pl.Categorical(pl.Categories.random(physical=pl.UInt8))
