"""Read the body of an answer, gzip-encoded or plain, without ever holding more than the limit allows."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import aiohttp

_STEP_BYTES = 1_000_000  # the most one step unpacks, whatever the ratio
_GZIP = zlib.MAX_WBITS + 16


class TooLarge(Exception):
    """What is sent, or what it unpacks to, is above the limit."""


class UnknownEncoding(Exception):
    """The body is in a Content-Encoding that was not asked for."""


class BrokenBody(Exception):
    """The body ended early or its encoding is damaged."""


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The decoded body; the session must not decompress by itself.

    Raises:
        TooLarge, UnknownEncoding, BrokenBody: see there; the rest of the body is left unread.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise UnknownEncoding(
            f"the answer has the Content-Encoding {encoding[:40]!r}, and only gzip was asked for: "
            "the server or a proxy ignores Accept-Encoding"
        )
    if (response.content_length or 0) > max_bytes:
        raise TooLarge
    gunzip = _Gunzip() if encoding.endswith("gzip") else None
    body = io.BytesIO()  # its value is handed out without a copy, unlike that of a joined list
    sent_bytes = 0
    try:
        async for chunk in response.content.iter_any():
            sent_bytes += len(chunk)
            for part in gunzip.unpacked(chunk) if gunzip else (chunk,):
                body.write(part)
                if max(body.tell(), sent_bytes) > max_bytes:
                    raise TooLarge
    except aiohttp.ClientPayloadError:
        raise BrokenBody(
            f"the body is cut off after {sent_bytes:,} of {response.content_length or '?'} bytes"
        ) from None
    if gunzip:
        body.write(gunzip.rest())
    return body.getvalue()


class _Gunzip:
    """Unpacks a gzip stream of one or more members in bounded steps."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._was_fed = False

    def unpacked(self, data: bytes) -> Iterator[bytes]:
        self._was_fed = True
        while data:
            if self._member.eof:
                data = data.lstrip(b"\0")  # padding between or after members
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP)
            try:
                yield self._member.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                raise BrokenBody(f"the gzip encoding of the body is damaged: {error}") from None
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def rest(self) -> bytes:
        """What the last step held back (less than a window of 32 KB)."""
        rest = self._member.flush()
        if self._was_fed and not self._member.eof:
            raise BrokenBody("the gzip encoding of the body ends early")
        return rest
