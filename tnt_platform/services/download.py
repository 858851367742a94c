"""Fetch one file over HTTP: only if it changed, whole or not at all, bounded in size and time.

The loop runs in a thread of its own: the caller only waits, so an interrupt reaches it at once, and it may
have a loop of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from threading import Thread
from types import TracebackType
from typing import Literal

import aiohttp
import tenacity

from tnt_platform.errors import ConfigError, InvalidInput, Refused, Unavailable
from tnt_platform.services.download_request import DownloadRequest, download_request, proxy_of, redirect_of
from tnt_platform.services.http_attempts import (
    SNIPPET_CHARS,
    Backoff,
    failed_outcome,
    retry_after_s,
    verifying,
)
from tnt_platform.services.http_body import BrokenBody, TooLarge, UnknownEncoding, read_body

MAX_REDIRECTS = 5
_ERROR_BODY_BYTES = 1_000_000  # of a refusal only the beginning is shown
_WHOLE_FILE = (200, 203)
_ABSENT = (404, 410)
_WORTH_RETRYING = (408, 425, 429)  # and every 5xx


@dataclass(frozen=True)
class DownloadLimits:
    """How large a file may be, how long it may take, and how often it is tried.

    `timeout_s` bounds one attempt with its redirects; `stall_timeout_s` how long nothing may arrive.
    `max_bytes` holds for what is sent and for what that unpacks to. A Retry-After above
    `retry_after_max_s` is cut to it.
    """

    max_bytes: int = 100_000_000
    timeout_s: float = 300.0
    stall_timeout_s: float = 30.0
    attempts: int = 5
    backoff_initial_s: float = 0.5
    backoff_max_s: float = 20.0
    retry_after_max_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("max_bytes", "attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"download limit {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("timeout_s", "stall_timeout_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"download limit {name} is {getattr(self, name)}; it must be above 0")
        for name in ("backoff_initial_s", "backoff_max_s", "retry_after_max_s"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"download limit {name} is {getattr(self, name)}; it can't be negative")


@dataclass(frozen=True)
class Download:
    """What a URL gave.

    `status`: "new" (`body` is the file), "not_modified" (what the caller has is current) or "absent" (404 or
    410); without a file `body` is None and `size_bytes` 0. `etag` and `last_modified` (the server's HTTP-date
    text) are what to send the next time. `content_type` has no parameters. `final_url` is where the redirects
    led, query included. `duration_s` counts waits and retries.
    """

    url: str
    final_url: str
    status: Literal["new", "not_modified", "absent"]
    body: bytes | None = field(repr=False)
    etag: str | None
    last_modified: str | None
    content_type: str | None
    size_bytes: int
    duration_s: float


class Downloader:
    """Fetches files one at a time; keeps connections from fetch to fetch.

    `clock` gives UTC times (for a Retry-After that is a date); `uniform` numbers in [0, 1) for jitter; `tls`
    replaces the default verifying context (a private certificate authority), never switches verification off.
    HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the process hold.
    """

    def __init__(
        self,
        limits: DownloadLimits,
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
        self._tls = verifying(tls, "Downloader")
        self._session: aiohttp.ClientSession | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="downloader", daemon=True)
        self._thread.start()

    def __enter__(self) -> Downloader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the downloader can't be used afterwards."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._close_session(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def fetch(
        self,
        url: str,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Download:
        """Get the file at `url` unless it is still the one that `etag` and `last_modified` tell of.

        A body shorter than announced, a broken gzip encoding, network errors, 408, 425, 429 and 5xx are tried
        again. A server that neither announces a length nor sends in chunks can cut a body unnoticed. Headers
        that may be credentials are not sent on to another origin.

        Raises:
            ConfigError: the URL or a header can't be sent: http and https only, no user:password@ in it.
            InvalidInput: too_large.
            Refused: the server said no (other 4xx), its certificate is not valid, or a redirect is not
                acceptable (more than 5, from https to http, to another scheme).
            Unavailable: it still failed after all attempts.
        """
        request = download_request(url, etag=etag, last_modified=last_modified, headers=headers or {})
        future = asyncio.run_coroutine_threadsafe(self._fetch(request), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _fetch(self, request: DownloadRequest) -> Download:
        started_s = self._loop.time()
        try:
            download: Download = await self._retrying()(self._attempt, request)
        except _TryAgain as again:
            raise Unavailable(
                f"{request.shown}: {again} (after {self._limits.attempts} attempts); "
                "running again later can help"
            ) from None
        return replace(download, duration_s=self._loop.time() - started_s)

    def _retrying(self) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(
            sleep=asyncio.sleep,
            stop=tenacity.stop_after_attempt(self._limits.attempts),
            wait=self._wait_s,
            retry=tenacity.retry_if_exception_type(_TryAgain),
            reraise=True,
        )

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return self._backoff.wait_s(
            state.attempt_number, error.retry_after_s if isinstance(error, _TryAgain) else None
        )

    async def _attempt(self, request: DownloadRequest) -> Download:
        limits = self._limits
        try:
            async with asyncio.timeout(limits.timeout_s):
                return await self._follow(request)
        except TooLarge:
            raise InvalidInput(
                "too_large",
                f"{request.shown}: the file is larger than {limits.max_bytes:,} bytes; "
                "if it is meant to be, raise max_size_mb",
            ) from None
        except UnknownEncoding as error:
            raise Refused(f"{request.shown}: {error}") from None
        except BrokenBody as error:
            raise _TryAgain(str(error)) from None
        except aiohttp.ServerTimeoutError:
            raise _TryAgain(f"nothing arrived for {limits.stall_timeout_s:g} s") from None
        except TimeoutError:
            raise _TryAgain(f"not complete after {limits.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _from_failure(error, request) from None

    async def _follow(self, request: DownloadRequest) -> Download:
        session = self._open_session()
        hop = request
        for _ in range(MAX_REDIRECTS + 1):
            proxy, proxy_auth = proxy_of(hop.url)
            async with session.get(
                hop.url, headers=hop.headers, allow_redirects=False, proxy=proxy, proxy_auth=proxy_auth
            ) as response:
                target = redirect_of(response, hop)
                if target is None:
                    return await self._read(response, request)
            hop = target
        raise Refused(f"{request.shown}: more than {MAX_REDIRECTS} redirects; correct the URL")

    async def _read(self, response: aiohttp.ClientResponse, request: DownloadRequest) -> Download:
        status = response.status
        if status in _WHOLE_FILE:
            return download_of(request, response, "new", await read_body(response, self._limits.max_bytes))
        if status == 304 and request.is_conditional:
            return download_of(request, response, "not_modified", None)
        if status in _ABSENT:
            return download_of(request, response, "absent", None)
        said = request.redacted(await _beginning(response), limit=SNIPPET_CHARS)
        reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status in _WORTH_RETRYING or status >= 500:
            raise _TryAgain(reason, retry_after_s(response.headers.get("Retry-After"), self._clock))
        raise Refused(f"{request.shown}: {reason}; correct the URL or the headers that are sent")

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            stall_s = self._limits.stall_timeout_s
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=stall_s, sock_read=stall_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # read_body unpacks in bounded steps
            )
        return self._session

    async def _close_session(self) -> None:
        if self._session is not None:
            await self._session.close()


class _TryAgain(Exception):
    """This attempt failed in a way that the next one may not."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """What a refusal says, as far as it can be read: the status counts, not the text."""
    try:
        return (await read_body(response, _ERROR_BODY_BYTES)).decode("utf-8", "replace")
    except (TooLarge, UnknownEncoding, BrokenBody, aiohttp.ClientError, OSError):
        return ""


def _from_failure(error: Exception, request: DownloadRequest) -> Exception:
    if isinstance(error, ssl.CertificateError):  # aiohttp's own is one too
        said = request.redacted(str(error), limit=2 * SNIPPET_CHARS)
        return Refused(
            f"{request.shown}: the server's certificate is not valid: {said}. "
            "Correct the URL, or add the publisher's certificate authority to the trusted ones"
        )
    reason = request.redacted(failed_outcome(error).reason or "", limit=2 * SNIPPET_CHARS)
    if isinstance(error, ValueError):
        return ConfigError(f"{request.shown}: {reason}; correct the URL or the headers")
    return _TryAgain(reason)


def download_of(
    request: DownloadRequest,
    response: aiohttp.ClientResponse,
    status: Literal["new", "not_modified", "absent"],
    body: bytes | None,
) -> Download:
    """The download that an answer makes; `body` is its file, None if it brought none."""
    etag, last_modified = _header(response, "ETag"), _http_date(_header(response, "Last-Modified"))
    if status == "not_modified":
        # A 304 may leave out what did not change.
        etag, last_modified = etag or request.etag, last_modified or request.last_modified
    return Download(
        url=request.given_url,
        final_url=str(response.url),
        status=status,
        body=body,
        etag=etag,
        last_modified=last_modified,
        content_type=(_header(response, "Content-Type") or "").partition(";")[0].strip().lower() or None,
        size_bytes=len(body or b""),
        duration_s=0.0,
    )


def _header(response: aiohttp.ClientResponse, name: str) -> str | None:
    """A header that can be stored and sent again; bytes that are not ASCII make it useless for both."""
    value = response.headers.get(name, "").strip()
    return value if value.isascii() and value else None


def _http_date(text: str | None) -> str | None:
    try:
        return text if text and parsedate_to_datetime(text) else None
    except ValueError:
        return None
