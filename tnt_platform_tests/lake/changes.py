"""Small partition changes and stores, as the tests of the versioned store need them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.lake.versions import PartitionChange, RowCounts, Snapshot, VersionedStore
from tnt_platform.storage.objects import Objects

KEY = ["id"]
ROWS_SCHEMA = {"id": pl.String, "value": pl.Int64}
START = datetime(2026, 11, 20, 3, 15, 2, 123456, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **amount: float) -> None:
        self.now += timedelta(**amount)


def store_on(
    objects: Objects, scratch: Path, *, clock: Callable[[], datetime] | None = None, seed: int | None = 0
) -> VersionedStore:
    """A store whose ids are reproducible; `seed=None` takes the system's randomness."""
    entropy = random.Random(seed).randbytes if seed is not None else random.SystemRandom().randbytes
    return VersionedStore(
        objects,
        clock=clock or Clock(),
        entropy=entropy,
        code_version="test",
        scratch=scratch,
        concurrency=4,
    )


def rows(values: Mapping[str, int]) -> pl.DataFrame:
    return pl.DataFrame({"id": list(values), "value": list(values.values())}, schema=ROWS_SCHEMA)


def ledger(*keys: str, etag: str = "e") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "key": list(keys),
            "etag": [etag] * len(keys),
            "size_bytes": [1] * len(keys),
            "last_modified": [START] * len(keys),
            "sha256": ["0" * 64] * len(keys),
            "status": ["accepted"] * len(keys),
            "rows_in": [1] * len(keys),
            "rows_out": [1] * len(keys),
            "rows_quarantined": [0] * len(keys),
        },
    )


def quarantine(*raws: str, first_seen_at: datetime = START) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "file_key": ["raw/a.txt"] * len(raws),
            "line_no": list(range(1, len(raws) + 1)),
            "raw": list(raws),
            "reason_code": ["bad_days"] * len(raws),
            "reason": ["days is no number"] * len(raws),
            "first_seen_at": [first_seen_at] * len(raws),
        },
        schema_overrides={"line_no": pl.Int64, "first_seen_at": pl.Datetime("us", "UTC")},
    )


def change(partition: str, values: Mapping[str, int] | pl.DataFrame, **more: Any) -> PartitionChange:
    """A change whose counts fit its rows; `more` overrides any field."""
    data = values if isinstance(values, pl.DataFrame) else rows(values)
    rejected: pl.DataFrame = more.get("quarantine", pl.DataFrame())
    fields: dict[str, Any] = {
        "data": data,
        "inputs": ledger(f"raw/{partition}/a.txt"),
        "quarantine": rejected,
        "inputs_digest": f"digest of {partition}",
    }
    if "counts" not in more:
        fields["counts"] = RowCounts(
            rows_in=data.height + rejected.height, published=data.height, quarantined=rejected.height
        )
    return PartitionChange(partition, **(fields | more))


def content(snapshot: Snapshot, partitions: Sequence[str] | None = None) -> dict[str, int]:
    """id -> value of what a reader of the snapshot sees."""
    if not snapshot.manifest.schema:
        return {}  # nothing was ever published
    return dict(snapshot.scan(partitions).select("id", "value").collect().iter_rows())
