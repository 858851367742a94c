"""Detect a file's encoding and report the rows that can't be decoded."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.lines import Lines, Offsets, split_lines
from tnt_platform.readers.signatures import binary_format, text_format

# utf-32 first: its little-endian mark starts with the one of utf-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES: Final = 64 << 10

# A guess is safe if the sample is large and varied, and the winner clearly ahead of every different reading.
GUESS_MIN_HIGH_BYTES: Final = 300
GUESS_MIN_LINES: Final = 20
GUESS_MIN_DISTINCT: Final = 15
GUESS_MAX_CHAOS: Final = 0.02
GUESS_MIN_LEAD: Final = 0.05


@dataclass(frozen=True)
class Decoded:
    """A text as UTF-8 without a byte order mark, its line ends as they were; undecodable bytes show as \\xNN.

    `undecodable_at` holds the offset (in text_utf8) of the start of each line with such bytes.
    """

    text_utf8: bytes
    encoding: str
    undecodable_at: tuple[int, ...] = ()


def decode(data: bytes, *, declared: str | None) -> Decoded:
    """Decode a text by its byte order mark, else the declared encoding, else one that is certain.

    Certain are UTF-16 whose NULs show its byte order (before UTF-8, since ASCII in UTF-16 is valid UTF-8), then valid
    UTF-8, then a statistical guess that passes `_safe_guess`. Otherwise the lines that are not plain ASCII are
    reported one by one; in a file that is mostly valid UTF-8, only the damaged ones.

    Raises:
        InvalidInput: not_text for a known binary format; not_delimited for a page or a document; undecodable for
            broken UTF-16 or UTF-32.
    """
    if kind := binary_format(data):
        raise InvalidInput("not_text", f"the file is {kind.name}, not delimited text; {kind.cure}")
    if kind := text_format(data):
        raise InvalidInput("not_delimited", f"the file is {kind.name}, not delimited text; {kind.cure}")
    for mark, name in _MARKS:
        if data.startswith(mark) and _whole_units(data, name):
            return _decode_as(data[len(mark) :], name)
    if declared is not None:
        return _decode_as(data, declared)
    wide = _utf16_by_nuls(data)
    if wide is not None:
        return wide
    if data.isascii():
        return Decoded(text_utf8=data, encoding="utf-8")
    return _decode_undeclared(data)


def _whole_units(data: bytes, name: str) -> bool:
    # FF FE 00 00 also starts a UTF-16 text whose first character is NUL.
    return not name.startswith("utf-32") or len(data) % 4 == 0


def _decode_as(data: bytes, encoding: str) -> Decoded:
    name = codecs.lookup(encoding).name
    if name == "utf-8":
        # A second mark, which joining files leaves, is not part of the first cell.
        data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode(name)
    except ValueError as fault:
        if not _keeps_line_ends(name):
            raise InvalidInput(
                "undecodable",
                f"the file is not valid {name} ({fault}); deliver it again, or correct `encoding:`",
            ) from fault
        return _decode_lines(data, name)
    return Decoded(
        text_utf8=data if name == "utf-8" else text.encode("utf-8", "backslashreplace"), encoding=name
    )


def _keeps_line_ends(encoding: str) -> bool:
    return "\r\n".encode(encoding) == b"\r\n"


def _decode_undeclared(data: bytes) -> Decoded:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        guess = _safe_guess(data)
        if guess is not None:
            return guess
        as_utf8 = _decode_lines(data, "utf-8")
        damaged = len(as_utf8.undecodable_at)
        if damaged < len(_high_lines(split_lines(data))) - damaged:
            return as_utf8
        return _decode_lines(data, "ascii")
    return Decoded(text_utf8=data, encoding="utf-8")


def _utf16_by_nuls(data: bytes) -> Decoded | None:
    """Recognise UTF-16 without a mark: in Western text every other byte is NUL, always on the same side."""
    head = np.frombuffer(data[:8192], np.uint8)
    if len(data) % 2 or len(head) < 4 or b"\0" not in data[:8192]:
        return None
    first, second = (head[0::2] == 0).mean(), (head[1::2] == 0).mean()
    for name, empty, full in (("utf-16-le", second, first), ("utf-16-be", first, second)):
        if empty > 0.6 and full < 0.05:
            try:
                return Decoded(text_utf8=data.decode(name).encode("utf-8"), encoding=name)
            except ValueError:
                return None
    return None


def _high_lines(lines: Lines) -> Offsets:
    high = np.flatnonzero(np.frombuffer(lines.data, np.uint8) >= 0x80)
    return np.unique(lines.at(high))


def _decode_lines(data: bytes, encoding: str) -> Decoded:
    """Decode line by line, so that one bad line costs that line."""
    lines = split_lines(data)
    pieces: list[bytes] = []
    undecodable: list[int] = []
    written = size_bytes = 0
    for line in _high_lines(lines).tolist():
        start, end = int(lines.starts[line]), int(lines.ends[line])
        text, sound = _decode_line(data[start:end], encoding)
        size_bytes += start - written
        if not sound:
            undecodable.append(size_bytes)
        pieces += (data[written:start], text)
        size_bytes += len(text)
        written = end
    pieces.append(data[written:])
    return Decoded(text_utf8=b"".join(pieces), encoding=encoding, undecodable_at=tuple(undecodable))


def _decode_line(line: bytes, encoding: str) -> tuple[bytes, bool]:
    try:
        return line.decode(encoding).encode("utf-8"), True
    except ValueError:
        return line.decode("ascii", "backslashreplace").encode("utf-8"), False


def _safe_guess(data: bytes) -> Decoded | None:
    """Guess the encoding of a text that is not UTF-8, only where a guess can't silently change letters.

    Western and Central European code pages differ in single letters and statistics can't tell them apart
    (French in cp1252 was taken for Hungarian in cp1250, turning \\xea into another letter), so a result with
    accented Latin letters is never accepted: Greek, Cyrillic, Thai, Japanese and the like are.
    """
    lines = split_lines(data)
    affected = _high_lines(lines)
    sample = _sample(lines, affected)
    high = [byte for byte in sample if byte >= 0x80]
    if (
        len(affected) < GUESS_MIN_LINES
        or len(high) < GUESS_MIN_HIGH_BYTES
        or len(set(high)) < GUESS_MIN_DISTINCT
    ):
        return None
    encoding = _clear_winner(sample)
    if encoding is None:
        return None
    try:
        text = data.decode(encoding)
    except ValueError:
        return None
    return Decoded(text_utf8=text.encode("utf-8"), encoding=encoding) if _accepts(text) else None


def _sample(lines: Lines, affected: Offsets) -> bytes:
    """Join whole lines (a cut character would rule out its encoding) up to the sample size."""
    sizes = np.cumsum(lines.stops[affected] - lines.starts[affected])
    chosen = affected[sizes <= _SAMPLE_BYTES].tolist()
    return b"\n".join(lines.data[lines.starts[i] : lines.ends[i]] for i in chosen)


def _clear_winner(sample: bytes) -> str | None:
    import charset_normalizer  # only here: the import takes 20 ms

    detect: Callable[[bytes], charset_normalizer.CharsetMatches] = charset_normalizer.from_bytes
    matches = list(detect(sample))
    if not matches or matches[0].chaos > GUESS_MAX_CHAOS:
        return None
    best = matches[0]
    rivals = [m for m in matches[1:] if str(m) != str(best)]
    if any(m.chaos - best.chaos < GUESS_MIN_LEAD for m in rivals):
        return None
    return codecs.lookup(best.encoding).name


def _accepts(text: str) -> bool:
    letters = {char for char in text if char > "\x7f"}
    # The replacement character is what an earlier, wrong decoding left behind.
    return not any(
        char == "\ufffd" or unicodedata.name(char, "").startswith("LATIN") or not unicodedata.name(char, "")
        for char in letters
    )
