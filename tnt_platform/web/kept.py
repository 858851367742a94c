"""Small frames that pages were made of: files of a version never change, so they are read once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.rows import reading

MAX_BYTES = 32_000_000
_MAX_BYTES_EACH = 4_000_000
# What an entry costs beside its values.
_OVERHEAD_BYTES = 2_000


class KeptFrames:
    """Frames by what they show, within a bound of size; those used longest ago go first."""

    def __init__(self, catalog: Catalog, max_bytes: int = MAX_BYTES) -> None:
        self._catalog = catalog
        self._max_bytes = max_bytes
        self._frames: OrderedDict[Hashable, pl.DataFrame] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def of_version(
        self, snapshot: Snapshot, what: Hashable, read: Callable[[], pl.DataFrame]
    ) -> pl.DataFrame:
        """What `read` gives for a version, read at most once.

        Raises:
            Problem: 410, the version expired meanwhile.
        """
        key = (snapshot.dataset, snapshot.version, what)
        held = self._held(key)
        if held is None:
            held = reading(self._catalog, snapshot, read)
            self._keep(key, held)
        return held

    def of_partitions(
        self, snapshot: Snapshot, what: Hashable, names: Sequence[str], scan: Callable[[str], pl.LazyFrame]
    ) -> list[pl.DataFrame]:
        """A frame for each partition; one that a newer version took over as it was is not read again.

        Raises:
            Problem: 410, the version expired meanwhile.
        """
        paths = dict(snapshot.files.group_by("partition").agg(pl.col("path").sort()).iter_rows())
        # The columns of a partition are those of the version that shows it.
        columns = tuple(snapshot.manifest.schema.items())
        keys = {name: (snapshot.dataset, name, tuple(paths.get(name, ())), columns, what) for name in names}
        found = {name: held for name, key in keys.items() if (held := self._held(key)) is not None}
        missing = [name for name in names if name not in found]
        if missing:
            read = reading(self._catalog, snapshot, lambda: pl.collect_all([scan(name) for name in missing]))
            for name, frame in zip(missing, read, strict=True):
                self._keep(keys[name], frame)
                found[name] = frame
        return [found[name] for name in names]

    def _held(self, key: Hashable) -> pl.DataFrame | None:
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
