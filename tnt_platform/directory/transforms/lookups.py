"""Read the lookup CSVs of a directory and match the source's spellings of floors and categories with their codes."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from tnt_platform.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# The columns of each file; the first two must have a value in every row.
LOOKUP_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "floors.csv": ("code", "name", "name_th", "sort_order"),
    "floor_mapping.csv": ("value", "code", "comment"),
    "categories.csv": ("code", "name_en", "name_th", "name_zh"),
    "category_mapping.csv": ("value", "code", "comment"),
}

# A similarity is between 0 and 100: one wrong letter in seven gives 86, one missing letter in seven gives 92.
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
_SHORT_WORD_CHARS: Final = 2
_WORDS: Final = re.compile(r"\d+|[^\s\d!-/:-@\[-`{-~\u2010-\u201f]+")
_SPACES: Final = re.compile(r"\s+")
_FULL_STOPS: Final = re.compile(r"\.(?!\d)|(?<!\d)\.")

# value, code, method, score, candidates: a row of MATCHES
_Row = tuple[str, str | None, str | None, float | None, str | None]


@dataclass(frozen=True)
class Lookups:
    """The four tables of LOOKUP_FILES: String columns, except floors.sort_order (Int64); codes are unique."""

    floors: pl.DataFrame
    floor_mapping: pl.DataFrame
    categories: pl.DataFrame
    category_mapping: pl.DataFrame


@dataclass(frozen=True)
class _Label:
    """One spelling of a code, prepared for comparison."""

    code: str
    words: str
    fixed_words: tuple[str, ...]


class FaultyLookup(ConfigError):
    """A lookup file is missing or invalid: which one, and the line (1 for the file as a whole)."""

    def __init__(self, file: str, line: int, what: str) -> None:
        super().__init__(f"{file}, line {line}: {what}" if line > 1 else f"{file}: {what}")
        self.file = file
        self.line = line

    def __reduce__(self) -> tuple[type[FaultyLookup], tuple[str, int, str]]:
        # Without this, an exception with several arguments cannot be pickled between processes.
        return type(self), (self.file, self.line, str(self).partition(": ")[2])


def lookups_of(tables: Mapping[str, bytes]) -> Lookups:
    """Read the lookups from CSV files (UTF-8, with a header), given by file name.

    Raises:
        ConfigError: a file or column is missing, a required cell is empty (FaultyLookup), or the files contradict each
            other.
    """
    floors, floor_mapping, categories, category_mapping = (_table(tables, name) for name in LOOKUP_FILES)
    order = floors["sort_order"].cast(pl.Int64, strict=False)
    if order.null_count():
        line = (order.is_null().arg_max() or 0) + 2
        raise FaultyLookup("floors.csv", line, "sort_order is not a whole number; give the floor its place")
    _refuse_contradictions("floors.csv and floor_mapping.csv", floors, floor_mapping)
    _refuse_contradictions("categories.csv and category_mapping.csv", categories, category_mapping)
    return Lookups(floors.with_columns(order), floor_mapping, categories, category_mapping)


def _refuse_contradictions(names: str, codes: pl.DataFrame, mapping: pl.DataFrame) -> None:
    try:
        match_values([], codes, mapping)
    except ConfigError as error:
        raise ConfigError(f"{names}: {error}") from error


def _table(tables: Mapping[str, bytes], name: str) -> pl.DataFrame:
    columns = LOOKUP_FILES[name]
    if name not in tables:
        raise FaultyLookup(name, 1, f"missing; add it beside defs.yaml with the columns {', '.join(columns)}")
    try:
        table = pl.read_csv(tables[name], infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise FaultyLookup(name, 1, f"not a CSV file in UTF-8 ({error})") from error
    if tuple(table.columns) != columns:
        raise FaultyLookup(
            name, 1, f"the columns are {', '.join(table.columns)}; expected {', '.join(columns)}"
        )
    table = table.with_columns(pl.all().str.strip_chars().replace("", None))
    for column in columns[:2]:
        if table[column].null_count():
            line = (table[column].is_null().arg_max() or 0) + 2
            raise FaultyLookup(name, line, f"{column} is empty; fill it in or delete the line")
    seen = ~table[columns[0]].is_first_distinct()
    if seen.any():
        at = seen.arg_max() or 0
        what = f"{columns[0]} {table[columns[0]][at]!r} occurs more than once; keep one line"
        raise FaultyLookup(name, at + 2, what)
    return table


def match_values(
    values: Iterable[str],
    codes: pl.DataFrame,
    mapping: pl.DataFrame,
    *,
    score_floor: float = SCORE_FLOOR,
    margin: float = SCORE_MARGIN,
) -> pl.DataFrame:
    """Match each distinct value with a code: exactly, by the mapping, or by similarity.

    codes: code (String, unique) and names in String columns that start with `name`; mapping: value, code (String).
    Case, width, white space and full stops are ignored. A value is `exact` where it equals a code or a name,
    `mapping` where the mapping lists it (both score 100), and `fuzzy` where the most similar code scores at least
    `score_floor` and is `margin` ahead of the next one. For `fuzzy`, digits and words of up to two letters must be
    equal, so that "2F" is never taken for "1F". Any other value has no code.

    Returns one row per distinct value, sorted: value, code (null if unmapped), method (exact | mapping | fuzzy),
    score (Float64, 0-100) and candidates (JSON list of the three nearest {"code", "score"}; null unless unmapped).

    Raises:
        ConfigError: a code or spelling belongs to two codes, or the mapping uses a code that does not exist.
    """
    exact = _spellings(_names(codes), "codes")
    mapped = _spellings(_mapped(mapping, set(codes["code"])), "mapping")
    labels = _labels([*_names(codes), *mapping.select("value", "code").rows()])
    rows: list[_Row] = []
    unknown: list[str] = []
    for value in sorted(set(values)):
        key = spelling(value)
        if key in exact:
            rows.append((value, exact[key], "exact", 100.0, None))
        elif key in mapped:
            rows.append((value, mapped[key], "mapping", 100.0, None))
        else:
            unknown.append(value)
    for start in range(0, len(unknown), _BATCH_VALUES):
        rows += _by_similarity(unknown[start : start + _BATCH_VALUES], labels, score_floor, margin)
    return pl.DataFrame(rows, schema=MATCHES, orient="row").sort("value")


def spelling(value: str) -> str:
    """Normalize a value for exact comparison: "Fl. G" and "FL G" become "flg"; "7 8" stays distinct from "78"."""
    return _SPACES.sub(_space, _FULL_STOPS.sub("", _folded(value)).strip())


def _space(spaces: re.Match[str]) -> str:
    """Keep one space between two digits, and none elsewhere."""
    start, text = spaces.start(), spaces.string
    return (
        " " if start and text[start - 1].isdigit() and text[spaces.end() : spaces.end() + 1].isdigit() else ""
    )


def _folded(value: str) -> str:
    """Fold case and width, and turn digits of any script into ASCII."""
    text = unicodedata.normalize("NFKC", value).casefold()
    return text if text.isascii() else "".join(str(unicodedata.decimal(char, char)) for char in text)


def _names(codes: pl.DataFrame) -> list[tuple[str, str]]:
    """List (spelling, code) for each code and each of its names."""
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
                f"the mapping gives {value!r} the code {code!r}, which does not exist; "
                "add the code, or map the value to an existing one"
            )
    return pairs


def _spellings(pairs: Sequence[tuple[str, str]], table: str) -> Mapping[str, str]:
    known: dict[str, str] = {}
    for name, code in pairs:
        if known.setdefault(spelling(name), code) != code:
            raise ConfigError(
                f"{name!r} in the {table} stands for both {known[spelling(name)]} and {code}; keep one of them"
            )
    return known


def _labels(pairs: Iterable[tuple[str, str]]) -> list[_Label]:
    labels = {_Label(code, *_words(name)) for name, code in pairs}
    return sorted(labels, key=lambda label: (label.code, label.words))


def _words(value: str) -> tuple[str, tuple[str, ...]]:
    """Split a value into its sorted words, and list those of them that must be equal in a match."""
    words = sorted(_WORDS.findall(_folded(value)))
    return " ".join(words), tuple(word for word in words if word.isdigit() or len(word) <= _SHORT_WORD_CHARS)


def _by_similarity(
    values: Sequence[str], labels: Sequence[_Label], score_floor: float, margin: float
) -> Iterator[_Row]:
    # Imports that reading and checking the lookups, as `tnt validate` does, need not wait for.
    import numpy as np
    from rapidfuzz import fuzz, process

    compared = [_words(value) for value in values]
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
            candidates = [{"code": code, "score": score} for code, score in nearest[:CANDIDATES] if code]
            yield value, None, None, None, json.dumps(candidates)


def _ranked(scores: npt.NDArray[np.float64], labels: Sequence[_Label]) -> Iterator[list[tuple[str, float]]]:
    """For each row, list the codes with the score of their best spelling: best first, ties in the order of the codes.

    A final entry without a code, scored 0, makes a second place exist even for a single code.
    """
    codes = sorted({label.code for label in labels})
    starts = [next(at for at, label in enumerate(labels) if label.code == code) for code in codes]
    import numpy as np

    best = np.maximum.reduceat(scores, starts, axis=1)
    for row, order in zip(best, np.argsort(-best, axis=1, kind="stable")[:, : CANDIDATES + 1], strict=True):
        yield [*((codes[at], float(row[at])) for at in order), ("", 0.0)]
