"""Cache the tables of the versions that are read, bounded by size."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from tnt_platform.errors import TntError
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.problems import Problem
from tnt_platform.web.records.table import RecordPart, RecordTable, holds_records, write_part
from tnt_platform.web.rows import read_version

MAX_BYTES = 4 << 30
_BUILDERS = 2
_PartKey = tuple[tuple[str, ...], tuple[str, ...]]


class RecordTables:
    """Builds a table on first use; files that two versions share are read once.

    While the table of a new version is built, the previous version is served, so that a publish of a million records
    makes nobody wait.
    """

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self._catalog = catalog
        self._folder = folder
        self._parts: WeakValueDictionary[_PartKey, RecordPart] = WeakValueDictionary()
        self._tables: OrderedDict[tuple[str, str], tuple[RecordTable, list[RecordPart]]] = OrderedDict()
        self._building: dict[tuple[str, str], Future[RecordTable]] = {}
        self._latest: dict[str, Snapshot] = {}
        self._ahead: dict[str, list[RecordPart]] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        self._builder = ThreadPoolExecutor(_BUILDERS, "records")

    def close(self) -> None:
        """Cancel what has not started."""
        self._is_closed = True
        self._builder.shutdown(wait=False, cancel_futures=True)

    def prepare(self) -> None:
        """Write the parts of the current versions in the background, so that their first reader waits less.

        They stay on disk and take no memory; sorting them is left to the first reader.
        """
        # A daemon thread, so that a lake that does not respond does not delay the shutdown.
        threading.Thread(target=self._prepare, name="records-ahead", daemon=True).start()

    def _prepare(self) -> None:
        # The first reader gets the error of what can't be read now.
        with contextlib.suppress(TntError, Problem, OSError):
            for snapshot in self.datasets():
                if snapshot.dataset not in self._latest:
                    self._ahead.setdefault(snapshot.dataset, []).extend(self._all_parts(snapshot))

    def datasets(self) -> list[Snapshot]:
        """Return the current versions of all datasets of records, sorted by id."""
        return [found for found in self._catalog.all_current() if holds_records(found)]

    def ready(self, current: Snapshot) -> Snapshot:
        """Return `current`, or the version before it while the table of `current` is being built."""
        before = self._latest.get(current.dataset)
        if before is None or before.version == current.version or self.peek(before) is None:
            return current
        if self.peek(current) is None:
            self._build(current)
            return before
        self._latest[current.dataset] = current
        return current

    def peek(self, snapshot: Snapshot) -> RecordTable | None:
        """Return the table if it exists; never wait."""
        held = self._tables.get((snapshot.dataset, snapshot.version))
        return held[0] if held else None

    def table(self, snapshot: Snapshot) -> RecordTable:
        """Return the table of a version, building it if necessary.

        Raises:
            Problem: 410, the version expired in the meantime.
        """
        held = self.peek(snapshot)
        if held is None:
            held = self._build(snapshot).result()
        with self._lock:
            if (snapshot.dataset, snapshot.version) in self._tables:
                self._tables.move_to_end((snapshot.dataset, snapshot.version))
        return held

    def _build(self, snapshot: Snapshot) -> Future[RecordTable]:
        key = (snapshot.dataset, snapshot.version)
        with self._lock:
            future = self._building.get(key)
            if future is None:
                future = self._builder.submit(self._read, snapshot)
                self._building[key] = future
                future.add_done_callback(lambda _: self._building.pop(key, None))
        return future

    def _read(self, snapshot: Snapshot) -> RecordTable:
        if (held := self.peek(snapshot)) is not None:
            return held
        parts = list(self._all_parts(snapshot)) or [write_part(snapshot.scan(), self._folder)]
        table = RecordTable(snapshot.dataset, snapshot.version, parts)
        with self._lock:
            self._tables[(snapshot.dataset, snapshot.version)] = (table, parts)
            self._ahead.pop(snapshot.dataset, None)
            before = self._latest.get(snapshot.dataset)
            # Version ids sort by time; a pinned old version must not be served to others.
            if snapshot.pointer is not None and (before is None or before.version < snapshot.version):
                self._latest[snapshot.dataset] = snapshot
            self._shrink()
        return table

    def _all_parts(self, snapshot: Snapshot) -> Iterator[RecordPart]:
        for partition, paths in snapshot.files.group_by("partition", maintain_order=True).agg("path").rows():
            if self._is_closed:
                return
            yield read_version(self._catalog, snapshot, partial(self._part, snapshot, partition, paths))

    def _part(self, snapshot: Snapshot, partition: str, paths: list[str]) -> RecordPart:
        key = (tuple(paths), tuple(f"{name} {dtype}" for name, dtype in snapshot.manifest.schema.items()))
        part = self._parts.get(key)
        if part is None:
            part = write_part(snapshot.scan([partition]), self._folder)
            self._parts[key] = part
        return part

    def _shrink(self) -> None:
        """Drop the least recently used tables, but never the latest one of a dataset."""
        newest = {(found.dataset, found.version) for found in self._latest.values()}
        total = sum(table.size_bytes for table, _ in self._tables.values())
        for key in [key for key in self._tables if key not in newest]:
            if total <= MAX_BYTES:
                return
            total -= self._tables.pop(key)[0].size_bytes
