"""The cells of series as every reader returns them: the text as printed, and its place in the file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from tnt_platform.errors import InvalidInput

CELLS: Final = {
    "series_code": pl.String(),
    "date_text": pl.String(),
    "value_text": pl.String(),
    "place": pl.String(),
    "line_no": pl.Int64(),
    "scale": pl.String(),
}
# The columns that a file without formats of numbers has.
PAIRS: Final = tuple(name for name in CELLS if name != "scale")
REJECTED: Final = {
    "line_no": pl.Int64(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
}
CODES: Final = {"series_code": pl.String(), "unit": pl.String(), "frequency": pl.String()}

# What str.strip removes, and the byte order mark that some exports leave at the start of a cell.
_PADDING: Final = " \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


class NotInFile(InvalidInput):
    """The file lacks `name`: a sheet, a column or a text that the layout names."""

    def __init__(self, reason_code: str, message: str, name: str) -> None:
        super().__init__(reason_code, message)
        self.name = name

    def __reduce__(self) -> tuple[type[NotInFile], tuple[str, str, str]]:
        return type(self), (self.reason_code, str(self), self.name)


@dataclass(frozen=True)
class SeriesCells:
    """The series of a file.

    cells: `CELLS`, one row per pair of a date cell and a value cell of which at least one isn't blank; a blank cell is
    null, text is stripped, numbers are the shortest decimals of the same float; scale: how the file shows a number in
    another scale than it stores it, null where it doesn't.
    rejected: `REJECTED`, the rows that can't be split.
    codes: `CODES`, one row per series found; the key is series_code, `frequency` is null where it is the dataset's.
    below: `CELLS` of the rows that the declared footer cuts off, most of which are notes.
    epoch: the year from which the file counts serial dates; None if it doesn't say.
    """

    cells: pl.DataFrame
    rejected: pl.DataFrame
    codes: pl.DataFrame
    below: pl.DataFrame
    epoch: int | None = None


def stripped(text: pl.Expr) -> pl.Expr:
    """Strip white space, including no-break spaces; blank text becomes null."""
    bare = text.str.replace_all(rf"^[{_PADDING}]+|[{_PADDING}]+$", "")
    return pl.when(bare != "").then(bare)


def text_cells(text: pl.Series) -> pl.Series:
    """Strip strings; blank ones become null."""
    return text.to_frame("text").select(stripped(pl.col("text"))).to_series().alias(text.name)


def same_words(text: str) -> str:
    """Normalize a label or header for comparison: case and white space are ignored."""
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()


def slug(text: str) -> str:
    """Turn a label into a part of a code: upper-case ASCII, with one underscore for each run of anything else."""
    plain = unicodedata.normalize("NFKD", text)
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^A-Z0-9]+", "_", letters.upper()).strip("_")


def template_names(template: str) -> tuple[str, ...]:
    """Return the names between braces of a template, in order."""
    return tuple(_PLACEHOLDER.findall(template))


def filled(template: str, values: dict[str, str]) -> str:
    """Replace each {name} of a template by its value."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def joined(
    cells: Sequence[pl.DataFrame],
    codes: Iterable[tuple[str, str | None, str | None]],
    rejected: pl.DataFrame | None = None,
    *,
    below: Sequence[pl.DataFrame] = (),
    epoch: int | None = None,
) -> SeriesCells:
    """Combine the cells of several series.

    Raises:
        InvalidInput: duplicate_series, or no_rows if there is no cell at all.
    """
    listed = list(codes)
    rejected = pl.DataFrame(schema=REJECTED) if rejected is None else rejected
    if not any(frame.height for frame in cells):
        why = ""
        if not rejected.is_empty():
            line_no, _, _, reason = rejected.row(0)
            why = f" ({rejected.height:,} rows were rejected, the first on line {line_no}: {reason})"
        raise InvalidInput(
            "no_rows",
            f"the file has no dates and no values where they are declared{why}; look at it and correct the YAML",
        )
    names = [code for code, _, _ in listed]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InvalidInput(
            "duplicate_series",
            f"two series have the code {', '.join(twice[:5])}; give each its own code, for example by another "
            "template, or leave one out",
        )
    return SeriesCells(
        cells=pl.concat([pl.DataFrame(schema=CELLS), *cells], how="diagonal"),
        rejected=rejected,
        codes=pl.DataFrame(listed, schema=CODES, orient="row"),
        below=pl.concat([pl.DataFrame(schema=CELLS), *below], how="diagonal"),
        epoch=epoch,
    )
