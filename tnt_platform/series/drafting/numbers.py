"""Which texts are numbers, by which marks, and what stands beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from tnt_platform.readers.printed_marks import parted
from tnt_platform.readers.printed_numbers import numbers_of
from tnt_platform.series.transforms.conventions import DEFAULT_NA

_NUMBER: Final = re.compile(
    r"[+\u2212\u2013-]?[0-9.,' \u00a0\u202f\u2019]*[0-9][0-9.,]*(?:[eE][+-]?[0-9]+)?|\([0-9.,' \u00a0]*[0-9][0-9.,]*\)"
)
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
_PLAIN: Final = r"^[+-]?[0-9.,]+$"
_GROUPS: Final = r"^-?[1-9][0-9]{0,2}(?:[.,][0-9]{3})+$"
_LISTED: Final = 6
_DECLARE: Final = "they are left out as notes or units; look at what they mean"


def looks_numeric(text: str) -> bool:
    """Whether a text is a number in some convention, with or without notes beside it."""
    return _NUMBER.fullmatch(text) is not None or _NUMBER.fullmatch(parted(text)[0]) is not None


@dataclass(frozen=True)
class Marks:
    """The decimal and thousands mark, whether other marks would read as much, and texts that are no numbers.

    `beside`: what stands at the ends of some numbers, such as "(p)". `negative_parentheses`: (1.5) occurs.
    """

    decimal: str = "."
    thousands: str | None = None
    ambiguous: bool = False
    others: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    negative_parentheses: bool = False

    def numbers(self, texts: pl.Series) -> pl.Series:
        """The texts as numbers, null where they are none."""
        number = numbers_of(
            pl.col("text"), self.decimal, self.thousands, negative_parentheses=self.negative_parentheses
        )
        return texts.to_frame("text").select(number).to_series()

    def options(self, *, is_text: bool) -> dict[str, Any]:
        """What the YAML must say of them; only in a file of text can a point be a thousands mark."""
        said: dict[str, Any] = {"decimal": self.decimal} if self.decimal != "." else {}
        if self.thousands is not None and (is_text or self.thousands != "."):
            said["thousands"] = self.thousands
        if self.beside:
            said["marks"] = list(self.beside)
        return said | ({"negative_parentheses": True} if self.negative_parentheses else {})

    def with_dates(self, beside: Iterable[str]) -> Marks:
        """These, and what stands beside dates."""
        return replace(self, beside=tuple(dict.fromkeys((*self.beside, *beside))))

    @property
    def checks(self) -> list[str]:
        """What a person must look at."""
        said = []
        if self.beside:
            said.append(f"beside some values or dates stand {', '.join(map(repr, self.beside))}: {_DECLARE}")
        if self.ambiguous:
            said.append("every value has one mark before three digits: check decimal and thousands")
        if self.negative_parentheses:
            said.append("values in brackets are taken as below zero")
        if self.others:
            listed = ", ".join(map(repr, self.others))
            said.append(f"values that are no numbers: {listed}; add them to not_available if that is meant")
        return said


def marks_of(texts: pl.Series) -> Marks:
    """Find the marks of value texts; `others` are the most common texts that no marks make numbers."""
    known = texts.drop_nulls().rename("text")
    if known.is_empty():
        return Marks()
    unknown = [token.casefold() for token in DEFAULT_NA]
    unique = known.unique(maintain_order=True)
    odd = unique.filter(~unique.str.contains(_PLAIN))
    parts = {text: parted(text) for text in odd if text.casefold() not in unknown}
    bare = known.replace({text: rest for text, (rest, beside) in parts.items() if beside})
    ways = [Marks(decimal, thousands, negative_parentheses=True) for decimal, thousands in _MARKS]
    likeliest = max(ways, key=lambda way: way.numbers(bare).count())
    decimal, thousands = likeliest.decimal, likeliest.thousands
    in_brackets = bool(bare.str.contains(r"^\(.*\)$").any())
    best = Marks(decimal, thousands, negative_parentheses=in_brackets)
    unread = best.numbers(bare).is_null()
    rest = known.filter(
        unread & ~known.str.to_lowercase().is_in(unknown) & ~bare.str.to_lowercase().is_in(unknown)
    )
    common = rest.value_counts(sort=True)["text"].head(_LISTED).to_list()
    marked = known.filter(~unread & best.numbers(known).is_null())
    return Marks(
        decimal,
        thousands,
        ambiguous=bool(known.str.contains(_GROUPS).all()),
        others=tuple(common),
        beside=commonest_marks(parts[text][1] for text in marked),
        negative_parentheses=in_brackets,
    )


def commonest_marks(found: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Marks by how often they occur."""
    return tuple(mark for mark, _ in Counter(mark for marks in found for mark in marks).most_common())
