"""Parquet parts of a new version, before they are uploaded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tnt_platform.errors import PermanentError
from tnt_platform.lake import formats
from tnt_platform.storage.objects import Objects

# The lengths and ends of one part keep one core busy at a time.
_PARTS_AT_ONCE = 4


@dataclass(frozen=True)
class ParquetPart:
    """One parquet file in memory or on local disk; key_min/key_max are of the first key column, as text."""

    source: bytes | Path
    rows: int
    size_bytes: int
    sha256: str
    key_min: str | None
    key_max: str | None
    schema: str

    def scan(self) -> pl.LazyFrame:
        """The rows, lazily."""
        return pl.scan_parquet(self.source, glob=False, hive_partitioning=False)

    def upload(self, objects: Objects, key: str) -> None:
        """Put the part under `key`; a local file is moved."""
        if isinstance(self.source, Path):
            objects.put_file(key, self.source)
        else:
            objects.put(key, self.source)


def parts_of(
    data: pl.DataFrame | pl.LazyFrame | Sequence[Path], *, key: Sequence[str], scratch: Path, name: str
) -> list[ParquetPart]:
    """Encode a frame, stream a lazy frame into `scratch`, or describe parts that lie on disk already.

    Raises:
        PermanentError: a key column is missing.
    """
    if isinstance(data, pl.DataFrame):
        return [part_of_frame(data, key=key, name=name)] if data.width else []
    if isinstance(data, pl.LazyFrame):
        path = scratch / f"{name.replace('/', '~')}.parquet"
        formats.sink_parquet(data, path)
        return [part_of_file(path, key=key, name=name)]
    with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
        return list(pool.map(lambda path: part_of_file(path, key=key, name=name), data))


def part_of_frame(frame: pl.DataFrame, *, key: Sequence[str], name: str) -> ParquetPart:
    """The frame as one part in memory."""
    _require_key(frame.columns, key, name)
    data = formats.parquet_bytes(frame)
    low, high = _frame_range(frame, key)
    schema = formats.schema_json(frame.schema)
    return ParquetPart(data, frame.height, len(data), formats.sha256_of(data), low, high, schema)


def part_of_file(path: Path, *, key: Sequence[str], name: str) -> ParquetPart:
    """A local parquet file as one part; it is read in streaming memory."""
    rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    schema = rows.collect_schema()
    _require_key(schema.names(), key, name)
    facts = rows.select(pl.len(), *_range(schema, key)).collect(engine="streaming").row(0)
    text = formats.schema_json(schema)
    return ParquetPart(
        path, facts[0], path.stat().st_size, formats.sha256_of_file(path), facts[1], facts[2], text
    )


def _frame_range(frame: pl.DataFrame, key: Sequence[str]) -> tuple[str | None, str | None]:
    # Without a query: a publish may hold tens of thousands of small partitions.
    if not key or frame.schema[key[0]].is_nested():
        return None, None
    first = frame[key[0]]
    ends = pl.Series([first.min(), first.max()], dtype=first.dtype).cast(pl.String)
    return ends[0], ends[1]


def _range(schema: pl.Schema, key: Sequence[str]) -> tuple[pl.Expr, pl.Expr]:
    if not key or schema[key[0]].is_nested():
        nothing = pl.lit(None, pl.String)
        return nothing.alias("#min"), nothing.alias("#max")
    first = pl.col(key[0])
    return first.min().cast(pl.String).alias("#min"), first.max().cast(pl.String).alias("#max")


def _require_key(columns: Sequence[str], key: Sequence[str], name: str) -> None:
    missing = [column for column in key if column not in columns]
    if missing:
        raise PermanentError(f"partition {name} lacks the key columns {missing}; it has {list(columns)}")
    odd = [column for column in columns if column.startswith("#")]
    if odd:
        raise PermanentError(
            f"partition {name}: the columns {odd} start with '#', which diffs use; rename them"
        )
