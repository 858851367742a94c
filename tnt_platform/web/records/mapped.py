"""Columns of text in files that are mapped into memory, read without copying or decoding."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

_STEP = 64


class MappedTexts:
    """One column of text over several Arrow arrays, in an order of its own.

    A page of records is 50 slices of mapped memory this way: no thread is woken and nothing is decoded, which took
    most of the time when polars gathered the rows.
    """

    def __init__(self, arrays: Sequence[pa.LargeStringArray], order: NDArray[np.uint32]) -> None:
        offsets = [np.frombuffer(array.buffers()[1], np.int64, len(array) + 1) for array in arrays]
        # An array without a character may have no buffer at all.
        self._views = [memoryview(array.buffers()[2] or b"").cast("B") for array in arrays]
        self._starts = _ordered([ends[:-1] for ends in offsets], order)
        self._ends = _ordered([ends[1:] for ends in offsets], order)
        lengths = [len(array) for array in arrays]
        self._sources = np.repeat(np.arange(len(arrays), dtype=np.uint32), np.array(lengths, np.int64))[order]

    def __len__(self) -> int:
        return len(self._starts)

    def at(self, place: int) -> bytes:
        """The text at one place of the order."""
        return bytes(self._views[self._sources[place]][self._starts[place] : self._ends[place]])

    def some(self, places: slice | NDArray[np.uint32]) -> list[memoryview]:
        """The texts at several places."""
        views = self._views
        sources, starts, ends = (
            column[places].tolist() for column in (self._sources, self._starts, self._ends)
        )
        return [views[source][start:end] for source, start, end in zip(sources, starts, ends, strict=True)]


def _ordered(columns: list[NDArray[np.int64]], order: NDArray[np.uint32]) -> NDArray[np.int64]:
    if not columns:
        return np.empty(0, np.int64)
    return np.concatenate(columns)[order]


class SortedPlaces:
    """Places in a sorted column of texts, with every so many-th text at hand to find one fast."""

    def __init__(self, texts: MappedTexts, places: NDArray[np.uint32] | None = None) -> None:
        self._texts = texts
        self._places = places
        self._signs = [self._text(n) for n in range(0, len(self), _STEP)]

    def __len__(self) -> int:
        return len(self._texts if self._places is None else self._places)

    def behind(self, text: str) -> int:
        """How many of the texts are up to this one."""
        key = text.encode("utf-8", "surrogatepass")
        start = max(0, bisect.bisect_right(self._signs, key) - 1) * _STEP
        near = range(start, min(start + _STEP, len(self)))
        return start + bisect.bisect_right(near, key, key=self._text)

    def slice(self, start: int, count: int) -> slice | NDArray[np.uint32]:
        """The places from the `start`-th on."""
        if self._places is None:
            return slice(start, min(start + count, len(self)))
        return self._places[start : start + count]

    def place(self, number: int) -> int:
        """One place."""
        return number if self._places is None else int(self._places[number])

    def _text(self, number: int) -> bytes:
        return self._texts.at(self.place(number))
