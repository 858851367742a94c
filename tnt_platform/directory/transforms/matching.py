"""Which code a source's spelling means: exactly, by a mapping that people keep, or by likeness; else none."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from rapidfuzz import fuzz, process

from tnt_platform.errors import ConfigError

# A likeness is 0 to 100: one wrong letter of seven is 86, one left out of seven is 92.
SCORE_FLOOR: Final = 85.0
SCORE_MARGIN: Final = 5.0
CANDIDATES: Final = 3

MATCHES: Final[dict[str, pl.DataType]] = {
    "value": pl.String(),
    "code": pl.String(),
    "method": pl.String(),
    "score": pl.Float64(),
    "candidates": pl.String(),
}

_BATCH_VALUES: Final = 2_000
_SHORT_WORD: Final = 2
_WORDS: Final = re.compile(r"\d+|[^\s\d!-/:-@\[-`{-~\u2010-\u201f]+")
_SPACES: Final = re.compile(r"\s+")
_STOPS: Final = re.compile(r"\.(?!\d)|(?<!\d)\.")


# value, code, method, score, candidates
_Row = tuple[str, str | None, str | None, float | None, str | None]


@dataclass(frozen=True)
class _Label:
    """One spelling of a code, ready to be compared."""

    code: str
    words: str
    fixed_words: tuple[str, ...]


def match_values(
    values: Iterable[str],
    codes: pl.DataFrame,
    mapping: pl.DataFrame,
    *,
    score_floor: float = SCORE_FLOOR,
    margin: float = SCORE_MARGIN,
) -> pl.DataFrame:
    """Say for each distinct value which code it means, how that is known, and which codes are nearest.

    codes: code (String, unique) and names in String columns that begin with `name`; mapping: value, code (String).
    Case, width, white space and full stops don't count. A value is `exact` where it is a code or a name, `mapping`
    where the mapping has it (both score 100), and `fuzzy` where the likest code scores `score_floor` or more and
    `margin` more than the next one; digits and words of up to two letters must then agree exactly, so that no other
    floor is like "1F". Anything else has no code.

    Returns a row per distinct value, sorted: value, code (null: unmapped), method (exact | mapping | fuzzy), score
    (Float64, 0-100) and candidates (JSON list of the nearest three {"code", "score"}, null unless unmapped).

    Raises:
        ConfigError: a code or spelling occurs for two codes, or the mapping names a code that isn't there.
    """
    exact = _spellings(_names(codes), "codes")
    mapped = _spellings(_mapped(mapping, set(codes["code"])), "mapping")
    labels = _labels([*_names(codes), *mapping.select("value", "code").rows()])
    distinct = sorted(set(values))
    rows: list[_Row] = []
    unknown: list[str] = []
    for value in distinct:
        key = spelling(value)
        if key in exact:
            rows.append((value, exact[key], "exact", 100.0, None))
        elif key in mapped:
            rows.append((value, mapped[key], "mapping", 100.0, None))
        else:
            unknown.append(value)
    for start in range(0, len(unknown), _BATCH_VALUES):
        rows += _by_likeness(unknown[start : start + _BATCH_VALUES], labels, score_floor, margin)
    return pl.DataFrame(rows, schema=MATCHES, orient="row").sort("value")


def spelling(value: str) -> str:
    """The value as it is compared: "Fl. G" and "FL G" are "flg", "7 8" stays apart from "78"."""
    text = _with_ascii_digits(unicodedata.normalize("NFKC", value).casefold())
    return _SPACES.sub(_space, _STOPS.sub("", text).strip())


def _space(spaces: re.Match[str]) -> str:
    at, text = spaces.start(), spaces.string
    return " " if at and text[at - 1].isdigit() and text[spaces.end() : spaces.end() + 1].isdigit() else ""


def _with_ascii_digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(char, char)) for char in text)


def _names(codes: pl.DataFrame) -> list[tuple[str, str]]:
    """(spelling, code) of each code and each of its names."""
    columns = ["code", *(name for name in codes.columns if name.startswith("name"))]
    return [
        (name, row["code"])
        for row in codes.select(columns).iter_rows(named=True)
        for name in row.values()
        if name
    ]


def _mapped(mapping: pl.DataFrame, codes: set[str]) -> list[tuple[str, str]]:
    pairs = mapping.select("value", "code").rows()
    for value, code in pairs:
        if code not in codes:
            raise ConfigError(
                f"the mapping says that {value!r} is {code!r}, which is not a code; "
                "add the code, or map the value to one of the codes there are"
            )
    return pairs


def _spellings(pairs: Sequence[tuple[str, str]], table: str) -> Mapping[str, str]:
    known: dict[str, str] = {}
    for name, code in pairs:
        if known.setdefault(spelling(name), code) != code:
            raise ConfigError(
                f"{name!r} of the {table} is both {known[spelling(name)]} and {code}; keep one of them"
            )
    return known


def _labels(pairs: Iterable[tuple[str, str]]) -> list[_Label]:
    return sorted(
        {_Label(code, *_compared(name)) for name, code in pairs}, key=lambda label: (label.code, label.words)
    )


def _compared(value: str) -> tuple[str, tuple[str, ...]]:
    """The value's words in a fixed order, and those of them that must agree exactly."""
    text = _with_ascii_digits(unicodedata.normalize("NFKC", value).casefold())
    words = sorted(_WORDS.findall(text))
    fixed = (word for word in words if word.isdigit() or len(word) <= _SHORT_WORD)
    return " ".join(words), tuple(fixed)


def _by_likeness(
    values: Sequence[str], labels: Sequence[_Label], score_floor: float, margin: float
) -> Iterator[_Row]:
    compared = [_compared(value) for value in values]
    scores = process.cdist(
        [words for words, _ in compared],
        [label.words for label in labels],
        scorer=fuzz.ratio,
        dtype=np.float64,
    ).round(2)
    agreeing = {fixed: [label.fixed_words == fixed for label in labels] for _, fixed in compared}
    allowed = np.where([agreeing[fixed] for _, fixed in compared], scores, 0.0)
    for value, nearest, agreed in zip(values, _ranked(scores, labels), _ranked(allowed, labels), strict=True):
        (code, score), (_, next_score) = agreed[:2]
        if score >= score_floor and score - next_score >= margin:
            yield value, code, "fuzzy", score, None
        else:
            shown = [{"code": code, "score": score} for code, score in nearest[:CANDIDATES] if code]
            yield value, None, None, None, json.dumps(shown)


def _ranked(scores: npt.NDArray[np.float64], labels: Sequence[_Label]) -> Iterator[list[tuple[str, float]]]:
    """For each row the codes with the score of their best spelling, best first; equals in order of their codes.

    A last code without a name or score stands for "no other".
    """
    codes = sorted({label.code for label in labels})
    starts = [next(at for at, label in enumerate(labels) if label.code == code) for code in codes]
    best = np.maximum.reduceat(scores, starts, axis=1)
    for row, order in zip(best, np.argsort(-best, axis=1, kind="stable")[:, : CANDIDATES + 1], strict=True):
        yield [*((codes[at], float(row[at])) for at in order), ("", 0.0)]
