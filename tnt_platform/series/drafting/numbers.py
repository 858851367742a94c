"""Recognise numbers: which strings are numbers, in which format, and what is printed beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from tnt_platform.readers.printed_marks import multipliers, parted
from tnt_platform.readers.printed_numbers import numbers_of
from tnt_platform.series.transforms.conventions import DEFAULT_NA

_NUMBER: Final = (
    r"^(?:[+\u2212\u2013-]?[0-9.,' \u00a0\u202f\u2019]*[0-9][0-9.,]*(?:[eE][+-]?[0-9]+)?"
    r"|\([0-9.,' \u00a0]*[0-9][0-9.,]*\))$"
)
# Decimal and thousands mark, the plainest first: it wins a tie.
_FORMATS: Final = (
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
_GROUPED: Final = r"^-?[1-9][0-9]{0,2}(?:[.,][0-9]{3})+$"
_DASHES: Final = ("-", "--", "–", "—")
_LISTED: Final = 6


def numbers_among(strings: pl.Series) -> set[str | None]:
    """Return the strings that are numbers in some format, with or without marks beside them."""
    distinct = strings.drop_nulls().unique()
    is_number = distinct.str.contains(_NUMBER)
    bare = {text: parted(text)[0] for text in distinct.filter(~is_number & distinct.str.contains("[0-9]"))}
    marked = pl.Series(bare.values(), dtype=pl.String).str.contains(_NUMBER)
    return {*distinct.filter(is_number), *(text for text, found in zip(bare, marked, strict=True) if found)}


def multiplied_among(strings: Iterable[str]) -> list[str]:
    """Return the strings that are numbers with a mark that changes them, such as 1.25M."""
    marks = "|".join(map(re.escape, multipliers()))
    return [text for text in strings if re.fullmatch(rf"[+-]?[0-9][0-9.,' ]*(?:{marks})", text)]


@dataclass(frozen=True)
class NumberFormat:
    """How values are printed.

    ambiguous: other decimal and thousands marks read as much. unreadable: the commonest strings that no format reads.
    marks: what is printed beside some, such as "(p)". negative_parentheses: (1.5) occurs. dashes: those that stand
    for a value, which may mean zero. formulas: how many have no result.
    """

    decimal: str = "."
    thousands: str | None = None
    ambiguous: bool = False
    unreadable: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    negative_parentheses: bool = False
    dashes: tuple[str, ...] = ()
    formulas: int = 0

    def read(self, strings: pl.Series) -> pl.Series:
        """Read strings as numbers, null where they aren't."""
        number = numbers_of(
            pl.col("text"), self.decimal, self.thousands, negative_parentheses=self.negative_parentheses
        )
        return strings.to_frame("text").select(number).to_series()

    def options(self, *, is_text: bool) -> dict[str, Any]:
        """Return the fields of a `defs.yaml` for it; only a text file can have a point as thousands mark."""
        options: dict[str, Any] = {"decimal": self.decimal} if self.decimal != "." else {}
        if self.thousands is not None and (is_text or self.thousands != "."):
            options["thousands"] = self.thousands
        if self.marks:
            options["marks"] = list(self.marks)
        return options | ({"negative_parentheses": True} if self.negative_parentheses else {})

    def with_marks(self, marks: Iterable[str]) -> NumberFormat:
        """Return the same format with further marks: those beside dates."""
        return replace(self, marks=tuple(dict.fromkeys((*self.marks, *marks))))

    @property
    def checks(self) -> list[str]:
        """What a person must check."""
        checks = []
        if self.marks:
            listed = ", ".join(map(repr, self.marks))
            checks.append(
                f"{listed} beside values or dates are ignored as notes or units: check what they mean"
            )
        if self.ambiguous:
            checks.append("every value has one mark before three digits: check decimal and thousands")
        if self.negative_parentheses:
            checks.append("values in parentheses are read as negative")
        if self.formulas:
            checks.append(
                f"{self.formulas:,} values are formulas without a stored result: open the file with a spreadsheet "
                "program, save it, and draft from that"
            )
        if self.dashes:
            listed = ", ".join(map(repr, self.dashes))
            checks.append(
                f"{listed} counts as not available, and many publishers write an exact zero so: ask, and if it is "
                f"one, declare zeros: [{listed}]"
            )
        if self.unreadable:
            listed = ", ".join(map(repr, self.unreadable))
            checks.append(f"not numbers: {listed}; add them to not_available if they mean that")
        return checks


def number_format(strings: pl.Series) -> NumberFormat:
    """Find the format that reads most of the strings."""
    known = strings.drop_nulls().rename("text")
    if known.is_empty():
        return NumberFormat()
    not_available = [token.casefold() for token in DEFAULT_NA]
    unusual = known.unique(maintain_order=True)
    unusual = unusual.filter(~unusual.str.contains(_PLAIN))
    parts = {text: parted(text) for text in unusual if text.casefold() not in not_available}
    bare = known.replace({text: rest for text, (rest, marks) in parts.items() if marks})
    formats = [NumberFormat(decimal, thousands, negative_parentheses=True) for decimal, thousands in _FORMATS]
    best = max(formats, key=lambda one: one.read(bare).count())
    best = replace(best, negative_parentheses=bool(bare.str.contains(r"^\(.*\)$").any()))
    # A formula without a result is a fault of its own, and no string that stands for no value.
    unread = best.read(bare).is_null() & ~known.str.starts_with("=")
    missing = known.str.to_lowercase().is_in(not_available) | bare.str.to_lowercase().is_in(not_available)
    marked = known.filter(~unread & best.read(known).is_null())
    return replace(
        best,
        ambiguous=bool(known.str.contains(_GROUPED).all()),
        unreadable=tuple(known.filter(unread & ~missing).value_counts(sort=True)["text"].head(_LISTED)),
        marks=commonest(parts[text][1] for text in marked),
        formulas=int(known.str.starts_with("=").sum()),
        dashes=tuple(known.filter(known.is_in(_DASHES)).unique(maintain_order=True)),
    )


def commonest(found: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return marks, the most frequent first."""
    return tuple(mark for mark, _ in Counter(mark for marks in found for mark in marks).most_common())
