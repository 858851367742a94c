"""Compare one partition's change with the base, and encode what is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.errors import PermanentError
from tnt_platform.lake import formats
from tnt_platform.lake.manifest import PartitionChange, RowChanges
from tnt_platform.lake.parquet_part import ParquetPart, part_of_file, part_of_frame, parts_of
from tnt_platform.storage.objects import Objects

_SAME_ROW = ["file_key", "line_no", "reason_code", "raw"]


@dataclass
class PublishedPartition:
    """One partition as the base has it: its row of partitions.parquet and its files, by path."""

    row: Mapping[str, Any] | None
    files: list[dict[str, Any]]


@dataclass
class StagedPartition:
    """A change whose new objects are ready to upload.

    `rows_changed` is None until the rows have been compared by key.
    """

    change: PartitionChange
    base: PublishedPartition
    parts: list[ParquetPart]
    empty_schemas: list[str]
    carried: list[dict[str, Any]]
    dropped: list[dict[str, Any]]
    ledger: bytes | None
    ledger_sha256: str | None
    quarantine: ParquetPart | None
    quarantine_digest: str | None
    rows_changed: RowChanges | None
    data_changed: bool = True
    watermarks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything that a reader can see differs from the base."""
        row = self.base.row
        if row is None:
            return not self.change.removed
        if self.change.removed:
            return True
        before = [{"name": mark["name"], "at": mark["at"]} for mark in row["watermarks"]]
        return (
            self.data_changed
            or row["ledger_sha256"] != self.ledger_sha256
            or row["quarantine_digest"] != self.quarantine_digest
            or row["inputs_digest"] != self.change.inputs_digest
            or any(row[name] != value for name, value in asdict(self.change.counts).items())
            or before != self.watermarks
        )


def stage(
    change: PartitionChange,
    base: PublishedPartition,
    *,
    objects: Objects,
    key: tuple[str, ...],
    scratch: Path,
    now: datetime,
) -> StagedPartition:
    """Encode one partition's new objects, and check that its counts add up.

    Raises:
        PermanentError: the counts don't balance or don't match the rows, or `keep` names an unknown file.
    """
    name = change.partition
    if change.removed:
        gone = base.row["published"] if base.row else 0
        return StagedPartition(
            change, base, [], [], [], base.files, None, None, None, None, RowChanges(removed=gone)
        )
    carried, dropped = _carried(change, base)
    parts = parts_of(change.data, key=key, scratch=scratch / "data", name=name)
    _check_counts(change, parts, carried)
    ledger = _ledger(change)
    quarantine, digest = _quarantine(change, base, objects, scratch, now)
    live = [part for part in parts if part.rows]
    return StagedPartition(
        change=change,
        base=base,
        parts=live,
        empty_schemas=[part.schema for part in parts if not part.rows],
        carried=carried,
        dropped=dropped,
        ledger=ledger,
        ledger_sha256=formats.sha256_of(ledger) if ledger else None,
        quarantine=quarantine,
        quarantine_digest=digest,
        rows_changed=_known_changes(live, dropped),
        data_changed=base.row is None or not _same_files(live, dropped),
        watermarks=[
            {"name": series, "at": at.astimezone(UTC)} for series, at in sorted(change.watermarks.items())
        ],
    )


def _check_counts(change: PartitionChange, parts: list[ParquetPart], carried: list[dict[str, Any]]) -> None:
    if not change.counts.balanced:
        raise PermanentError(
            f"partition {change.partition}: rows in are not the sum of the other counts: {change.counts}; count every "
            "row as published, quarantined, deduplicated or filtered"
        )
    height = sum(part.rows for part in parts) + sum(file["rows"] for file in carried)
    if height != change.counts.published:
        raise PermanentError(
            f"partition {change.partition}: {height} rows were given, but {change.counts.published} counted as "
            "published; count what is given"
        )


def _carried(
    change: PartitionChange, base: PublishedPartition
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    wanted = set(change.keep)
    unknown = wanted - {file["path"] for file in base.files}
    if unknown:
        raise PermanentError(
            f"partition {change.partition}: {sorted(unknown)} are not live in the base; keep only paths that "
            "base.files lists for this partition"
        )
    carried = [file for file in base.files if file["path"] in wanted]
    return carried, [file for file in base.files if file["path"] not in wanted]


def _ledger(change: PartitionChange) -> bytes | None:
    """Encode the ledger sorted by key, so that equal content gives equal bytes."""
    if change.inputs.is_empty():
        return None
    rows = change.inputs
    if rows.schema != formats.LEDGER:
        rows = formats.conform(
            rows.lazy(), formats.LEDGER, what=f"the ledger of {change.partition}"
        ).collect()
    return formats.parquet_bytes(rows.sort("key", "etag") if rows.height > 1 else rows)


def _same_files(parts: list[ParquetPart], dropped: list[dict[str, Any]]) -> bool:
    return [part.sha256 for part in parts] == [file["sha256"] for file in dropped]


def _known_changes(parts: list[ParquetPart], dropped: list[dict[str, Any]]) -> RowChanges | None:
    """Return the row changes where no comparison is needed: equal files, only new rows, or only removed rows."""
    if _same_files(parts, dropped):
        return RowChanges()
    if not dropped:
        return RowChanges(added=sum(part.rows for part in parts))
    if not parts:
        return RowChanges(removed=sum(file["rows"] for file in dropped))
    return None


def _quarantine(
    change: PartitionChange, base: PublishedPartition, objects: Objects, scratch: Path, now: datetime
) -> tuple[ParquetPart | None, str | None]:
    """Return the quarantine file (None if it is empty or equals the base's) and the digest of its content."""
    in_memory = isinstance(change.quarantine, pl.DataFrame)
    if in_memory and not change.counts.quarantined and not len(change.quarantine):
        return None, None  # the usual case, without a query
    rows = _quarantine_rows(change)
    found = rows.select(pl.len()).collect(engine="streaming").item()
    if found < change.counts.quarantined:
        raise PermanentError(
            f"partition {change.partition}: {change.counts.quarantined} rows were counted as quarantined, "
            f"but the quarantine has {found}; give a row for each"
        )
    if not found:
        return None, None
    digest = formats.content_digest(rows, ignoring=["first_seen_at"])
    if base.row is not None and base.row["quarantine_digest"] == digest:
        return None, digest
    dated = _with_first_seen(rows, base, objects, now)
    if in_memory:
        return part_of_frame(dated.collect(), key=(), name=change.partition), digest
    path = scratch / "quarantine" / f"{change.partition.replace('/', '~')}.parquet"
    formats.sink_parquet(dated, path)
    return part_of_file(path, key=(), name=change.partition), digest


def _quarantine_rows(change: PartitionChange) -> pl.LazyFrame:
    if isinstance(change.quarantine, pl.DataFrame):
        frame = change.quarantine.lazy()
    elif change.quarantine:
        frame = pl.scan_parquet(list(change.quarantine), glob=False, hive_partitioning=False)
    else:
        frame = pl.LazyFrame()
    return formats.conform(frame, formats.QUARANTINE, what=f"the quarantine of {change.partition}")


def _with_first_seen(
    rows: pl.LazyFrame, base: PublishedPartition, objects: Objects, now: datetime
) -> pl.LazyFrame:
    """Keep first_seen_at of the rows that the base has in quarantine too."""
    fallback = pl.col("first_seen_at").fill_null(pl.lit(now, formats.UTC_TIME))
    path = base.row["quarantine_path"] if base.row else None
    if path is None:
        return rows.with_columns(fallback)
    before = pl.scan_parquet(
        objects.polars_url(path),
        glob=False,
        hive_partitioning=False,
        storage_options=objects.polars_options(),
    )
    seen = before.group_by(_SAME_ROW).agg(pl.col("first_seen_at").min().alias("#seen"))
    joined = rows.join(seen, on=_SAME_ROW, how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(pl.col("#seen").fill_null(fallback).alias("first_seen_at")).drop("#seen")
