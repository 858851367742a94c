"""What the readers of a report's files return: records, and rows that are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

BAD: Final = {"line_no": pl.Int64(), "raw": pl.String(), "reason_code": pl.String(), "reason": pl.String()}
RAW_LIMIT_CHARS: Final = 10_000


class Records(NamedTuple):
    """What one file holds; rows_in = records.height + bad.height.

    columns: names from the header, or the fields of the objects in order of appearance.
    records: one row per valid record: line_no (1-based line, or position in an array or table), raw (its text; null
        unless columns are wanted), and the wanted columns that the file has, as String.
    bad: line_no, raw (first 10,000 characters), reason_code, reason.
    """

    columns: Sequence[str]
    rows_in: int
    records: pl.DataFrame
    bad: pl.DataFrame
