"""What every request passes: limits, the key, ids, security headers, the access log and the measures."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tnt_platform.web.metrics import Metrics
from tnt_platform.web.problems import Problem
from tnt_platform.web.session import Keyring

MAX_QUERY_BYTES = 8_192
MAX_PATH_BYTES = 2_048
MAX_BODY_BYTES = 4_096
MAX_IN_FLIGHT = 512
TIMEOUT_S = 30.0
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
class _Answer:
    """What became of one request."""

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
        self._access = logging.getLogger(ACCESS_LOG)
        self._errors = logging.getLogger(ERROR_LOG)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and never let an exception out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["tnt.request_id"] = _request_id(scope)
        answer, started = _Answer(), time.perf_counter()
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            await self._answered(scope, receive, _sender(scope, send, answer), answer)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
            self._note(scope, answer, time.perf_counter() - started)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, answer: _Answer) -> None:
        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, send)
            return
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            async with asyncio.timeout(TIMEOUT_S) as limit:
                await self._app(inner, receive, _without_limit(send, limit))
        except TimeoutError:
            await self._failed(scope, receive, send, answer, _too_slow())
        except Exception:  # noqa: BLE001 - the last place that can answer and write it down
            self._errors.exception("request %s failed", scope["tnt.request_id"])
            detail = "this is a fault of the server; its log has the reason under the id in `instance`"
            await self._failed(scope, receive, send, answer, Problem(500, "internal", detail))
        finally:
            scope["tnt.route"] = _route(inner)

    async def _failed(
        self, scope: Scope, receive: Receive, send: Send, answer: _Answer, problem: Problem
    ) -> None:
        if answer.started:
            # Too late for a status: cut the connection, so that nobody takes a part for the whole.
            raise ConnectionAbortedError(problem.detail)
        await problem.response(scope["tnt.request_id"])(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        problem = _oversized(scope)
        if problem is None and self._in_flight > MAX_IN_FLIGHT:
            headers = {"retry-after": "1"}
            problem = Problem(503, "busy", "too many requests are under way; try again soon", headers=headers)
        if problem is None and not self._keyring.admits(scope):
            if _wants_page(scope):
                return RedirectResponse("/login", 303)
            detail = "send the key in the header x-api-key"
            problem = Problem(401, "no-key", detail, headers={"www-authenticate": 'ApiKey realm="tnt"'})
        return problem.response(scope["tnt.request_id"]) if problem else None

    def _note(self, scope: Scope, answer: _Answer, elapsed_s: float) -> None:
        route = scope.get("tnt.route", "(refused)")
        self._metrics.observe(route, _known_method(scope["method"]), answer.status, elapsed_s)
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
            "status": answer.status,
            "size_bytes": answer.size_bytes,
            "elapsed_ms": round(elapsed_s * 1e3, 2),
        }
        # Not `info`, which would look for the line of code that logs.
        self._access.handle(
            logging.LogRecord(ACCESS_LOG, logging.INFO, "", 0, _JSON(line), None, None, "access")
        )


def _sender(scope: Scope, send: Send, answer: _Answer) -> Send:
    """Adds what every answer carries, counts, and drops the body of an answer to HEAD."""
    is_head = scope["method"] == "HEAD"
    request_id = scope["tnt.request_id"].encode()

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.started, answer.status = True, message["status"]
            named = {name for name, _ in message["headers"]}
            more = [pair for pair in _SECURITY if pair[0] not in named]
            message = {**message, "headers": [*message["headers"], *more, (b"x-request-id", request_id)]}
        elif message["type"] == "http.response.body":
            if is_head:
                message = {**message, "body": b""}
            answer.size_bytes += len(message.get("body", b""))
        await send(message)

    return sending


def _without_limit(send: Send, limit: asyncio.Timeout) -> Send:
    """A download takes as long as its reader does: the limit is on the time to the first byte."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            limit.reschedule(None)
        await send(message)

    return sending


def _too_slow() -> Problem:
    detail = f"no answer within {TIMEOUT_S:.0f} s; ask for less: fewer columns, a partition, a smaller limit"
    return Problem(503, "too-slow", detail, headers={"retry-after": "5"})


def _oversized(scope: Scope) -> Problem | None:
    if len(scope["query_string"]) > MAX_QUERY_BYTES:
        return Problem(414, "query-too-long", f"a query has at most {MAX_QUERY_BYTES} bytes")
    if len(scope.get("raw_path") or b"") > MAX_PATH_BYTES:
        return Problem(414, "path-too-long", f"a path has at most {MAX_PATH_BYTES} bytes")
    headers: MutableMapping[bytes, bytes] = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES or b"transfer-encoding" in headers:
        return Problem(413, "body-too-large", f"nothing here takes a body over {MAX_BODY_BYTES} bytes")
    return None


def _request_id(scope: Scope) -> str:
    """The caller's id if it is a plain one, else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def _wants_page(scope: Scope) -> bool:
    return bool(scope["path"] == "/" or scope["path"].startswith("/ui"))


def _route(scope: MutableMapping[str, Any]) -> str:
    route = scope.get("route")
    return str(getattr(route, "path", None) or "(none)")


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "OPTIONS", "POST") else "other"
