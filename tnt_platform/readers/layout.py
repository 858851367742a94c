"""How a delimited file is laid out, and what reading several of them returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from tnt_platform.errors import ConfigError

# The frame's own columns; a header cell of such a name is known by its position (c0, c1, ...).
FRAME_COLUMNS: Final = ("file_key", "line_no", "raw")
RAW_LIMIT_CHARS: Final = 10_000

GOOD_SCHEMA: Final = {"file_key": pl.String(), "line_no": pl.Int64(), "raw": pl.String()}
BAD_SCHEMA: Final = {**GOOD_SCHEMA, "reason_code": pl.String(), "reason": pl.String()}
FILES_SCHEMA: Final = {
    "file_key": pl.String(),
    "rows_in": pl.Int64(),
    "rows_bad": pl.Int64(),
    "blank_lines": pl.Int64(),
    "encoding": pl.String(),
}


@dataclass(frozen=True)
class RawFile:
    """One object as it was delivered: its key and its bytes, compressed or not."""

    key: str
    data: bytes


@dataclass(frozen=True)
class DelimitedLayout:
    """The shape every file of one dataset has.

    Columns are named c0, c1, ... without a header, else by the header. `columns` chooses those to keep, by
    header name (any case, any white space) or position; a file that lacks one which isn't also in `optional`,
    or has it twice, is refused. A row has min_columns to max_columns cells: with a header both default to its
    width, without one max_columns is needed and min_columns defaults to it.
    """

    separator: str = "|"
    header: bool = False
    quote: str | None = '"'
    encoding: str | None = None
    min_columns: int | None = None
    max_columns: int | None = None
    columns: tuple[str | int, ...] = ()
    optional: frozenset[str | int] = frozenset()
    skip_rows: int = 0
    comment_prefix: str | None = None
    max_line_bytes: int = 1_000_000
    max_file_bytes: int = 512 << 20
    max_ratio: int = 250

    def __post_init__(self) -> None:
        for option, value in (("separator", self.separator), ("quote", self.quote)):
            if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n\0"):
                raise ConfigError(
                    f"{option}: {value!r} must be one ASCII character other than a line end or NUL"
                )
        if self.separator == self.quote:
            raise ConfigError(f"separator and quote are both {self.quote!r}; choose two characters")
        if self.comment_prefix == "":
            raise ConfigError("comment_prefix: is empty, so every line would be a comment; leave it out")
        self._check_widths()
        self._check_columns()
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError:
                raise ConfigError(
                    f"encoding: {self.encoding!r} is not known; use a name such as utf-8, cp1252 or iso8859-7"
                ) from None

    def _check_widths(self) -> None:
        if not self.header and self.max_columns is None:
            raise ConfigError(
                "max_columns: is needed for files without a header; say how many cells a row has"
            )
        low, high = self.widths(header_width=self.max_columns or self.min_columns or 1)
        if not 1 <= low <= high:
            raise ConfigError(
                f"min_columns: {low} and max_columns: {high} must be 1 or more, the first not larger"
            )

    def _check_columns(self) -> None:
        names = [column_name(column) for column in self.columns]
        if len({normalised(name) for name in names}) < len(names):
            raise ConfigError(f"columns: one is named twice in {names}; name each once")
        for column in self.columns:
            if isinstance(column, int):
                if not self.header and column >= (self.max_columns or 0):
                    raise ConfigError(f"columns: position {column} is past max_columns; positions start at 0")
            elif not self.header or normalised(column) in FRAME_COLUMNS:
                raise ConfigError(
                    f"columns: {column!r} can't be found by name here; give its position, from 0"
                )
        unknown = self.optional - set(self.columns)
        if unknown:
            raise ConfigError(f"optional: {sorted(map(str, unknown))} must be among `columns`")

    def widths(self, *, header_width: int) -> tuple[int, int]:
        """Return the least and the most cells a row may have under a header of that many cells."""
        high = self.max_columns if self.max_columns is not None else header_width
        return (self.min_columns if self.min_columns is not None else high), high


@dataclass(frozen=True)
class Rows:
    """What several files hold; each frame is in the order of the files, then of the lines.

    good_cells: file_key, line_no (1-based physical line where the record starts), raw (its text), then the
    cells as String (empty cell "", absent cell null). Lazy, because splitting a line and parsing its cells in
    one streaming query takes three quarters of the time and half of the memory of two steps; `good` is the same
    rows as a DataFrame.
    bad: file_key, line_no (0 for a whole file), raw (its first 10,000 characters; bytes that are no text as
    \\xNN), reason_code, reason.
    files: file_key, rows_in (= good + bad + blank), rows_bad, blank_lines, encoding. A refused file counts as
    one row in and one bad. Header, comment and skipped lines are no rows.
    """

    good_cells: pl.LazyFrame
    bad: pl.DataFrame
    files: pl.DataFrame

    @cached_property
    def good(self) -> pl.DataFrame:
        """The rows of `good_cells`, for whoever needs no types."""
        return self.good_cells.collect(engine="streaming")


def normalised(name: str) -> str:
    """Return the spelling by which header names are compared."""
    return " ".join(name.split()).casefold()


def column_name(column: str | int) -> str:
    """Return the name of the frame's column for a header name or a position."""
    return f"c{column}" if isinstance(column, int) else column
