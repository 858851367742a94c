"""Read records with quote characters one by one and strictly, so that a stray quote costs one line."""

from __future__ import annotations

import csv
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tnt_platform.readers.layout import DelimitedLayout
from tnt_platform.readers.lines import Lines, Mask


@dataclass(frozen=True)
class QuotedRecord:
    """Lines `first` to `last` and the cells they hold; None where the quotes are malformed."""

    first: int
    last: int
    cells: list[str] | None


class QuotedRecords:
    """Read those records of a text that hold quotes.

    A failed attempt may have read far ahead, and the next line may try again: `_ahead_bytes` bounds that work, after
    which a record must end on its own line. Otherwise a file of stray quotes would take quadratic time.
    """

    def __init__(
        self, lines: Lines, *, quoted: Mask, barred: Mask, layout: DelimitedLayout, separator: str
    ) -> None:
        self._lines = lines
        self._quoted: list[int] = np.flatnonzero(quoted).tolist()
        self._barred: list[int] = np.flatnonzero(barred).tolist()
        self._layout = layout
        self._separator = separator
        self._null: re.Pattern[str] | None = None
        if layout.escape is not None:
            cell_begins, cell_ends = (
                f"(?:(?<=[{re.escape(separator)}\r\n])|^)",
                rf"(?=[{re.escape(separator)}\r\n]|$)",
            )
            self._null = re.compile(f"{cell_begins}{re.escape(layout.escape)}N{cell_ends}")
        self._ahead_bytes = 4 * len(lines.data) + (1 << 18)
        # A limit of the whole process (128 KiB by default), so it is only ever raised.
        csv.field_size_limit(max(csv.field_size_limit(), layout.max_line_bytes))

    def read(self, first: int) -> QuotedRecord:
        """Read the record that starts at line `first`, never past a barred line or max_line_bytes."""
        pieces = _Pieces(self, first)
        quote, escape = self._layout.quote, self._layout.escape
        reader = csv.reader(
            pieces,
            delimiter=self._separator,
            quotechar=quote,
            quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
            escapechar=escape,
            strict=True,
        )
        try:
            cells = next(reader)
        except (csv.Error, StopIteration):
            return self.broken(first, pieces.last)
        return QuotedRecord(first=first, last=pieces.last, cells=cells)

    def broken(self, first: int, last: int) -> QuotedRecord:
        """Give up an attempt that read lines `first` to `last`: only the first one is malformed."""
        self._ahead_bytes -= int(self._lines.stops[last] - self._lines.starts[first])
        return QuotedRecord(first=first, last=first, cells=None)

    def all_from(self, candidates: Mask, *, widths: tuple[int, int]) -> Iterator[QuotedRecord]:
        """Yield the record of each candidate line that is not part of an earlier record.

        A record over several lines with the wrong number of cells is more likely a stray quote than a long cell,
        so it is broken too and reading goes on with its second line.
        """
        resume = 0
        for first in np.flatnonzero(candidates).tolist():
            if first < resume:
                continue
            record = self.read(first)
            over_lines = record.cells is not None and record.last > first
            if over_lines and not widths[0] <= len(record.cells or ()) <= widths[1]:
                record = self.broken(first, record.last)
            resume = record.last + 1
            yield record

    def next_piece(self, first: int, last: int) -> int | None:
        """Return the line at which a cell left open on line `last` can close: the next one with a quote."""
        after = bisect_right(self._quoted, last)
        if after == len(self._quoted) or self._ahead_bytes <= 0:
            return None
        closing = self._quoted[after]
        if not self._may_close(closing):
            return None
        size_bytes = int(self._lines.ends[closing] - self._lines.starts[first])
        is_barred = bisect_right(self._barred, closing) > bisect_right(self._barred, last)
        return None if is_barred or size_bytes > self._layout.max_line_bytes else closing

    def _may_close(self, line: int) -> bool:
        """Tell whether a line's first quote may be a closing one, by what follows it: most stray quotes fail here."""
        quote = (self._layout.quote or "").encode()
        data = self._lines.data
        after = data[(at := data.index(quote, int(self._lines.starts[line])) + 1) : at + 1]
        return after in (b"", b"\r", b"\n", quote, self._separator.encode())

    def text(self, first: int, last: int) -> str:
        """Return lines `first` to `last` with their terminators."""
        text = self._lines.data[self._lines.starts[first] : self._lines.stops[last]].decode("utf-8")
        if self._null is not None:
            text = self._null.sub("", text)
        return text


class _Pieces:
    """Give csv.reader line `first` and then, while a cell is open, everything up to the next line with a quote.

    Whole stretches instead of lines make the search for a closing quote 20 times faster.
    """

    def __init__(self, records: QuotedRecords, first: int) -> None:
        self._records = records
        self._first = first
        self.last = first - 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        begin = self.last + 1
        end: int | None = begin
        if begin > self._first:
            end = self._records.next_piece(self._first, self.last)
        if end is None:
            raise StopIteration
        self.last = end
        return self._records.text(begin, end)
