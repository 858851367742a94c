"""Send many HTTP requests with bounded concurrency, rate and retries, and get a response for each.

Callers are synchronous; inside, one asyncio loop per client keeps the rate limit and the circuit breaker from
call to call. A failed request does not raise: it comes back as an `HttpResponse` with a reason code.
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
import yarl
from aiolimiter import AsyncLimiter

from tnt_platform.services.http_admission import Admission, Circuit, paced_limiter
from tnt_platform.services.http_attempts import (
    SNIPPET_CHARS,
    Outcome,
    RetryLimits,
    attempt_until_final,
    open_session,
    outcome_of_error,
    outcome_of_status,
    redacted,
    require_verifying,
    secret_values,
)
from tnt_platform.services.http_body import BrokenBody, TooLarge, UnknownEncoding, read_body


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
    """The response to one request, or the reason why there is none.

    `reason_code` is None for a 2xx status, else one of timeout, connection, throttled, server_error, refused,
    too_large, circuit_open. `latency_ms` and `asked_at` (UTC) are those of the last attempt; `attempts` is 0
    when the request was never sent. `body` is there for rejected requests too, as evidence.
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
class HttpLimits(RetryLimits):
    """How much load one client may put on one service.

    `rate_per_s` counts retries too and holds in any one-second window. `breaker_failures` defaults to three
    times the concurrency, so that each worker may fail a few times before everyone is held back.
    """

    concurrency: int = 64
    rate_per_s: float | None = None
    max_response_bytes: int = 1_000_000
    breaker_failures: int | None = None
    breaker_cool_down_s: float = 10.0
    breaker_probes: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("concurrency", "max_response_bytes", "breaker_failures", "breaker_probes")
        self.require("at least 1", lambda value: value >= 1, *counts)
        self.require("above 0", lambda value: value > 0, "rate_per_s")
        self.require("0 or more", lambda value: value >= 0, "breaker_cool_down_s")

    @property
    def failures_to_open(self) -> int:
        return self.breaker_failures or max(10, 3 * self.concurrency)


class HttpClient:
    """Sends requests to one service; keeps its rate limit and circuit breaker from call to call.

    `clock` returns UTC times; `uniform` returns numbers in [0, 1) for jitter; `tls` replaces the default
    verifying context (for a private certificate authority), and cannot switch verification off.
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
        self._uniform = uniform
        self._tls = require_verifying(tls)
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
        """Cancel requests in flight and release the loop; the client cannot be used afterwards."""
        self._runner.close()

    def send_many(
        self, requests: Iterable[HttpRequest], *, on_response: Callable[[HttpResponse], None]
    ) -> None:
        """Send every request and call `on_response` in this thread once for each, as responses complete.

        At most `concurrency` requests are taken ahead of their responses, so memory does not grow with the
        number of requests. An exception from `requests` or `on_response`, or an interrupt, cancels the
        requests in flight, closes their sockets and propagates.
        """
        with self._one_at_a_time:
            self._interrupt = None
            try:
                self._runner.run(self._send_all(iter(requests), on_response))
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

    async def _send_all(
        self, requests: Iterator[HttpRequest], on_response: Callable[[HttpResponse], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._interrupt_handler(asyncio.current_task()))
        self._circuit = self._circuit or self._new_circuit(loop)
        if self._limits.rate_per_s is not None:
            self._limiter = self._limiter or paced_limiter(self._limits.rate_per_s)
        self._circuit.start_run()
        async with open_session(
            self._limits,
            tls=self._tls,
            connections=self._limits.concurrency,
            # Bodies are small: compressing them costs more than it saves.
            headers={"Accept-Encoding": "identity"},
        ) as session:

            async def work() -> None:
                for request in requests:
                    on_response(await self._send(session, request))

            workers = [loop.create_task(work()) for _ in range(self._limits.concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _send(self, session: aiohttp.ClientSession, request: HttpRequest) -> HttpResponse:
        sent: list[Outcome] = []

        async def attempt() -> Outcome | None:
            return await self._attempt(session, request, sent)

        await attempt_until_final(attempt, self._limits, self._uniform)
        return self._response(request, sent)

    async def _attempt(
        self, session: aiohttp.ClientSession, request: HttpRequest, sent: list[Outcome]
    ) -> Outcome | None:
        """Send once and append to `sent`; None (and nothing sent) when the circuit breaker has given up."""
        circuit = self._circuit
        assert circuit is not None
        admission = await self._turn(circuit, untried=not sent)
        if admission is Admission.GIVEN_UP:
            return None
        asked_at = self._clock()
        started_s = asyncio.get_running_loop().time()
        outcome = await self._exchange(session, request)
        outcome.asked_at = asked_at
        outcome.latency_ms = (asyncio.get_running_loop().time() - started_s) * 1000
        if outcome.service_failed:
            wait_s = min(outcome.retry_after_s or 0.0, self._limits.retry_after_max_s)
            circuit.failed(request.request_id, admission, outcome.reason or "", wait_s=wait_s)
        elif outcome.was_sent:
            circuit.succeeded()
        else:
            circuit.abandoned(admission)
        sent.append(outcome)
        return outcome

    async def _exchange(self, session: aiohttp.ClientSession, request: HttpRequest) -> Outcome:
        try:
            async with session.request(
                request.method, request.url, headers=request.headers, data=request.body, allow_redirects=False
            ) as response:
                return await self._read(response, request)
        except (TooLarge, UnknownEncoding, BrokenBody, aiohttp.ClientError, OSError, ValueError) as error:
            return outcome_of_error(error, self._limits, secrets=secret_values(request.headers))

    async def _read(self, response: aiohttp.ClientResponse, request: HttpRequest) -> Outcome:
        status = response.status
        body: bytes | None = None
        try:
            body = await read_body(response, self._limits.max_response_bytes)
        except (TooLarge, UnknownEncoding):
            if status < 300:
                raise
        if status < 300:
            return Outcome(status, body)
        secrets = secret_values(request.headers)
        for secret in secrets:
            body = body and body.replace(secret.encode(), b"***")
        outcome = outcome_of_status(response, body, secrets=secrets, now=self._clock)
        if status < 400:
            target = redacted(_redirect_target(response), secrets, max_chars=SNIPPET_CHARS)
            outcome.reason = f"HTTP {status}: redirects are not followed ({target}); correct the URL"
        return outcome

    async def _turn(self, circuit: Circuit, *, untried: bool) -> Admission:
        """Wait for the circuit breaker, then for the rate limit."""
        while True:
            admission = await circuit.admit(untried=untried)
            if admission is Admission.GIVEN_UP or self._limiter is None:
                return admission
            await self._limiter.acquire()
            # The circuit may have opened meanwhile. The turn is then forfeited: keeping it would
            # let every waiting worker send at once when the circuit closes.
            if admission is Admission.PROBE or circuit.is_closed:
                return admission

    def _response(self, request: HttpRequest, sent: list[Outcome]) -> HttpResponse:
        if not sent:
            assert self._circuit is not None
            reason = (
                f"not sent: {self._circuit.failures_in_a_row} requests in a row failed, the last with "
                f"{self._circuit.last_failure!r}; run again when the service has recovered"
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

    def _new_circuit(self, loop: asyncio.AbstractEventLoop) -> Circuit:
        return Circuit(
            failures_to_open=self._limits.failures_to_open,
            cool_down_s=self._limits.breaker_cool_down_s,
            probes=self._limits.breaker_probes,
            monotonic_s=loop.time,
        )

    def _interrupt_handler(
        self, main: asyncio.Task[Any] | None
    ) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
        """End the run on an interrupt raised in a plain callback, which asyncio would only log."""

        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if error is None or isinstance(error, Exception) or main is None:
                loop.default_exception_handler(context)
                return
            self._interrupt = error
            main.cancel()

        return handle


def _redirect_target(response: aiohttp.ClientResponse) -> str:
    try:
        host = yarl.URL(response.headers.get("Location", "")).host
    except ValueError:
        return "to a malformed address"
    return f"to {host}" if host else "on the same host"
