"""Ask many HTTP requests politely: bounded, paced, retried, and with an answer for every one of them.

Callers are synchronous; inside, one asyncio loop per client keeps the rate limit and the circuit across
calls. A request never raises: whatever happened to it comes back as an `HttpResponse` with a reason code.

tenacity does the retrying (not stamina, which is built on it): its wait function is given the outcome, so
Retry-After and jitter from the caller's random source have a natural place, and nothing is process-wide.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any

import aiohttp
import tenacity
from aiolimiter import AsyncLimiter

from tnt_platform.errors import ConfigError
from tnt_platform.services.http_admission import Admission, Circuit, paced_limiter
from tnt_platform.services.http_attempts import (
    Backoff,
    Outcome,
    failed_outcome,
    read_outcome,
    secret_values,
    verifying,
)


@dataclass(frozen=True)
class HttpRequest:
    """One request; headers and body stay out of its repr, since headers carry credentials."""

    request_id: str
    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    body: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True)
class HttpResponse:
    """What became of one request.

    `reason_code` is None for a 2xx answer, else one of timeout, connection, throttled, server_error,
    refused, too_large, circuit_open. `latency_ms` and `asked_at` (UTC) are those of the last attempt;
    `attempts` is 0 when the request was never sent. `body` is kept for refusals too, as evidence.
    """

    request_id: str
    status: int | None
    body: bytes | None = field(repr=False)
    latency_ms: float
    attempts: int
    asked_at: datetime
    reason_code: str | None
    reason: str | None


@dataclass(frozen=True)
class HttpLimits:
    """How hard one client may press one service.

    `rate_per_s` counts retries too and holds in any one-second window. `breaker_failures` defaults to three
    times the concurrency, so that each worker may fail a few times before everyone is held back.
    """

    concurrency: int = 64
    rate_per_s: float | None = None
    timeout_s: float = 15.0
    attempts: int = 5
    max_response_bytes: int = 1_000_000
    backoff_initial_s: float = 0.5
    backoff_max_s: float = 20.0
    retry_after_max_s: float = 60.0
    breaker_failures: int | None = None
    breaker_cool_down_s: float = 10.0
    breaker_probes: int = 3

    def __post_init__(self) -> None:
        for name in ("concurrency", "attempts", "max_response_bytes", "breaker_failures", "breaker_probes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"HTTP limit {name} is {value}; it must be at least 1")
        for name in ("rate_per_s", "timeout_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"HTTP limit {name} is {value}; it must be above 0")
        for name in ("backoff_initial_s", "backoff_max_s", "retry_after_max_s", "breaker_cool_down_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"HTTP limit {name} is {getattr(self, name)}; it can't be negative")

    @property
    def failures_to_open(self) -> int:
        return self.breaker_failures or max(10, 3 * self.concurrency)


class HttpClient:
    """Asks one service; keeps its rate limit and circuit from call to call.

    `clock` gives UTC times; `uniform` gives numbers in [0, 1) for jitter; `tls` replaces the default
    verifying context (a private certificate authority), never switches verification off.
    """

    def __init__(
        self,
        limits: HttpLimits,
        *,
        clock: Callable[[], datetime],
        uniform: Callable[[], float],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._backoff = Backoff(
            limits.backoff_initial_s, limits.backoff_max_s, limits.retry_after_max_s, uniform
        )
        self._tls = verifying(tls, "HttpClient")
        self._runner = asyncio.Runner()
        self._one_at_a_time = threading.Lock()
        self._interrupt: BaseException | None = None
        self._limiter: AsyncLimiter | None = None
        self._circuit: Circuit | None = None

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what is under way and release the loop; the client can't be used afterwards."""
        self._runner.close()

    def send_many(
        self, requests: Iterable[HttpRequest], *, on_response: Callable[[HttpResponse], None]
    ) -> None:
        """Ask every request; `on_response` is called in this thread, once for each, as answers complete.

        At most `concurrency` requests are taken ahead of their answers, so memory does not grow with the
        number of requests. An exception from `requests` or `on_response`, or an interrupt, cancels what is
        under way, closes its sockets and propagates.
        """
        with self._one_at_a_time:
            self._interrupt = None
            try:
                self._runner.run(self._ask_all(iter(requests), on_response))
            except asyncio.CancelledError:
                if self._interrupt is None:
                    raise
                raise self._interrupt from None
            except Exception:
                raise
            except BaseException:
                # An interrupt can surface between two tasks, where it leaves them suspended.
                self._runner.close()
                raise

    async def _ask_all(
        self, requests: Iterator[HttpRequest], on_response: Callable[[HttpResponse], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._pass_interrupts_on(asyncio.current_task()))
        self._circuit = self._circuit or self._new_circuit(loop)
        if self._limits.rate_per_s is not None:
            self._limiter = self._limiter or paced_limiter(self._limits.rate_per_s)
        self._circuit.start_run()
        async with self._new_session() as session:

            async def work() -> None:
                for request in requests:
                    on_response(await self._ask(session, request))

            workers = [loop.create_task(work()) for _ in range(self._limits.concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _ask(self, session: aiohttp.ClientSession, request: HttpRequest) -> HttpResponse:
        sent: list[Outcome] = []
        first = await self._attempt(session, request, sent)
        if first is not None and first.worth_retrying and self._limits.attempts > 1:
            known = [first]

            async def attempt() -> Outcome | None:
                # The retrying machinery costs 60 µs a request; only failed ones enter it.
                return known.pop() if known else await self._attempt(session, request, sent)

            await self._retrying()(attempt)
        return self._answer(request, sent)

    def _retrying(self) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(
            sleep=asyncio.sleep,
            stop=tenacity.stop_after_attempt(self._limits.attempts),
            wait=self._wait_s,
            retry=tenacity.retry_if_result(lambda outcome: outcome is not None and outcome.worth_retrying),
            retry_error_callback=lambda state: None,
        )

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        outcome: Outcome | None = state.outcome.result() if state.outcome else None
        return self._backoff.wait_s(state.attempt_number, outcome.retry_after_s if outcome else None)

    async def _attempt(
        self, session: aiohttp.ClientSession, request: HttpRequest, sent: list[Outcome]
    ) -> Outcome | None:
        """Send once and append to `sent`; None (and nothing sent) when the circuit has given up."""
        circuit = self._circuit
        assert circuit is not None
        admission = await self._turn(circuit)
        if admission is Admission.GIVEN_UP:
            return None
        asked_at = self._clock()
        started_s = asyncio.get_running_loop().time()
        try:
            async with session.request(
                request.method, request.url, headers=request.headers, data=request.body, allow_redirects=False
            ) as response:
                outcome = await read_outcome(response, self._limits.max_response_bytes, now=self._clock)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome = failed_outcome(error)
        outcome.asked_at = asked_at
        outcome.latency_ms = (asyncio.get_running_loop().time() - started_s) * 1000
        outcome.redact(secret_values(request.headers))
        outcome.tell(circuit, admission, retry_after_max_s=self._limits.retry_after_max_s)
        sent.append(outcome)
        return outcome

    async def _turn(self, circuit: Circuit) -> Admission:
        """Wait for the circuit, then for the rate limit."""
        while True:
            admission = await circuit.admit()
            if admission is Admission.GIVEN_UP or self._limiter is None:
                return admission
            await self._limiter.acquire()
            # The circuit may have opened meanwhile. The turn is then forfeited: keeping it would
            # let every waiting worker send at once when the circuit closes.
            if admission is Admission.PROBE or circuit.is_closed:
                return admission

    def _answer(self, request: HttpRequest, sent: list[Outcome]) -> HttpResponse:
        if not sent:
            assert self._circuit is not None
            reason = (
                f"not asked: {self._circuit.failures_in_a_row} requests in a row failed, the last with "
                f"{self._circuit.last_failure!r}; replay when the service is back"
            )
            return HttpResponse(request.request_id, None, None, 0.0, 0, self._clock(), "circuit_open", reason)
        last = sent[-1]
        assert last.asked_at is not None
        several = f" (after {len(sent)} attempts)" if len(sent) > 1 else ""
        return HttpResponse(
            request_id=request.request_id,
            status=last.status,
            body=last.body,
            latency_ms=last.latency_ms,
            attempts=len(sent),
            asked_at=last.asked_at,
            reason_code=last.reason_code,
            reason=last.reason and last.reason + several,
        )

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limits.concurrency, ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=self._limits.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A compressed answer could unpack to far more than the size limit in one step.
            headers={"Accept-Encoding": "identity"},
        )

    def _new_circuit(self, loop: asyncio.AbstractEventLoop) -> Circuit:
        return Circuit(
            failures_to_open=self._limits.failures_to_open,
            cool_down_s=self._limits.breaker_cool_down_s,
            probes=self._limits.breaker_probes,
            monotonic_s=loop.time,
        )

    def _pass_interrupts_on(
        self, main: asyncio.Task[Any] | None
    ) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
        """asyncio only logs an interrupt of Dagster's that hits a plain callback; end the run instead."""

        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if error is None or isinstance(error, Exception) or main is None:
                loop.default_exception_handler(context)
                return
            self._interrupt = error
            main.cancel()

        return handle
