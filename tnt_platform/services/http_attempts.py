"""Open connections, decide what one attempt at a request means, and try again until an outcome is final.

Both HTTP clients of the platform are built from this module: `http.HttpClient` for many small requests (quotes
and pages) and `download.Downloader` for one large file. They share its limits, TLS, retries and reason codes.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from tnt_platform.errors import ConfigError
from tnt_platform.services.http_body import BrokenBody, TooLarge, UnknownEncoding

SNIPPET_CHARS = 200
PUBLIC_HEADERS = ("accept", "accept-encoding", "accept-language", "content-type", "user-agent")
_REASON_CODES = {408: "timeout", 425: "server_error", 429: "throttled"}  # retryable, as is every 5xx
_CREDENTIALS_REFUSED = (401, 403, 407)  # every further request would be refused too
_SECRET_MIN_CHARS = 4  # redacting shorter values would blot out ordinary text
_SECRET_PART_MIN_CHARS = 8  # shorter parts of a header, such as Bearer, are words


@dataclass(frozen=True)
class RetryLimits:
    """How long one attempt may take, how many there are, and how long to wait in between.

    `timeout_s` bounds an attempt as a whole, `stall_timeout_s` the time in which nothing arrives. Waits double
    from `backoff_initial_s` to `backoff_max_s`; a Retry-After counts up to `retry_after_max_s`.
    """

    timeout_s: float = 15.0
    stall_timeout_s: float | None = None
    attempts: int = 5
    backoff_initial_s: float = 0.5
    backoff_max_s: float = 20.0
    retry_after_max_s: float = 60.0

    def __post_init__(self) -> None:
        self.require("at least 1", lambda value: value >= 1, "attempts")
        self.require("above 0", lambda value: value > 0, "timeout_s", "stall_timeout_s")
        self.require(
            "0 or more", lambda value: value >= 0, "backoff_initial_s", "backoff_max_s", "retry_after_max_s"
        )

    def require(self, expected: str, is_valid: Callable[[float], bool], *names: str) -> None:
        """Check the limits `names`; one that is None is not set.

        Raises:
            ConfigError: a limit is out of range.
        """
        for name in names:
            value = getattr(self, name)
            if value is not None and not is_valid(value):
                raise ConfigError(f"HTTP limit {name} is {value}; it must be {expected}")

    def wait_s(self, attempt: int, retry_after_s: float | None, uniform: Callable[[], float]) -> float:
        """Return how long to wait after attempt number `attempt` (from 1), with jitter from `uniform` in [0, 1)."""
        if retry_after_s is not None:
            # Jitter is added, never subtracted: no request returns earlier than the server asked for.
            return min(retry_after_s, self.retry_after_max_s) + uniform() * self.backoff_initial_s
        backoff_s = self.backoff_initial_s * 2.0 ** min(attempt - 1, 30)
        return min(backoff_s, self.backoff_max_s) * (0.5 + uniform() / 2)


@dataclass(slots=True)
class Outcome:
    """What one attempt came to; without a `reason_code` it succeeded.

    `retry_after_s` is what the server asked for. `service_failed` says that other requests would fare no
    better. `was_sent` is False when the request itself is malformed.
    """

    status: int | None = None
    body: bytes | None = None
    reason_code: str | None = None
    reason: str | None = None
    is_retryable: bool = False
    retry_after_s: float | None = None
    service_failed: bool = False
    was_sent: bool = True
    asked_at: datetime | None = None
    latency_ms: float = 0.0


async def attempt_until_final(
    attempt: Callable[[], Awaitable[Outcome | None]], limits: RetryLimits, uniform: Callable[[], float]
) -> Outcome | None:
    """Call `attempt` until its outcome is not retryable, it returns None, or the attempts are used up.

    Returns the last outcome. A loop of our own rather than tenacity, which costs 60 µs per request.
    """
    outcome = await attempt()
    for number in range(1, limits.attempts):
        if outcome is None or not outcome.is_retryable:
            break
        await asyncio.sleep(limits.wait_s(number, outcome.retry_after_s, uniform))
        outcome = await attempt()
    return outcome


def outcome_of_status(
    response: aiohttp.ClientResponse,
    body: bytes | None,
    *,
    secrets: Iterable[str],
    now: Callable[[], datetime],
) -> Outcome:
    """Classify a response whose status is not the one hoped for; the reason quotes the start of `body`."""
    status = response.status
    text = redacted((body or b"").decode("utf-8", "replace"), secrets, max_chars=SNIPPET_CHARS)
    reason = f"HTTP {status}: {text}" if text else f"HTTP {status}"
    if status in _REASON_CODES or status >= 500:
        return Outcome(
            status,
            body,
            _REASON_CODES.get(status, "server_error"),
            reason,
            is_retryable=True,
            retry_after_s=retry_after_s(response.headers.get("Retry-After"), now),
            service_failed=True,
        )
    return Outcome(status, body, "refused", reason, service_failed=status in _CREDENTIALS_REFUSED)


def outcome_of_error(error: Exception, limits: RetryLimits, *, secrets: Iterable[str]) -> Outcome:
    """Classify an attempt that ended without a usable response.

    It is retryable unless the request, the certificate, or the size or encoding of the body is at fault.
    """
    text = redacted(f"{type(error).__name__}: {error}", secrets, max_chars=2 * SNIPPET_CHARS)
    match error:
        case TooLarge():
            return Outcome(reason_code="too_large", reason=str(error))
        case UnknownEncoding():
            return Outcome(reason_code="refused", reason=str(error))
        case aiohttp.ServerTimeoutError() if limits.stall_timeout_s is not None:
            reason = f"nothing arrived for {limits.stall_timeout_s:g} s"
            return Outcome(reason_code="timeout", reason=reason, is_retryable=True, service_failed=True)
        case TimeoutError():
            reason = f"no complete response within {limits.timeout_s:g} s"
            return Outcome(reason_code="timeout", reason=reason, is_retryable=True, service_failed=True)
        case ssl.CertificateError():  # aiohttp's own is a subclass of it
            return Outcome(reason_code="connection", reason=f"TLS failed: {text}", service_failed=True)
        case ValueError():  # includes aiohttp.InvalidURL
            reason = f"the request cannot be sent: {text}"
            return Outcome(reason_code="refused", reason=reason, was_sent=False)
        case BrokenBody():
            text = str(error)
    return Outcome(reason_code="connection", reason=text, is_retryable=True, service_failed=True)


def retry_after_s(value: str | None, now: Callable[[], datetime]) -> float | None:
    """Read a Retry-After header (seconds or an HTTP date) as seconds from now; None if absent or malformed."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now()).total_seconds())


def secret_values(headers: Mapping[str, str]) -> list[str]:
    """List header values that may be credentials, and their parts: a server may echo `Bearer x` or only `x`."""
    whole = [
        value
        for name, value in headers.items()
        if len(value) >= _SECRET_MIN_CHARS and name.lower() not in PUBLIC_HEADERS
    ]
    parts = {part for value in whole for part in re.split(r"[\s;,=]+", value)}
    return [*whole, *sorted((p for p in parts if len(p) >= _SECRET_PART_MIN_CHARS), key=len, reverse=True)]


def redacted(text: str, secrets: Iterable[str], *, max_chars: int) -> str:
    """Put the start of `text` on one line, without the secrets that a server or proxy may have echoed."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return " ".join(text[: 8 * max_chars].split())[:max_chars]


def open_session(
    limits: RetryLimits,
    *,
    tls: ssl.SSLContext | None,
    connections: int = 100,
    headers: Mapping[str, str] | None = None,
) -> aiohttp.ClientSession:
    """Open a session without cookies that leaves decompression to `read_body`, which bounds its size."""
    stall_s = limits.stall_timeout_s
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=tls or True),
        timeout=aiohttp.ClientTimeout(total=limits.timeout_s, sock_connect=stall_s, sock_read=stall_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers=headers,
    )


def require_verifying(tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Return `tls` if it verifies; None stands for the default context, which does.

    Raises:
        ConfigError: the context does not verify certificates and host names.
    """
    if tls is not None and (tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname):
        raise ConfigError("the TLS context of an HTTP client must verify certificates and host names")
    return tls
