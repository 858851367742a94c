"""DatasetFrames that pages are made of, cached: the files of a version never change, so each is read once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.version_diff import diff, files_apart
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.problems import Problem, bad_parameter
from tnt_platform.web.rows import read_version

MAX_BYTES = 32_000_000
_MAX_BYTES_EACH = 4_000_000
# Memory of a cache entry besides its values.
_OVERHEAD_BYTES = 2_000
MAX_DIFF_ROWS = 2_000_000
MAX_QUARANTINE_ROWS = 500_000
_KEPT_FRAMES = 8
PARTITIONS_READ = 12
_REASONS = 5
_EXAMPLES = 2
_SHOWN = ("file_key", "line_no", "raw", "reason")


class FrameCache:
    """A least-recently-used cache of small frames, bounded by memory."""

    def __init__(self, catalog: Catalog, max_bytes: int = MAX_BYTES) -> None:
        self._catalog = catalog
        self._max_bytes = max_bytes
        self._frames: OrderedDict[Hashable, pl.DataFrame] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def of_version(
        self, snapshot: Snapshot, what: Hashable, read: Callable[[], pl.DataFrame]
    ) -> pl.DataFrame:
        """Return the result of `read` for a version, reading it at most once.

        Raises:
            Problem: 410, the version expired in the meantime.
        """
        key = (snapshot.dataset, snapshot.version, what)
        held = self._cached(key)
        if held is None:
            held = read_version(self._catalog, snapshot, read)
            self._keep(key, held)
        return held

    def of_partitions(
        self, snapshot: Snapshot, what: Hashable, names: Sequence[str], scan: Callable[[str], pl.LazyFrame]
    ) -> list[pl.DataFrame]:
        """Return one frame per partition; partitions that a newer version left unchanged are not read again.

        Raises:
            Problem: 410, the version expired in the meantime.
        """
        paths = dict(snapshot.files.group_by("partition").agg(pl.col("path").sort()).iter_rows())
        # The same partition may have other columns in another version.
        columns = tuple(snapshot.manifest.schema.items())
        keys = {name: (snapshot.dataset, name, tuple(paths.get(name, ())), columns, what) for name in names}
        found = {name: held for name, key in keys.items() if (held := self._cached(key)) is not None}
        missing = [name for name in names if name not in found]
        if missing:
            read = read_version(
                self._catalog, snapshot, lambda: pl.collect_all([scan(name) for name in missing])
            )
            for name, frame in zip(missing, read, strict=True):
                self._keep(keys[name], frame)
                found[name] = frame
        return [found[name] for name in names]

    def _cached(self, key: Hashable) -> pl.DataFrame | None:
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
            return self._frames.get(key)

    def _keep(self, key: Hashable, frame: pl.DataFrame) -> None:
        if frame.estimated_size() > _MAX_BYTES_EACH:
            return
        with self._lock:
            self._drop(key)
            self._frames[key] = frame
            self._size_bytes += _size(frame)
            while self._size_bytes > self._max_bytes:
                self._drop(next(iter(self._frames)))

    def _drop(self, key: Hashable) -> None:
        frame = self._frames.pop(key, None)
        if frame is not None:
            self._size_bytes -= _size(frame)


def _size(frame: pl.DataFrame) -> int:
    return int(frame.estimated_size()) + _OVERHEAD_BYTES


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Describe a version as JSON values; see `openapi.DatasetDocument`."""
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


class DatasetFrames:
    """Caches the last diffs and quarantines, since the pages of one listing share them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._frames: OrderedDict[tuple[str, ...], pl.DataFrame] = OrderedDict()
        self._lock = Lock()

    def diff(self, before: Snapshot, after: Snapshot) -> pl.DataFrame:
        """Return the rows that differ, with the columns of `lake.version_diff.diff`.

        Raises:
            Problem: 400, the versions can't be compared; 413, too many rows would have to be compared.
        """
        if not after.manifest.key or before.manifest.key != after.manifest.key:
            raise bad_parameter("from", "versions are compared by key, but these have none or different ones")
        key = ("diff", after.dataset, before.version, after.version)
        held = self._cached(key)
        if held is None:
            old, new = files_apart(before, after)
            if int(old["rows"].sum()) + int(new["rows"].sum()) > MAX_DIFF_ROWS:
                detail = f"over {MAX_DIFF_ROWS:,} rows differ in their files; use `tnt diff` instead"
                raise Problem(413, "diff-too-large", detail)
            held = read_version(self._catalog, before, lambda: diff(before, after))
            self._keep(key, held)
        return held

    def quarantine(self, snapshot: Snapshot) -> pl.DataFrame:
        """Return the rejected rows: partition, file_key, line_no, raw, reason_code, reason, first_seen_at and others.

        Raises:
            Problem: 413, there are too many rows to list.
        """
        if snapshot.manifest.counts.quarantined > MAX_QUARANTINE_ROWS:
            detail = f"over {MAX_QUARANTINE_ROWS:,} rows are in quarantine; use `tnt show --quarantine`"
            raise Problem(413, "quarantine-too-large", detail)
        key = ("quarantine", snapshot.dataset, snapshot.version)
        held = self._cached(key)
        if held is None:
            held = read_version(self._catalog, snapshot, snapshot.quarantine)
            self._keep(key, held)
        return held

    def _cached(self, key: tuple[str, ...]) -> pl.DataFrame | None:
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
    """Return the two versions to compare: by default the current one and the one before it.

    Raises:
        Problem: 400, there is no earlier version.
    """
    newer = catalog.chosen(dataset, after, None)
    if before is None:
        before = newer.manifest.parent
        kept = catalog.versions(dataset)["version"].to_list()
        if before is None or before not in kept:
            raise bad_parameter(
                "from", f"{newer.version} is the oldest version, so there is none to compare it with"
            )
    return catalog.snapshot(dataset, before), newer


@dataclass(frozen=True)
class Rejected:
    """Rejected rows of one version by reason, most rows first, with examples.

    Only `partitions` of the `of_partitions` with rejected rows were read, the latest ones.
    """

    reasons: list[tuple[str, int, list[dict[str, Any]]]]
    partitions: int
    of_partitions: int


class RejectedRows:
    """Caches why rows of each dataset's latest version were rejected."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._held: dict[str, tuple[str, Rejected]] = {}

    def of(self, snapshot: Snapshot) -> Rejected:
        """Return why rows of a version were rejected.

        Raises:
            Problem: 410, the version expired in the meantime.
        """
        version, held = self._held.get(snapshot.dataset, ("", None))
        if held is None or version != snapshot.version:
            held = read_version(self._catalog, snapshot, lambda: _read_rejected(snapshot))
            self._held[snapshot.dataset] = (snapshot.version, held)
        return held


def _read_rejected(snapshot: Snapshot) -> Rejected:
    rejecting = snapshot.partitions.filter(pl.col("quarantined") > 0)["partition"].sort(descending=True)
    newest = rejecting.head(PARTITIONS_READ).to_list()
    rows = snapshot.quarantine(newest).sort("partition", descending=True, maintain_order=True)
    counts = rows.group_by("reason_code").len().sort("len", "reason_code", descending=[True, False])
    reasons = [
        (code or "(none)", count, _examples(rows, code)) for code, count in counts.head(_REASONS).rows()
    ]
    return Rejected(reasons, len(newest), len(rejecting))


def _examples(rows: pl.DataFrame, code: str | None) -> list[dict[str, Any]]:
    those = rows.filter(pl.col("reason_code").eq_missing(code))
    return those.head(_EXAMPLES).select(_SHOWN).to_dicts()
