"""Run the steps of a directory in order, inside one sync with the database."""

from __future__ import annotations

import random  # noqa: TID251  (only jitter between retries; no result depends on it)
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType

from tnt_platform.directory.database import sync_database
from tnt_platform.directory.pages import page_limits, publish_pages
from tnt_platform.directory.postgres.migrations import migrate, revisions
from tnt_platform.directory.postgres.sync import DirectorySync
from tnt_platform.directory.spec import DATABASE, PAGES, TENANTS, DirectorySpec
from tnt_platform.directory.tenants import publish_tenants
from tnt_platform.lake.guard_rails import NO_OVERRIDES, Overrides
from tnt_platform.lake.publishing import Published, Workspace, retry_conflicts
from tnt_platform.services.http import HttpClient
from tnt_platform.services.postgres import open_database
from tnt_platform.settings import Settings


@dataclass
class DirectoryChain:
    """A run of one directory, as a context manager.

    With `database`, entering opens a sync, which waits for other syncs to end. Leaving ends its row in sync_logs,
    whatever happened in between.
    """

    spec: DirectorySpec
    workspace: Workspace
    settings: Settings
    run_id: str = ""
    database: bool = True
    overrides: Overrides = NO_OVERRIDES
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
            self._client = HttpClient(limits, clock=self.workspace.clock, uniform=random.random)
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
        # Leave the schema of a newer release alone: after a rollback, this release does not know its migrations.
        if revisions(database).is_behind:
            migrate(database)
        sync = DirectorySync(
            database,
            owner=f"run {self.run_id}" if self.run_id else "by hand",
            clock=self.workspace.clock,
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
        started = time.monotonic()
        if step == DATABASE:
            assert self._sync is not None, "the chain was opened without the database"
            # Not retried on a conflict: a sync applies only once.
            published = sync_database(self.spec, self.workspace, self._sync, self.run_id)
        else:
            published = retry_conflicts(lambda: self._publish_to_lake(step))
        self._timings[f"{step}_s"] = round(time.monotonic() - started, 3)
        return published

    def _publish_to_lake(self, step: str) -> Published:
        if step == TENANTS:
            return publish_tenants(self.spec, self.workspace, self.run_id, overrides=self.overrides)
        assert step == PAGES, step
        assert self._client is not None, "enter the chain first"
        return publish_pages(self.spec, self.workspace, self.settings, self._client, run_id=self.run_id)
