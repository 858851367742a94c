"""Which marks make most value texts numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from tnt_platform.transforms.observations import DEFAULT_NA
from tnt_platform.transforms.printed_numbers import numbers_of

# The plainest first: a tie is decided for it.
_MARKS: Final = (
    (".", None),
    (",", None),
    (".", ","),
    (",", "."),
    (",", " "),
    (".", " "),
    (".", "'"),
    (",", "'"),
)
_GROUPS: Final = r"^-?[1-9][0-9]{0,2}(?:[.,][0-9]{3})+$"
_LISTED: Final = 6


@dataclass(frozen=True)
class Marks:
    """The decimal and thousands mark, whether other marks would read as much, and texts that are no numbers."""

    decimal: str = "."
    thousands: str | None = None
    ambiguous: bool = False
    others: tuple[str, ...] = ()

    def numbers(self, texts: pl.Series) -> pl.Series:
        """The texts as numbers, null where they are none."""
        return (
            texts.to_frame("text")
            .select(numbers_of(pl.col("text"), self.decimal, self.thousands))
            .to_series()
        )

    def options(self, *, is_text: bool) -> dict[str, str]:
        """What the YAML must say of them; only in a file of text can a point be a thousands mark."""
        said = {"decimal": self.decimal} if self.decimal != "." else {}
        is_said = self.thousands is not None and (is_text or self.thousands != ".")
        return said | ({"thousands": str(self.thousands)} if is_said else {})


def marks_of(texts: pl.Series) -> Marks:
    """Find the marks of value texts; `others` are the most common texts that no marks make numbers."""
    known = texts.drop_nulls().rename("text")
    if known.is_empty():
        return Marks()
    counts = {marks: Marks(*marks).numbers(known).count() for marks in _MARKS}
    decimal, thousands = max(counts, key=lambda marks: counts[marks])
    best = Marks(decimal, thousands)
    grouped = known.str.contains(_GROUPS)
    unknown = [token.casefold() for token in DEFAULT_NA]
    rest = known.filter(best.numbers(known).is_null() & ~known.str.to_lowercase().is_in(unknown))
    common = rest.value_counts(sort=True)["text"].head(_LISTED).to_list()
    return Marks(decimal, thousands, ambiguous=bool(grouped.all()), others=tuple(common))
