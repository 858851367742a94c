"""Recognise what publishers print beside a number or a date: marks of provisional values, notes, units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
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
PER_PART: Final = ("%", "‰")


def without_marks(text: pl.Expr, marks: Sequence[str]) -> pl.Expr:
    """Strip marks, and white space around them, from both ends; a string that is nothing else becomes ""."""
    if not marks:
        return text
    # The longest first, so that "**" is not read as two "*".
    any_mark = "|".join(pl.escape_regex(mark) for mark in sorted(marks, key=len, reverse=True))
    return text.str.replace(rf"^(?:\s*(?:{any_mark}))+\s*", "").str.replace(
        rf"\s*(?:(?:{any_mark})\s*)+$", ""
    )


@cache
def multipliers() -> frozenset[str]:
    """Return what is printed behind a number and changes it: K and M multiply, DR makes it a debit."""
    table = files(__package__).joinpath("multipliers.csv").read_text(encoding="utf-8")
    return frozenset(line.partition(",")[0] for line in table.splitlines()[1:])


def scale_of(text: pl.Expr, marks: Sequence[str]) -> pl.Expr:
    """Return the first mark of a string that says in which scale its number is; null without one."""
    scales = [mark for mark in marks if mark in multipliers() or mark in PER_PART]
    if not scales:
        return pl.lit(None, pl.String)
    scales.sort(key=len, reverse=True)
    return text.str.extract(f"({'|'.join(map(pl.escape_regex, scales))})")


def parted(text: str) -> tuple[str, tuple[str, ...]]:
    """Split a string from what may be marks at its ends: "1.5 (p)" gives "1.5" and ("(p)",).

    A string without marks, or without a digit besides them, is returned as it is, with ().
    """
    found = []
    rest = text.strip()
    for end in (_BEFORE.match, _BEHIND.search):
        for _ in range(_MOST):
            mark = end(rest)
            if mark is None or mark[1] in multipliers():
                break
            found.append(mark[1])
            rest = (rest[: mark.start()] + rest[mark.end() :]).strip()
    return (rest, tuple(dict.fromkeys(found))) if any(map(str.isdigit, rest)) else (text, ())
