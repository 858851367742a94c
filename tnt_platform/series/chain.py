"""Run the steps of a dataset of series in order, under one lease."""

from __future__ import annotations

import os
import random  # noqa: TID251  (only jitter between retries; no result depends on it)
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import tenacity

from tnt_platform.lake.guard_rails import NO_OVERRIDES, Overrides
from tnt_platform.lake.publishing import Published, Workspace, retry_conflicts
from tnt_platform.series.capture import publish_capture
from tnt_platform.series.freshness import with_freshness
from tnt_platform.series.normalized import publish_series
from tnt_platform.series.notice import send_notice
from tnt_platform.series.observations import publish_observations
from tnt_platform.series.spec import CAPTURE, OBSERVATIONS, SERIES, SeriesSpec
from tnt_platform.services.download import Downloader, DownloadLimits
from tnt_platform.services.lease import HeldLease, LeaseHeld, hold_lease, open_lease_store
from tnt_platform.settings import Settings


@dataclass
class SeriesChain:
    """A run of one dataset, as a context manager that holds the dataset's lease.

    `file` is captured instead of the source; see `publish_observations` for `overrides` and `by_hand`.
    `progress` is called with a message when the run has to wait.
    """

    spec: SeriesSpec
    workspace: Workspace
    settings: Settings
    run_id: str = ""
    file: Path | None = None
    overrides: Overrides = NO_OVERRIDES
    by_hand: bool = False
    progress: Callable[[str], None] | None = None
    _open: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _lease: HeldLease | None = field(default=None, init=False, repr=False)
    _downloader: Downloader | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> SeriesChain:
        source = self.spec.source
        limits = DownloadLimits(max_bytes=source.max_size_bytes, timeout_s=source.timeout_s)
        with ExitStack() as opening:
            downloader = Downloader(limits, clock=self.workspace.clock, uniform=random.random)
            self._downloader = opening.enter_context(downloader)
            self._lease = self._take_lease(opening)
            self._open = opening.pop_all()
        return self

    def _take_lease(self, opening: ExitStack) -> HeldLease:
        """Wait until the lease is free, at most for its timeout: then a lease whose owner died has expired."""
        where = self.settings.lock_table or (self.settings.home / "locks").as_uri()
        store = open_lease_store(
            where, clock=self.workspace.clock, options=self.settings.aws_options("dynamodb")
        )
        key = self.spec.lock_key or f"etl:{self.spec.name}"
        owner = f"{self.run_id or 'by hand'} {socket.gethostname()}:{os.getpid()}"
        timeout_s = self.spec.lock_timeout_s
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(LeaseHeld),
            wait=tenacity.wait_fixed(min(5.0, timeout_s / 10)),
            stop=tenacity.stop_after_delay(timeout_s * 1.1 + 10),
            before_sleep=self._report_waiting,
            reraise=True,
        )
        return retrying(lambda: opening.enter_context(hold_lease(store, key, owner, timeout_s)))

    def _report_waiting(self, state: tenacity.RetryCallState) -> None:
        if self.progress and state.attempt_number == 1 and state.outcome is not None:
            self.progress(f"waiting: {state.outcome.exception()}")

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def publish(self, step: str) -> Published:
        """Bring one step up to date; a step that is costs a few small reads.

        Raises:
            LeaseLost: another run took over, because this one was paused for longer than its lease lasts.
        """
        lease = self._lease
        assert lease is not None, "enter the chain first"

        def attempt() -> Published:
            lease.assert_held()
            return self._publish(step, lease)

        return retry_conflicts(attempt)

    def _publish(self, step: str, lease: HeldLease) -> Published:
        spec, workspace, run_id = self.spec, self.workspace, self.run_id
        if step == CAPTURE:
            assert self._downloader is not None, "it is opened with the lease"
            now = self.workspace.clock()
            return publish_capture(
                spec, workspace, self.settings, self._downloader, now=now, run_id=run_id, file=self.file
            )
        if step == SERIES:
            return publish_series(spec, workspace, run_id, overrides=self.overrides)
        assert step == OBSERVATIONS, f"{step} is not a step of a dataset of series"
        published = publish_observations(
            spec,
            workspace,
            run_id,
            overrides=self.overrides,
            by_hand=self.by_hand,
            lease=lease,
        )
        return with_freshness(spec, published, workspace.clock())

    def send_notice(self) -> str | None:
        """Notify subscribers of a version that changed data; see `notice.send_notice`."""
        return send_notice(self.spec, self.workspace, self.settings)
