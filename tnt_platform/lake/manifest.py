"""What is recorded of a version (its manifest), and what a caller wants to change (`PartitionChange`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field, TypeAdapter, ValidationError

from tnt_platform.errors import PermanentError


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows of a partition: rows_in = published + quarantined + deduplicated + filtered."""

    rows_in: int = 0
    published: int = 0
    quarantined: int = 0
    deduplicated: int = 0
    filtered: int = 0

    @property
    def balanced(self) -> bool:
        """Return whether every row that came in is accounted for."""
        parts = (self.published, self.quarantined, self.deduplicated, self.filtered)
        return min(self.rows_in, *parts) >= 0 and self.rows_in == sum(parts)

    def __add__(self, other: RowCounts) -> RowCounts:
        return RowCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> RowCounts:
        """Return the counts in a row of partitions.parquet."""
        return cls(**{each.name: row[each.name] for each in fields(cls)})


@dataclass(frozen=True, eq=False)
class PartitionChange:
    """The complete new content of one partition.

    Attributes:
        data: the rows, or Parquet parts already written locally (they are moved into the version).
        inputs: the ledger, one row per raw file: key, etag, size_bytes, last_modified, sha256, status (accepted,
            rejected or kept), rows_in, rows_out, rows_quarantined, and any further columns.
        quarantine: file_key, line_no, raw, reason_code, reason, first_seen_at; a frame or local Parquet parts.
        keep: paths of the base's files of this partition that stay live beside `data`.
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
    def of_rows(cls, partition: str, rows: pl.DataFrame, **others: Any) -> PartitionChange:
        """Replace `partition` by `rows`, all of which came in and are published; `others` are the other fields."""
        return cls(partition, rows, counts=RowCounts(rows_in=rows.height, published=rows.height), **others)

    @classmethod
    def removal(cls, partition: str) -> PartitionChange:
        """Remove `partition` from the dataset."""
        return cls(partition, pl.DataFrame(), removed=True)


@dataclass(frozen=True)
class RowChanges:
    """How many rows, compared by key, a change added, updated and removed."""

    added: int = 0
    updated: int = 0
    removed: int = 0

    def __add__(self, other: RowChanges) -> RowChanges:
        return RowChanges(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __bool__(self) -> bool:
        return bool(self.added or self.updated or self.removed)


@dataclass(frozen=True)
class Changelog:
    """What one version changed compared with its parent.

    `partitions_changed` is complete; `by_partition` has only the first 1,000 with changed rows, so that the
    manifest stays small after a publish of many partitions (partitions.parquet has them all).
    """

    added: int = 0
    updated: int = 0
    removed: int = 0
    partitions_changed: tuple[str, ...] = ()
    by_partition: dict[str, RowChanges] = field(default_factory=dict)

    _LISTED = 1_000

    @classmethod
    def of(cls, changes: Mapping[str, RowChanges]) -> Changelog:
        """Sum the row changes of each partition."""
        names = sorted(changes)
        total = sum(changes.values(), RowChanges())
        listed = {name: changes[name] for name in names if changes[name]}
        first = dict(list(listed.items())[: cls._LISTED])
        return cls(total.added, total.updated, total.removed, tuple(names), first)


@dataclass(frozen=True)
class Manifest:
    """The small, readable file of one version; files.parquet and partitions.parquet beside it hold the lists.

    Attributes:
        schema: column -> polars type.
        counts: the sum over all partitions.
        watermarks: series -> time of its last observation.
        paused_because: why the sensor must leave the dataset alone after a rollback, until the next publish.
        about: JSON values that the publisher adds.
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
    paused_because: Annotated[str | None, Field(alias="held_because")] = None  # the key of older manifests
    rolled_back_to: str | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Write the manifest as indented JSON."""
        return _ADAPTER.dump_json(self, indent=1, by_alias=True)

    @classmethod
    def from_json(cls, data: bytes, *, key: str) -> Manifest:
        """Read a manifest; unknown fields, of a later release, are ignored.

        Raises:
            PermanentError: `data` is not a manifest.
        """
        try:
            return _ADAPTER.validate_json(data)
        except ValidationError as error:
            raise PermanentError(
                f"{key} is not a manifest ({error.error_count()} errors: {error}); roll back to a version that verifies"
            ) from error


_ADAPTER = TypeAdapter(Manifest)
