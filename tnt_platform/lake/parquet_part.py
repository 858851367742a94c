"""The Parquet parts of a new version, before their upload."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tnt_platform.errors import PermanentError
from tnt_platform.lake import formats
from tnt_platform.storage.objects import Objects

# Describing one part keeps about one core busy.
_DESCRIBED_AT_ONCE = 4


@dataclass(frozen=True)
class ParquetPart:
    """One Parquet file in memory or on local disk; key_min and key_max are of the first key column, as strings."""

    source: bytes | Path
    rows: int
    size_bytes: int
    sha256: str
    key_min: str | None
    key_max: str | None
    schema: str

    def scan(self) -> pl.LazyFrame:
        """Return the rows, lazily."""
        return pl.scan_parquet(self.source, glob=False, hive_partitioning=False)

    def upload(self, objects: Objects, key: str) -> None:
        """Store the part under `key`; a local file is moved."""
        if isinstance(self.source, Path):
            objects.put_file(key, self.source)
        else:
            objects.put(key, self.source)


def parts_of(
    data: pl.DataFrame | pl.LazyFrame | Sequence[Path], *, key: Sequence[str], scratch: Path, name: str
) -> list[ParquetPart]:
    """Encode a frame, stream a lazy frame into `scratch`, or describe parts that are on disk already.

    Raises:
        PermanentError: a key column is missing.
    """
    if isinstance(data, pl.DataFrame):
        return [part_of_frame(data, key=key, name=name)] if data.width else []
    if isinstance(data, pl.LazyFrame):
        path = scratch / f"{name.replace('/', '~')}.parquet"
        formats.sink_parquet(data, path)
        return [part_of_file(path, key=key, name=name)]
    with ThreadPoolExecutor(_DESCRIBED_AT_ONCE) as pool:
        return list(pool.map(lambda path: part_of_file(path, key=key, name=name), data))


def part_of_frame(frame: pl.DataFrame, *, key: Sequence[str], name: str) -> ParquetPart:
    """Encode the frame as one part in memory."""
    _require_key(frame.columns, key, name)
    data = formats.parquet_bytes(frame)
    key_min, key_max = _frame_range(frame, key)
    schema = formats.schema_json(frame.schema)
    return ParquetPart(data, frame.height, len(data), formats.sha256_of(data), key_min, key_max, schema)


def part_of_file(path: Path, *, key: Sequence[str], name: str) -> ParquetPart:
    """Describe a local Parquet file as one part, in streaming memory."""
    rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    schema = rows.collect_schema()
    _require_key(schema.names(), key, name)
    found = rows.select(pl.len(), *_range(schema, key)).collect(engine="streaming").row(0)
    text = formats.schema_json(schema)
    return ParquetPart(
        path, found[0], path.stat().st_size, formats.sha256_of_file(path), found[1], found[2], text
    )


def _frame_range(frame: pl.DataFrame, key: Sequence[str]) -> tuple[str | None, str | None]:
    # Without a polars query: a publish may have tens of thousands of small partitions.
    if not key or frame.schema[key[0]].is_nested():
        return None, None
    first = frame[key[0]]
    bounds = pl.Series([first.min(), first.max()], dtype=first.dtype).cast(pl.String)
    return bounds[0], bounds[1]


def _range(schema: pl.Schema, key: Sequence[str]) -> tuple[pl.Expr, pl.Expr]:
    if not key or schema[key[0]].is_nested():
        null = pl.lit(None, pl.String)
        return null.alias("#min"), null.alias("#max")
    first = pl.col(key[0])
    return first.min().cast(pl.String).alias("#min"), first.max().cast(pl.String).alias("#max")


def _require_key(columns: Sequence[str], key: Sequence[str], name: str) -> None:
    missing = [column for column in key if column not in columns]
    if missing:
        raise PermanentError(f"partition {name} lacks the key columns {missing}; it has {list(columns)}")
    reserved = [column for column in columns if column.startswith("#")]
    if reserved:
        raise PermanentError(
            f"partition {name}: the columns {reserved} start with '#', which is reserved for diffs; rename them"
        )
