"""Decompress files: gzip, zip, bzip2 and xz, recognised by their first bytes, within limits."""

from __future__ import annotations

import bz2
import fnmatch
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.served_page import refuse_page
from tnt_platform.readers.signatures import archive_format

CHUNK_BYTES: Final = 1 << 20
# Below this size a high ratio is harmless: a long run of blanks in a small file is not a bomb.
RATIO_FREE_BYTES: Final = 16 << 20
MEMBER_LIMIT_BYTES: Final = 512 << 20
MEMBER_MAX_RATIO: Final = 250

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_XZ = b"\xfd7zXZ\x00"
_GZIP = b"\x1f\x8b\x08"
_DAMAGE = (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
_ZIP_DAMAGE = (*_DAMAGE, zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error, KeyError)


class _Decompressor(Protocol):
    """One compressed stream, as bz2 and lzma have it and `_GzipMember` imitates it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _GzipMember:
    """A gzip member with the interface of the decompressors of bz2 and lzma."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        piece = self._zlib.decompress(self._waiting + data, max(max_length, 0))
        self._waiting = self._zlib.unconsumed_tail
        return piece


def is_compressed(data: bytes) -> bool:
    """Tell whether `decompress` would change the data."""
    return data.startswith((_GZIP, _XZ, *_ZIP)) or _BZIP2.match(data) is not None


def decompress(data: bytes, *, limit_bytes: int, max_ratio: int) -> bytes:
    """Decompress a gzip (one member or several), one-file zip, bzip2 or xz; return other bytes as they are.

    The output grows chunk by chunk and stops at `limit_bytes`, and beyond 16 MiB at `max_ratio` times the input, so a
    bomb costs no more memory than an honest file.

    Raises:
        InvalidInput: truncated_gzip, corrupt_archive, too_large, suspicious_ratio or several_members.
    """
    if data.startswith(_GZIP):
        pieces = _streams(data, _GzipMember, kind="gzip", cut_short="truncated_gzip")
    elif data.startswith(_XZ):
        pieces = _streams(data, lzma.LZMADecompressor, kind="xz", cut_short="corrupt_archive")
    elif _BZIP2.match(data):
        pieces = _streams(data, bz2.BZ2Decompressor, kind="bzip2", cut_short="corrupt_archive")
    elif data.startswith(_ZIP):
        pieces = _only_member(data)
    else:
        pieces = iter((data,))
        max_ratio = 1
    return _joined(pieces, packed_bytes=len(data), limit_bytes=limit_bytes, max_ratio=max_ratio)


def _joined(pieces: Iterator[bytes], *, packed_bytes: int, limit_bytes: int, max_ratio: int) -> bytes:
    ratio_limit_bytes = max(max_ratio * packed_bytes, RATIO_FREE_BYTES)
    out = []
    size_bytes = 0
    for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > limit_bytes:
            raise InvalidInput(
                "too_large",
                f"the file holds more than {limit_bytes:,} bytes; split it, or raise the limit of the reader",
            )
        if size_bytes > ratio_limit_bytes:
            raise InvalidInput(
                "suspicious_ratio",
                f"the file unpacks to more than {max_ratio} times its {packed_bytes:,} bytes, as a "
                "decompression bomb does; if it is honest, deliver it uncompressed or raise max_ratio",
            )
        out.append(piece)
    return out[0] if len(out) == 1 else b"".join(out)


def _streams(data: bytes, new: type[_Decompressor], *, kind: str, cut_short: str) -> Iterator[bytes]:
    """Yield the chunks of one or more compressed streams that follow each other."""
    rest = data
    while rest:
        stream = new()
        try:
            yield from _chunks(stream, rest)
        except _DAMAGE as fault:
            raise InvalidInput(
                "corrupt_archive", f"the {kind} data is damaged ({fault}); deliver the file again"
            ) from fault
        if not stream.eof:
            raise InvalidInput(
                cut_short,
                f"the {kind} file stops in the middle of its data: the upload was cut short; deliver it again",
            )
        # Tape and block writers pad the last stream with zeros, which every decompressor ignores.
        rest = stream.unused_data.lstrip(b"\0")


def _chunks(stream: _Decompressor, data: bytes) -> Iterator[bytes]:
    piece = stream.decompress(data, CHUNK_BYTES)
    while piece or not (stream.eof or stream.needs_input):
        yield piece
        if stream.eof:
            return
        piece = stream.decompress(b"", CHUNK_BYTES)


def unpack_member(
    data: bytes, member_glob: str, *, limit_bytes: int = MEMBER_LIMIT_BYTES, max_ratio: int = MEMBER_MAX_RATIO
) -> bytes:
    """Return the one file of a zip whose path, or name without folders, matches a glob such as `*.xlsx`.

    The limits are those of `decompress`; letters match in any case.

    Raises:
        InvalidInput: html_page, not_an_archive, no_such_member, several_members, corrupt_archive, too_large or
            suspicious_ratio.
    """
    refuse_page(data)
    if not data.startswith(_ZIP):
        raise InvalidInput(
            "not_an_archive",
            f"the file is not a zip archive (it starts with {data[:8].hex(' ')}), so it has no member {member_glob!r}; "
            "leave the member out, or correct the address",
        )
    pieces = _member(data, lambda archive: _matching_name(archive, member_glob))
    return _joined(pieces, packed_bytes=len(data), limit_bytes=limit_bytes, max_ratio=max_ratio)


def _only_member(data: bytes) -> Iterator[bytes]:
    return _member(data, _single_name)


def _member(data: bytes, choose: Callable[[zipfile.ZipFile], str]) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(choose(archive)) as member:
            while piece := member.read(CHUNK_BYTES):
                yield piece
    except _ZIP_DAMAGE as fault:
        raise InvalidInput(
            "corrupt_archive",
            f"the zip archive can't be unpacked ({fault}); deliver it again, whole and without a password",
        ) from fault


def _file_names(archive: zipfile.ZipFile) -> list[str]:
    # The Finder adds a __MACOSX/ twin to every file; a folder entry holds nothing.
    return [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]


def _matching_name(archive: zipfile.ZipFile, member_glob: str) -> str:
    names = _file_names(archive)
    glob = member_glob.casefold()
    found = [n for n in names if fnmatch.fnmatchcase(n.casefold(), glob)] or [
        n for n in names if fnmatch.fnmatchcase(n.rpartition("/")[2].casefold(), glob)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidInput(
            "several_members",
            f"{len(found)} files of the zip archive match {member_glob!r} ({', '.join(sorted(found)[:5])}); narrow the "
            "pattern to one",
        )
    listed = ", ".join(sorted(names)[:20]) or "nothing"
    raise InvalidInput(
        "no_such_member",
        f"no file of the zip archive matches {member_glob!r}; it holds {listed}. Correct the pattern",
    )


def _single_name(archive: zipfile.ZipFile) -> str:
    names = _file_names(archive)
    if len(names) == 1:
        return names[0]
    if not names:
        raise InvalidInput("corrupt_archive", "the zip archive holds no file; deliver it again")
    listed = ", ".join(sorted(names)[:5])
    kind = archive_format(names)
    what = f"; it is {kind.name}: {kind.cure}" if kind else ""
    raise InvalidInput(
        "several_members",
        f"the zip archive holds {len(names)} files ({listed}{', ...' if len(names) > 5 else ''}) where one is "
        f"expected; deliver each as an object of its own{what}",
    )
