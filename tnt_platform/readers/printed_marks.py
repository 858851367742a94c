"""Recognise what publishers print beside a number or a date: marks of provisional values, notes, units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

# What looks like a mark: a few characters in brackets, stars, the sign of a unit, or one or two letters.
LIKELY_MARK: Final = (
    r"\([^()0-9]{1,12}\)|\([0-9]{1,2}\)|\[[^\[\]]{1,12}\]|\*{1,3}|[†‡§#ªº¹²³⁴⁵⁶⁷⁸⁹]+|%|‰|(?:US|U|AR|R)?\$|€|£|"
    r"(?:(?<=[0-9 ])[a-zA-Z]{1,2})"
)
_BEFORE: Final = re.compile(r"((?:US|U|AR|R)?\$|€|£|\*{1,3})\s?(?=[0-9+\u2212-])")
_BEHIND: Final = re.compile(rf"\s*({LIKELY_MARK})\s*$")
_MOST: Final = 3


def without_marks(text: pl.Expr, marks: Sequence[str]) -> pl.Expr:
    """Strip marks, and white space around them, from both ends; a string that is nothing else becomes ""."""
    if not marks:
        return text
    # The longest first, so that "**" is not read as two "*".
    any_mark = "|".join(pl.escape_regex(mark) for mark in sorted(marks, key=len, reverse=True))
    return text.str.replace(rf"^(?:\s*(?:{any_mark}))+\s*", "").str.replace(
        rf"\s*(?:(?:{any_mark})\s*)+$", ""
    )


def parted(text: str) -> tuple[str, tuple[str, ...]]:
    """Split a string from what may be marks at its ends: "1.5 (p)" gives "1.5" and ("(p)",).

    A string without marks, or without a digit besides them, is returned as it is, with ().
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
