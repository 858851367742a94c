"""Files of one date -> Parquet parts on local disk, batch by batch, in memory that does not grow with the date."""

from __future__ import annotations

import io
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from tnt_platform.errors import InvalidInput, TntError
from tnt_platform.readers.delimited import RawFile, iter_batches
from tnt_platform.transit.batch import (
    FILE_SCHEMA,
    ParsedBatch,
    parse_batch,
    refused_whole,
    whole_files,
)
from tnt_platform.transit.spec import TransitSpec
from tnt_platform.transit.transforms.transit import refused_files

# One file alone in a child process may take this long before it counts as the one that breaks the run.
ISOLATED_TIMEOUT_S = 600
READER_CRASHED = "reader_crashed"
# Each batch in work holds about 130 MB; one more than the cores of a small task keeps them busy.
BATCHES_AT_ONCE = 3


@dataclass(frozen=True)
class ParsedFiles:
    """Where the parts of a date were written, and what each file held (FILE_SCHEMA)."""

    data: list[Path]
    quarantine: list[Path]
    files: pl.DataFrame


def parse_files(
    spec: TransitSpec,
    contents: Iterable[tuple[str, bytes]],
    scratch: Path,
    *,
    isolate: bool,
    known: frozenset[str] = frozenset(),
) -> ParsedFiles:
    """Read every (key, bytes) and write good and refused rows as Parquet parts under `scratch`.

    A file whose sha256 is in `known` was published under another name: all its rows are duplicates.
    With `isolate`, each file is read alone, in a child process: one that crashes or hangs the reader
    is quarantined whole (`reader_crashed`) and the others go through.
    """
    files = (RawFile(key, data) for key, data in contents)
    if isolate:
        with _ReaderProcess() as reader:
            parts = [_written(reader.read(spec, file), known, scratch, n) for n, file in enumerate(files)]
    else:
        parts = list(_in_threads(lambda batch: parse_batch(spec, batch), iter_batches(files), known, scratch))
    counts = [part.files for part in parts]
    return ParsedFiles(
        data=[path for part in parts for path in part.data],
        quarantine=[path for part in parts for path in part.quarantine],
        files=pl.concat([pl.DataFrame(schema=FILE_SCHEMA), *counts]),
    )


def _in_threads(
    parse: Callable[[list[RawFile]], ParsedBatch],
    batches: Iterable[list[RawFile]],
    known: frozenset[str],
    scratch: Path,
) -> Iterator[ParsedFiles]:
    """Parse and write a few batches at a time, in order: polars leaves part of each batch to one thread."""
    with ThreadPoolExecutor(BATCHES_AT_ONCE) as pool:
        running: deque[Future[ParsedFiles]] = deque()
        for number, batch in enumerate(batches):
            if len(running) == BATCHES_AT_ONCE:
                yield running.popleft().result()
            running.append(pool.submit(_parsed_and_written, parse, batch, known, scratch, number))
        while running:
            yield running.popleft().result()


def _parsed_and_written(
    parse: Callable[[list[RawFile]], ParsedBatch],
    batch: list[RawFile],
    known: frozenset[str],
    scratch: Path,
    number: int,
) -> ParsedFiles:
    return _written(parse(batch), known, scratch, number)


def _written(parsed: ParsedBatch, known: frozenset[str], scratch: Path, number: int) -> ParsedFiles:
    kept = _without_known(parsed, known)
    return ParsedFiles(
        data=_write_part(kept.good, scratch / f"part-{number:05d}.parquet"),
        quarantine=_write_part(kept.bad, scratch / f"quarantine-{number:05d}.parquet"),
        files=kept.files,
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


def with_unread_files(parsed: ParsedFiles, odd: pl.DataFrame, reason_code: str, scratch: Path) -> ParsedFiles:
    """Add files that are not even opened (key, problem): each is one row in, quarantined at line 0."""
    if odd.is_empty():
        return parsed
    path = scratch / f"quarantine-{reason_code}.parquet"
    keys = odd["key"].to_list()
    refused_files(keys, reason_code, odd["problem"].to_list()).write_parquet(path)
    whole = whole_files(keys, [None] * odd.height)
    return ParsedFiles(parsed.data, [*parsed.quarantine, path], pl.concat([parsed.files, whole]))


class _ReaderProcess:
    """A child process that reads one file at a time; one that a file has broken is replaced by another."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> _ReaderProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def read(self, spec: TransitSpec, file: RawFile) -> ParsedBatch:
        self._pool = self._pool or ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        code = READER_CRASHED
        try:
            return self._pool.submit(parse_batch, spec, [file]).result(timeout=ISOLATED_TIMEOUT_S)
        except InvalidInput as error:
            code, said = error.reason_code, str(error)
        except TntError:
            raise
        except TimeoutError:
            self._stop()
            said = f"reading this file alone took more than {ISOLATED_TIMEOUT_S} s"
        except BrokenProcessPool:
            self._stop()
            said = "the process that read this file alone was killed, most likely by its memory use"
        except Exception as error:  # noqa: BLE001  (whatever the file did to the reader, the others must go on)
            said = f"reading this file alone failed: {type(error).__name__}: {error}"
        return refused_whole(spec, [file], code, f"{said}; look at the file, then run the date again")

    def _stop(self) -> None:
        if self._pool is None:
            return
        for process in (self._pool._processes or {}).values():  # no public way to stop one that hangs
            process.kill()
        self._pool.shutdown()
        self._pool = None


def _write_part(frame: pl.DataFrame, path: Path) -> list[Path]:
    if frame.is_empty():
        return []
    # The fastest level: a part is read far more often than it is worth another tenth of its size.
    frame.write_parquet(
        path,
        compression="zstd",
        compression_level=1,
        row_group_size=500_000,
        metadata=_told(tuple((name, _as_text(dtype)) for name, dtype in frame.schema.items())),
    )
    return [path]


def _as_text(dtype: pl.DataType) -> pl.DataType:
    """String for Enum: to a reader of Parquet these differ in nothing but what the file says of itself."""
    return pl.String() if isinstance(dtype, pl.Enum) else dtype


@lru_cache(maxsize=16)
def _told(schema: tuple[tuple[str, pl.DataType], ...]) -> dict[str, str]:
    """What a Parquet file of these columns says of them; all parts of a dataset say the same."""
    told = io.BytesIO()
    pl.DataFrame(schema=dict(schema)).write_parquet(told)
    told.seek(0)
    return pl.read_parquet_metadata(told)
