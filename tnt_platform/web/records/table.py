"""One version of a dataset of records, sorted by id, ready to be paged and searched."""

from __future__ import annotations

import bisect
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.rows import json_column

if TYPE_CHECKING:
    import pyarrow as pa

REQUIRED = frozenset({"id", "source", "captured_at", "fingerprint"})
_UTC = pl.Datetime("us", "UTC")
# String columns that a text search skips.
_NOT_SEARCHED = frozenset({"fingerprint", "raw_s3_key"})
_KEPT_FILTERS = 16
_SEARCHED = {"id": pl.String(), "source": pl.String(), "captured_at": _UTC, "text": pl.String()}


def holds_records(snapshot: Snapshot) -> bool:
    """Whether a dataset holds curated records."""
    return tuple(snapshot.manifest.key) == ("id",) and set(snapshot.manifest.schema) >= REQUIRED


@dataclass(frozen=True)
class RecordFilters:
    """Filters of records: captured_at from `start` to before `end`, and `text` in any field."""

    source: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    text: str | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.source, self.start, self.end, self.text))


@dataclass(frozen=True)
class RecordPage:
    """Records as UTF-8 JSON objects, the id of the last one, and whether more follow."""

    bodies: list[memoryview]
    last_id: str | None
    more: bool


@dataclass(eq=False)
class RecordPart:
    """The records of one partition as memory-mapped Arrow batches.

    Columns: id, source, captured_at (us, UTC), body (the row as JSON), text (the searched text, lower case).
    """

    batches: list[pa.RecordBatch]


def write_part(rows: pl.LazyFrame, folder: Path) -> RecordPart:
    """Write the rows of one partition to a file, map it into memory and unlink it.

    The kernel evicts its pages when memory is short, and frees its disk space when the part is dropped.
    """
    import pyarrow as pa  # imported here because a server without records never needs it

    schema = rows.collect_schema()
    searched = [name for name, dtype in schema.items() if dtype == pl.String and name not in _NOT_SEARCHED]
    part = rows.select(
        pl.col("id").cast(pl.String),
        pl.col("source").cast(pl.String),
        pl.col("captured_at").cast(_UTC),
        pl.struct(json_column(name, dtype) for name, dtype in schema.items())
        .struct.json_encode()
        .alias("body"),
        pl.concat_str(searched, separator="\n", ignore_nulls=True).str.to_lowercase().alias("text"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="records-", suffix=".arrow", dir=folder)
    os.close(handle)
    try:
        # MappedStrings needs the oldest format, with plain offsets into one buffer.
        part.sink_ipc(name, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
        file = pa.ipc.open_file(pa.memory_map(name))
        return RecordPart([file.get_batch(number) for number in range(file.num_record_batches)])
    finally:
        Path(name).unlink()


def _searched(batches: list[pa.RecordBatch]) -> pl.DataFrame:
    """Return the columns that filters use; an empty version has no batch."""
    if not batches:
        return pl.DataFrame(schema=_SEARCHED)
    import pyarrow as pa

    table = pa.Table.from_batches([batch.select(list(_SEARCHED)) for batch in batches])
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    return frame


class RecordTable:
    """The records of one version in the order of their ids; thread-safe."""

    def __init__(self, dataset: str, version: str, parts: Sequence[RecordPart]) -> None:
        self.dataset = dataset
        self.version = version
        batches = [batch for part in parts for batch in part.batches]
        frame = _searched(batches)
        order = frame["id"].arg_sort().to_numpy()
        self._frame = frame.drop("id")
        self._order = order
        self._ids = MappedStrings([batch.column("id") for batch in batches], order)
        self._bodies = MappedStrings([batch.column("body") for batch in batches], order)
        self._whole = SortedPositions(self._ids)
        self._matching_positions: OrderedDict[RecordFilters, SortedPositions] = OrderedDict()
        self._lock = threading.Lock()
        self.rows = frame.height
        self.size_bytes = sum(batch.nbytes for batch in batches)
        self.sources = frame["source"].unique().sort().to_list()

    def find(self, record_id: str) -> bytes | None:
        """Return a record as JSON, or None."""
        position = self._whole.behind(record_id) - 1
        if position < 0 or self._ids.at(position) != record_id.encode("utf-8", "surrogatepass"):
            return None
        return self._bodies.at(position)

    def page(self, after: str | None, limit: int, filters: RecordFilters) -> RecordPage:
        """Return up to `limit` records after the id `after` that match `filters`."""
        matching = self._matching(filters)
        start = matching.behind(after) if after is not None else 0
        end = min(start + limit, len(matching))
        if start >= end:
            return RecordPage([], None, more=False)
        last = self._ids.at(matching.position(end - 1)).decode()
        return RecordPage(self._bodies.some(matching.slice(start, limit)), last, end < len(matching))

    def count(self, filters: RecordFilters) -> int:
        """Count the records that match `filters`."""
        return len(self._matching(filters))

    def is_cheap(self, filters: RecordFilters) -> bool:
        """Whether a page needs no scan of all records."""
        return not filters or self._condition(filters) is None or filters in self._matching_positions

    def _condition(self, filters: RecordFilters) -> pl.Expr | None:
        """Return the condition of `filters`, or None if every record of this table matches."""
        conditions = []
        if filters.source is not None and self.sources != [filters.source]:
            conditions.append(pl.col("source") == filters.source)
        if filters.start is not None:
            conditions.append(pl.col("captured_at") >= filters.start)
        if filters.end is not None:
            conditions.append(pl.col("captured_at") < filters.end)
        if filters.text is not None:
            conditions.append(pl.col("text").str.contains(filters.text.lower(), literal=True))
        return pl.all_horizontal(conditions) if conditions else None

    def _matching(self, filters: RecordFilters) -> SortedPositions:
        """Return the positions that match, cached for the next page."""
        condition = self._condition(filters) if filters else None
        if condition is None:
            return self._whole
        with self._lock:
            held = self._matching_positions.get(filters)
        if held is None:
            matches = (
                self._frame.lazy().select(condition.fill_null(value=False)).collect().to_series().to_numpy()
            )
            held = SortedPositions(self._ids, np.flatnonzero(matches[self._order]).astype(np.uint32))
            with self._lock:
                self._matching_positions[filters] = held
                while len(self._matching_positions) > _KEPT_FILTERS:
                    self._matching_positions.popitem(last=False)
        return held


if TYPE_CHECKING:
    import pyarrow as pa

_STEP = 64


class MappedStrings:
    """A string column over several memory-mapped Arrow arrays, in its own order, read without copying or decoding.

    A page of records is 50 slices of mapped memory. When polars gathered the rows, waking threads and decoding took
    most of the time.
    """

    def __init__(self, arrays: Sequence[pa.LargeStringArray], order: NDArray[np.uint32]) -> None:
        offsets = [np.frombuffer(array.buffers()[1], np.int64, len(array) + 1) for array in arrays]
        # An array of empty strings may have no buffer.
        self._views = [memoryview(array.buffers()[2] or b"").cast("B") for array in arrays]
        self._starts = _ordered([ends[:-1] for ends in offsets], order)
        self._ends = _ordered([ends[1:] for ends in offsets], order)
        lengths = [len(array) for array in arrays]
        self._sources = np.repeat(np.arange(len(arrays), dtype=np.uint32), np.array(lengths, np.int64))[order]

    def __len__(self) -> int:
        return len(self._starts)

    def at(self, position: int) -> bytes:
        """Return the string at one position."""
        return bytes(self._views[self._sources[position]][self._starts[position] : self._ends[position]])

    def some(self, positions: slice | NDArray[np.uint32]) -> list[memoryview]:
        """Return the strings at several positions."""
        views = self._views
        sources, starts, ends = (
            column[positions].tolist() for column in (self._sources, self._starts, self._ends)
        )
        return [views[source][start:end] for source, start, end in zip(sources, starts, ends, strict=True)]


def _ordered(columns: list[NDArray[np.int64]], order: NDArray[np.uint32]) -> NDArray[np.int64]:
    if not columns:
        return np.empty(0, np.int64)
    return np.concatenate(columns)[order]


class SortedPositions:
    """Positions in a sorted string column, with every 64th string sampled for fast search."""

    def __init__(self, strings: MappedStrings, positions: NDArray[np.uint32] | None = None) -> None:
        self._strings = strings
        self._positions = positions
        self._samples = [self._text(n) for n in range(0, len(self), _STEP)]

    def __len__(self) -> int:
        return len(self._strings if self._positions is None else self._positions)

    def behind(self, text: str) -> int:
        """Count the strings up to and including this one."""
        key = text.encode("utf-8", "surrogatepass")
        start = max(0, bisect.bisect_right(self._samples, key) - 1) * _STEP
        near = range(start, min(start + _STEP, len(self)))
        return start + bisect.bisect_right(near, key, key=self._text)

    def slice(self, start: int, count: int) -> slice | NDArray[np.uint32]:
        """Return up to `count` positions from the `start`-th on."""
        if self._positions is None:
            return slice(start, min(start + count, len(self)))
        return self._positions[start : start + count]

    def position(self, number: int) -> int:
        """Return the position of the `number`-th string."""
        return number if self._positions is None else int(self._positions[number])

    def _text(self, number: int) -> bytes:
        return self._strings.at(self.position(number))
