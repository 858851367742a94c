"""The cells of time series as every reader gives them: text as it stands, and where it stands."""

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
}
REFUSED: Final = {
    "line_no": pl.Int64(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
}
CODES: Final = {"series_code": pl.String(), "unit": pl.String(), "frequency": pl.String()}

# What str.strip takes off, and the zero-width mark that some exports leave at the start of a cell.
_PADDING: Final = " \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class SeriesCells:
    """What a file holds of its series.

    cells: `CELLS`, one row for each pair of a date cell and a value cell of which at least one isn't blank; a blank
    cell is null, text is stripped, numbers are the shortest decimals that give the same float.
    refused: `REFUSED`, the rows that could not be taken apart.
    codes: `CODES`, one row for each series found; the key is series_code.
    """

    cells: pl.DataFrame
    refused: pl.DataFrame
    codes: pl.DataFrame


def stripped(text: pl.Expr) -> pl.Expr:
    """Take white space, no-break spaces included, off both ends; what is nothing else becomes null."""
    bare = text.str.replace_all(rf"^[{_PADDING}]+|[{_PADDING}]+$", "")
    return pl.when(bare != "").then(bare)


def text_cells(text: pl.Series) -> pl.Series:
    """Return the texts stripped, blank ones as null."""
    return text.to_frame("text").select(stripped(pl.col("text"))).to_series().alias(text.name)


def same_words(text: str) -> str:
    """Return the spelling by which labels and headers are compared: case and white space don't count."""
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()


def slug(text: str) -> str:
    """Return a label as a part of a code: upper-case ASCII, a run of anything else as one underscore."""
    plain = unicodedata.normalize("NFKD", text)
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^A-Z0-9]+", "_", letters.upper()).strip("_")


def template_names(template: str) -> tuple[str, ...]:
    """Return the names between braces of a template, in order."""
    return tuple(_PLACEHOLDER.findall(template))


def filled(template: str, values: dict[str, str]) -> str:
    """Put a value in the place of each {name} of a template."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def joined(
    cells: Sequence[pl.DataFrame],
    codes: Iterable[tuple[str, str | None, str | None]],
    refused: pl.DataFrame | None = None,
) -> SeriesCells:
    """Put the cells of several series together.

    Raises:
        InvalidInput: duplicate_series, or no_rows if there is no cell at all.
    """
    listed = list(codes)
    refused = pl.DataFrame(schema=REFUSED) if refused is None else refused
    if not any(frame.height for frame in cells):
        why = ""
        if not refused.is_empty():
            line_no, _, _, reason = refused.row(0)
            why = f" ({refused.height:,} rows were refused, the first on line {line_no}: {reason})"
        raise InvalidInput(
            "no_rows",
            f"the file holds no date and no value where the layout says{why}; look at it and correct the layout",
        )
    names = [code for code, _, _ in listed]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InvalidInput(
            "duplicate_series",
            f"two series have the code {', '.join(twice[:5])}; give each a code of its own, for example by another "
            "template or by leaving one out",
        )
    return SeriesCells(
        cells=pl.concat([pl.DataFrame(schema=CELLS), *cells]),
        refused=refused,
        codes=pl.DataFrame(listed, schema=CODES, orient="row"),
    )
