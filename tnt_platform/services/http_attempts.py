"""What one attempt at a request means: an answer, something worth another try, or a final refusal."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import yarl

from tnt_platform.errors import ConfigError
from tnt_platform.services.http_admission import Admission, Circuit

SNIPPET_CHARS = 200
CREDENTIALS_REFUSED = (401, 403, 407)  # every further request would be refused too
PUBLIC_HEADERS = ("accept", "accept-encoding", "accept-language", "content-type", "user-agent")


@dataclass(slots=True)
class Outcome:
    """One attempt; `retry_after_s` is what the server asked for, None if it did not."""

    status: int | None = None
    body: bytes | None = None
    reason_code: str | None = None
    reason: str | None = None
    worth_retrying: bool = False
    retry_after_s: float | None = None
    service_failed: bool = False
    was_sent: bool = True
    asked_at: datetime | None = None
    latency_ms: float = 0.0

    def redact(self, secrets: Iterable[str]) -> None:
        """Take secrets out of a failure's reason and body: servers and proxies echo what they were sent."""
        if self.reason is None:
            return
        for secret in secrets:
            self.reason = self.reason.replace(secret, "***")
            self.body = self.body and self.body.replace(secret.encode(), b"***")

    def tell(self, circuit: Circuit, admission: Admission, *, retry_after_max_s: float) -> None:
        """Let the circuit know whether the service is well."""
        if self.service_failed:
            wait_s = min(self.retry_after_s or 0.0, retry_after_max_s)
            circuit.failed(admission, self.reason or "", wait_s=wait_s)
        elif self.was_sent:
            circuit.succeeded()
        else:
            circuit.abandoned(admission)


async def read_outcome(
    response: aiohttp.ClientResponse, max_bytes: int, *, now: Callable[[], datetime]
) -> Outcome:
    """Read at most `max_bytes` of an answer and say what it means."""
    body = await _read_at_most(response, max_bytes)
    status = response.status
    if status == 429 or status >= 500 or status in (408, 425):
        code = {429: "throttled", 408: "timeout"}.get(status, "server_error")
        return Outcome(
            status,
            body,
            code,
            _http_reason(status, body),
            worth_retrying=True,
            retry_after_s=retry_after_s(response.headers.get("Retry-After"), now),
            service_failed=True,
        )
    if 300 <= status < 400:
        reason = f"HTTP {status}: redirects are not followed ({_redirect_host(response)}); correct the URL"
        return Outcome(status, body, "refused", reason)
    if status >= 400:
        return Outcome(
            status,
            body,
            "refused",
            _http_reason(status, body),
            service_failed=status in CREDENTIALS_REFUSED,
        )
    if body is None:
        return Outcome(status, None, "too_large", f"the answer is larger than {max_bytes:,} bytes")
    return Outcome(status, body)


def failed_outcome(error: Exception) -> Outcome:
    """An attempt without an answer: worth another try unless the request or the certificate is at fault."""
    if isinstance(error, TimeoutError):
        return Outcome(
            reason_code="timeout", reason="no answer in time", worth_retrying=True, service_failed=True
        )
    text = f"{type(error).__name__}: {error}"[: 2 * SNIPPET_CHARS]
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Outcome(reason_code="connection", reason=f"TLS failed: {text}", service_failed=True)
    if isinstance(error, ValueError):  # includes aiohttp.InvalidURL
        return Outcome(reason_code="refused", reason=f"the request can't be sent: {text}", was_sent=False)
    return Outcome(reason_code="connection", reason=text, worth_retrying=True, service_failed=True)


def retry_after_s(value: str | None, now: Callable[[], datetime]) -> float | None:
    """Seconds to wait by a Retry-After header (seconds or an HTTP date), None if absent or unreadable."""
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
    """Every header value that may be a credential; very short ones would blot out ordinary text."""
    return [v for name, v in headers.items() if len(v) > 3 and name.lower() not in PUBLIC_HEADERS]


async def _read_at_most(response: aiohttp.ClientResponse, max_bytes: int) -> bytes | None:
    """The body, or None when it is larger; a larger body is left unread and its connection dropped."""
    if (response.content_length or 0) > max_bytes:
        response.close()
        return None
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            response.close()
            return None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _http_reason(status: int, body: bytes | None) -> str:
    text = " ".join((body or b"")[: 4 * SNIPPET_CHARS].decode("utf-8", "replace").split())
    return f"HTTP {status}: {text[:SNIPPET_CHARS]}" if text else f"HTTP {status}"


def _redirect_host(response: aiohttp.ClientResponse) -> str:
    try:
        host = yarl.URL(response.headers.get("Location", "")).host
    except ValueError:
        return "to an unreadable address"
    return f"to {host}" if host else "on the same host"


@dataclass(frozen=True)
class Backoff:
    """Waits that double from `initial_s` to `max_s`, spread by jitter; a Retry-After is cut to `retry_after_max_s`.

    `uniform` gives numbers in [0, 1).
    """

    initial_s: float
    max_s: float
    retry_after_max_s: float
    uniform: Callable[[], float]

    def wait_s(self, attempt: int, asked_s: float | None) -> float:
        """The wait after attempt number `attempt` (from 1), when the server asked for `asked_s` or nothing."""
        if asked_s is not None:
            # Jitter is added, never subtracted: nobody comes back earlier than asked.
            return min(asked_s, self.retry_after_max_s) + self.uniform() * self.initial_s
        backoff_s = self.initial_s * 2.0 ** min(attempt - 1, 30)
        return min(backoff_s, self.max_s) * (0.5 + self.uniform() / 2)


def verifying(tls: ssl.SSLContext | None, owner: str) -> ssl.SSLContext | bool:
    """The context for a connector; without one of the caller's, the default, which verifies.

    Raises:
        ConfigError: the context doesn't verify certificates and host names.
    """
    if tls is not None and (tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname):
        raise ConfigError(f"the TLS context given to {owner} must verify certificates and host names")
    return tls or True
