"""Which tables of records a request reads."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import POINTER_AGE_S, Catalog
from tnt_platform.web.cursors import Cursor, cursor_of
from tnt_platform.web.problems import Problem, bad
from tnt_platform.web.records.looks import LOOK_COLUMNS, NO_LOOK, Look, last_seen, newest_look
from tnt_platform.web.records.table import RecordTable, holds_records
from tnt_platform.web.records.tables import RecordTables
from tnt_platform.web.rows import reading

CAPTURE = "capture"
_KEPT_GONE = 1_000


@dataclass(frozen=True)
class Chosen:
    """The versions a request reads, sorted by dataset, and their tables."""

    snapshots: list[Snapshot]
    tables: list[RecordTable]


@dataclass(frozen=True)
class Wanted:
    """What a request says about versions."""

    source: str | None = None
    version: str | None = None
    as_of: datetime | None = None
    cursor: Cursor | None = None


class RecordReader:
    """Finds the versions to read; what was found is kept for a second."""

    def __init__(
        self, catalog: Catalog, tables: RecordTables, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalog = catalog
        self._tables = tables
        self._monotonic = monotonic
        self._current: tuple[float, list[Snapshot]] = (float("-inf"), [])
        self._looks: dict[str, Look] = {}
        self._gone: OrderedDict[tuple[str, str], tuple[datetime | None, datetime | None]] = OrderedDict()
        self._lock = threading.Lock()

    def peek(self, wanted: Wanted) -> Chosen | None:
        """The same as `choose` if it needs no waiting, else None."""
        if wanted.version is not None or wanted.as_of is not None or wanted.cursor is not None:
            return self._peek_pinned(wanted)
        read_at, current = self._current
        if self._monotonic() - read_at > POINTER_AGE_S:
            return None
        snapshots = _of_source(current, wanted.source)
        return self._with_tables([self._tables.ready(found) for found in snapshots])

    def choose(self, wanted: Wanted) -> Chosen:
        """The versions and tables; reads and sorts what was not read before.

        Raises:
            Problem: 400 for a version that can't be, 410 for one that is not kept.
        """
        snapshots = self._snapshots(wanted)
        return Chosen(snapshots, [self._tables.table(found) for found in snapshots])

    def snapshots(self, wanted: Wanted) -> list[Snapshot]:
        """The versions alone, without tables."""
        return self._snapshots(wanted)

    def last_look(self, dataset: str) -> Look:
        """The newest look at the source that told what it holds; NO_LOOK if captures are not published."""
        return self._looks.get(dataset, NO_LOOK)

    def last_seen(self, dataset: str, item_id: str, captured_at: datetime | None) -> datetime | None:
        """When an item that the newest content lacks was seen last; looks back to the capture that changed it."""
        look = self.last_look(dataset)
        key = (dataset, item_id)
        since, held = self._gone.get(key, (None, None))
        # As long as no other content came it can't have been seen again.
        if since is None or since != look.since:
            capture = self._catalog.current(f"{dataset}/{CAPTURE}")
            held = reading(self._catalog, capture, lambda: last_seen(capture, item_id, captured_at))
            with self._lock:
                self._gone[key] = (look.since, held)
                while len(self._gone) > _KEPT_GONE:
                    self._gone.popitem(last=False)
        return held

    def _snapshots(self, wanted: Wanted) -> list[Snapshot]:
        if wanted.cursor is not None:
            return [self._pinned(name, version, wanted.cursor) for name, version in _versions(wanted.cursor)]
        found = _of_source(self._all_current(), wanted.source)
        if wanted.version is not None:
            if wanted.source is None or len(found) != 1 or found[0].dataset != wanted.source:
                raise bad("version", "a version belongs to one source: name the source too, or use as_of")
            return [self._catalog.snapshot(found[0].dataset, wanted.version)]
        if wanted.as_of is not None:
            return self._as_of(found, wanted.as_of)
        return [self._tables.ready(snapshot) for snapshot in found]

    def _as_of(self, found: Sequence[Snapshot], moment: datetime) -> list[Snapshot]:
        """Sources that came later had no records then."""
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
                self._note_capture(found.dataset, captures.get(f"{found.dataset}/{CAPTURE}"))
            self._current = (self._monotonic(), current)
        return current

    def _note_capture(self, dataset: str, capture: Snapshot | None) -> None:
        if capture is None or capture.version == self._looks.get(dataset, NO_LOOK).version:
            return
        if set(capture.manifest.schema) >= LOOK_COLUMNS and capture.manifest.rows:
            self._looks[dataset] = reading(self._catalog, capture, lambda: newest_look(capture))

    def _pinned(self, dataset: str, version: str, cursor: Cursor) -> Snapshot:
        try:
            found = self._catalog.snapshot(dataset, version)
        except Problem as problem:
            if problem.status != 410:
                raise bad("cursor", "not one that this listing gave; start again without it") from problem
            raise self._how_to_go_on(problem, cursor) from problem
        if not holds_records(found):
            raise bad("cursor", "not one that this listing gave; start again without it")
        return found

    def _how_to_go_on(self, problem: Problem, cursor: Cursor) -> Problem:
        """Add a cursor that goes on at the same record in the current versions."""
        current = {
            found.dataset: found.version for found in self._all_current() if found.dataset in cursor.versions
        }
        more = cursor_of(current, cursor.filters, cursor.after).encode()
        detail = f"{problem.detail}; or go on at the same place of the current one with `continue_cursor`"
        return Problem(410, problem.code, detail, **{**problem.more, "continue_cursor": more})

    def _peek_pinned(self, wanted: Wanted) -> Chosen | None:
        if wanted.cursor is None:
            return None
        snapshots = [self._catalog.held(name, version) for name, version in _versions(wanted.cursor)]
        known = [snapshot for snapshot in snapshots if snapshot is not None]
        return self._with_tables(known) if len(known) == len(snapshots) else None

    def _with_tables(self, snapshots: list[Snapshot]) -> Chosen | None:
        tables = [self._tables.peek(snapshot) for snapshot in snapshots]
        ready = [table for table in tables if table is not None]
        return Chosen(snapshots, ready) if len(ready) == len(tables) else None


def _versions(cursor: Cursor) -> list[tuple[str, str]]:
    return sorted(cursor.versions.items())


def _of_source(snapshots: list[Snapshot], source: str | None) -> list[Snapshot]:
    """A source is the dataset of its name; another name may still be a value of the column `source`."""
    named = [found for found in snapshots if found.dataset == source]
    return named or snapshots
