"""First link: which shipper files a date has, as a published table."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tnt_platform.flows.publishing import Place, Published, as_ledger, publish_checked, unique_keys
from tnt_platform.flows.transit.spec import FILES, TransitSpec
from tnt_platform.lake.discovery import inputs_digest, list_partition
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts

KEY = ("file_key",)


def undated_homes(published: Snapshot | None) -> dict[str, str]:
    """The date of each file whose name gives none: the one it was first seen on, so that it never moves.

    They are kept as watermarks of the partition, which the sensor reads anyway.
    """
    if published is None:
        return {}
    marks = (
        published.partitions.select("partition", "watermarks").explode("watermarks").drop_nulls("watermarks")
    )
    named = marks.select("partition", pl.col("watermarks").struct.field("name"))
    return dict(named.select("name", "partition").iter_rows())


def _undated(spec: TransitSpec, listing: pl.DataFrame) -> dict[str, datetime]:
    def has_date(key: str) -> bool:
        found = spec.source.key_pattern.fullmatch(key)
        return found is not None and found.groupdict().get("date") is not None

    return {key: at for key, at in listing.select("key", "last_modified").iter_rows() if not has_date(key)}


def publish_files(spec: TransitSpec, date: str, place: Place, run_id: str) -> Published:
    """List the date's objects and publish them: file_key, etag, size_bytes, last_modified, status, problem.

    `status` is `present`, or `kept` for a file that left the bucket while `on_delete: keep` holds.
    `problem` says why a key can't be read as a shipper file; null for those that can.
    """
    base = place.store.current(spec.dataset(FILES))
    listing = list_partition(place.raw, spec.source, date, undated_homes(base))
    present = listing.select(
        pl.col("key").alias("file_key"),
        "etag",
        "size_bytes",
        "last_modified",
        pl.lit("present").alias("status"),
        "problem",
    )
    frame = present
    if base is not None and spec.source.on_delete == "keep":
        before = base.scan([date]).collect()
        gone = before.join(present, on="file_key", how="anti").with_columns(status=pl.lit("kept"))
        frame = pl.concat([present, gone.select(present.columns)])
    frame = frame.sort("file_key")
    change = PartitionChange(
        partition=date,
        data=frame,
        inputs=as_ledger(listing.select("key", "etag", "size_bytes", "last_modified")),
        counts=RowCounts(rows_in=frame.height, published=frame.height),
        quarantine=pl.DataFrame(),
        inputs_digest=inputs_digest(listing),
        watermarks=_undated(spec, listing),
    )
    return publish_checked(
        place,
        base=base,
        dataset=spec.dataset(FILES),
        change=change,
        key=KEY,
        checks=[unique_keys(KEY, date)],
        run_id=run_id,
    )
