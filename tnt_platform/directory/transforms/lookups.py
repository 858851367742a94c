"""The directory's own floors and categories, and what other spellings of them mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from tnt_platform.directory.transforms.matching import match_values
from tnt_platform.errors import ConfigError

LOOKUP_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "floors.csv": ("code", "name", "name_th", "sort_order"),
    "floor_mapping.csv": ("value", "code", "comment"),
    "categories.csv": ("code", "name_en", "name_th", "name_zh"),
    "category_mapping.csv": ("value", "code", "comment"),
}


@dataclass(frozen=True)
class Lookups:
    """Four frames with the String columns of LOOKUP_FILES (floors.sort_order: Int64); codes are unique."""

    floors: pl.DataFrame
    floor_mapping: pl.DataFrame
    categories: pl.DataFrame
    category_mapping: pl.DataFrame


def lookups_of(tables: Mapping[str, bytes]) -> Lookups:
    """The lookups from the CSV files (UTF-8, with header) of a dataset's folder, by file name.

    Raises:
        ConfigError: a file or column is missing, a cell that must have a value is empty, or the files
            contradict each other.
    """
    floors, floor_mapping, categories, category_mapping = (_table(tables, name) for name in LOOKUP_FILES)
    order = floors["sort_order"].cast(pl.Int64, strict=False)
    if order.null_count():
        raise ConfigError("floors.csv: sort_order has to be a whole number in every line")
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
        raise ConfigError(f"{name} is missing beside defs.yaml; it has the columns {', '.join(columns)}")
    try:
        table = pl.read_csv(tables[name], infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{name} is not a CSV file in UTF-8: {error}") from error
    if tuple(table.columns) != columns:
        raise ConfigError(f"{name} has the columns {', '.join(table.columns)}; expected {', '.join(columns)}")
    table = table.with_columns(pl.all().str.strip_chars().replace("", None))
    for column in columns[:2]:
        empty = table[column].is_null().arg_max() if table[column].null_count() else None
        if empty is not None:
            raise ConfigError(f"{name}, line {empty + 2}: {column} is empty")
    repeated = table[columns[0]].filter(table[columns[0]].is_duplicated())
    if len(repeated):
        raise ConfigError(f"{name}: {columns[0]} {repeated[0]!r} occurs twice; keep one line")
    return table
