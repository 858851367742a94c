"""First step: the shipper files of a date, as a published table."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tnt_platform.discovery.comparison import inputs_digest
from tnt_platform.discovery.listing import list_partition
from tnt_platform.discovery.unread import sidecars_left_out
from tnt_platform.lake.publishing import Published, Workspace, as_ledger, publish_checked, unique_keys
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange
from tnt_platform.transit.spec import FILES, TransitSpec

KEY = ("file_key",)


def undated_homes(published: Snapshot | None) -> dict[str, str]:
    """Return the date of each file whose name has none: the day it was first seen, so that it never moves.

    These dates are watermarks of the partition, which the sensor reads anyway.
    """
    if published is None:
        return {}
    marks = (
        published.partitions.select("partition", "watermarks").explode("watermarks").drop_nulls("watermarks")
    )
    named = marks.select("partition", pl.col("watermarks").struct.field("name"))
    return dict(named.select("name", "partition").iter_rows())


def _undated(spec: TransitSpec, files: pl.DataFrame) -> dict[str, datetime]:
    def has_date(key: str) -> bool:
        found = spec.source.whole_key.fullmatch(key)
        text = found.groupdict().get("date") if found else None
        return text is not None and spec.source.day(text) is not None

    return {key: at for key, at in files.select("file_key", "last_modified").iter_rows() if not has_date(key)}


def as_compared(spec: TransitSpec, files: pl.DataFrame) -> pl.DataFrame:
    """Give each upload in `files` (etag, last_modified, ...) an etag of its own, to compare them with a ledger.

    S3 gives the same bytes the same etag, but a file that is uploaded again becomes the newest of its date, and the
    newest file wins. With `on_overwrite: reject` the first upload of a name counts, so nothing is changed.
    """
    if spec.source.on_overwrite == "reject":
        return files
    uploaded = pl.col("last_modified").dt.epoch("us").cast(pl.Utf8)
    return files.with_columns(etag=pl.concat_str(pl.col("etag").fill_null(""), pl.lit("@"), uploaded))


def publish_files(spec: TransitSpec, date: str, workspace: Workspace, run_id: str) -> Published:
    """List the date's objects and publish them: file_key, etag, size_bytes, last_modified, status, problem.

    `status` is `present`, or `kept` for a file that was deleted from the bucket under `on_delete: keep`.
    `problem` says why a key can't be read as a shipper file; it is null for those that can.
    """
    base = workspace.store.current(spec.dataset(FILES))
    everything = list_partition(workspace.raw, spec.source, date, undated_homes(base))
    listing = everything.files
    frame = _with_earlier(spec, listing, base.intact([date]).scan([date]).collect() if base else None)
    present = frame.filter(pl.col("status") == "present").rename({"file_key": "key"})
    change = PartitionChange.of_rows(
        date,
        frame,
        inputs=as_ledger(present.select("key", "etag", "size_bytes", "last_modified")),
        inputs_digest=inputs_digest(as_compared(spec, listing)),
        # A kept file keeps its date: it may be uploaded again under the same name.
        watermarks=_undated(spec, frame),
    )
    published = publish_checked(
        workspace,
        spec.dataset(FILES),
        change,
        base=base,
        key=KEY,
        checks=[unique_keys(KEY, date)],
        run_id=run_id,
    )
    return published.with_facts(sidecars_left_out(everything))


def _with_earlier(spec: TransitSpec, listing: pl.DataFrame, before: pl.DataFrame | None) -> pl.DataFrame:
    """Return the listed files, and those that are gone but kept, as rows of this dataset; sorted by file_key."""
    present = listing.select(
        pl.col("key").alias("file_key"),
        "etag",
        "size_bytes",
        "last_modified",
        pl.lit("present").alias("status"),
        "problem",
    )
    if before is None:
        return present.sort("file_key")
    frames = [present]
    if spec.source.on_overwrite == "reject":
        same = ["file_key", "etag", "size_bytes"]
        first = before.select(*same, first="last_modified")
        timed = present.join(first, on=same, how="left", nulls_equal=True)
        frames = [timed.with_columns(last_modified=pl.coalesce("first", "last_modified")).drop("first")]
    if spec.source.on_delete == "keep":
        gone = before.join(present, on="file_key", how="anti").with_columns(status=pl.lit("kept"))
        frames.append(gone.select(present.columns))
    return pl.concat(frames).sort("file_key")
