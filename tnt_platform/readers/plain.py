"""Plain lines, split by polars' own CSV reader and typed in bulk: twice as fast as keeping their raw text.

That is exact because of what a plain line is: it has a right number of cells, no quotes that mean anything, no NUL,
valid UTF-8, a LF at its end and no white space that would have to be stripped, so only splitting it at each separator
remains. A line with a cell that is not a value of its column is read again from its bytes, with its raw text.
A column that repeats a few strings is read as these strings and their positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import and_
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tnt_platform.readers.column import Column
from tnt_platform.readers.columns import (
    QUICK_PARSERS,
    cell_name,
    cell_of,
    is_sound,
    output_schema,
    sources_of,
    staged,
)
from tnt_platform.readers.lines import Lines, Mask, Offsets, selected_stretches
from tnt_platform.readers.section import Section, Selection

# The bytes of a space, a tab, and a no-break space (its second one).
_WHITE_SPACE: Final = (0x20, 0x09, 0xA0)
# Where more than one line in so many has white space, finding these lines costs more than it saves.
_FEW: Final = 8
# A column repeats itself if so many sampled lines have at most so many strings, each this often on average.
SAMPLE_LINES: Final = 1_000
_MAX_STRINGS: Final = 100
_REPEATS: Final = 8
# A name no column can have: theirs hold no space.
_SOUND: Final = "is sound"

_Group = Sequence[tuple[int, Section]]


@dataclass(frozen=True)
class PlainLines:
    """Lines of files that share a selection of columns, in the order of the files, then of the lines.

    cells: one row per line, with the columns of `Rows.good_cells` except file_key, line_no and raw, and with null for
    an empty cell too; a column with few strings is a Categorical with exactly these categories. file_at (the file's
    position in the batch) and line_no (from 1) belong to the rows; `taken` marks the same lines by file.
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
        # The sample hid how many strings there are: more than 8-bit categories can tell apart.
        rows = _scanned(text, selection, width, separator)
    if rows.height != height:
        raise AssertionError(f"{height} lines were parsed as {rows.height} rows")
    return rows


def _sample(text: bytes, height: int) -> bytes:
    """Return the first line of `text` and lines at equal steps through the `height` lines that follow it."""
    if height <= SAMPLE_LINES:
        return text
    ends = (text.index(b"\n", len(text) // SAMPLE_LINES * at) for at in range(SAMPLE_LINES))
    lines = (text[end + 1 : text.find(b"\n", end + 1) + 1] for end in ends)
    return b"".join((text[: text.index(b"\n") + 1], *lines))


def _repeating(sample: pl.DataFrame) -> frozenset[str]:
    most = min(_MAX_STRINGS, sample.height // _REPEATS)
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
        schema={f"c{at}": _few_strings() if at in places else pl.String() for at in range(width)},
        truncate_ragged_lines=True,
        missing_columns="insert",
        extra_columns="ignore",
    )
    return rows.select(*kept).slice(1).collect(engine="streaming")


def _few_strings() -> pl.Categorical:
    # Categories of its own: those that polars shares would grow with every string that this process ever reads.
    return pl.Categorical(pl.Categories.random(physical=pl.UInt8))


@dataclass(frozen=True)
class _Typed:
    """Values (and notes) of some columns and whether they are sound: of each row, or of the row at its `place`."""

    values: pl.DataFrame
    sound: pl.Series
    place: pl.Series | None = None


def type_plain_cells(cells: pl.DataFrame, columns: Sequence[Column]) -> tuple[pl.DataFrame, pl.Series]:
    """Type the rows that `parse_columns` accepts without stripping white space.

    cells: columns named by header or by position; String, or Categorical where the strings are few. Returns typed:
    `output_schema(columns)` in order, but Enum (sorted) for strings from a Categorical; taken: Boolean, which rows of
    `cells` these are. The others are for `parse_columns`.

    Raises:
        ConfigError, InvalidInput: as `parse_columns`.
    """
    schema = output_schema(columns)
    few: list[tuple[Column, pl.Series]] = []
    many: list[tuple[Column, str | None]] = []
    for column, name in zip(columns, sources_of(cells.columns, columns), strict=True):
        if name is not None and isinstance(cells.schema[name], pl.Categorical):
            few.append((column, cells[name]))
        else:
            many.append((column, name))
    parts = _from_few(few)
    if many:
        frame = cells.lazy().with_columns(cell_of(name).alias(cell_name(column)) for column, name in many)
        parts.append(_from_strings(frame, [column for column, _ in many]))
    marks = [_placed(part.sound, part) for part in parts if not part.sound.all()]
    taken = reduce(and_, marks) if marks else pl.repeat(True, cells.height, eager=True)
    values = [_values(part, taken if marks else None) for part in parts]
    return pl.concat(values, how="horizontal").select(*schema), taken


def _from_strings(frame: pl.LazyFrame, columns: Sequence[Column]) -> _Typed:
    typed = _staged(frame, columns, {_SOUND: columns})
    return _Typed(typed.drop(_SOUND), typed[_SOUND])


def _staged(
    frame: pl.LazyFrame, columns: Sequence[Column], sound: Mapping[str, Sequence[Column]]
) -> pl.DataFrame:
    """Type all columns; for each name in `sound`, also tell where none of its columns has a fault."""
    marks = (pl.all_horizontal(map(is_sound, those)).alias(name) for name, those in sound.items())
    return staged(frame, columns, QUICK_PARSERS).select(*output_schema(columns), *marks).collect()


def _from_few(cells: Sequence[tuple[Column, pl.Series]]) -> list[_Typed]:
    """Type each string of several Categoricals once, in one query: planning one costs more than running it."""
    if not cells:
        return []
    strings = [_strings_of(cell) for _, cell in cells]
    longest = max(map(len, strings))
    columns = [column for column, _ in cells]
    # What fills up the shorter columns is never used.
    padded = {
        cell_name(c): [*few, *[None] * (longest - len(few))] for c, few in zip(columns, strings, strict=True)
    }
    frame = pl.LazyFrame(padded, schema=dict.fromkeys(padded, pl.String))
    typed = _staged(frame, columns, {f"{_SOUND} {column.name}": [column] for column in columns})
    return [
        _of_column(typed.head(len(few)), column, cell)
        for few, (column, cell) in zip(strings, cells, strict=True)
    ]


def _strings_of(cell: pl.Series) -> list[str | None]:
    """Return the strings of a Categorical in the order of their codes, then null if a cell is empty."""
    assert isinstance(cell.dtype, pl.Categorical)
    strings = cell.dtype.categories.to_series().to_list()
    return [*strings, None] if cell.null_count() else strings


def _of_column(typed: pl.DataFrame, column: Column, cell: pl.Series) -> _Typed:
    """Map each cell to its row in `typed`, which has one row per string; nulls map to the last row."""
    sound = typed[f"{_SOUND} {column.name}"]
    values = [_as_enum(typed[name], sound) for name in output_schema([column])]
    place = cell.to_physical()
    return _Typed(
        pl.DataFrame(values), sound, place.fill_null(typed.height - 1) if cell.null_count() else place
    )


def _as_enum(values: pl.Series, sound: pl.Series) -> pl.Series:
    """Turn strings into an Enum of those that are sound; return other values as they are."""
    if values.dtype != pl.String:
        return values
    strings = {value for value in values.filter(sound).to_list() if value is not None}
    return values.cast(pl.Enum(sorted(strings)), strict=False)


def _placed(marks: pl.Series, part: _Typed) -> pl.Series:
    return marks if part.place is None else marks[part.place]


def _values(part: _Typed, taken: pl.Series | None) -> pl.DataFrame:
    if part.place is None:
        return part.values if taken is None else part.values.filter(taken)
    place = part.place if taken is None else part.place.filter(taken)
    return part.values[place]
