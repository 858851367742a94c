"""Download one file over HTTP: only if it changed, whole or not at all, bounded in size and time.

The event loop runs in a thread of its own: the caller only waits, so an interrupt reaches it at once, and it
may itself run in an event loop.
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

from tnt_platform.errors import ConfigError, InvalidInput, Refused, TntError, Unavailable
from tnt_platform.services.download_request import DownloadRequest, download_request, proxy_of, redirect_of
from tnt_platform.services.http_attempts import (
    Outcome,
    RetryLimits,
    attempt_until_final,
    open_session,
    outcome_of_error,
    outcome_of_status,
    require_verifying,
)
from tnt_platform.services.http_body import BrokenBody, TooLarge, UnknownEncoding, read_body

MAX_REDIRECTS = 5
_ERROR_BODY_BYTES = 1_000_000  # an error message quotes only the start of it
_WHOLE_FILE = (200, 203)
_ABSENT = (404, 410)

Status = Literal["new", "not_modified", "absent"]


@dataclass(frozen=True)
class DownloadLimits(RetryLimits):
    """How large a file may be; `max_bytes` holds for what is sent and for what that unpacks to.

    `timeout_s` bounds one attempt with its redirects.
    """

    timeout_s: float = 300.0
    stall_timeout_s: float | None = 30.0
    max_bytes: int = 100_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("at least 1", lambda value: value >= 1, "max_bytes")


@dataclass(frozen=True)
class Download:
    """The result of downloading a URL.

    `status`: "new" (`body` is the file), "not_modified" (the caller's copy is current) or "absent" (404 or
    410); without a file `body` is None and `size_bytes` 0. Send `etag` and `last_modified` (the server's
    HTTP-date string) the next time. `content_type` has no parameters. `final_url` is where redirects led,
    query included. `duration_s` includes waits and retries.
    """

    url: str
    final_url: str
    status: Status
    body: bytes | None = field(repr=False)
    etag: str | None
    last_modified: str | None
    content_type: str | None
    size_bytes: int
    duration_s: float


class Downloader:
    """Downloads files one at a time; keeps connections from file to file.

    `clock` returns UTC times (for a Retry-After that is a date); `uniform` returns numbers in [0, 1) for
    jitter; `tls` replaces the default verifying context (for a private certificate authority), and cannot
    switch verification off. HTTP_PROXY, HTTPS_PROXY and NO_PROXY apply.
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
        self._uniform = uniform
        self._tls = require_verifying(tls)
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
        """Close the connections; the downloader cannot be used afterwards."""
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
        """Download `url` unless the server says that it is still the file of `etag` and `last_modified`.

        A body shorter than announced, damaged compression, network errors, 408, 425, 429 and 5xx are retried.
        A server that neither announces a length nor sends in chunks can cut a body unnoticed. Headers that may
        be credentials are not sent on to another origin.

        Raises:
            ConfigError: the URL or a header cannot be sent: http and https only, no user:password@ in it.
            InvalidInput: too_large.
            Refused: the server rejected the request (other 4xx), its certificate is not valid, or a redirect
                is not acceptable (more than 5, from https to http, to another scheme).
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
        downloads: list[Download] = []

        async def attempt() -> Outcome:
            return await self._attempt(request, downloads)

        last = await attempt_until_final(attempt, self._limits, self._uniform)
        if not downloads:
            assert last is not None
            raise self._failure(last, request)
        return replace(downloads[0], duration_s=self._loop.time() - started_s)

    async def _attempt(self, request: DownloadRequest, downloads: list[Download]) -> Outcome:
        """Try once and append what was downloaded, unless it failed."""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await self._follow(request, downloads)
        except (TooLarge, UnknownEncoding, BrokenBody, aiohttp.ClientError, OSError, ValueError) as error:
            return outcome_of_error(error, self._limits, secrets=request.secrets)

    async def _follow(self, request: DownloadRequest, downloads: list[Download]) -> Outcome:
        if self._session is None:
            self._session = open_session(self._limits, tls=self._tls)
        hop = request
        for _ in range(MAX_REDIRECTS + 1):
            proxy, proxy_auth = proxy_of(hop.url)
            async with self._session.get(
                hop.url, headers=hop.headers, allow_redirects=False, proxy=proxy, proxy_auth=proxy_auth
            ) as response:
                target = redirect_of(response, hop)
                if target is None:
                    return await self._read(response, request, downloads)
            hop = target
        raise Refused(f"{request.shown}: more than {MAX_REDIRECTS} redirects; correct the URL")

    async def _read(
        self, response: aiohttp.ClientResponse, request: DownloadRequest, downloads: list[Download]
    ) -> Outcome:
        status = response.status
        if status in _WHOLE_FILE:
            body = await read_body(response, self._limits.max_bytes)
            downloads.append(_download(request, response, "new", body))
        elif status == 304 and request.is_conditional:
            downloads.append(_download(request, response, "not_modified", None))
        elif status in _ABSENT:
            downloads.append(_download(request, response, "absent", None))
        else:
            body = await _error_body(response)
            return outcome_of_status(response, body, secrets=request.secrets, now=self._clock)
        return Outcome(status)

    def _failure(self, last: Outcome, request: DownloadRequest) -> TntError:
        what = f"{request.shown}: {last.reason}"
        if last.reason_code == "too_large":
            return InvalidInput(
                "too_large", f"{what}; if the file is meant to be so large, raise max_size_mb"
            )
        if last.is_retryable:
            attempts = self._limits.attempts
            return Unavailable(f"{what} (after {attempts} attempts); running again later may help")
        if not last.was_sent:
            return ConfigError(f"{what}; correct the URL or the headers")
        if last.status is None and last.reason_code == "connection":
            return Refused(
                f"{what}. Correct the URL, or trust the publisher's certificate authority on this machine"
            )
        return Refused(f"{what}; correct the URL or the headers that are sent")

    async def _close_session(self) -> None:
        if self._session is not None:
            await self._session.close()


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """Read what a failure's message can quote; if that cannot be read, the status alone counts."""
    try:
        return await read_body(response, _ERROR_BODY_BYTES)
    except (TooLarge, UnknownEncoding, BrokenBody, aiohttp.ClientError, OSError):
        return b""


def _download(
    request: DownloadRequest, response: aiohttp.ClientResponse, status: Status, body: bytes | None
) -> Download:
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
    """Return a header that can be stored and sent again; one with bytes that are not ASCII cannot."""
    value = response.headers.get(name, "").strip()
    return value if value.isascii() and value else None


def _http_date(text: str | None) -> str | None:
    try:
        return text if text and parsedate_to_datetime(text) else None
    except ValueError:
        return None
