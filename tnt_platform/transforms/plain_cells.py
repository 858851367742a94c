"""Cells of plain lines, typed in bulk: each text of a column that repeats itself once, all others row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Final

import polars as pl

from tnt_platform.transforms.column import Column
from tnt_platform.transforms.column_types import QUICK_PARSERS
from tnt_platform.transforms.columns import cell_name, cell_of, is_sound, output_schema, sources_of, staged

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
    parts: list[_Typed] = []
    many: list[tuple[Column, str | None]] = []
    for column, name in zip(columns, sources_of(cells.columns, columns), strict=True):
        if name is not None and isinstance(cells.schema[name], pl.Categorical):
            parts.append(_from_few(cells[name], column))
        else:
            many.append((column, name))
    if many:
        texts = cells.lazy().with_columns(cell_of(name).alias(cell_name(column)) for column, name in many)
        parts.append(_from_texts(texts, [column for column, _ in many]))
    marks = [_placed(part.sound, part) for part in parts if not part.sound.all()]
    taken = reduce(and_, marks) if marks else pl.repeat(True, cells.height, eager=True)
    values = [_values(part, taken if marks else None) for part in parts]
    return pl.concat(values, how="horizontal").select(*schema), taken


def _from_texts(texts: pl.LazyFrame, columns: Sequence[Column]) -> _Typed:
    sound = pl.all_horizontal(is_sound(column) for column in columns)
    typed = (
        staged(texts, columns, QUICK_PARSERS).select(*output_schema(columns), sound.alias(_SOUND)).collect()
    )
    return _Typed(typed.drop(_SOUND), typed[_SOUND])


def _from_few(cell: pl.Series, column: Column) -> _Typed:
    """Type each text of a Categorical once."""
    assert isinstance(cell.dtype, pl.Categorical)
    texts = cell.dtype.categories.to_series()
    absent = [None] if cell.null_count() else []
    every = pl.concat([texts, pl.Series(absent, dtype=pl.String)]).alias(cell_name(column))
    typed = _from_texts(every.to_frame().lazy(), [column])
    values = typed.values.with_columns(
        text.cast(pl.Enum(text.filter(typed.sound).drop_nulls().unique().sort()), strict=False)
        for text in typed.values
        if text.dtype == pl.String
    )
    return _Typed(values, typed.sound, cell.to_physical().fill_null(len(texts)))


def _placed(marks: pl.Series, part: _Typed) -> pl.Series:
    return marks if part.place is None else marks[part.place]


def _values(part: _Typed, taken: pl.Series | None) -> pl.DataFrame:
    if part.place is None:
        return part.values if taken is None else part.values.filter(taken)
    place = part.place if taken is None else part.place.filter(taken)
    return part.values[place]
