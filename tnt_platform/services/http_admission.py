"""Decide when a request may be sent: a rate limit and a circuit breaker.

After many failures in a row the circuit opens, and only single requests probe the service:

    closed ──(N failures in a row)──> open ──(cool-down)──> one probe ──ok──> closed
                                        ^                       │
                                        └───────failed──────────┘   after the last probe: given up

While it is open requests wait; once it has given up they are rejected at once. So a blip of seconds costs no
request its attempts, and an outage ends the run in minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections import Counter
from collections.abc import Callable

from aiolimiter import AsyncLimiter

_COUNTED_PER_REQUEST = 3


class Admission(enum.Enum):
    """The decision on one request."""

    SEND = "send"
    PROBE = "probe"
    GIVEN_UP = "given up"


class Circuit:
    """The state shared by all requests to one service; used from one event loop."""

    def __init__(
        self, *, failures_to_open: int, cool_down_s: float, probes: int, monotonic_s: Callable[[], float]
    ) -> None:
        self._failures_to_open = failures_to_open
        self._cool_down_s = cool_down_s
        self._probes = probes
        self._monotonic_s = monotonic_s
        # Since the last success, by request.
        self._failed: Counter[str] = Counter()
        self._untried_waiting = 0
        self._failed_probes = 0
        self._probing = False
        self._given_up = False
        self._next_probe_s = 0.0
        self._changed = asyncio.Event()
        self.last_failure = ""

    @property
    def is_closed(self) -> bool:
        return self.failures_in_a_row < self._failures_to_open

    @property
    def failures_in_a_row(self) -> int:
        """Failures since the last success; one request tried again and again says little about the service."""
        return sum(min(times, _COUNTED_PER_REQUEST) for times in self._failed.values())

    def start_run(self) -> None:
        """Grant a new run one probe even if the last one gave up: the service may have recovered."""
        self._probing = False
        if self._given_up:
            self._given_up = False
            self._failed_probes = self._probes - 1
            self._next_probe_s = self._monotonic_s()

    async def admit(self, *, untried: bool = True) -> Admission:
        """Wait until this request may be sent, or until the circuit has given up.

        An `untried` request is the better probe: one that failed before may fail for a reason of its own.
        """
        self._untried_waiting += untried
        try:
            while not self.is_closed:
                if self._given_up:
                    return Admission.GIVEN_UP
                wait_s = self._next_probe_s - self._monotonic_s()
                if wait_s <= 0 and not self._probing and (untried or not self._untried_waiting):
                    self._probing = True
                    return Admission.PROBE
                await self._wait_for_change(wait_s if wait_s > 0 else None)
            return Admission.SEND
        finally:
            self._untried_waiting -= untried

    def succeeded(self) -> None:
        """Close the circuit: the service responded."""
        was_closed = self.is_closed
        self._failed.clear()
        self._failed_probes = 0
        self._probing = False
        if not was_closed:
            self._announce_change()

    def failed(self, request_id: str, admission: Admission, reason: str, *, wait_s: float = 0.0) -> None:
        """Count a failed request; `wait_s` (a Retry-After) lengthens the cool-down it may start."""
        was_closed = self.is_closed
        self._failed[request_id] += 1
        self.last_failure = reason
        if admission is Admission.PROBE:
            self._probing = False
            self._failed_probes += 1
            self._given_up = self._failed_probes >= self._probes
        elif not was_closed or self.is_closed:
            return  # sent before the circuit opened, or too few failures so far
        self._next_probe_s = self._monotonic_s() + max(self._cool_down_s, wait_s)
        self._announce_change()

    def abandoned(self, admission: Admission) -> None:
        """Release the probe of a request that could not be sent and so says nothing about the service."""
        if admission is Admission.PROBE:
            self._probing = False
            self._announce_change()

    def _announce_change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _wait_for_change(self, timeout_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()


def paced_limiter(rate_per_s: float) -> AsyncLimiter:
    """Build a limiter that grants at most `rate_per_s` (rounded up) in any one-second window, on average 97 % of it.

    A bucket of capacity c filled at r grants at most c + r in a second. A capacity of 1 would be strict
    spacing, which loses a timer tick at each grant; the capacity of another hundredth of a second lets late grants
    catch up, and a fill rate lowered by 2 % absorbs 20 ms of jitter on the way to the server.
    """
    catch_up = 0.01 * rate_per_s
    fill_per_s = (rate_per_s - catch_up) / 1.02
    capacity = 1 + catch_up
    return AsyncLimiter(capacity, capacity / fill_per_s)
