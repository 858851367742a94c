"""Rows in the batches that DynamoDB takes, written a few at a time, and what became of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import polars as pl

from tnt_platform.services.dynamodb_items import Rows

KEYS_A_READ = 100  # the most BatchGetItem takes


@dataclass(frozen=True)
class UpsertCounts:
    """What became of the rows: created + updated + unchanged + unprocessed = distinct rows in.

    `unprocessed` is 0 in every value `upsert` returns; otherwise it raises. `write_units` and `read_units`
    are request units by DynamoDB's published rules (indexes not counted), for the cost of a materialization.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    unprocessed: int = 0
    payloads_omitted: int = 0
    write_units: int = 0
    read_units: int = 0

    @property
    def rows(self) -> int:
        return self.created + self.updated + self.unchanged + self.unprocessed

    def __add__(self, other: UpsertCounts) -> UpsertCounts:
        return UpsertCounts(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )


def batches(rows: Rows) -> Iterator[Sequence[Mapping[str, Any]]]:
    if isinstance(rows, pl.DataFrame):
        for part in rows.iter_slices(KEYS_A_READ):
            yield part.to_dicts()
    else:
        for start in range(0, len(rows), KEYS_A_READ):
            yield rows[start : start + KEYS_A_READ]


def ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[Mapping[str, Any]]], UpsertCounts],
    batches: Iterable[Sequence[Mapping[str, Any]]],
    *,
    window: int,
) -> Iterator[UpsertCounts]:
    """Results in order with at most `window` batches in memory; leaving early cancels what hasn't started."""
    running: deque[Future[UpsertCounts]] = deque()
    try:
        for batch in batches:
            running.append(pool.submit(work, batch))
            if len(running) >= window:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def request_units(size_bytes: int, unit_bytes: int) -> int:
    return max(1, -(-size_bytes // unit_bytes))
