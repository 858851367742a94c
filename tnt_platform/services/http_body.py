"""Read the body of a response, compressed or plain, without ever holding more than the limit allows."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import aiohttp

_STEP_BYTES = 1_000_000  # the most one step unpacks, whatever the compression ratio
_GZIP_OR_ZLIB = zlib.MAX_WBITS + 32  # told apart by their headers
_COMPRESSED = ("gzip", "x-gzip", "deflate")


class TooLarge(Exception):
    """The body, as sent or unpacked, exceeds the limit."""


class UnknownEncoding(Exception):
    """The body has a Content-Encoding that was not asked for."""


class BrokenBody(Exception):
    """The body ended early or its compression is damaged."""


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the decoded body of a response whose session does not decompress by itself.

    Raises:
        TooLarge: the connection is closed and the rest left unread.
        UnknownEncoding, BrokenBody: the body cannot be decoded.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", *_COMPRESSED):
        raise UnknownEncoding(
            f"the response has the Content-Encoding {encoding[:40]!r}, which was not asked for: "
            "the server or a proxy ignores Accept-Encoding"
        )
    try:
        return await _read_body(response, max_bytes, _Unpacker() if encoding in _COMPRESSED else None)
    except TooLarge:
        response.close()
        raise


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int, unpacker: _Unpacker | None) -> bytes:
    too_large = TooLarge(f"the body is larger than {max_bytes:,} bytes")
    if (response.content_length or 0) > max_bytes:
        raise too_large
    body = io.BytesIO()  # hands out its value without a copy, unlike a joined list
    sent_bytes = 0
    try:
        async for chunk in response.content.iter_any():
            sent_bytes += len(chunk)
            for part in unpacker.unpack(chunk) if unpacker else (chunk,):
                body.write(part)
                if max(body.tell(), sent_bytes) > max_bytes:
                    raise too_large
    except aiohttp.ClientPayloadError:
        raise BrokenBody(
            f"the body is cut off after {sent_bytes:,} of {response.content_length or '?'} bytes"
        ) from None
    if unpacker:
        body.write(unpacker.finish())
    return body.getvalue()


class _Unpacker:
    """Unpacks a compressed stream of one or more members in bounded steps."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._was_fed = False

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` unpacks to, in parts of at most 1 MB."""
        self._was_fed = True
        while data:
            if self._member.eof:
                data = data.lstrip(b"\0")  # padding between or after members
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                yield self._member.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                raise BrokenBody(f"the compression of the body is damaged: {error}") from None
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def finish(self) -> bytes:
        """Return what the last step held back (less than a window of 32 KB)."""
        rest = self._member.flush()
        if self._was_fed and not self._member.eof:
            raise BrokenBody("the compression of the body ends early")
        return rest
