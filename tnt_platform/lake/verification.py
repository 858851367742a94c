"""Verify that a version is what its manifest says, and that its keys are unique."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.errors import PermanentError, TntError
from tnt_platform.lake import formats
from tnt_platform.lake.manifest import RowCounts
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.version_diff import PARTITION, with_partition

# Below this a file is hashed in memory, above it on local disk.
_IN_MEMORY_BYTES = 32 * 1024 * 1024


def verify(snapshot: Snapshot, *, concurrency: int = 16) -> list[str]:
    """Hash and count every live object again, and check that every partition's rows add up.

    Returns the problems, one sentence each; none if the version is intact.
    """
    try:
        files, partitions = snapshot.files, snapshot.partitions
    except (TntError, pl.exceptions.PolarsError) as error:
        return [f"{snapshot.dataset} {snapshot.version}: {error}"]
    with ThreadPoolExecutor(concurrency, "verify") as pool:
        found = list(pool.map(lambda row: _file_problems(snapshot, row), files.iter_rows(named=True)))
        side_files = _ledgers_and_quarantines(partitions)
        found += pool.map(lambda row: _file_problems(snapshot, row), side_files)
    problems = [problem for of_file in found for problem in of_file]
    return problems + _partition_problems(snapshot) + _total_problems(snapshot)


def duplicate_keys(snapshot: Snapshot, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Find the keys that occur more than once in a partition.

    Returns:
        partition (String), the key columns, rows (UInt32, how often); empty if all keys are unique.

    Raises:
        PermanentError: the version was published without a key.
    """
    key = snapshot.manifest.key
    if not key:
        raise PermanentError(
            f"{snapshot.dataset} {snapshot.version} has no key; publish the dataset with one"
        )
    files = snapshot.files
    if partitions is not None:
        files = files.filter(pl.col("partition").is_in(pl.Series(partitions, dtype=pl.String).implode()))
    rows = (
        with_partition(snapshot, files, snapshot.schema)
        .group_by(PARTITION, *key)
        .agg(pl.len().alias("#rows"))
    )
    found = rows.filter(pl.col("#rows") > 1).collect(engine="streaming").sort(PARTITION, *key)
    names = [name for name in key if name not in ("partition", "rows")]
    return found.select(pl.col(PARTITION).alias("partition"), *names, pl.col("#rows").alias("rows"))


def _ledgers_and_quarantines(partitions: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the ledger and quarantine files as rows of (path, sha256); their row counts are not recorded."""
    kinds = [
        partitions.select(pl.col(f"{kind}_path").alias("path"), pl.col(f"{kind}_sha256").alias("sha256"))
        for kind in ("ledger", "quarantine")
    ]
    return pl.concat(kinds).filter(pl.col("path").is_not_null()).to_dicts()


def _file_problems(snapshot: Snapshot, row: dict[str, Any]) -> list[str]:
    path = row["path"]
    try:
        sha256, rows = _read_again(snapshot, path, row.get("size_bytes", 0))
    except (TntError, pl.exceptions.PolarsError, OSError) as error:
        return [f"{path} cannot be read: {error}"]
    if sha256 != row["sha256"]:
        return [f"{path} has the hash {sha256}, the manifest says {row['sha256']}"]
    if rows != row.get("rows", rows):
        return [f"{path} has {rows} rows, the manifest says {row['rows']}"]
    return []


def _read_again(snapshot: Snapshot, path: str, size_bytes: int) -> tuple[str, int]:
    if size_bytes <= _IN_MEMORY_BYTES:
        body = snapshot.objects.get(path)
        return formats.sha256_of(body), _rows(body)
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        local = Path(folder) / "part.parquet"
        snapshot.objects.get_to_file(path, local)
        return formats.sha256_of_file(local), _rows(local)


def _rows(source: bytes | Path) -> int:
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    return int(pl.scan_parquet(stream, glob=False, hive_partitioning=False).select(pl.len()).collect().item())


def _partition_problems(snapshot: Snapshot) -> list[str]:
    live = snapshot.files.group_by("partition").agg(pl.col("rows").sum().alias("live"))
    both = snapshot.partitions.join(live, on="partition", how="full", coalesce=True)
    counts = both.with_columns(pl.col("live").fill_null(0))
    accounted = pl.sum_horizontal("published", "quarantined", "deduplicated", "filtered")
    lost = counts.filter(pl.col("changed_by").is_null())
    uneven = counts.filter(pl.col("live") != pl.col("published"))
    unbalanced = counts.filter(pl.col("rows_in") != accounted)
    return [
        *(f"partition {name} has files and no row in partitions.parquet" for name in lost["partition"]),
        *(
            f"partition {row['partition']} has {row['live']} live rows, but {row['published']} counted as published"
            for row in uneven.iter_rows(named=True)
        ),
        *(
            f"partition {row['partition']} has {row['rows_in']} rows in, which is not the sum of its other counts"
            for row in unbalanced.iter_rows(named=True)
        ),
    ]


def _total_problems(snapshot: Snapshot) -> list[str]:
    manifest, partitions = snapshot.manifest, snapshot.partitions
    found = {
        "partitions": partitions.height,
        "files": snapshot.files.height,
        "rows": formats.total(snapshot.files["rows"]),
        "size_bytes": formats.total(snapshot.files["size_bytes"]),
        "counts": asdict(RowCounts(*(formats.total(partitions[name]) for name in asdict(RowCounts())))),
    }
    recorded = {name: getattr(manifest, name) for name in found} | {"counts": asdict(manifest.counts)}
    return [
        f"the manifest says {name} = {recorded[name]}, the lists say {value}"
        for name, value in found.items()
        if recorded[name] != value
    ]
