"""DatasetFrames as JSON, and reads of versions whose files may be gone by now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import polars as pl
from polars.exceptions import ComputeError

from tnt_platform.errors import NotFound
from tnt_platform.lake import naming
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import Catalog, expired

T = TypeVar("T")


def json_rows(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Return one column `body`: each row as a JSON object; values without a JSON form become strings or null."""
    schema = frame.collect_schema()
    if not schema:
        return frame.select(pl.lit("{}").alias("body"))
    return frame.select(
        pl.struct(json_column(name, dtype) for name, dtype in schema.items()).alias("body")
    ).select(pl.col("body").struct.json_encode())


def json_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """Convert a column to a type that JSON has."""
    column = pl.col(name)
    if dtype == pl.Binary:
        return column.bin.encode("hex")
    if isinstance(dtype, pl.Duration | pl.Decimal | pl.Time):
        return column.cast(pl.String)
    if dtype.is_float():
        return pl.when(column.is_finite()).then(column)
    return column


def csv_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """Convert a column to CSV cells; lists and structs become JSON text."""
    if dtype.is_nested():
        wrapped = pl.struct(pl.col(name)).struct.json_encode()
        return pl.when(pl.col(name).is_not_null()).then(wrapped).alias(name)
    return json_column(name, dtype)


def json_array(bodies: list[str]) -> str:
    """Join JSON objects to an array."""
    return "[" + ",".join(bodies) + "]"


def bodies(frame: pl.DataFrame) -> list[str]:
    """Return each row as JSON text."""
    return json_rows(frame.lazy()).collect()["body"].to_list()


def read_version(catalog: Catalog, snapshot: Snapshot, read: Callable[[], T]) -> T:
    """Return the result of `read`, which reads the files of `snapshot`.

    Raises:
        Problem: 410, its files were deleted since it was opened.
    """
    try:
        return read()
    except (NotFound, OSError, ComputeError) as error:
        if catalog.objects.exists(naming.manifest_key(snapshot.dataset, snapshot.version)):
            raise
        catalog.forget(snapshot)
        raise expired(catalog.current(snapshot.dataset), snapshot.version) from error
