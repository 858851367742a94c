"""What publishers print beside a number or a date: signs of provisional values, notes, units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

# What looks like a mark: a few characters in brackets, stars, a sign of a unit, or a letter or two apart.
LIKELY_MARK: Final = (
    r"\([^()0-9]{1,12}\)|\([0-9]{1,2}\)|\[[^\[\]]{1,12}\]|\*{1,3}|[†‡§#ªº¹²³⁴⁵⁶⁷⁸⁹]+|%|‰|(?:US|U|AR|R)?\$|€|£|"
    r"(?:(?<=[0-9 ])[a-zA-Z]{1,2})"
)
_BEFORE: Final = re.compile(r"((?:US|U|AR|R)?\$|€|£|\*{1,3})\s?(?=[0-9+\u2212-])")
_BEHIND: Final = re.compile(rf"\s*({LIKELY_MARK})\s*$")
_MOST: Final = 3


def without_marks(text: pl.Expr, marks: Sequence[str]) -> pl.Expr:
    """Take marks, and white space around them, off both ends of a text; one that is nothing else becomes ""."""
    if not marks:
        return text
    # The longest first: of "**" and "*", the first is meant where it stands.
    any_mark = "|".join(pl.escape_regex(mark) for mark in sorted(marks, key=len, reverse=True))
    return text.str.replace(rf"^(?:\s*(?:{any_mark}))+\s*", "").str.replace(
        rf"\s*(?:(?:{any_mark})\s*)+$", ""
    )


def parted(text: str) -> tuple[str, tuple[str, ...]]:
    """Part a text and what at its ends may be marks: "1.5 (p)" gives "1.5" and ("(p)",).

    A text without marks, or with nothing that has a digit beside them, is itself and ().
    """
    found = []
    rest = text.strip()
    for end in (_BEFORE.match, _BEHIND.search):
        for _ in range(_MOST):
            mark = end(rest)
            if mark is None:
                break
            found.append(mark[1])
            rest = (rest[: mark.start()] + rest[mark.end() :]).strip()
    return (rest, tuple(dict.fromkeys(found))) if any(map(str.isdigit, rest)) else (text, ())
