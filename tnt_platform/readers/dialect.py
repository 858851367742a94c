"""Find out how a delimited text of unknown origin is written: its separator, its escape, and where its table begins.

Deciding by the header line alone goes wrong where a title stands above it, where its names hold commas, or where there
is none. So the shape of all sampled lines decides, and what the sample leaves open is refused rather than guessed.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tnt_platform.errors import InvalidInput

# In the order of preference: a comma is also a decimal mark and part of prose, the others are seldom anything else.
SEPARATORS: Final = ("\t", ";", "||", "|", ",")
SAMPLE_ROWS: Final = 200
# At least so many of the rows must have the width of the table; fewer are prose, or something else altogether.
_MIN_CONSISTENT: Final = 0.6
_NEARLY_ALL: Final = 0.8
# With more rows than this holding separators, a text is not a list of one column.
_FEW_SEPARATED: Final = 0.2
_SEP_LINE: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_NUMBER: Final = re.compile(r"[-+(]?[\s$€£]*\d[\d.,'\s]*%?\)?|[-+]?\d+(?:\.\d+)?[eE][-+]?\d+")
_DATE: Final = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ]\d{1,2}:\d{2}.*)?|\d{4}-\d{2}")
_YEAR: Final = re.compile(r"(?:1[89]|2[01])\d\d")
_STAND_IN: Final = "\x1f"

Kind = Literal["blank", "number", "date", "text"]


@dataclass(frozen=True)
class Row:
    """One row of the sample: its first line, counted from 1, its cells, and whether a blank line stands above."""

    line: int
    cells: tuple[str, ...]
    after_blank: bool

    @property
    def filled(self) -> int:
        """Count the cells that hold something."""
        return sum(bool(cell.strip()) for cell in self.cells)

    def kind(self, column: int) -> Kind:
        """Tell what the cell of a column is."""
        cell = self.cells[column].strip() if column < len(self.cells) else ""
        if not cell:
            return "blank"
        if _DATE.fullmatch(cell):
            return "date"
        return "number" if _NUMBER.fullmatch(cell) else "text"


@dataclass(frozen=True)
class Dialect:
    """How a text is written.

    header_row: the line of the header, counted from 1; None if the text has none, and its rows begin at `first_row`.
    width: the cells of a row; `trailing` if each row ends in a separator that the header lacks.
    units_row: a row below the header that names units or repeats the header in other words, not data.
    typed: positions of the columns that hold a number or a date in nearly every row.
    """

    separator: str
    escape: str | None
    header_row: int | None
    first_row: int
    width: int
    trailing: bool = False
    units_row: int | None = None
    typed: tuple[int, ...] = ()


def detect_dialect(text: str) -> Dialect:
    """Detect the dialect of a text from its first rows.

    Raises:
        InvalidInput: not_a_table, ambiguous_header or several_tables.
    """
    named = _SEP_LINE.fullmatch(text.split("\n", 1)[0].rstrip("\r"))
    separators = (named[1],) if named else SEPARATORS
    best: tuple[float, int, str, str | None, list[Row]] | None = None
    for escape in (None, "\\") if "\\" in text else (None,):
        for separator in separators:
            rows = _rows(text, separator, escape)
            if named:
                rows = [row for row in rows if row.line > 1]
            score, width = _consistency(rows)
            if width < 2:
                continue
            if separator == "|" and text.count("|") == 2 * text.count("||"):
                continue
            if best is None or score > best[0] + 1e-9:
                best = (score, width, separator, escape, rows)
    if best is None:
        return _one_column(text, separators[0] if named else ",", bool(named))
    score, width, separator, escape, rows = best
    if score < _MIN_CONSISTENT:
        raise _not_a_table(f"with {separator!r} between them, {score:.0%} have {width}")
    return _with_header(rows, separator, escape, width)


def _not_a_table(found: str) -> InvalidInput:
    return InvalidInput(
        "not_a_table",
        f"the rows have no common number of cells: {found}. Deliver a table with one header and rows of its width, "
        "or declare how it is written below `text:`",
    )


def _rows(text: str, separator: str, escape: str | None) -> list[Row]:
    character = separator if len(separator) == 1 else _STAND_IN
    if len(separator) > 1:
        text = text.replace(separator, _STAND_IN)
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=character, escapechar=escape)
    rows: list[Row] = []
    line, blank = 1, False
    while len(rows) < SAMPLE_ROWS:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error:
            line, blank = reader.line_num + 1, False
            continue
        if not any(cell.strip() for cell in cells):
            blank = True
        elif not cells[0].lstrip("\ufeff").startswith("#"):
            rows.append(Row(line, tuple(cells), blank))
            blank = False
        line = reader.line_num + 1
    return rows


def _consistency(rows: Sequence[Row]) -> tuple[float, int]:
    """Return the share of the rows that have the commonest width, and that width."""
    widths = Counter(len(row.cells) for row in rows)
    if not widths:
        return 0.0, 0
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
    return count / len(rows), width


def _one_column(text: str, separator: str, named: bool) -> Dialect:
    """Read a text without separators as a table of one column."""
    rows = [row for row in _rows(text, separator, None) if not (named and row.line == 1)]
    if not rows:
        raise InvalidInput("empty_file", "the file holds no row; deliver it again, or delete it")
    separated = sum(len(row.cells) > 1 or any(mark in row.cells[0] for mark in SEPARATORS) for row in rows)
    if len(rows) > 1 and separated > _FEW_SEPARATED * len(rows):
        raise _not_a_table(f"{separated} of {len(rows)} have separators, each another number of them")
    first = rows[0]
    if first.kind(0) != "text":
        return Dialect(separator, None, None, first.line, 1)
    return Dialect(separator, None, first.line, first.line + 1, 1)


def _with_header(rows: list[Row], separator: str, escape: str | None, width: int) -> Dialect:
    trailing = _all_end_in_a_separator(rows, width)
    table_width = width - 1 if trailing else width
    begin = next(
        (at for at, row in enumerate(rows) if _may_begin(row, table_width, width)),
        0,
    )
    table = [row for row in rows[begin:] if len(row.cells) == width or row is rows[begin]]
    first, below = table[0], table[1:]
    # A separator at the end of the header alone names no column.
    trailing = trailing or len(first.cells) > width
    _refuse_second_table(below, table_width)
    kinds = _column_kinds(below, table_width)
    typed = tuple(at for at, kind in enumerate(kinds) if kind != "text" and _is_filled(below, at))
    if not _is_header(first, below, kinds):
        return Dialect(separator, escape, None, first.line, width, trailing, typed=typed)
    has_units = len(below) > 1 and _is_no_data(below[0], _column_kinds(below[1:], table_width))
    units = below[0].line if has_units else None
    return Dialect(separator, escape, first.line, first.line + 1, table_width, trailing, units, typed)


def _all_end_in_a_separator(rows: Sequence[Row], width: int) -> bool:
    wide = [row for row in rows if len(row.cells) == width]
    narrower = any(len(row.cells) == width - 1 and row.filled == width - 1 for row in rows)
    return width > 2 and narrower and all(not row.cells[-1].strip() for row in wide)


def _may_begin(row: Row, table_width: int, width: int) -> bool:
    """Whether a row may be the first of the table: as wide, and filled enough not to be a title above it."""
    ends_in_separator = len(row.cells) == width + 1 and not row.cells[-1].strip()
    fits = len(row.cells) in (table_width, width) or ends_in_separator
    return fits and row.filled * 2 > table_width


def _column_kinds(rows: Sequence[Row], width: int) -> list[Kind]:
    return [_column_kind(rows, column) for column in range(width)]


def _is_filled(rows: Sequence[Row], column: int) -> bool:
    return sum(row.kind(column) != "blank" for row in rows) > _NEARLY_ALL * len(rows)


def _column_kind(rows: Sequence[Row], column: int) -> Kind:
    kinds = Counter(kind for row in rows if (kind := row.kind(column)) != "blank")
    if not kinds:
        return "blank"
    kind, count = kinds.most_common(1)[0]
    return kind if count * 10 >= sum(kinds.values()) * 8 else "text"


def _is_header(first: Row, below: Sequence[Row], kinds: Sequence[Kind]) -> bool:
    """Tell a header from a row of data by what stands below its cells.

    Raises:
        InvalidInput: ambiguous_header, where the first row looks like the others but names years.
    """
    own = [first.kind(column) for column in range(len(kinds))]
    typed = [at for at, kind in enumerate(kinds) if kind in ("number", "date")]
    if any(own[at] == "text" for at in typed):
        return True
    alike = [at for at in typed if own[at] == kinds[at]]
    years = [first.cells[at].strip() for at in alike if _YEAR.fullmatch(first.cells[at].strip())]
    if len(years) > 1 and len(years) == len(alike) and years == sorted(set(years)):
        return True
    if years and len(years) == len(alike) and below:
        raise InvalidInput(
            "ambiguous_header",
            f"line {first.line} may be the header or a row of data: {', '.join(first.cells)[:200]!r}. Declare "
            "`text: {header: true}` or `text: {header: false, max_columns: ...}`",
        )
    return not alike


def _is_no_data(row: Row, kinds: Sequence[Kind]) -> bool:
    """Whether a row has words, and nothing else, where the columns hold numbers or dates."""
    own = [row.kind(at) for at, kind in enumerate(kinds) if kind in ("number", "date")]
    return bool(own) and "text" in own and all(kind in ("text", "blank") for kind in own)


def _refuse_second_table(rows: Sequence[Row], width: int) -> None:
    for at, row in enumerate(rows):
        if at and row.after_blank and row.filled > 1 and _is_no_data(row, _column_kinds(rows[:at], width)):
            raise InvalidInput(
                "several_tables",
                f"a second table seems to begin on line {row.line}, below a blank line: "
                f"{', '.join(row.cells)[:200]!r}. Deliver each table as a file of its own",
            )
