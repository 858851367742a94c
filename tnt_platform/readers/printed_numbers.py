"""Read numbers as publishers print them: plain ones only, with the declared marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

DECIMAL_MARKS: Final = (".", ",")
# A mark and every character printed for it: word processors replace spaces and apostrophes.
THOUSANDS_MARKS: Final[Mapping[str, str]] = {
    ".": ".",
    ",": ",",
    " ": " \u00a0\u2009\u202f",
    "'": "'\u2019",
}
# The minus sign, and the dash that word processors make of a hyphen.
_MINUS: Final = "\u2212\u2013"


def numbers_of(
    text: pl.Expr, decimal: str = ".", thousands: str | None = None, *, negative_parentheses: bool = False
) -> pl.Expr:
    """Read a string as a number, or as null where it isn't a plain number with these marks; never as a guess.

    text: String without white space around it; decimal: one of DECIMAL_MARKS; thousands: a key of THOUSANDS_MARKS or
    None; negative_parentheses: (1.5) is -1.5. Returns Float64, finite, never -0.0. A sign before (- + − –) and an
    exponent are read; percent signs, signs behind, currencies, misplaced thousands marks, nan and inf are not. A
    number too small or too large for Float64 is null as well.
    """
    if negative_parentheses:
        text = text.str.replace(r"^\(\s*([0-9.,][^()]*?)\s*\)$", "-${1}")
    mark = "" if thousands is None else f"[{THOUSANDS_MARKS[thousands]}]"
    # A group can't start with 0: "0,123" under thousands "," is somebody's decimal comma.
    grouped = f"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+|" if mark else ""
    whole = f"(?:{grouped}[0-9]+)"
    plain = f"^[+{_MINUS}-]?(?:{whole}(?:[{decimal}][0-9]*)?|[{decimal}][0-9]+)(?:[eE][+-]?[0-9]+)?$"
    bare = text.str.replace_all(mark, "") if mark else text
    if decimal != ".":
        bare = bare.str.replace(decimal, ".", literal=True)
    number = bare.str.replace(f"^[{_MINUS}]", "-").cast(pl.Float64, strict=False)
    is_zero = text.str.contains("^[^1-9eE]*(?:[eE]|$)")
    return (
        pl.when(~text.str.contains(plain) | ~number.is_finite())
        .then(None)
        .when(number != 0)
        .then(number)
        .when(is_zero)
        .then(0.0)
    )
