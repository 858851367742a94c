"""The links of a directory, in order, inside one sync with the database."""

from __future__ import annotations

import random  # noqa: TID251  (jitter between retries only; no result depends on it)
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType

from tnt_platform.directory.database import sync_database
from tnt_platform.directory.pages import page_limits, publish_pages
from tnt_platform.directory.postgres.migrations import migrate
from tnt_platform.directory.postgres.migrations.revisions import revisions
from tnt_platform.directory.postgres.sync import DirectorySync
from tnt_platform.directory.spec import DATABASE, PAGES, TENANTS, DirectorySpec
from tnt_platform.directory.tenants import publish_tenants
from tnt_platform.lake.publishing import Place, Published, retry_conflicts
from tnt_platform.services.http import HttpClient
from tnt_platform.services.postgres import open_database
from tnt_platform.settings import Settings


def utc_now() -> datetime:
    """The clock of real runs."""
    return datetime.now(UTC)


@dataclass
class DirectoryChain:
    """One directory, where it lives, and how this run goes about it.

    With `database`, entering it opens a sync: its row in sync_logs tells how the run ended, whatever happens. Other
    runs that sync wait at the door.
    """

    spec: DirectorySpec
    place: Place
    settings: Settings
    run_id: str = ""
    database: bool = True
    accept_withdrawn: bool = False
    clock: Callable[[], datetime] = utc_now
    _open: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _sync: DirectorySync | None = field(default=None, init=False, repr=False)
    _client: HttpClient | None = field(default=None, init=False, repr=False)
    _timings: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __enter__(self) -> DirectoryChain:
        self._open.__enter__()
        try:
            if self.database:
                self._sync = self._begin()
            limits = page_limits(self.spec.source)
            self._client = HttpClient(limits, clock=self.clock, uniform=random.random)
            self._open.callback(self._client.close)
        except BaseException:
            self._open.close()
            raise
        return self

    def _begin(self) -> DirectorySync:
        url = self.settings.resolve(self.spec.database_url)
        database = self._open.enter_context(
            open_database(
                url or None, folder=self.settings.home / "postgres", application_name=f"tnt {self.spec.name}"
            )
        )
        # A newer version's schema is left as it is: after a rollback, only that version knows its steps.
        if revisions(database).is_behind:
            migrate(database)
        sync = DirectorySync(
            database,
            owner=f"run {self.run_id}" if self.run_id else "by hand",
            clock=self.clock,
            lock_timeout_s=self.spec.lock_timeout_s,
        )
        return self._open.enter_context(sync)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sync is not None and error is None and self._sync.counts is not None:
            self._sync.finish(timings=self._timings)
        self._open.__exit__(kind, error, trace)

    def publish(self, step: str) -> Published:
        """Bring one step up to date."""
        sync, client = self._sync, self._client
        assert client is not None, "enter the chain first"
        links: dict[str, Callable[[], Published]] = {
            PAGES: lambda: publish_pages(self.spec, self.place, self.settings, client, run_id=self.run_id),
            TENANTS: lambda: publish_tenants(
                self.spec, self.place, self.run_id, accept_withdrawn=self.accept_withdrawn
            ),
        }
        started = time.monotonic()
        if step == DATABASE:
            assert sync is not None, "the chain was opened without the database"
            # Not repeated on a conflict: a sync applies once.
            published = sync_database(self.spec, self.place, sync, self.run_id)
        else:
            published = retry_conflicts(links[step])
        self._timings[f"{step}_s"] = round(time.monotonic() - started, 3)
        return published
