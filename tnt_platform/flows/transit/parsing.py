"""Files of one date -> Parquet parts on local disk, batch by batch, in memory that does not grow with the date."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tnt_platform.errors import InvalidInput, TntError
from tnt_platform.flows.transit.spec import FileLayout, TransitSpec
from tnt_platform.readers.delimited import RawFile, iter_batches, read_rows
from tnt_platform.transforms.columns import output_schema, parse_columns
from tnt_platform.transforms.transit import QUARANTINE_SCHEMA, as_quarantine, refused_files

# One file alone in a child process may take this long before it counts as the one that breaks the run.
ISOLATED_TIMEOUT_S = 600
READER_CRASHED = "reader_crashed"
# Each batch in work holds about 120 MB; one more than the cores of a small task keeps them busy.
BATCHES_AT_ONCE = 3

FILE_SCHEMA: dict[str, pl.DataType] = {
    "file_key": pl.String(),
    "sha256": pl.String(),
    "rows_in": pl.Int64(),
    "rows_out": pl.Int64(),
    "rows_quarantined": pl.Int64(),
    "rows_filtered": pl.Int64(),
    "rows_deduplicated": pl.Int64(),
    "status": pl.String(),
    "encoding": pl.String(),
}


@dataclass(frozen=True)
class ParsedBatch:
    """Typed rows, refused rows and what each file of the batch held."""

    good: pl.DataFrame
    bad: pl.DataFrame
    files: pl.DataFrame


@dataclass(frozen=True)
class ParsedFiles:
    """Where the parts of a date were written, and what each file held (FILE_SCHEMA)."""

    data: list[Path]
    quarantine: list[Path]
    files: pl.DataFrame


def shipments_schema(spec: TransitSpec) -> dict[str, pl.DataType]:
    """Columns of `<dataset>/shipments`: where the row came from, what the key says, what the row says."""
    named = {name: pl.Utf8() for name in _key_fields(spec)}
    columns = output_schema(spec.layouts[0].columns)
    return {"file_key": pl.Utf8(), "line_no": pl.Int64(), **named, **columns}


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
    return ParsedBatch(parsed.good.filter(~is_again), parsed.bad.filter(~is_again), files)


def with_unread_files(parsed: ParsedFiles, odd: pl.DataFrame, reason_code: str, scratch: Path) -> ParsedFiles:
    """Add files that are not even opened (key, problem): each is one row in, quarantined at line 0."""
    if odd.is_empty():
        return parsed
    path = scratch / f"quarantine-{reason_code}.parquet"
    keys = odd["key"].to_list()
    refused_files(keys, reason_code, odd["problem"].to_list()).write_parquet(path)
    whole = _whole_files(keys, [None] * odd.height)
    return ParsedFiles(parsed.data, [*parsed.quarantine, path], pl.concat([parsed.files, whole]))


def parse_batch(spec: TransitSpec, batch: Sequence[RawFile]) -> ParsedBatch:
    """Pure: the files of one batch -> typed rows, refused rows, counts by file."""
    good: list[pl.DataFrame] = []
    bad: list[pl.DataFrame] = [pl.DataFrame(schema=QUARANTINE_SCHEMA)]
    files: list[pl.DataFrame] = []
    by_layout: dict[int, list[RawFile]] = {}
    for file in batch:
        layout = spec.layout_of(file.key)
        by_layout.setdefault(spec.layouts.index(layout) if layout else -1, []).append(file)
    for index, members in by_layout.items():
        parsed = _no_layout(spec, members) if index < 0 else _parse_layout(spec, spec.layouts[index], members)
        good.append(parsed.good)
        bad.append(parsed.bad)
        files.append(parsed.files)
    empty = pl.DataFrame(schema=shipments_schema(spec))
    return ParsedBatch(pl.concat([empty, *good]), pl.concat(bad), pl.concat(files))


def _parse_layout(spec: TransitSpec, layout: FileLayout, members: Sequence[RawFile]) -> ParsedBatch:
    rows = read_rows(members, layout.layout)
    typed, refused = parse_columns(rows.good_cells, layout.columns)
    named = {"file_key": pl.Utf8, **dict.fromkeys(_key_fields(spec), pl.Utf8)}
    attributes = pl.DataFrame([{"file_key": f.key, **_fields_of(spec, f.key)} for f in members], schema=named)
    good = typed.join(attributes, on="file_key", how="left", maintain_order="left")
    bad = pl.concat([as_quarantine(rows.bad), as_quarantine(refused)])
    return ParsedBatch(
        good.select(list(shipments_schema(spec))),
        bad,
        _count_files(members, rows.files, good, bad),
    )


def _count_files(
    members: Sequence[RawFile], read: pl.DataFrame, good: pl.DataFrame, bad: pl.DataFrame
) -> pl.DataFrame:
    hashes = pl.DataFrame(
        {"file_key": [f.key for f in members], "sha256": [_sha256(f.data) for f in members]}
    )
    counts = (
        hashes.join(
            read.select("file_key", "rows_in", rows_filtered="blank_lines", encoding="encoding"),
            on="file_key",
            how="left",
        )
        .join(good.group_by("file_key").agg(rows_out=pl.len()), on="file_key", how="left")
        .join(bad.group_by("file_key").agg(rows_quarantined=pl.len()), on="file_key", how="left")
        .with_columns(
            pl.col("rows_in", "rows_out", "rows_quarantined", "rows_filtered").fill_null(0),
            rows_deduplicated=pl.lit(0),
            status=pl.lit("accepted"),
        )
    )
    return counts.select(list(FILE_SCHEMA)).cast(pl.Schema(FILE_SCHEMA))


def _no_layout(spec: TransitSpec, members: Sequence[RawFile]) -> ParsedBatch:
    globs = ", ".join(layout.files for layout in spec.layouts)
    reason = (
        f"no layout of {spec.name} fits this name (known: {globs}); rename it or add a layout to the YAML"
    )
    return _refused_whole(spec, members, "unknown_kind_of_file", reason)


def _refused_whole(spec: TransitSpec, members: Sequence[RawFile], code: str, reason: str) -> ParsedBatch:
    """A file that can't be read at all is itself one row in and one row quarantined, at line 0."""
    keys = [file.key for file in members]
    bad = refused_files(keys, code, reason)
    files = _whole_files(keys, [_sha256(file.data) for file in members])
    return ParsedBatch(pl.DataFrame(schema=shipments_schema(spec)), bad, files)


def _whole_files(keys: Sequence[str], hashes: Sequence[str | None]) -> pl.DataFrame:
    counts = {"rows_in": 1, "rows_out": 0, "rows_quarantined": 1, "rows_filtered": 0, "rows_deduplicated": 0}
    return pl.DataFrame(
        {"file_key": keys, "sha256": hashes, **counts, "status": "accepted", "encoding": None},
        schema=FILE_SCHEMA,
    )


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
        return _refused_whole(spec, [file], code, f"{said}; look at the file, then run the date again")

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
    frame.write_parquet(path, compression="zstd", compression_level=1, row_group_size=500_000)
    return [path]


def _key_fields(spec: TransitSpec) -> list[str]:
    return [name for name in spec.source.key_pattern.groupindex if name != "date"]


def _fields_of(spec: TransitSpec, key: str) -> dict[str, str | None]:
    found = spec.source.key_pattern.fullmatch(key)
    return {name: found[name] if found else None for name in _key_fields(spec)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
