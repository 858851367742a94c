"""Stream all rows of a selection as one file."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from threading import BoundedSemaphore

import polars as pl
from starlette.responses import Response, StreamingResponse

from tnt_platform.web.catalog import Catalog
from tnt_platform.web.context import Work
from tnt_platform.web.problems import Problem
from tnt_platform.web.rows import csv_column, json_rows, read_version
from tnt_platform.web.selection import Selection

MAX_DOWNLOADS = 6
_BATCH_ROWS = 20_000
_READ_BYTES = 1 << 20
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}
_SLOTS = BoundedSemaphore(MAX_DOWNLOADS)


async def download(
    work: Work, catalog: Catalog, selection: Selection, kind: str, scratch: Path, etag: str
) -> Response:
    """Return the file as a stream; most failures happen before its first byte.

    Raises:
        Problem: 503, too many downloads are in flight; 410, the version expired in the meantime.
    """
    if not _SLOTS.acquire(blocking=False):
        headers = {"retry-after": "10"}
        detail = f"{MAX_DOWNLOADS} downloads are in flight; try again later"
        raise Problem(503, "busy", detail, headers=headers)
    try:
        pieces = _CONTENT[kind](selection, scratch)
        first = await work.run(read_version, catalog, selection.snapshot, lambda: next(pieces, b""))
    except BaseException:
        _SLOTS.release()
        raise
    name = f"{selection.snapshot.dataset.replace('/', '-')}-{selection.snapshot.version}.{kind}"
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "etag": etag,
        "cache-control": "private, no-cache",
    }
    return StreamingResponse(_stream(work, first, pieces), headers=headers, media_type=MEDIA_TYPES[kind])


async def _stream(work: Work, first: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Make each piece when the one before was sent, so that a client that stops reading costs one piece."""
    try:
        yield first
        while (piece := await work.run(next, pieces, b"")) != b"":
            yield piece
    finally:
        _SLOTS.release()


def _csv(selection: Selection, _: Path) -> Iterator[bytes]:
    rows = selection.scan()
    cells = rows.select(csv_column(name, dtype) for name, dtype in rows.collect_schema().items())
    yield pl.DataFrame(schema=cells.collect_schema()).write_csv().encode()
    for batch in cells.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
        yield from _pieces(batch.write_csv(include_header=False).encode())


def _json(selection: Selection, _: Path) -> Iterator[bytes]:
    before = "[\n"
    for batch in json_rows(selection.scan()).collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
        if batch.height:
            yield from _pieces((before + ",\n".join(batch["body"])).encode())
            before = ",\n"
    yield b"\n]\n" if before == ",\n" else b"[]\n"


def _parquet(selection: Selection, scratch: Path) -> Iterator[bytes]:
    """Write to disk first, because the index of a Parquet file is at its end."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=scratch, prefix="download-", suffix=".parquet") as file:
        selection.scan().sink_parquet(file.name, compression="zstd", maintain_order=True)
        with Path(file.name).open("rb") as written:
            yield from iter(lambda: written.read(_READ_BYTES), b"")


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + _READ_BYTES] for start in range(0, len(body), _READ_BYTES))


_CONTENT: dict[str, Callable[[Selection, Path], Iterator[bytes]]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
}
