"""Read a CSV, JSON or Parquet file for a report: count its records, and return those that are malformed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import MEMBER_LIMIT_BYTES, MEMBER_MAX_RATIO, decompress, is_compressed
from tnt_platform.readers.layout import DelimitedFormat
from tnt_platform.readers.served_page import refuse_page
from tnt_platform.report.readers.delimited_records import read_delimited
from tnt_platform.report.readers.json_records import looks_like_json, read_json, refuse_other_than_json
from tnt_platform.report.readers.parquet_records import is_parquet, read_parquet
from tnt_platform.report.readers.records import Records

Format = Literal["csv", "jsonl", "json", "parquet"]

_MAGIC_BYTES: Final = ((b"\x1f\x8b", "gzip"), (b"PK", "zip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))
_COMPRESSED_SUFFIXES: Final = (".gz", ".zip", ".bz2", ".xz")


@dataclass(frozen=True)
class ReportFile:
    """What one file holds; rows_in = records.height + bad.height.

    columns: names from the header, or the fields of the objects in order of appearance.
    records: one row per valid record: line_no (1-based line, or position in an array or table), raw (its text; null
        unless columns are wanted), and the wanted columns that the file has, as String.
    bad: line_no, raw (first 10,000 characters), reason_code, reason.
    """

    format: Format
    compression: str | None
    columns: tuple[str, ...]
    rows_in: int
    records: pl.DataFrame
    bad: pl.DataFrame


def read_report_file(
    name: str, data: bytes, wanted: Sequence[str] = (), text: DelimitedFormat | None = None
) -> ReportFile:
    """Read a delimited text, JSON lines, a JSON array or object, or Parquet, compressed or not.

    The content decides the format: Parquet's magic bytes, then JSON, else CSV. A file named as JSON or Parquet with
    other content is rejected. Blank lines are not records.

    Args:
        wanted: columns whose values are returned as strings.
        text: how delimited texts are written; found out file by file if left out.

    Raises:
        InvalidInput: the file can't be read at all: html_page, empty_file, not_json, not_parquet, and the reason codes
            of `decompress` and `read_rows` for whole files.
    """
    compression = next((name for magic, name in _MAGIC_BYTES if data.startswith(magic)), None)
    compression = compression if is_compressed(data) else None
    plain = decompress(data, limit_bytes=MEMBER_LIMIT_BYTES, max_ratio=MEMBER_MAX_RATIO)
    if not plain.strip():
        raise InvalidInput("empty_file", "the file is empty; deliver it again, or delete it")
    kind, (columns, rows_in, records, bad) = _read_content(_plain_name(name), plain, wanted, text)
    return ReportFile(kind, compression, tuple(columns), rows_in, records, bad)


def _plain_name(name: str) -> str:
    lower = name.lower()
    return next((lower.removesuffix(end) for end in _COMPRESSED_SUFFIXES if lower.endswith(end)), lower)


def _read_content(
    name: str, data: bytes, wanted: Sequence[str], text: DelimitedFormat | None
) -> tuple[Format, Records]:
    if is_parquet(data):
        return "parquet", read_parquet(data, wanted)
    if name.endswith((".parquet", ".pq")):
        raise InvalidInput(
            "not_parquet",
            f"the file is named as Parquet, but starts with {data[:20]!r} and ends with {data[-8:]!r}; it may be "
            "truncated: deliver it again",
        )
    refuse_page(data)
    is_lines = name.endswith((".jsonl", ".ndjson"))
    if name.endswith(".json"):
        refuse_other_than_json(data)
    if is_lines or looks_like_json(data):
        return read_json(data, wanted, lines=is_lines)
    return "csv", read_delimited(data, wanted, text)
