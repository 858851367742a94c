"""How a delimited file is laid out, and what reading several of them returns."""

from __future__ import annotations

import encodings.aliases
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final

import polars as pl
from pydantic import AfterValidator, Field

from tnt_platform.specs.fields import Regex, Unit, meant, shown
from tnt_platform.specs.spec import Mistake, Spec, mistake, rule

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
ENCODINGS: Final = sorted(
    {name.replace("_", "-") for name in encodings.aliases.aliases.values()} - {"idna", "punycode"}
)


@dataclass(frozen=True)
class RawFile:
    """One object as it was delivered: its key and its bytes, compressed or not."""

    key: str
    data: bytes


def _one_character(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in "\r\n\0":
        raise mistake(
            f"{shown(text)} is not one character",
            "one ASCII character other than a line end",
            'write one character; a tab is "\\t" in double quotes',
        )
    return text


def _separating(text: str) -> str:
    if not text or not text.isascii() or set(text) & set("\r\n\0\x1f"):
        raise mistake(
            f"{shown(text)} can't separate cells",
            "one or several ASCII characters other than a line end",
            'write them as they stand between two cells; a tab is "\\t" in double quotes',
        )
    return text


def _known_encoding(text: str) -> str:
    try:
        "".encode(text)
    except (LookupError, ValueError):
        raise mistake(
            f"{shown(text)} is not a known encoding",
            "a name such as utf-8 or cp1252",
            meant(text, ENCODINGS, "delete it to have the encoding of each file detected"),
        ) from None
    return text


OneCharacter = Annotated[str, AfterValidator(_one_character)]
Separator = Annotated[str, AfterValidator(_separating)]
Encoding = Annotated[str, AfterValidator(_known_encoding)]


class DelimitedFormat(Spec):
    """How the files of one kind separate, quote and encode their cells."""

    separator: Annotated[
        Separator,
        Field(
            description="What stands between two cells. A first line `sep=;`, as Excel writes it, "
            "overrides it for that file."
        ),
    ] = ","
    quote: Annotated[
        OneCharacter | None,
        Field(
            description="The character around cells that hold the separator; null if the files don't quote."
        ),
    ] = '"'
    escape: Annotated[
        OneCharacter | None,
        Field(
            description="The character that takes its meaning from the next one, as MySQL and Spark write it "
            "(then the cell \\N is empty); left out where quotes inside cells are doubled."
        ),
    ] = None
    header: Annotated[bool, Field(description="Whether a row names the columns.")] = True
    header_row: Annotated[
        int | None,
        Field(
            ge=1,
            description="The line of the header. Left out, it is the first row that names every required column, "
            "below at most 50 narrower lines such as a title.",
        ),
        Unit("lines from 1"),
    ] = None
    skip_rows: Annotated[
        int, Field(ge=0, description="Lines to skip at the start of each file."), Unit("lines")
    ] = 0
    comment: Annotated[
        str | None, Field(min_length=1, description="Lines that start with this are not rows.")
    ] = None
    footer: Annotated[
        Regex | None,
        Field(
            description="Regular expression for lines that are not data, such as `^Total`: they are counted as "
            "filtered, wherever they stand."
        ),
    ] = None
    encoding: Annotated[
        Encoding | None, Field(description="The encoding, such as cp1252; detected file by file if left out.")
    ] = None
    min_columns: Annotated[
        int | None,
        Field(
            ge=1,
            description="The fewest cells a row may have. Left out, it is the width of the header: a shorter row may "
            "have lost a separator, so it is quarantined.",
        ),
        Unit("cells"),
    ] = None
    max_columns: Annotated[
        int | None,
        Field(
            ge=1,
            description="The most cells a row may have: the width of the header if left out, "
            "required where there is no header.",
        ),
        Unit("cells"),
    ] = None

    @rule
    def _separator_is_not_the_quote(self) -> Iterator[Mistake]:
        if self.separator == self.quote:
            at = "quote" if "quote" in self.model_fields_set else "separator"
            wrong = f"separator and quote are both {self.quote!r}"
            yield Mistake(wrong, "two different characters", "change one of them", at=(at,))

    @rule
    def _escape_is_a_character_of_its_own(self) -> Iterator[Mistake]:
        if self.escape is not None and self.escape in (self.quote, self.separator):
            wrong = f"escape {self.escape!r} is also the quote or the separator"
            yield Mistake(
                wrong, "a character of its own", "delete it where quotes are doubled", at=("escape",)
            )

    @rule
    def _header_row_needs_a_header(self) -> Iterator[Mistake]:
        if self.header_row is not None and not self.header:
            fix = "delete it, or set `header: true`"
            yield Mistake("header_row is set, and header is false", "one of the two", fix, at=("header_row",))
        if self.header_row is not None and self.skip_rows:
            fix = "delete skip_rows: what stands above the header is skipped"
            yield Mistake("header_row and skip_rows are both set", "one of the two", fix, at=("skip_rows",))

    @rule
    def _width_is_known(self) -> Iterator[Mistake]:
        if not self.header and self.max_columns is None:
            fix = "add `max_columns:` with the most cells a row may have"
            yield Mistake("max_columns is missing", "a width for files without a header", fix)


def place_mistakes(
    layout: DelimitedFormat, places: Mapping[str | int, int | str]
) -> Iterator[tuple[str | int, Mistake]]:
    """Find the places, each a position or a name of the header, where no column of such a file can be."""
    seen: dict[str, str | int] = {}
    for key, place in places.items():
        if wrong := _why_unreachable(layout, place):
            fix = "correct it" if isinstance(place, int) else "give its position, or set `header: true`"
            yield key, Mistake(wrong, "a position from 0 below max_columns, or a name in the header", fix)
        spelling = normalised(column_name(place))
        if spelling in seen:
            wrong = f"{key} and {seen[spelling]} are both at {shown(place)}"
            yield key, Mistake(wrong, "one column for each place", "correct one of them")
        seen.setdefault(spelling, key)


def _why_unreachable(layout: DelimitedFormat, place: int | str) -> str | None:
    if isinstance(place, int):
        if place < 0:
            return f"position {place} is below 0"
        if layout.max_columns is not None and place >= layout.max_columns:
            return f"position {place} is past max_columns {layout.max_columns}"
        return None
    if not place.strip():
        return "the header name is empty"
    if not layout.header:
        return f"{shown(place)} can't be found by name in files without a header"
    if normalised(place) in FRAME_COLUMNS:
        return f"{shown(place)} can't be found by name: the platform has a column of that name"
    return None


class DelimitedLayout(DelimitedFormat):
    """The format of files and which of their cells to read.

    Columns are named by the header, or c0, c1, ... without one. `columns` chooses those to keep, by
    header name (any case, any white space) or position. A file that has one of them twice is rejected, and so is a
    file that lacks one, unless it is in `optional`. A row has min_columns to max_columns cells: with a header both
    default to its width (unnamed cells at its end may be missing), without one min_columns defaults to max_columns.
    """

    columns: tuple[str | int, ...] = ()
    optional: frozenset[str | int] = frozenset()
    max_line_bytes: int = 1_000_000
    max_file_bytes: int = 512 << 20
    max_ratio: int = 250

    @rule
    def _widths_are_in_order(self) -> Iterator[Mistake]:
        low, high = self.widths(header_width=self.max_columns or self.min_columns or 1)
        if not 1 <= low <= high:
            wrong = f"min_columns {low} and max_columns {high} don't fit together"
            yield Mistake(
                wrong, "1 or more, the first not larger", "correct one of them", at=("min_columns",)
            )

    @rule
    def _columns_can_be_found(self) -> Iterator[Mistake]:
        for position, found in place_mistakes(self, dict(enumerate(self.columns))):
            yield found.below("columns", position)
        for column in sorted(map(str, self.optional - set(self.columns))):
            wrong = f"optional: {column} is not among `columns`"
            yield Mistake(wrong, "some of `columns`", "add it there", at=("optional",))

    @property
    def as_recipe(self) -> dict[str, object]:
        """Return what decides how a file is read, in the words of the releases that published with it.

        Options that came later are left out where they are not used: naming them would read every file again.
        """
        later = {"escape", "header_row", "footer"}
        unused = {name for name in later if name not in self.model_fields_set or getattr(self, name) is None}
        fields = self.model_dump(exclude=unused)
        fields["comment_prefix"] = fields.pop("comment")
        return fields

    def widths(self, *, header_width: int, named: int | None = None) -> tuple[int, int]:
        """Return the fewest and the most cells a row may have.

        Args:
            header_width: the cells of the header, of which the first `named` are up to the last one with a name.
        """
        high = self.max_columns if self.max_columns is not None else header_width
        low = high if named is None else min(named, high)
        return (self.min_columns if self.min_columns is not None else low), high


def as_layout(declared: DelimitedFormat) -> DelimitedLayout:
    """Return the layout of files of a declared format, all of whose columns are read."""
    return DelimitedLayout(**{name: getattr(declared, name) for name in DelimitedFormat.model_fields})


@dataclass(frozen=True)
class Rows:
    """The rows of several files; each frame is in the order of the files, then of the lines.

    good_cells: file_key, line_no (1-based physical line where the record starts), raw (its text), then the
    cells as String (empty cell "", absent cell null). It is lazy because splitting lines and parsing their cells in
    one streaming query takes three quarters of the time and half of the memory of two; `good` is the same
    rows as a DataFrame.
    bad: file_key, line_no (0 for a whole file), raw (its first 10,000 characters; undecodable bytes as
    \\xNN), reason_code, reason.
    files: file_key, rows_in (= good + bad + blank), rows_bad, blank_lines, encoding. A rejected file counts as
    one row in and one bad. Header, comment and skipped lines are not rows.
    """

    good_cells: pl.LazyFrame
    bad: pl.DataFrame
    files: pl.DataFrame

    @cached_property
    def good(self) -> pl.DataFrame:
        """Return the rows of `good_cells` untyped."""
        return self.good_cells.collect(engine="streaming")


def normalised(name: str) -> str:
    """Return the spelling by which header names are compared."""
    return " ".join(name.split()).casefold()


def column_name(column: str | int) -> str:
    """Return the name of the frame's column for a header name or a position."""
    return f"c{column}" if isinstance(column, int) else column
