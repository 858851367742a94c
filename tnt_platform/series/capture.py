"""`<dataset>/capture`: the publisher's bytes, kept once per content."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.lake.publishing import Place, Published, publish_checked, unique_keys
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.series.source import KnownFile, SourceFile, fetch_source, local_file, suffix_of
from tnt_platform.series.spec import CAPTURE, SeriesSpec
from tnt_platform.services.download import Downloader
from tnt_platform.settings import Settings

CAPTURES: dict[str, pl.DataType] = {
    "captured_at": pl.Datetime("us", "UTC"),
    "sha256": pl.String(),
    "size_bytes": pl.Int64(),
    "url": pl.String(),
    "etag": pl.String(),
    "last_modified": pl.String(),
    "content_type": pl.String(),
    "object_key": pl.String(),
}
CAPTURE_KEY = ("captured_at",)


def publish_capture(
    spec: SeriesSpec,
    place: Place,
    settings: Settings,
    downloader: Downloader,
    *,
    now: datetime,
    run_id: str,
    file: Path | None = None,
) -> Published:
    """Look at the source; a content that is not the newest capture's is stored and becomes the newest.

    The bytes are stored before the row that names them, under their hash, so a crash between leaves nothing
    to clean up. Partitions are the months of capture; `file` is taken instead of the source.

    Raises:
        TntError: the source can't be had; see `source.fetch_source`.
    """
    base = place.store.current(spec.dataset(CAPTURE))
    newest = newest_capture(base)
    known = KnownFile(newest["url"], newest["etag"], newest["last_modified"]) if newest else None
    found = local_file(file) if file else fetch_source(spec.source, known, place, settings, downloader, now)
    digest = hashlib.sha256(found.body).hexdigest() if found.body is not None else None
    if base is not None and newest is not None and digest in (None, newest["sha256"]):
        counts = RowCounts(rows_in=base.manifest.rows, published=base.manifest.rows)
        month = f"{newest['captured_at']:%Y-%m}"
        return Published(base.dataset, month, base, changed=False, counts=counts, facts=_facts(newest))
    assert found.body is not None
    assert digest is not None
    row = _stored(spec, place, found, found.body, digest, now)
    return _publish_row(spec, place, base, row, run_id)


def newest_capture(snapshot: Snapshot | None) -> dict[str, Any] | None:
    """The row of the capture taken last."""
    if snapshot is None or snapshot.partitions.is_empty():
        return None
    last = snapshot.partitions["partition"].max()
    rows = snapshot.scan([str(last)]).sort("captured_at").tail(1).collect()
    return rows.row(0, named=True) if rows.height else None


def _stored(
    spec: SeriesSpec, place: Place, found: SourceFile, body: bytes, digest: str, now: datetime
) -> dict[str, Any]:
    key = f"captures/{spec.name}/{digest}{suffix_of(found.url)}"
    if not place.lake.exists(key):
        place.lake.put(key, body)
    return {
        "captured_at": now,
        "sha256": digest,
        "size_bytes": len(body),
        "url": found.url,
        "etag": found.etag,
        "last_modified": found.last_modified,
        "content_type": found.content_type,
        "object_key": key,
    }


def _publish_row(
    spec: SeriesSpec, place: Place, base: Snapshot | None, row: dict[str, Any], run_id: str
) -> Published:
    month = f"{row['captured_at']:%Y-%m}"
    fresh = pl.DataFrame([row], schema=CAPTURES)
    before = base.scan([month]).collect() if base and base.partition(month) else fresh.clear()
    rows = pl.concat([before, fresh]).sort("captured_at")
    digest = hashlib.sha256("\n".join(rows["sha256"]).encode()).hexdigest()
    change = PartitionChange(
        partition=month,
        data=rows,
        inputs=pl.DataFrame(),
        quarantine=pl.DataFrame(),
        counts=RowCounts(rows_in=rows.height, published=rows.height),
        inputs_digest=digest,
    )
    published = publish_checked(
        place,
        base=base,
        dataset=spec.dataset(CAPTURE),
        change=change,
        key=CAPTURE_KEY,
        checks=[unique_keys(CAPTURE_KEY, month)],
        run_id=run_id,
    )
    return published.with_facts(_facts(row))


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "capture_url": row["url"],
        "capture_sha256": row["sha256"],
        "capture_size_bytes": row["size_bytes"],
        "captured_at": str(row["captured_at"]),
        "capture_object": row["object_key"],
    }
