"""One version of a dataset of records, sorted by id, ready to be paged and searched."""

from __future__ import annotations

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

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.records.mapped import MappedTexts, SortedPlaces
from tnt_platform.web.rows import plain

if TYPE_CHECKING:
    import pyarrow as pa

REQUIRED = frozenset({"id", "source", "captured_at", "fingerprint"})
_UTC = pl.Datetime("us", "UTC")
# Texts nobody looks for.
_NOT_SEARCHED = frozenset({"fingerprint", "raw_s3_key"})
_KEPT_FILTERS = 16
_SEARCHED = {"id": pl.String(), "source": pl.String(), "captured_at": _UTC, "text": pl.String()}


def holds_records(snapshot: Snapshot) -> bool:
    """Whether a dataset is one of curated records."""
    return tuple(snapshot.manifest.key) == ("id",) and set(snapshot.manifest.schema) >= REQUIRED


@dataclass(frozen=True)
class RecordFilters:
    """Which records are wanted; `start` and `end` bound captured_at, the end excluded; `text` is in any field."""

    source: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    text: str | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.source, self.start, self.end, self.text))


@dataclass(frozen=True)
class RecordPage:
    """Records as JSON objects (UTF-8), the id of the last one, and whether more follow."""

    bodies: list[memoryview]
    last_id: str | None
    more: bool


@dataclass(eq=False)
class RecordPart:
    """The records of one partition as Arrow batches that are mapped into memory.

    Columns: id, source, captured_at (us, UTC), body (the row as JSON), text (what a search looks into, lower case).
    """

    batches: list[pa.RecordBatch]


def write_part(rows: pl.LazyFrame, folder: Path) -> RecordPart:
    """The rows of one partition in a file that is mapped into memory and has no name any more.

    The kernel drops its pages when memory is short, and its disk space when the part goes.
    """
    import pyarrow as pa  # lazily: a server without records never needs it

    schema = rows.collect_schema()
    searched = [name for name, dtype in schema.items() if dtype == pl.String and name not in _NOT_SEARCHED]
    part = rows.select(
        pl.col("id").cast(pl.String),
        pl.col("source").cast(pl.String),
        pl.col("captured_at").cast(_UTC),
        pl.struct(plain(name, dtype) for name, dtype in schema.items()).struct.json_encode().alias("body"),
        pl.concat_str(searched, separator="\n", ignore_nulls=True).str.to_lowercase().alias("text"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="records-", suffix=".arrow", dir=folder)
    os.close(handle)
    try:
        # The oldest format has plain offsets into one buffer, which MappedTexts reads.
        part.sink_ipc(name, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
        file = pa.ipc.open_file(pa.memory_map(name))
        return RecordPart([file.get_batch(number) for number in range(file.num_record_batches)])
    finally:
        Path(name).unlink()


def _searched(batches: list[pa.RecordBatch]) -> pl.DataFrame:
    """The columns that filters look at; a version without a row has no batch."""
    if not batches:
        return pl.DataFrame(schema=_SEARCHED)
    import pyarrow as pa

    table = pa.Table.from_batches([batch.select(list(_SEARCHED)) for batch in batches])
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    return frame


class RecordTable:
    """The records of one version in the order of their ids; safe to share between threads."""

    def __init__(self, dataset: str, version: str, parts: Sequence[RecordPart]) -> None:
        self.dataset = dataset
        self.version = version
        batches = [batch for part in parts for batch in part.batches]
        frame = _searched(batches)
        order = frame["id"].arg_sort().to_numpy()
        self._frame = frame.drop("id")
        self._order = order
        self._ids = MappedTexts([batch.column("id") for batch in batches], order)
        self._bodies = MappedTexts([batch.column("body") for batch in batches], order)
        self._whole = SortedPlaces(self._ids)
        self._chosen_places: OrderedDict[RecordFilters, SortedPlaces] = OrderedDict()
        self._lock = threading.Lock()
        self.rows = frame.height
        self.size_bytes = sum(batch.nbytes for batch in batches)
        self.sources = frame["source"].unique().sort().to_list()

    def find(self, record_id: str) -> bytes | None:
        """The record as JSON, or None."""
        place = self._whole.behind(record_id) - 1
        if place < 0 or self._ids.at(place) != record_id.encode("utf-8", "surrogatepass"):
            return None
        return self._bodies.at(place)

    def page(self, after: str | None, limit: int, filters: RecordFilters) -> RecordPage:
        """Up to `limit` records behind the id `after` that fit `filters`."""
        fitting = self._fitting(filters)
        start = fitting.behind(after) if after is not None else 0
        end = min(start + limit, len(fitting))
        if start >= end:
            return RecordPage([], None, more=False)
        last = self._ids.at(fitting.place(end - 1)).decode()
        return RecordPage(self._bodies.some(fitting.slice(start, limit)), last, end < len(fitting))

    def count(self, filters: RecordFilters) -> int:
        """How many records fit."""
        return len(self._fitting(filters))

    def is_cheap(self, filters: RecordFilters) -> bool:
        """Whether a page can be given without looking at every record."""
        return not filters or self._narrowed(filters) is None or filters in self._chosen_places

    def _narrowed(self, filters: RecordFilters) -> pl.Expr | None:
        """The condition that `filters` puts on this table, None when every record fits."""
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

    def _fitting(self, filters: RecordFilters) -> SortedPlaces:
        """The places that fit; remembered, since the next page asks for them again."""
        condition = self._narrowed(filters) if filters else None
        if condition is None:
            return self._whole
        with self._lock:
            held = self._chosen_places.get(filters)
        if held is None:
            fits = (
                self._frame.lazy().select(condition.fill_null(value=False)).collect().to_series().to_numpy()
            )
            held = SortedPlaces(self._ids, np.flatnonzero(fits[self._order]).astype(np.uint32))
            with self._lock:
                self._chosen_places[filters] = held
                while len(self._chosen_places) > _KEPT_FILTERS:
                    self._chosen_places.popitem(last=False)
        return held
