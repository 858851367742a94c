"""Find the physical lines of a text, with any mixture of LF, CRLF and bare CR, as offsets into its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LF, _CR = 10, 13


@dataclass(frozen=True)
class Lines:
    """Line i is data[starts[i]:ends[i]]; its terminator, if any, is data[ends[i]:stops[i]]."""

    data: bytes
    starts: Offsets
    ends: Offsets
    stops: Offsets

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, first: int, last: int | None = None) -> str:
        """Return lines `first` to `last` (inclusive) without the last terminator; bad bytes as \\xNN."""
        end = self.ends[first if last is None else last]
        return self.data[self.starts[first] : end].decode("utf-8", "backslashreplace")

    def at(self, offsets: Any) -> Offsets:
        """Return the index of the line that holds each byte offset."""
        found: Offsets = np.searchsorted(self.starts, offsets, side="right") - 1
        return found

    def holding(self, byte: int) -> Mask:
        """Tell for each line whether it holds `byte`."""
        held = np.zeros(len(self), dtype=np.bool_)
        if bytes((byte,)) in self.data:
            held[self.at(np.flatnonzero(np.frombuffer(self.data, np.uint8) == byte))] = True
        return held


def split_lines(data: bytes) -> Lines:
    """Find the lines of `data`; a terminator at the very end starts no further line.

    Only LF, CRLF and CR end a line: str.splitlines also breaks at \\x0b, \\x1c, \\u2028 and others,
    which are ordinary characters inside a cell.
    """
    codes = np.frombuffer(data, np.uint8)
    if b"\r" in data:
        ends, stops = _mixed_terminators(codes)
    else:
        ends = np.flatnonzero(codes == _LF).astype(np.int64, copy=False)
        stops = ends + 1
    if len(data) > (stops[-1] if len(stops) else 0):
        ends = np.append(ends, len(data))
        stops = np.append(stops, len(data))
    starts = np.concatenate((np.zeros(min(len(stops), 1), np.int64), stops[:-1]))
    return Lines(data=data, starts=starts, ends=ends, stops=stops)


def _mixed_terminators(codes: npt.NDArray[np.uint8]) -> tuple[Offsets, Offsets]:
    is_lf = codes == _LF
    is_cr = codes == _CR
    lone_cr = is_cr.copy()
    lone_cr[:-1] &= ~is_lf[1:]
    last = np.flatnonzero(is_lf | lone_cr).astype(np.int64, copy=False)
    after_cr = is_lf[last] & (last > 0) & is_cr[last - 1]
    return last - after_cr, last + 1


def runs(kept: Mask) -> list[tuple[int, int]]:
    """Return the half-open ranges of consecutive True values."""
    edges = np.flatnonzero(np.diff(kept.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def selected_stretches(lines: Lines, kept: Mask) -> list[bytes | memoryview]:
    """Return the kept lines, each ending with one LF, in pieces to be joined; without CR, none is a copy."""
    pieces: list[bytes | memoryview]
    if b"\r" in lines.data:
        pieces = [_with_lf(lines.data[first:after]) for first, after in _spans(lines, kept)]
    elif kept.all():
        pieces = [lines.data] if lines.data else []
    else:
        whole = memoryview(lines.data)
        pieces = [whole[first:after] for first, after in _spans(lines, kept)]
    if pieces and pieces[-1][-1] != _LF:
        pieces.append(b"\n")
    return pieces


def _spans(lines: Lines, kept: Mask) -> list[tuple[int, int]]:
    return [(int(lines.starts[first]), int(lines.stops[after - 1])) for first, after in runs(kept)]


def _with_lf(stretch: bytes) -> bytes:
    # Before the join, where a CR at the end of one stretch and a LF at the start of the next would be one line end.
    return stretch.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in stretch else stretch
