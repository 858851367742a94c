"""The records of a Parquet file, read only after its footer was checked against the bytes that are there."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tnt_platform.errors import InvalidInput
from tnt_platform.report.readers.records import BAD, Records

MAGIC: Final = b"PAR1"
# A value takes at least so much memory, whatever its column was encoded to.
_VALUE_BYTES: Final = 16
_MAX_BYTES: Final = 1 << 30


def is_parquet(data: bytes) -> bool:
    """Tell whether the bytes begin and end as Parquet does."""
    return data.startswith(MAGIC) and data.endswith(MAGIC)


def read_parquet(data: bytes, wanted: Sequence[str]) -> Records:
    """Read the wanted columns of a Parquet file.

    Raises:
        InvalidInput: not_parquet for a damaged file, summary_file for one whose rows are in other files, too_large for
            one that would take more memory than a file may.
    """
    _check_footer(data, wanted)
    try:
        table = pl.scan_parquet(io.BytesIO(data))
        schema = table.collect_schema()
        present = [name for name in wanted if name in schema]
        rows_in = int(table.select(pl.len()).collect().item())
        values = table.select(present).collect() if present else pl.DataFrame()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _damaged(error) from error
    strings = {name: _as_strings(values[name]) for name in present}
    positions: Mapping[str, Any] = {"line_no": pl.int_range(1, rows_in + 1, eager=True, dtype=pl.Int64)}
    records = pl.DataFrame({**positions, **strings}).with_columns(_raw_row(present))
    rows = records.select("line_no", "raw", *present)
    return Records(schema.names(), rows_in, rows, pl.DataFrame(schema=BAD))


def _damaged(error: BaseException) -> InvalidInput:
    return InvalidInput("not_parquet", f"the Parquet file is damaged ({error}); deliver it again")


def _check_footer(data: bytes, wanted: Sequence[str]) -> None:
    """Compare what the footer promises with the bytes that are there, and with what may be read into memory."""
    try:
        footer = pq.read_metadata(io.BytesIO(data))
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(error) from error
    if any(chunk.file_path for chunk in chunks):
        raise InvalidInput(
            "summary_file",
            "the file only describes rows that are in other files, as `_metadata` does; deliver the part files alone",
        )
    for chunk in chunks:
        begin = chunk.dictionary_page_offset or chunk.data_page_offset
        if begin < 0 or begin + chunk.total_compressed_size > len(data):
            raise InvalidInput(
                "not_parquet",
                f"the footer promises {footer.num_rows:,} rows whose bytes are not in the file; deliver it "
                "again, whole",
            )
    read = [chunk for chunk in chunks if chunk.path_in_schema in wanted]
    size_bytes = (len(wanted) + 1) * _VALUE_BYTES * footer.num_rows + sum(
        c.total_uncompressed_size for c in read
    )
    if size_bytes > _MAX_BYTES:
        raise InvalidInput(
            "too_large",
            f"the file's {footer.num_rows:,} rows would take {size_bytes:,} bytes of memory, more than {_MAX_BYTES:,}; "
            "deliver it in several files",
        )


def _raw_row(names: Sequence[str]) -> pl.Expr:
    if not names:
        return pl.lit(None, pl.String).alias("raw")
    return pl.struct(names).struct.json_encode().alias("raw")


def _as_strings(values: pl.Series) -> pl.Series:
    if values.dtype.is_numeric() or values.dtype == pl.String:
        return values.cast(pl.String)
    return pl.Series([None if value is None else str(value) for value in values.to_list()], dtype=pl.String)
