"""What is told about a dataset: its description, its versions, its differences, its quarantine."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.version_diff import diff, files_apart
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.problems import Problem, bad
from tnt_platform.web.rows import reading

MAX_DIFF_ROWS = 2_000_000
MAX_QUARANTINE_ROWS = 500_000
_KEPT_FRAMES = 8


def described(snapshot: Snapshot) -> dict[str, Any]:
    """A version as JSON values; see `api.documents.DatasetDocument`."""
    manifest = snapshot.manifest
    counts = manifest.counts
    return {
        "dataset": snapshot.dataset,
        "version": snapshot.version,
        "published_at": manifest.created_at.isoformat(),
        "rows": manifest.rows,
        "rows_in": counts.rows_in,
        "quarantined": counts.quarantined,
        "deduplicated": counts.deduplicated,
        "filtered": counts.filtered,
        "partitions": manifest.partitions,
        "size_bytes": manifest.size_bytes,
        "key": list(manifest.key),
        "columns": manifest.schema,
        "date_range": list(manifest.date_range) if manifest.date_range else None,
        "held_because": manifest.paused_because,
    }


class Frames:
    """Differences and quarantines that were computed last: pages of one listing ask for the same."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._frames: OrderedDict[tuple[str, ...], pl.DataFrame] = OrderedDict()
        self._lock = Lock()

    def diff(self, before: Snapshot, after: Snapshot) -> pl.DataFrame:
        """The rows that differ; the columns of `lake.version_diff.diff`.

        Raises:
            Problem: 400, the versions can't be compared; 413, too many rows would have to be.
        """
        if not after.manifest.key or before.manifest.key != after.manifest.key:
            raise bad("from", "versions are compared by their key, and these have none or another one")
        key = ("diff", after.dataset, before.version, after.version)
        held = self._held(key)
        if held is None:
            old, new = files_apart(before, after)
            if int(old["rows"].sum()) + int(new["rows"].sum()) > MAX_DIFF_ROWS:
                detail = f"over {MAX_DIFF_ROWS:,} rows differ in their files; use `tnt diff` instead"
                raise Problem(413, "diff-too-large", detail)
            held = reading(self._catalog, before, lambda: diff(before, after))
            self._keep(key, held)
        return held

    def quarantine(self, snapshot: Snapshot) -> pl.DataFrame:
        """The refused rows: partition, file_key, line_no, raw, reason_code, reason, first_seen_at and more.

        Raises:
            Problem: 413, there are too many to list.
        """
        if snapshot.manifest.counts.quarantined > MAX_QUARANTINE_ROWS:
            detail = f"over {MAX_QUARANTINE_ROWS:,} rows are in quarantine; use `tnt show --quarantine`"
            raise Problem(413, "quarantine-too-large", detail)
        key = ("quarantine", snapshot.dataset, snapshot.version)
        held = self._held(key)
        if held is None:
            held = reading(self._catalog, snapshot, snapshot.quarantine)
            self._keep(key, held)
        return held

    def _held(self, key: tuple[str, ...]) -> pl.DataFrame | None:
        with self._lock:
            return self._frames.get(key)

    def _keep(self, key: tuple[str, ...], frame: pl.DataFrame) -> None:
        with self._lock:
            self._frames[key] = frame
            while len(self._frames) > _KEPT_FRAMES:
                self._frames.popitem(last=False)


def before_and_after(
    catalog: Catalog, dataset: str, before: str | None, after: str | None
) -> tuple[Snapshot, Snapshot]:
    """The two versions of a comparison; the current one and the one before it unless told.

    Raises:
        Problem: 400, there is no version before.
    """
    newer = catalog.chosen(dataset, after, None)
    if before is None:
        before = newer.manifest.parent
        kept = catalog.versions(dataset)["version"].to_list()
        if before is None or before not in kept:
            raise bad(
                "from", f"{newer.version} is the oldest version that is kept: nothing to compare it with"
            )
    return catalog.snapshot(dataset, before), newer
