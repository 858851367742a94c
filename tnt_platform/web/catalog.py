"""List datasets and versions, reading each from the lake at most once a second."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from tnt_platform.errors import ConfigError, NotFound, PermanentError
from tnt_platform.lake import history, naming
from tnt_platform.lake.blocked import BlockedPublish, blocked_publishes
from tnt_platform.lake.snapshot import Snapshot, current_snapshot
from tnt_platform.storage.objects import Objects
from tnt_platform.web.problems import Problem, bad_parameter, not_found

POINTER_AGE_S = 1.0
# On S3, listing datasets costs one request per folder, and versions one per version; on disk they are free.
LIST_AGE_S = 3.0
VERSIONS_AGE_S = 5.0
AGE_ON_S3_S = 60.0
MAX_SNAPSHOTS = 256
_MAX_NAME_BYTES = 255
_READERS = 8


@dataclass
class _Current:
    """The current version of one dataset, and when its pointer was read."""

    snapshot: Snapshot | None = None
    read_at: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


class Catalog:
    """The published datasets as readers see them; thread-safe."""

    def __init__(self, objects: Objects, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.objects = objects
        self._monotonic = monotonic
        self._currents: dict[str, _Current] = {}
        self._snapshots: OrderedDict[tuple[str, str], Snapshot] = OrderedDict()
        self._tables: dict[str, tuple[float, str, pl.DataFrame]] = {}
        self._datasets: tuple[float, list[str]] = (float("-inf"), [])
        # Why the current version of a dataset can't be opened, as `all_current` last found it.
        self.damaged: Mapping[str, str] = {}
        self._blocked: tuple[float, list[BlockedPublish]] = (float("-inf"), [])
        self._lock = threading.Lock()
        self._listing = threading.Lock()
        is_remote = objects.url.startswith("s3://")
        self._list_age_s = AGE_ON_S3_S if is_remote else LIST_AGE_S
        self._versions_age_s = AGE_ON_S3_S if is_remote else VERSIONS_AGE_S

    def datasets(self) -> list[str]:
        """Return the sorted ids of all datasets; while one thread refreshes the list, the others get the old one."""
        read_at, found = self._datasets
        if self._monotonic() - read_at <= self._list_age_s:
            return found
        is_first = read_at == float("-inf")
        if self._listing.acquire(blocking=is_first):
            try:
                read_at, found = self._datasets
                if self._monotonic() - read_at > self._list_age_s:
                    found = history.dataset_ids(self.objects)
                    self._datasets = (self._monotonic(), found)
            finally:
                self._listing.release()
        return found

    def probe(self) -> str:
        """Read from the lake without any cache, and return the number of datasets as text.

        Raises:
            TntError: the lake does not respond.
        """
        self.objects.list_folders(naming.DATASETS)
        return f"{len(self.datasets())} datasets are published"

    def all_current(self) -> list[Snapshot]:
        """Return the current version of every dataset, sorted by id; without those that are damaged.

        Raises:
            TntError: no dataset can be read.
        """
        names = self.datasets()
        if all(self.peek(name) for name in names):
            self.damaged = {}
            return [self.current(name) for name in names]
        with ThreadPoolExecutor(_READERS, "pointers") as pool:
            found = list(pool.map(self._read_or_error, names))
        errors = {
            name: one for name, one in zip(names, found, strict=True) if isinstance(one, PermanentError)
        }
        if errors and len(errors) == len(names):
            raise errors[names[0]]
        self.damaged = {name: str(error) for name, error in errors.items()}
        return [one for one in found if isinstance(one, Snapshot)]

    def _read_or_error(self, dataset: str) -> Snapshot | PermanentError | None:
        try:
            return self._read_current(dataset)
        except PermanentError as error:
            return error

    def peek(self, dataset: str) -> Snapshot | None:
        """Return the current version if its pointer was read within the last second; never wait."""
        held = self._currents.get(dataset)
        if held is None or self._monotonic() - held.read_at > POINTER_AGE_S:
            return None
        return held.snapshot

    def current(self, dataset: str) -> Snapshot:
        """Return the current version.

        Raises:
            Problem: 404, there is no such dataset.
        """
        found = self.peek(dataset) or self._read_current(dataset)
        if found is None:
            raise not_found(f"dataset {dataset[:200]!r} is not published; GET /datasets lists those that are")
        return found

    def cached(self, dataset: str, version: str) -> Snapshot | None:
        """Return a version that was read before; never wait."""
        return self._snapshots.get((dataset, version))

    def snapshot(self, dataset: str, version: str) -> Snapshot:
        """Return the version with that id or tag.

        Raises:
            Problem: 404 for an unknown dataset, 400 for an invalid version, 410 for one that is no longer kept.
        """
        current = self.current(dataset)
        if version == current.version:
            return current
        held = self.cached(dataset, version)
        if held is not None:
            return held
        try:
            found = Snapshot(self.objects, history.find_manifest(self.objects, dataset, version))
        except ConfigError as error:
            raise bad_parameter("version", str(error)) from error
        except NotFound as error:
            if naming.is_version_id(version):
                raise expired(current, version) from error
            raise bad_parameter("version", str(error)) from error
        self._remember(found)
        return found

    def chosen(self, dataset: str, version: str | None, as_of: datetime | None) -> Snapshot:
        """Return the version that a request chooses: by id or tag, by time, or the current one."""
        if version is not None:
            return self.snapshot(dataset, version)
        if as_of is None:
            return self.current(dataset)
        current = self.current(dataset)
        if current.manifest.created_at <= as_of:
            return current
        table = self.versions(dataset)
        before = table.filter(pl.col("created_at") <= as_of)
        if before.is_empty():
            oldest = str(table["created_at"].min())
            raise bad_parameter(
                "as_of", f"{dataset} has no version as old as {as_of}; the oldest one is from {oldest}"
            )
        return self.snapshot(dataset, before["version"][0])

    def versions(self, dataset: str) -> pl.DataFrame:
        """Return the kept versions, latest first; see `history.versions_table`."""
        current = self.current(dataset)
        held = self._tables.get(dataset)
        if held is None or held[1] != current.version or self._monotonic() - held[0] > self._versions_age_s:
            table = history.versions_table(self.objects, dataset, current)
            held = (self._monotonic(), current.version, table)
            self._tables[dataset] = held
        return held[2]

    def blocked(self) -> list[BlockedPublish]:
        """Return the publishes that were blocked and not made good since; see `lake.blocked`."""
        read_at, found = self._blocked
        if self._monotonic() - read_at > self._list_age_s:
            found = blocked_publishes(self.objects)
            self._blocked = (self._monotonic(), found)
        return found

    def forget(self, snapshot: Snapshot) -> None:
        """Drop a version whose files were deleted, and read the pointer again."""
        with self._lock:
            self._snapshots.pop((snapshot.dataset, snapshot.version), None)
        held = self._currents.get(snapshot.dataset)
        if held is not None:
            held.read_at = float("-inf")

    def _read_current(self, dataset: str) -> Snapshot | None:
        try:
            key = naming.pointer_key(dataset)
        except ConfigError:
            return None  # not a valid name, such as '..'
        if any(len(part.encode(errors="replace")) > _MAX_NAME_BYTES for part in dataset.split("/")):
            return None  # too long for a file system
        held = self._currents.get(dataset) or _Current()
        with held.lock:
            if self._monotonic() - held.read_at <= POINTER_AGE_S:
                return held.snapshot
            pointer = self.objects.read_pointer(key)
            if pointer is None:
                self._currents.pop(dataset, None)
                return None
            version = pointer.value.decode(errors="replace").strip()
            if held.snapshot is None or held.snapshot.version != version:
                held.snapshot = current_snapshot(self.objects, dataset)
                if held.snapshot is not None:
                    self._remember(held.snapshot)
            held.read_at = self._monotonic()
            # Only existing datasets are cached, or requests for invented names would fill the memory.
            self._currents[dataset] = held
            return held.snapshot

    def _remember(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._snapshots[(snapshot.dataset, snapshot.version)] = snapshot
            while len(self._snapshots) > MAX_SNAPSHOTS:
                self._snapshots.popitem(last=False)


def expired(current: Snapshot, version: str) -> Problem:
    """Return the problem of a version that is no longer kept, with how to continue."""
    return Problem(
        410,
        "version-expired",
        f"version {version} of {current.dataset} is no longer kept (or never existed); start again without "
        f"cursor and version to read the current one, {current.version}",
        dataset=current.dataset,
        version=version,
        current_version=current.version,
    )
