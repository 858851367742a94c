"""Read the files of one date into Parquet parts on local disk, in memory that does not grow with the date."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.delimited import RawFile, iter_batches
from tnt_platform.services.reader_process import ReaderProcess
from tnt_platform.transit.batch import (
    FILE_SCHEMA,
    ParsedBatch,
    parse_batch,
    rejected_whole,
    whole_files,
)
from tnt_platform.transit.spec import TransitSpec
from tnt_platform.transit.transforms.cases import rejected_files

# A batch in flight holds about 130 MB; one more than the cores of a small task keeps them busy.
BATCHES_AT_ONCE = 3


@dataclass(frozen=True)
class ParsedFiles:
    """The parts of a date, and what each of its files held (FILE_SCHEMA)."""

    data: list[Path]
    quarantine: list[Path]
    files: pl.DataFrame

    def __add__(self, other: ParsedFiles) -> ParsedFiles:
        files = pl.concat([self.files, other.files])
        return ParsedFiles([*self.data, *other.data], [*self.quarantine, *other.quarantine], files)


def parse_files(
    spec: TransitSpec,
    contents: Iterable[tuple[str, bytes]],
    scratch: Path,
    *,
    isolate: bool,
    known: frozenset[str] = frozenset(),
) -> ParsedFiles:
    """Read every (key, bytes) and write its good and rejected rows as Parquet parts below `scratch`.

    A file whose sha256 is in `known` is published under another name: all its rows are duplicates.
    With `isolate`, each file is read alone in a child process: one that crashes or hangs the reader
    is quarantined whole (`reader_crashed`) and the others go through.
    """
    files = (RawFile(key, data) for key, data in contents)
    if isolate:
        with ReaderProcess() as reader:
            parsed = (_read_alone(reader, spec, file) for file in files)
            parts = [_written(one, known, scratch, number) for number, one in enumerate(parsed)]
    else:
        parts = list(_in_threads(lambda batch: parse_batch(spec, batch), iter_batches(files), known, scratch))
    counts = [part.files for part in parts]
    return ParsedFiles(
        data=[path for part in parts for path in part.data],
        quarantine=[path for part in parts for path in part.quarantine],
        files=pl.concat([pl.DataFrame(schema=FILE_SCHEMA), *counts]),
    )


def _read_alone(reader: ReaderProcess, spec: TransitSpec, file: RawFile) -> ParsedBatch:
    try:
        return reader.call(parse_batch, spec, [file])
    except InvalidInput as error:
        return rejected_whole(spec, [file], error.reason_code, str(error))


def _in_threads(
    parse: Callable[[list[RawFile]], ParsedBatch],
    batches: Iterable[list[RawFile]],
    known: frozenset[str],
    scratch: Path,
) -> Iterator[ParsedFiles]:
    """Parse and write a few batches at a time, in order: parts of a batch's work keep only one thread busy."""

    def parse_and_write(number: int, batch: list[RawFile]) -> ParsedFiles:
        return _written(parse(batch), known, scratch, number)

    with ThreadPoolExecutor(BATCHES_AT_ONCE) as pool:
        running: deque[Future[ParsedFiles]] = deque()
        for number, batch in enumerate(batches):
            if len(running) == BATCHES_AT_ONCE:
                yield running.popleft().result()
            running.append(pool.submit(parse_and_write, number, batch))
        while running:
            yield running.popleft().result()


def _written(parsed: ParsedBatch, known: frozenset[str], scratch: Path, number: int) -> ParsedFiles:
    parsed = _without_known(parsed, known)
    return ParsedFiles(
        data=_write_part(parsed.good, scratch / f"part-{number:05d}.parquet"),
        quarantine=_write_part(parsed.bad, scratch / f"quarantine-{number:05d}.parquet"),
        files=parsed.files,
    )


def _without_known(parsed: ParsedBatch, known: frozenset[str]) -> ParsedBatch:
    again = parsed.files.filter(pl.col("sha256").is_in(list(known)))
    if again.is_empty():
        return parsed
    is_again = pl.col("file_key").is_in(again["file_key"].to_list())
    none = pl.lit(0, pl.Int64)
    files = parsed.files.with_columns(
        rows_deduplicated=pl.when(is_again).then(pl.col("rows_in") - pl.col("rows_filtered")).otherwise(none),
        rows_out=pl.when(is_again).then(none).otherwise("rows_out"),
        rows_quarantined=pl.when(is_again).then(none).otherwise("rows_quarantined"),
        status=pl.when(is_again).then(pl.lit("duplicate")).otherwise("status"),
    )
    good = parsed.good.filter(~pl.col("file_key").cast(pl.String).is_in(again["file_key"].to_list()))
    return ParsedBatch(good, parsed.bad.filter(~is_again), files)


def with_unread_files(
    parsed: ParsedFiles, unread: pl.DataFrame, reason_code: str, scratch: Path
) -> ParsedFiles:
    """Add files that are not opened (key, problem): each is one row in, quarantined at line 0."""
    if unread.is_empty():
        return parsed
    path = scratch / f"quarantine-{reason_code}.parquet"
    keys = unread["key"].to_list()
    rejected_files(keys, reason_code, unread["problem"].to_list()).write_parquet(path)
    whole = whole_files(keys, [None] * unread.height)
    return ParsedFiles(parsed.data, [*parsed.quarantine, path], pl.concat([parsed.files, whole]))


def _write_part(frame: pl.DataFrame, path: Path) -> list[Path]:
    if frame.is_empty():
        return []
    # The fastest level: another one would save a tenth of the size and cost each write more than that is worth.
    frame.write_parquet(
        path,
        compression="zstd",
        compression_level=1,
        row_group_size=500_000,
        metadata=_file_metadata(tuple((name, _as_text(dtype)) for name, dtype in frame.schema.items())),
    )
    return [path]


def _as_text(dtype: pl.DataType) -> pl.DataType:
    """Return String for Enum: in a Parquet file they differ only in its metadata."""
    return pl.String() if isinstance(dtype, pl.Enum) else dtype


@lru_cache(maxsize=16)
def _file_metadata(schema: tuple[tuple[str, pl.DataType], ...]) -> dict[str, str]:
    """Return the metadata of a Parquet file with these columns, so that all parts of a dataset have the same."""
    file = io.BytesIO()
    pl.DataFrame(schema=dict(schema)).write_parquet(file)
    file.seek(0)
    return pl.read_parquet_metadata(file)
