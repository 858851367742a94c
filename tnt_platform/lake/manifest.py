"""What a version says about itself: its manifest, and the change a caller asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter, ValidationError

from tnt_platform.errors import PermanentError


@dataclass(frozen=True)
class RowCounts:
    """Where the rows of a partition went: rows_in = published + quarantined + deduplicated + filtered."""

    rows_in: int = 0
    published: int = 0
    quarantined: int = 0
    deduplicated: int = 0
    filtered: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every row that came in is accounted for."""
        parts = (self.published, self.quarantined, self.deduplicated, self.filtered)
        return min(self.rows_in, *parts) >= 0 and self.rows_in == sum(parts)

    def __add__(self, other: RowCounts) -> RowCounts:
        return RowCounts(
            self.rows_in + other.rows_in,
            self.published + other.published,
            self.quarantined + other.quarantined,
            self.deduplicated + other.deduplicated,
            self.filtered + other.filtered,
        )


@dataclass(frozen=True, eq=False)
class PartitionChange:
    """One partition's complete new content.

    `data`: the rows, or parquet parts already written locally (they are moved into the version).
    `inputs`: the ledger, one row a raw file: key, etag, size_bytes, last_modified, sha256,
    status (accepted | rejected | kept), rows_in, rows_out, rows_quarantined, and any columns more.
    `quarantine`: file_key, line_no, raw, reason_code, reason, first_seen_at; a frame or local parquet parts.
    `keep`: paths of the base's files of this partition that stay live beside `data`.
    """

    partition: str
    data: pl.DataFrame | pl.LazyFrame | Sequence[Path]
    inputs: pl.DataFrame = field(default_factory=pl.DataFrame)
    quarantine: pl.DataFrame | Sequence[Path] = field(default_factory=pl.DataFrame)
    counts: RowCounts = RowCounts()
    inputs_digest: str = ""
    keep: Sequence[str] = ()
    watermarks: Mapping[str, datetime] = field(default_factory=dict)
    removed: bool = False

    @classmethod
    def of_rows(cls, partition: str, rows: pl.DataFrame, **fields: Any) -> PartitionChange:
        """Replace `partition` by `rows`, all of which came in and are published; `fields` are the other fields."""
        return cls(partition, rows, counts=RowCounts(rows_in=rows.height, published=rows.height), **fields)

    @classmethod
    def removal(cls, partition: str) -> PartitionChange:
        """Remove `partition` from the dataset."""
        return cls(partition, pl.DataFrame(), removed=True)


@dataclass(frozen=True)
class RowChanges:
    """How many rows, by key, a change added, updated and removed."""

    added: int = 0
    updated: int = 0
    removed: int = 0

    def __add__(self, other: RowChanges) -> RowChanges:
        return RowChanges(
            self.added + other.added, self.updated + other.updated, self.removed + other.removed
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.updated or self.removed)


@dataclass(frozen=True)
class Changelog:
    """What one version changed against its parent.

    `partitions_changed` is complete; `by_partition` has its first 1,000 with changed rows, so that the
    manifest of a first publish of many partitions stays small (partitions.parquet has them all).
    """

    added: int = 0
    updated: int = 0
    removed: int = 0
    partitions_changed: tuple[str, ...] = ()
    by_partition: dict[str, RowChanges] = field(default_factory=dict)

    _LISTED = 1_000

    @classmethod
    def of(cls, changes: Mapping[str, RowChanges]) -> Changelog:
        """Sum the changes of each partition."""
        names = sorted(changes)
        total = sum(changes.values(), RowChanges())
        listed = {name: changes[name] for name in names if changes[name]}
        first = dict(list(listed.items())[: cls._LISTED])
        return cls(total.added, total.updated, total.removed, tuple(names), first)


@dataclass(frozen=True)
class Manifest:
    """The small, readable file of one version; files.parquet and partitions.parquet beside it hold the lists.

    `schema` maps a column to its polars type; `counts` sums all partitions; `watermarks` has the last
    observation a series; `held_because` tells the sensor to leave the dataset alone after a rollback; `about` is what
    the publisher wants to say beyond that (JSON values).
    """

    version_id: str
    dataset_id: str
    parent: str | None
    created_at: datetime
    run_id: str
    code_version: str
    note: str
    key: tuple[str, ...]
    schema: dict[str, str]
    counts: RowCounts
    changelog: Changelog
    watermarks: dict[str, datetime]
    date_range: tuple[str, str] | None
    partitions: int
    files: int
    rows: int
    size_bytes: int
    files_sha256: str
    partitions_sha256: str
    held_because: str | None = None
    rolled_back_to: str | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The manifest as indented JSON."""
        return _ADAPTER.dump_json(self, indent=1)

    @classmethod
    def from_json(cls, data: bytes, *, key: str) -> Manifest:
        """Read a manifest; unknown fields of a later release are ignored.

        Raises:
            PermanentError: `data` is no manifest.
        """
        try:
            return _ADAPTER.validate_json(data)
        except ValidationError as error:
            raise PermanentError(f"{key} is no manifest ({error.error_count()} faults: {error})") from error


_ADAPTER = TypeAdapter(Manifest)
