"""The tables that a version keeps about itself, and Parquet whose bytes depend on its rows alone."""

from __future__ import annotations

import ast
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.errors import PermanentError

ROW_GROUP_ROWS = 131_072
UTC_TIME = pl.Datetime("us", "UTC")
WATERMARKS = pl.List(pl.Struct({"name": pl.String, "at": UTC_TIME}))

# One row per live data file; `schema` is JSON, column -> polars type; key_min and key_max are of the first key column.
FILES: dict[str, pl.DataType] = {
    "path": pl.String(),
    "partition": pl.String(),
    "rows": pl.Int64(),
    "size_bytes": pl.Int64(),
    "sha256": pl.String(),
    "key_min": pl.String(),
    "key_max": pl.String(),
    "version": pl.String(),
    "schema": pl.String(),
}
# One row per partition; added, updated and removed are the row counts of its last change.
PARTITIONS: dict[str, pl.DataType] = {
    "partition": pl.String(),
    "changed_by": pl.String(),
    "changed_at": UTC_TIME,
    "inputs_digest": pl.String(),
    "rows_in": pl.Int64(),
    "published": pl.Int64(),
    "quarantined": pl.Int64(),
    "deduplicated": pl.Int64(),
    "filtered": pl.Int64(),
    "watermark": UTC_TIME,
    "watermarks": WATERMARKS,
    "files": pl.Int64(),
    "size_bytes": pl.Int64(),
    "added": pl.Int64(),
    "updated": pl.Int64(),
    "removed": pl.Int64(),
    "ledger_path": pl.String(),
    "ledger_sha256": pl.String(),
    "quarantine_path": pl.String(),
    "quarantine_sha256": pl.String(),
    "quarantine_digest": pl.String(),
}
LEDGER: dict[str, pl.DataType] = {
    "key": pl.String(),
    "etag": pl.String(),
    "size_bytes": pl.Int64(),
    "last_modified": UTC_TIME,
    "sha256": pl.String(),
    "status": pl.String(),
    "rows_in": pl.Int64(),
    "rows_out": pl.Int64(),
    "rows_quarantined": pl.Int64(),
}
QUARANTINE: dict[str, pl.DataType] = {
    "file_key": pl.String(),
    "line_no": pl.Int64(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
    "first_seen_at": UTC_TIME,
}


def conform(frame: pl.LazyFrame, schema: Mapping[str, pl.DataType], *, what: str) -> pl.LazyFrame:
    """Return `frame` with the columns of `schema` first, cast to its types; other columns follow.

    Raises:
        PermanentError: a column is missing (a frame without columns counts as empty).
    """
    present = frame.collect_schema().names()
    if not present:
        return pl.LazyFrame(schema=schema)
    missing = [name for name in schema if name not in present]
    if missing:
        raise PermanentError(f"{what} lacks the columns {missing}; it has {present}")
    extra = [name for name in present if name not in schema]
    return frame.select(*(pl.col(name).cast(dtype) for name, dtype in schema.items()), *extra)


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """Encode the frame as Parquet; the same rows give the same bytes."""
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, compression="zstd", row_group_size=ROW_GROUP_ROWS)
    return buffer.getvalue()


def sink_parquet(frame: pl.LazyFrame, path: Path) -> None:
    """Stream the rows into a local Parquet file, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.sink_parquet(path, compression="zstd", row_group_size=ROW_GROUP_ROWS, maintain_order=True)


def read_parquet(data: bytes, columns: list[str] | None = None) -> pl.DataFrame:
    """Read Parquet bytes."""
    return pl.read_parquet(io.BytesIO(data), columns=columns)


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of `data`, in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def total(numbers: pl.Series) -> int:
    """Sum a column of integers."""
    return int(numbers.sum())


def content_digest(frame: pl.LazyFrame, *, ignoring: Iterable[str] = ()) -> str:
    """Compute a digest of the rows that does not depend on their order, in streaming memory.

    Row hashes are stable within one polars version. After an upgrade, equal content may look changed once: this
    costs one version without new data, and never hides a change.
    """
    skipped = set(ignoring)
    columns = sorted(name for name in frame.collect_schema().names() if name not in skipped)
    row = pl.struct(columns)
    sums = frame.select(pl.len(), a=row.hash(0).sum(), b=row.hash(1).sum()).collect(engine="streaming").row(0)
    return sha256_of(json.dumps([columns, *sums]).encode())


def schema_json(schema: Mapping[str, pl.DataType]) -> str:
    """Write a schema as a JSON object, column -> type."""
    return json.dumps({name: str(dtype) for name, dtype in schema.items()})


def parse_schema(text: str) -> pl.Schema:
    """Read what `schema_json` wrote."""
    return named_schema(json.loads(text))


def named_schema(columns: Mapping[str, str]) -> pl.Schema:
    """Build the schema of column -> type name.

    Raises:
        PermanentError: polars has no type of that name.
    """
    return pl.Schema({name: _dtype(dtype) for name, dtype in columns.items()})


def merged_schema(schemas: Iterable[pl.Schema]) -> pl.Schema:
    """Return every column of `schemas`, in order of appearance, with a type that holds all of its values."""
    frames = [pl.DataFrame(schema=schema) for schema in schemas]
    return pl.concat(frames, how="diagonal_relaxed").schema if frames else pl.Schema()


def _dtype(text: str) -> pl.DataType:
    try:
        built = _build(ast.parse(text, mode="eval").body)
        # "Int64" is a class, "List(Int64)" an instance: both are types to polars.
        dtype = built() if isinstance(built, type) else built
    except (SyntaxError, TypeError, ValueError, AttributeError) as error:
        raise PermanentError(f"{text!r} is not a polars type") from error
    if not isinstance(dtype, pl.DataType):
        raise PermanentError(f"{text!r} is not a polars type")
    return dtype


def _build(node: ast.expr) -> Any:
    # Only type names, their arguments and literals: a manifest is data and must never run as code.
    if isinstance(node, ast.Name):
        found = getattr(pl, node.id)
        if not (isinstance(found, type) and issubclass(found, pl.DataType)):
            raise ValueError(node.id)
        return found
    if isinstance(node, ast.Call):
        keywords = {str(pair.arg): _build(pair.value) for pair in node.keywords}
        return _build(node.func)(*map(_build, node.args), **keywords)
    if isinstance(node, ast.Dict):
        return {ast.literal_eval(k): _build(v) for k, v in zip(node.keys, node.values, strict=True) if k}
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(map(_build, node.elts)) if isinstance(node, ast.Tuple) else list(map(_build, node.elts))
    return ast.literal_eval(node)
