"""What every request passes: limits, the API key, ids, security headers, the access log and metrics."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import os
import re
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tnt_platform.web.metrics import Metrics
from tnt_platform.web.problems import Problem

MAX_QUERY_BYTES = 8_192
MAX_PATH_BYTES = 2_048
MAX_BODY_BYTES = 4_096
MAX_IN_FLIGHT = 512
TIMEOUT_S = 30.0
# Whoever has no key must not take the place of those who do, nor guess it.
MAX_LOGINS_IN_FLIGHT = 32
MAX_FAILED_LOGINS = 10  # within a minute
SESSION_S = 12 * 3600
_JSON = json.JSONEncoder().encode
ACCESS_LOG = "tnt_platform.web.access"
ERROR_LOG = "tnt_platform.web.errors"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{8,128}")
_SECURITY = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


@dataclass
class _Outcome:
    """The outcome of one request."""

    status: int = 500
    size_bytes: int = 0
    started: bool = False


class Gate:
    """ASGI middleware around the application."""

    def __init__(
        self, app: ASGIApp, *, keyring: Keyring, metrics: Metrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._metrics = metrics
        self._clock = clock
        self._in_flight = 0
        self._logins = 0
        self._access = logging.getLogger(ACCESS_LOG)
        self._errors = logging.getLogger(ERROR_LOG)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to every request, whatever the application raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["tnt.request_id"] = _request_id(scope)
        outcome, started = _Outcome(), time.perf_counter()
        is_login = scope["path"] == "/login" and scope["method"] == "POST"
        self._in_flight += 1
        self._logins += is_login
        self._metrics.in_flight.set(self._in_flight)
        try:
            await self._respond(scope, receive, _sender(scope, send, outcome), outcome)
        finally:
            self._in_flight -= 1
            self._logins -= is_login
            self._metrics.in_flight.set(self._in_flight)
            self._log(scope, outcome, time.perf_counter() - started)

    async def _respond(self, scope: Scope, receive: Receive, send: Send, outcome: _Outcome) -> None:
        rejected = self._rejection(scope)
        if rejected is not None:
            await rejected(scope, receive, send)
            return
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            async with asyncio.timeout(TIMEOUT_S) as limit:
                await self._app(inner, receive, _without_limit(send, limit))
        except TimeoutError:
            await self._respond_problem(scope, receive, send, outcome, _too_slow())
        except Exception:  # noqa: BLE001 - the last place that can respond and log it
            self._errors.exception("request %s failed", scope["tnt.request_id"])
            detail = "the server failed; its log has the reason under the id in `instance`"
            await self._respond_problem(scope, receive, send, outcome, Problem(500, "internal", detail))
        finally:
            scope["tnt.route"] = _route(inner)

    async def _respond_problem(
        self, scope: Scope, receive: Receive, send: Send, outcome: _Outcome, problem: Problem
    ) -> None:
        if outcome.started:
            # Too late for a status: abort the connection, so that a part is not taken for the whole.
            raise ConnectionAbortedError(problem.detail)
        await problem.response(scope["tnt.request_id"])(scope, receive, send)

    def _rejection(self, scope: Scope) -> Response | None:
        problem = _oversized(scope)
        if problem is None and self._in_flight > MAX_IN_FLIGHT:
            headers = {"retry-after": "1"}
            problem = Problem(503, "busy", "too many requests are in flight; try again soon", headers=headers)
        if problem is None and self._logins > MAX_LOGINS_IN_FLIGHT and scope["path"] == "/login":
            headers = {"retry-after": "5"}
            problem = Problem(
                429, "too-many-logins", "too many logins at once; try again soon", headers=headers
            )
        if problem is None and not self._keyring.admits(scope):
            if _wants_page(scope):
                return RedirectResponse("/login", 303)
            detail = "send the key in the header x-api-key"
            problem = Problem(401, "no-key", detail, headers={"www-authenticate": 'ApiKey realm="tnt"'})
        return problem.response(scope["tnt.request_id"]) if problem else None

    def _log(self, scope: Scope, outcome: _Outcome, elapsed_s: float) -> None:
        route = scope.get("tnt.route", "(refused)")
        self._metrics.observe(route, _known_method(scope["method"]), outcome.status, elapsed_s)
        if not self._access.isEnabledFor(logging.INFO):
            return
        client = scope.get("client")
        line = {
            "at": round(self._clock(), 3),
            "request_id": scope["tnt.request_id"],
            "client": client[0] if client else None,
            "method": scope["method"],
            "path": scope["path"][:500],
            "query": scope["query_string"][:500].decode("latin-1"),
            "route": route,
            "status": outcome.status,
            "size_bytes": outcome.size_bytes,
            "elapsed_ms": round(elapsed_s * 1e3, 2),
        }
        # `info` would spend time to find the calling line.
        self._access.handle(
            logging.LogRecord(ACCESS_LOG, logging.INFO, "", 0, _JSON(line), None, None, "access")
        )


def _sender(scope: Scope, send: Send, outcome: _Outcome) -> Send:
    """Wrap `send`: add the headers of every response, count bytes, and drop the body for HEAD."""
    is_head = scope["method"] == "HEAD"
    request_id = scope["tnt.request_id"].encode()

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            outcome.started, outcome.status = True, message["status"]
            named = {name for name, _ in message["headers"]}
            more = [pair for pair in _SECURITY if pair[0] not in named]
            message = {**message, "headers": [*message["headers"], *more, (b"x-request-id", request_id)]}
        elif message["type"] == "http.response.body":
            if is_head:
                message = {**message, "body": b""}
            outcome.size_bytes += len(message.get("body", b""))
        await send(message)

    return sending


def _without_limit(send: Send, limit: asyncio.Timeout) -> Send:
    """Wrap `send`: end the time limit at the first byte, because a download takes as long as its reader."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            limit.reschedule(None)
        await send(message)

    return sending


def _too_slow() -> Problem:
    detail = (
        f"no response within {TIMEOUT_S:.0f} s; request less: fewer columns, one partition, a smaller limit"
    )
    return Problem(503, "too-slow", detail, headers={"retry-after": "5"})


def _oversized(scope: Scope) -> Problem | None:
    if len(scope["query_string"]) > MAX_QUERY_BYTES:
        return Problem(414, "query-too-long", f"a query has at most {MAX_QUERY_BYTES} bytes")
    if len(scope.get("raw_path") or b"") > MAX_PATH_BYTES:
        return Problem(414, "path-too-long", f"a path has at most {MAX_PATH_BYTES} bytes")
    headers: MutableMapping[bytes, bytes] = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES or b"transfer-encoding" in headers:
        return Problem(413, "body-too-large", f"a body has at most {MAX_BODY_BYTES} bytes")
    return None


def _request_id(scope: Scope) -> str:
    """Return the caller's id if it is valid, else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def _wants_page(scope: Scope) -> bool:
    return bool(scope["path"] == "/" or scope["path"].startswith("/ui"))


def _route(scope: MutableMapping[str, Any]) -> str:
    route = scope.get("route")
    return str(getattr(route, "path", None) or "(none)")


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "OPTIONS", "POST") else "other"


COOKIE = "tnt_session"
_OPEN = ("/health/", "/static/")
_OPEN_EXACTLY = frozenset({"/login", "/openapi.json", "/docs"})


class Keyring:
    """Decides who may read: clients with the API key, or everybody if there is none.

    Programs send the key in a header; browsers have a session cookie.
    """

    def __init__(self, key: str | None, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key.encode() if key else None
        self._clock = clock
        # Sessions that were ended, with the time at which they would have ended by themselves.
        self._ended: dict[str, float] = {}
        self._failed: list[float] = []

    @property
    def is_open(self) -> bool:
        """Whether no key is needed."""
        return self._key is None

    def admits(self, scope: Scope) -> bool:
        """Whether a request has the key or a session; health, docs and the login page need neither."""
        if self._key is None or scope["method"] == "OPTIONS":
            return True
        path = scope["path"]
        if path in _OPEN_EXACTLY or path.startswith(_OPEN):
            return True
        headers = dict(scope["headers"])
        if b"x-api-key" in headers:
            return self.is_key(headers[b"x-api-key"])
        return self._is_session(headers.get(b"cookie", b""))

    def is_key(self, given: bytes) -> bool:
        """Compare in constant time; comparing hashes hides the length too."""
        if self._key is None:
            return True
        return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(self._key).digest())

    def session(self) -> str:
        """Return the value of a new session cookie: its end, a random id, and a signature that needs the key."""
        signed = f"{int(self._clock()) + SESSION_S}.{os.urandom(16).hex()}"
        return f"{signed}.{self._signature(signed)}"

    def end_session(self, header: bytes) -> None:
        """Refuse the session of this cookie header from now on."""
        if (value := self._session_of(header)) is not None:
            now = self._clock()
            self._ended = {ended: until for ended, until in self._ended.items() if until > now}
            self._ended[value] = float(value.split(".")[0])

    def may_try(self) -> bool:
        """Count an attempt to log in; False if too many failed within a minute."""
        now = self._clock()
        self._failed = [at for at in self._failed if at > now - 60]
        return len(self._failed) < MAX_FAILED_LOGINS

    def failed(self) -> None:
        """Remember a login with a wrong key."""
        self._failed.append(self._clock())

    def _signature(self, signed: str) -> str:
        assert self._key is not None
        return hmac.new(self._key, f"tnt dashboard session v2 {signed}".encode(), "sha256").hexdigest()

    def _is_session(self, header: bytes) -> bool:
        value = self._session_of(header)
        return value is not None and value not in self._ended

    def _session_of(self, header: bytes) -> str | None:
        """Return the session cookie in the header if this key signed it and it has not ended."""
        try:
            morsel = SimpleCookie(header.decode("latin-1")).get(COOKIE)
        except CookieError:
            return None
        value = morsel.value if morsel is not None else ""
        signed, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            return None
        return value if float(signed.split(".")[0]) > self._clock() else None
