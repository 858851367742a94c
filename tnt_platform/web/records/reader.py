"""Choose the versions of records that a request reads, and page through their tables."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import POINTER_AGE_S, Catalog
from tnt_platform.web.cursors import Cursor, cursor_of, invalid_cursor
from tnt_platform.web.problems import Problem, bad_parameter
from tnt_platform.web.records.polls import NO_CAPTURE, POLL_COLUMNS, LatestCapture, last_seen, latest_capture
from tnt_platform.web.records.table import RecordFilters, RecordTable, holds_records
from tnt_platform.web.records.tables import RecordTables
from tnt_platform.web.rows import read_version

CAPTURE = "capture"
_KEPT_GONE = 1_000


@dataclass(frozen=True)
class Chosen:
    """The versions that a request reads, sorted by dataset, and their tables."""

    snapshots: list[Snapshot]
    tables: list[RecordTable]


@dataclass(frozen=True)
class VersionChoice:
    """What a request says about which versions to read."""

    source: str | None = None
    version: str | None = None
    as_of: datetime | None = None
    cursor: Cursor | None = None


class RecordReader:
    """Chooses the versions to read; the choice of current versions is cached for a second."""

    def __init__(
        self, catalog: Catalog, tables: RecordTables, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalog = catalog
        self._tables = tables
        self._monotonic = monotonic
        self._current: tuple[float, list[Snapshot]] = (float("-inf"), [])
        self._captures: dict[str, LatestCapture] = {}
        self._gone: OrderedDict[tuple[str, str], tuple[datetime | None, datetime | None]] = OrderedDict()
        self._lock = threading.Lock()

    def peek(self, choice: VersionChoice) -> Chosen | None:
        """Return the same as `choose` if that needs no waiting, else None."""
        if choice.version is not None or choice.as_of is not None or choice.cursor is not None:
            return self._peek_pinned(choice)
        read_at, current = self._current
        if self._monotonic() - read_at > POINTER_AGE_S:
            return None
        snapshots = _of_source(current, choice.source)
        return self._with_tables([self._tables.ready(found) for found in snapshots])

    def choose(self, choice: VersionChoice) -> Chosen:
        """Return the versions and tables, building tables that don't exist yet.

        Raises:
            Problem: 400 for an invalid version, 410 for one that is no longer kept.
        """
        snapshots = self._snapshots(choice)
        return Chosen(snapshots, [self._tables.table(found) for found in snapshots])

    def snapshots(self, choice: VersionChoice) -> list[Snapshot]:
        """Return the versions without tables."""
        return self._snapshots(choice)

    def latest_capture(self, dataset: str) -> LatestCapture:
        """Return the latest content of a source; NO_CAPTURE if its captures are not published."""
        return self._captures.get(dataset, NO_CAPTURE)

    def last_seen(self, dataset: str, item_id: str, captured_at: datetime | None) -> datetime | None:
        """Return when an item that the latest content lacks was last seen, reading back to `captured_at`."""
        latest = self.latest_capture(dataset)
        key = (dataset, item_id)
        since, held = self._gone.get(key, (None, None))
        # It can't have been seen again before there is other content.
        if since is None or since != latest.since:
            capture = self._catalog.current(f"{dataset}/{CAPTURE}")
            held = read_version(self._catalog, capture, lambda: last_seen(capture, item_id, captured_at))
            with self._lock:
                self._gone[key] = (latest.since, held)
                while len(self._gone) > _KEPT_GONE:
                    self._gone.popitem(last=False)
        return held

    def _snapshots(self, choice: VersionChoice) -> list[Snapshot]:
        if choice.cursor is not None:
            return [self._pinned(name, version, choice.cursor) for name, version in _versions(choice.cursor)]
        found = _of_source(self._all_current(), choice.source)
        if choice.version is not None:
            if choice.source is None or len(found) != 1 or found[0].dataset != choice.source:
                raise bad_parameter(
                    "version", "a version belongs to one source; add `source`, or use `as_of`"
                )
            return [self._catalog.snapshot(found[0].dataset, choice.version)]
        if choice.as_of is not None:
            return self._as_of(found, choice.as_of)
        return [self._tables.ready(snapshot) for snapshot in found]

    def _as_of(self, found: Sequence[Snapshot], moment: datetime) -> list[Snapshot]:
        """Return the versions of a moment, skipping sources that had no records then."""
        past, problem = [], None
        for snapshot in found:
            try:
                past.append(self._catalog.chosen(snapshot.dataset, None, moment))
            except Problem as error:
                problem = error
        if not past and problem is not None:
            raise problem
        return past

    def _all_current(self) -> list[Snapshot]:
        read_at, current = self._current
        if self._monotonic() - read_at > POINTER_AGE_S:
            everything = self._catalog.all_current()
            current = [found for found in everything if holds_records(found)]
            captures = {found.dataset: found for found in everything}
            for found in current:
                self._read_capture(found.dataset, captures.get(f"{found.dataset}/{CAPTURE}"))
            self._current = (self._monotonic(), current)
        return current

    def _read_capture(self, dataset: str, capture: Snapshot | None) -> None:
        if capture is None or capture.version == self._captures.get(dataset, NO_CAPTURE).version:
            return
        if set(capture.manifest.schema) >= POLL_COLUMNS and capture.manifest.rows:
            self._captures[dataset] = read_version(self._catalog, capture, lambda: latest_capture(capture))

    def _pinned(self, dataset: str, version: str, cursor: Cursor) -> Snapshot:
        try:
            found = self._catalog.snapshot(dataset, version)
        except Problem as problem:
            if problem.status != 410:
                raise bad_parameter(
                    "cursor", "not one that this listing gave; start again without it"
                ) from problem
            raise self._with_continue_cursor(problem, cursor) from problem
        if not holds_records(found):
            raise invalid_cursor()
        return found

    def _with_continue_cursor(self, problem: Problem, cursor: Cursor) -> Problem:
        """Add a cursor that continues at the same record in the current versions."""
        current = {
            found.dataset: found.version for found in self._all_current() if found.dataset in cursor.versions
        }
        more = cursor_of(current, cursor.filters, cursor.after).encode()
        detail = f"{problem.detail}; or continue at the same record of the current one with `continue_cursor`"
        return Problem(410, problem.code, detail, **{**problem.more, "continue_cursor": more})

    def _peek_pinned(self, choice: VersionChoice) -> Chosen | None:
        if choice.cursor is None:
            return None
        snapshots = [self._catalog.cached(name, version) for name, version in _versions(choice.cursor)]
        known = [snapshot for snapshot in snapshots if snapshot is not None]
        return self._with_tables(known) if len(known) == len(snapshots) else None

    def _with_tables(self, snapshots: list[Snapshot]) -> Chosen | None:
        tables = [self._tables.peek(snapshot) for snapshot in snapshots]
        ready = [table for table in tables if table is not None]
        return Chosen(snapshots, ready) if len(ready) == len(tables) else None


def _versions(cursor: Cursor) -> list[tuple[str, str]]:
    return sorted(cursor.versions.items())


def _of_source(snapshots: list[Snapshot], source: str | None) -> list[Snapshot]:
    """Return the dataset named like the source, or else all, since it may be a value of the column `source`."""
    named = [found for found in snapshots if found.dataset == source]
    return named or snapshots


@dataclass(frozen=True)
class RecordsFound:
    """A page of records as JSON objects; `next` is None at the end."""

    bodies: list[memoryview]
    next: Cursor | None


def page_of_records(
    tables: Sequence[RecordTable], cursor: Cursor | None, limit: int, filters: RecordFilters, digest: str
) -> RecordsFound:
    """Return up to `limit` records after `cursor`, dataset by dataset in the order of their ids."""
    dataset, after = _position(cursor)
    bodies: list[memoryview] = []
    last: tuple[str, str] | None = None
    pending = [table for table in tables if dataset is None or table.dataset >= dataset]
    for number, table in enumerate(pending):
        page = table.page(after if table.dataset == dataset else None, limit - len(bodies), filters)
        bodies += page.bodies
        if page.last_id is not None:
            last = (table.dataset, page.last_id)
        if len(bodies) == limit:
            more = page.more or any(later.count(filters) for later in pending[number + 1 :])
            versions = {table.dataset: table.version for table in tables}
            return RecordsFound(bodies, cursor_of(versions, digest, last) if more and last else None)
    return RecordsFound(bodies, None)


def _position(cursor: Cursor | None) -> tuple[str | None, str | None]:
    if cursor is None:
        return None, None
    if not isinstance(cursor.after, tuple):
        raise invalid_cursor()
    return cursor.after


def find(tables: Sequence[RecordTable], record_id: str) -> tuple[RecordTable, bytes] | None:
    """Find a record and its table."""
    for table in tables:
        body = table.find(record_id)
        if body is not None:
            return table, body
    return None
