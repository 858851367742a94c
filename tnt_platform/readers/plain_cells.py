"""Cells of plain lines, typed in bulk: each text of a column that repeats itself once, all others row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Final

import polars as pl

from tnt_platform.readers.column import Column
from tnt_platform.readers.column_types import QUICK_PARSERS
from tnt_platform.readers.columns import cell_name, cell_of, is_sound, output_schema, sources_of, staged

# A name no column can have: theirs hold no space.
_SOUND: Final = "is sound"


@dataclass(frozen=True)
class _Typed:
    """Values (and notes) of some columns, and which rows have no fault; with `place`, of the rows that are there."""

    values: pl.DataFrame
    sound: pl.Series
    place: pl.Series | None = None


def type_plain_cells(cells: pl.DataFrame, columns: Sequence[Column]) -> tuple[pl.DataFrame, pl.Series]:
    """Type the rows that `parse_columns` would take at once, from cells that hold no white space.

    cells: columns named by header or by position; String, or Categorical where the texts are few. Returns typed:
    `output_schema(columns)` in order, but Enum (its texts sorted) for text from a Categorical; taken: Boolean, which
    rows of `cells` these are. The others are for `parse_columns`.

    Raises:
        ConfigError, InvalidInput: as `parse_columns`.
    """
    schema = output_schema(columns)
    few: list[tuple[Column, pl.Series]] = []
    many: list[tuple[Column, str | None]] = []
    for column, name in zip(columns, sources_of(cells.columns, columns), strict=True):
        if name is not None and isinstance(cells.schema[name], pl.Categorical):
            few.append((column, cells[name]))
        else:
            many.append((column, name))
    parts = _from_few(few)
    if many:
        texts = cells.lazy().with_columns(cell_of(name).alias(cell_name(column)) for column, name in many)
        parts.append(_from_texts(texts, [column for column, _ in many]))
    marks = [_placed(part.sound, part) for part in parts if not part.sound.all()]
    taken = reduce(and_, marks) if marks else pl.repeat(True, cells.height, eager=True)
    values = [_values(part, taken if marks else None) for part in parts]
    return pl.concat(values, how="horizontal").select(*schema), taken


def _from_texts(texts: pl.LazyFrame, columns: Sequence[Column]) -> _Typed:
    typed = _staged(texts, columns, {_SOUND: columns})
    return _Typed(typed.drop(_SOUND), typed[_SOUND])


def _staged(
    texts: pl.LazyFrame, columns: Sequence[Column], sound: Mapping[str, Sequence[Column]]
) -> pl.DataFrame:
    """The values of all columns, and for each name in `sound` where none of its columns has a fault."""
    marks = (pl.all_horizontal(map(is_sound, those)).alias(name) for name, those in sound.items())
    return staged(texts, columns, QUICK_PARSERS).select(*output_schema(columns), *marks).collect()


def _from_few(cells: Sequence[tuple[Column, pl.Series]]) -> list[_Typed]:
    """Type each text of some Categoricals once, all of them in one query: a short one costs as much as its plan."""
    if not cells:
        return []
    texts = [_texts_of(cell) for _, cell in cells]
    longest = max(map(len, texts))
    columns = [column for column, _ in cells]
    # What fills up the shorter ones is never asked for.
    padded = {
        cell_name(c): [*few, *[None] * (longest - len(few))] for c, few in zip(columns, texts, strict=True)
    }
    frame = pl.LazyFrame(padded, schema=dict.fromkeys(padded, pl.String))
    typed = _staged(frame, columns, {f"{_SOUND} {column.name}": [column] for column in columns})
    return [
        _of_column(typed.head(len(few)), column, cell)
        for few, (column, cell) in zip(texts, cells, strict=True)
    ]


def _texts_of(cell: pl.Series) -> list[str | None]:
    """The texts of a Categorical in the order of their numbers, and null behind them where a cell is empty."""
    assert isinstance(cell.dtype, pl.Categorical)
    texts = cell.dtype.categories.to_series().to_list()
    return [*texts, None] if cell.null_count() else texts


def _of_column(typed: pl.DataFrame, column: Column, cell: pl.Series) -> _Typed:
    """What `typed`, a row a text of this column, says of each cell; null is the last one."""
    sound = typed[f"{_SOUND} {column.name}"]
    values = [_as_enum(typed[name], sound) for name in output_schema([column])]
    place = cell.to_physical()
    return _Typed(
        pl.DataFrame(values), sound, place.fill_null(typed.height - 1) if cell.null_count() else place
    )


def _as_enum(values: pl.Series, sound: pl.Series) -> pl.Series:
    """Texts as an Enum of those that are sound; other values as they are."""
    if values.dtype != pl.String:
        return values
    texts = {text for text in values.filter(sound).to_list() if text is not None}
    return values.cast(pl.Enum(sorted(texts)), strict=False)


def _placed(marks: pl.Series, part: _Typed) -> pl.Series:
    return marks if part.place is None else marks[part.place]


def _values(part: _Typed, taken: pl.Series | None) -> pl.DataFrame:
    if part.place is None:
        return part.values if taken is None else part.values.filter(taken)
    place = part.place if taken is None else part.place.filter(taken)
    return part.values[place]
