"""The links of a series dataset, in order, under one lease."""

from __future__ import annotations

import os
import random  # noqa: TID251  (jitter between retries only; no result depends on it)
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType

import tenacity

from tnt_platform.lake.publishing import Place, Published, retry_conflicts
from tnt_platform.series.capture import publish_capture
from tnt_platform.series.normalized import publish_series
from tnt_platform.series.notice import send_notice
from tnt_platform.series.observations import publish_observations
from tnt_platform.series.source import utc_now
from tnt_platform.series.spec import CAPTURE, OBSERVATIONS, SERIES, SeriesSpec
from tnt_platform.services.download import Downloader, DownloadLimits
from tnt_platform.services.lease import HeldLease, LeaseHeld, hold_lease, open_lease_store
from tnt_platform.settings import Settings


def _silent(message: str) -> None:
    """Nobody is watching."""


@dataclass
class SeriesChain:
    """One dataset, where it lives, and how this run goes about it; enter it to hold the dataset's lease.

    `file` is captured instead of the source; see `publish_observations` for `accept_vanished` and `by_hand`.
    """

    spec: SeriesSpec
    place: Place
    settings: Settings
    run_id: str = ""
    file: Path | None = None
    accept_vanished: bool = False
    by_hand: bool = False
    clock: Callable[[], datetime] = utc_now
    progress: Callable[[str], None] = _silent
    _open: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _lease: HeldLease | None = field(default=None, init=False, repr=False)
    _downloader: Downloader | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> SeriesChain:
        limits = DownloadLimits(
            max_bytes=self.spec.source.max_size_bytes, timeout_s=self.spec.source.timeout_s
        )
        self._downloader = self._open.enter_context(
            Downloader(limits, clock=self.clock, uniform=random.random)
        )
        self._lease = self._hold()
        return self

    def _hold(self) -> HeldLease:
        """Take the dataset's lease; one whose owner died is free after its timeout, so that long is waited."""
        where = self.settings.lock_table or (self.settings.home / "locks").as_uri()
        store = open_lease_store(where, clock=self.clock, options=self.settings.aws_options("dynamodb"))
        key = self.spec.lock_key or f"etl:{self.spec.name}"
        owner = f"{self.run_id or 'by hand'} {socket.gethostname()}:{os.getpid()}"
        timeout_s = self.spec.lock_timeout_s
        patient = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(LeaseHeld),
            wait=tenacity.wait_fixed(min(5.0, timeout_s / 10)),
            stop=tenacity.stop_after_delay(timeout_s * 1.1 + 10),
            before_sleep=self._say_waiting,
            reraise=True,
        )
        return patient(lambda: self._open.enter_context(hold_lease(store, key, owner, timeout_s)))

    def _say_waiting(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            self.progress(f"waiting: {state.outcome.exception()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def publish(self, step: str) -> Published:
        """Bring one step up to date; one that is already costs a few small reads.

        Raises:
            LeaseLost: another run took over, because this one was paused for longer than the lease.
        """
        lease, downloader = self._lease, self._downloader
        assert lease is not None, "enter the chain first"
        assert downloader is not None
        links: dict[str, Callable[[], Published]] = {
            CAPTURE: lambda: publish_capture(
                self.spec,
                self.place,
                self.settings,
                downloader,
                now=self.clock(),
                run_id=self.run_id,
                file=self.file,
            ),
            SERIES: lambda: publish_series(self.spec, self.place, self.run_id),
            OBSERVATIONS: lambda: publish_observations(
                self.spec,
                self.place,
                self.run_id,
                accept_vanished=self.accept_vanished,
                by_hand=self.by_hand,
                lease=lease,
            ),
        }

        def link() -> Published:
            lease.assert_held()
            return links[step]()

        return retry_conflicts(link)

    def send_notice(self) -> str | None:
        """Tell subscribers about a version that changed data; see `notice.send_notice`."""
        return send_notice(self.spec, self.place, self.settings)
