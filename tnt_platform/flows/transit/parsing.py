"""Files of one date -> Parquet parts on local disk, batch by batch, in memory that does not grow with the date."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tnt_platform.errors import TntError
from tnt_platform.flows.transit.spec import FileLayout, TransitSpec
from tnt_platform.readers.delimited import RawFile, read_rows
from tnt_platform.transforms.columns import output_schema, parse_columns
from tnt_platform.transforms.transit import QUARANTINE_SCHEMA, as_quarantine, refused_files

# One file alone in a child process may take this long before it counts as the one that breaks the run.
ISOLATED_TIMEOUT_S = 600
READER_CRASHED = "reader_crashed"

FILE_SCHEMA = {
    "file_key": pl.Utf8,
    "sha256": pl.Utf8,
    "rows_in": pl.Int64,
    "rows_out": pl.Int64,
    "rows_quarantined": pl.Int64,
    "rows_filtered": pl.Int64,
    "rows_deduplicated": pl.Int64,
    "status": pl.Utf8,
    "encoding": pl.Utf8,
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
    With `isolate`, each file is read alone in a child process: one that crashes or hangs the reader
    is quarantined whole (`reader_crashed`) and the others go through.
    """
    data: list[Path] = []
    quarantine: list[Path] = []
    files: list[pl.DataFrame] = [pl.DataFrame(schema=FILE_SCHEMA)]
    read = _read_alone if isolate else parse_batch
    for number, batch in enumerate(_batches(contents, 1 if isolate else spec.batch_bytes)):
        parsed = _without_known(read(spec, batch), known)
        files.append(parsed.files)
        _write_part(parsed.good, scratch / f"part-{number:05d}.parquet", data)
        _write_part(parsed.bad, scratch / f"quarantine-{number:05d}.parquet", quarantine)
    return ParsedFiles(data, quarantine, pl.concat(files))


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


def with_unreadable_names(parsed: ParsedFiles, odd: pl.DataFrame, scratch: Path) -> ParsedFiles:
    """Add the files whose very name can't be read (key, problem): each is one row in, quarantined at line 0."""
    if odd.is_empty():
        return parsed
    path = scratch / "quarantine-names.parquet"
    keys = odd["key"].to_list()
    refused_files(keys, "unrecognised_name", odd["problem"].to_list()).write_parquet(path)
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
    typed, refused = parse_columns(rows.good, layout.columns)
    attributes = pl.DataFrame([{"file_key": f.key, **_fields_of(spec, f.key)} for f in members])
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
    return counts.select(list(FILE_SCHEMA)).cast(FILE_SCHEMA)


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


def _read_alone(spec: TransitSpec, batch: Sequence[RawFile]) -> ParsedBatch:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(parse_batch, spec, batch).result(timeout=ISOLATED_TIMEOUT_S)
        except TntError:
            raise
        except TimeoutError:
            for process in pool._processes.values():  # no public way to stop one that hangs
                process.kill()
            said = f"reading this file alone took more than {ISOLATED_TIMEOUT_S} s"
        except BrokenProcessPool:
            said = "the process that read this file alone was killed, most likely by its memory use"
        except Exception as error:  # noqa: BLE001  (whatever the file did to the reader, the others must go on)
            said = f"reading this file alone failed: {type(error).__name__}: {error}"
    return _refused_whole(spec, batch, READER_CRASHED, f"{said}; look at the file, then run the date again")


def _batches(contents: Iterable[tuple[str, bytes]], max_bytes: int) -> Iterator[list[RawFile]]:
    batch: list[RawFile] = []
    size_bytes = 0
    for key, data in contents:
        batch.append(RawFile(key, data))
        size_bytes += len(data)
        if size_bytes >= max_bytes:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _write_part(frame: pl.DataFrame, path: Path, parts: list[Path]) -> None:
    if not frame.is_empty():
        frame.write_parquet(path, compression="zstd", row_group_size=500_000)
        parts.append(path)


def _key_fields(spec: TransitSpec) -> list[str]:
    return [name for name in spec.source.key_pattern.groupindex if name != "date"]


def _fields_of(spec: TransitSpec, key: str) -> dict[str, str | None]:
    found = spec.source.key_pattern.fullmatch(key)
    return {name: found[name] if found else None for name in _key_fields(spec)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
