"""What a download gave, told from the answer of the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Literal

import aiohttp

from tnt_platform.services.download_request import DownloadRequest


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
