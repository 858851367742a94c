"""How fast the API serves 1,000,000 records, beside a bare FastAPI endpoint that gives a fixed answer of the same size.

    python -m bench.web                     1,000,000 records, 20 s a measurement; a few minutes
    python -m bench.web --records 50000 --seconds 3

Requests are offered at fixed times, whether the ones before were answered or not, and a latency is counted from when a
request was due: a server that falls behind can't hide it. Client, server and bare endpoint run on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import polars as pl
import psutil

from tnt_platform.lake.versions import PartitionChange, RowCounts, VersionedStore
from tnt_platform.storage.objects import Objects
from tnt_platform.web.app import PREPARE_AFTER_S
from tnt_platform.web.cursors import cursor_of, filters_digest
from tnt_platform.web.records.table import RecordFilters

RESULTS = Path(__file__).parent / "results" / "web.json"
CLIENTS = 50
RATE = 300
PAGE_RECORDS = 50
WANTED = {"page_p99_ms": 50, "record_p99_ms": 20, "flat_out_ratio": 0.4, "ready_s": 3, "idle_rss_mb": 250}
PORT, BARE_PORT = 18801, 18802
BUCKETS = 16
_TEXT = "quia et suscipit suscipit recusandae consequuntur expedita et cum reprehenderit molestiae "


def publish(folder: Path, records: int, note: str = "") -> None:
    """Publish `records` posts; `note` changes one of them."""
    store = VersionedStore(
        Objects.open((folder / "lake").as_uri()),
        clock=lambda: datetime.now(UTC),
        entropy=os.urandom,
        code_version="bench",
        scratch=folder / "scratch",
    )
    number = pl.int_range(1, records + 1, eager=True).alias("n").to_frame()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    frame = number.select(
        pl.format("posts:{}", "n").alias("id"),
        pl.lit("posts").alias("source"),
        pl.col("n").cast(pl.String).alias("item_id"),
        pl.col("n").hash(1).cast(pl.String).str.pad_start(64, "0").alias("fingerprint"),
        *(
            pl.lit(at).dt.offset_by(pl.format("{}m", pl.col("n") % 400_000)).alias(c)
            for c in ("first_seen_at", "captured_at")
        ),
        pl.lit("raw/source=posts/date=2026-01-01/20260101T000000Z-0123456789abcdef.json").alias("raw_s3_key"),
        pl.col("n").alias("item_index"),
        (pl.col("n") % 1000).alias("userId"),
        pl.when(pl.col("n") == 1).then(pl.lit(note)).otherwise(pl.format("title {}", "n")).alias("title"),
        pl.format("{}{}", pl.lit(_TEXT), "n").alias("body"),
    )
    changes = []
    for bucket in range(BUCKETS):
        rows = frame.filter(pl.col("item_index") % BUCKETS == bucket)
        counts = RowCounts(rows.height, rows.height)
        changes.append(
            PartitionChange(f"bucket={bucket:02d}", rows, _ledger(rows.height), pl.DataFrame(), counts, note)
        )
    store.publish("posts", base=store.current("posts"), changes=changes, key=["id"])


def _ledger(rows: int) -> pl.DataFrame:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    row = {
        "key": "raw/x.json",
        "etag": "e",
        "size_bytes": 1,
        "last_modified": moment,
        "sha256": "0",
        "status": "accepted",
    }
    return pl.DataFrame([row | {"rows_in": rows, "rows_out": rows, "rows_quarantined": 0}])


@contextmanager
def serving(
    command: list[str], url: str, environment: dict[str, str]
) -> Iterator[tuple[psutil.Process, float]]:
    """A server process that answers at `url`, and the seconds until it did."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                urlopen(url).read()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.02)
        yield psutil.Process(process.pid), time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(20)


class Connection:
    """One keep-alive connection; as little work as possible, since the server shares its cores."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> bytes:
        """The body of a 200."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head[:200]
        lower = head.lower()
        start = lower.index(b"content-length:") + 15
        return await reader.readexactly(int(lower[start : lower.index(b"\r", start)]))


async def offered(port: int, path: Callable[[], str], seconds: float) -> list[float]:
    """Latencies in ms of requests that are due every 1/RATE s, sent by CLIENTS connections."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CLIENTS):
        idle.put_nowait(Connection(port))
    found: list[float] = []

    async def one(due: float) -> None:
        connection = await idle.get()
        await connection.get(path())
        found.append((time.perf_counter() - due) * 1e3)
        idle.put_nowait(connection)

    begin = time.perf_counter()
    tasks = []
    for number in range(int(RATE * seconds)):
        due = begin + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    return sorted(found)


async def flat_out(
    port: int, path: Callable[[], str], seconds: float, server: psutil.Process
) -> tuple[float, float]:
    """Requests a second when CLIENTS connections each send the next as soon as they have an answer.

    And the CPU time of the server for each, in µs, which other work on the machine does not blur.
    """
    before = sum(server.cpu_times()[:2])
    until = time.perf_counter() + seconds
    counts = [0] * CLIENTS

    async def client(number: int) -> None:
        connection = Connection(port)
        while time.perf_counter() < until:
            await connection.get(path())
            counts[number] += 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    used_s = sum(server.cpu_times()[:2]) - before
    return sum(counts) / seconds, used_s / sum(counts) * 1e6


def quantile(sorted_values: list[float], share: float) -> float:
    return round(sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))], 2)


def random_paths(records: int, version: str) -> tuple[Callable[[], str], Callable[[], str]]:
    """Pages from anywhere in the listing, and single records."""
    source = random.Random(1)
    digest = filters_digest(RecordFilters(), None, None)

    def page() -> str:
        after = ("posts", f"posts:{source.randrange(1, records)}")
        cursor = cursor_of({"posts": version}, digest, after).encode()
        return f"/records?limit={PAGE_RECORDS}&cursor={cursor}"

    return page, lambda: f"/records/posts:{source.randrange(1, records)}"


async def walk(port: int) -> tuple[int, float]:
    """Records seen when everything is paged, and the seconds it took."""
    connection, cursor, seen, started = Connection(port), "", set(), time.perf_counter()
    while cursor is not None:
        page = json.loads(await connection.get(f"/records?limit=500{cursor and '&cursor=' + cursor}"))
        before = len(seen)
        seen.update(record["id"] for record in page["items"])
        assert len(seen) == before + page["count"], "a record came twice"
        cursor = page["cursor"]
    return len(seen), time.perf_counter() - started


BARE = """
import sys, uvicorn
from fastapi import FastAPI
from starlette.responses import Response
app = FastAPI()
body = open(sys.argv[1], "rb").read()
@app.get("/fixed")
async def fixed() -> Response:
    return Response(body, media_type="application/json")
uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="error")
"""


def first_page(base: str) -> tuple[dict[str, Any], float]:
    """The first page of records, and the seconds it took."""
    started = time.perf_counter()
    found = json.loads(urlopen(f"{base}/records?limit={PAGE_RECORDS}").read())
    return found, time.perf_counter() - started


def wait_until_idle(server: psutil.Process, within_s: float = 60) -> None:
    """A server that was started makes its records ready; that ends when it uses no CPU any more."""
    until, before = time.perf_counter() + within_s, -1.0
    time.sleep(PREPARE_AFTER_S + 1)
    while time.perf_counter() < until:
        used_s = sum(server.cpu_times()[:2])
        if used_s - before < 0.02:
            return
        before = used_s
        time.sleep(1)


def measure(folder: Path, records: int, seconds: float) -> dict[str, float]:
    """All figures."""
    environment = {"TNT_HOME": str(folder), "TNT_LAKE_URL": (folder / "lake").as_uri()}
    command = [str(Path(sys.executable).with_name("tnt")), "serve", "--port", str(PORT)]
    base = f"http://127.0.0.1:{PORT}"
    with serving(command, f"{base}/health/live", environment):
        _, cold_s = first_page(base)
    with serving(command, f"{base}/health/live", environment) as (process, ready_s):
        wait_until_idle(process)
        idle_mb = process.memory_info().rss / 1e6
        first, first_s = first_page(base)
        page, record = random_paths(records, first["versions"]["posts"])
        asyncio.run(offered(PORT, page, 1))
        pages = asyncio.run(offered(PORT, page, seconds))
        singles = asyncio.run(offered(PORT, record, seconds))
        ours, ours_us = asyncio.run(flat_out(PORT, page, min(seconds, 8), process))
        single, single_us = asyncio.run(flat_out(PORT, record, min(seconds, 8), process))
        sample = folder / "page.json"
        sample.write_bytes(urlopen(base + page()).read())
        bare_command = [sys.executable, "-c", BARE, str(sample), str(BARE_PORT)]
        with serving(bare_command, f"http://127.0.0.1:{BARE_PORT}/fixed", {}) as (bare_process, _):
            bare, bare_us = asyncio.run(flat_out(BARE_PORT, lambda: "/fixed", min(seconds, 8), bare_process))
        walked, walk_s = _walk_while_publishing(folder, records)
        loaded = process.memory_info()
        anonymous_mb = next(
            int(line.split()[1]) / 1e3
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            if line.startswith("RssAnon")
        )
    return {
        "records": records,
        "ready_s": round(ready_s, 2),
        "idle_rss_mb": round(idle_mb),
        "first_page_at_once_s": round(cold_s, 2),
        "first_page_s": round(first_s, 2),
        "page_bytes": sample.stat().st_size,
        "page_p50_ms": quantile(pages, 0.5),
        "page_p99_ms": quantile(pages, 0.99),
        "record_p50_ms": quantile(singles, 0.5),
        "record_p99_ms": quantile(singles, 0.99),
        "flat_out_pages_per_s": round(ours),
        "flat_out_records_per_s": round(single),
        "bare_fastapi_per_s": round(bare),
        "flat_out_ratio": round(ours / bare, 2),
        "page_cpu_us": round(ours_us),
        "record_cpu_us": round(single_us),
        "bare_cpu_us": round(bare_us),
        "walked_records": walked,
        "walk_s": round(walk_s, 1),
        "loaded_rss_mb": round(loaded.rss / 1e6),
        "loaded_anonymous_mb": round(anonymous_mb),
    }


def _walk_while_publishing(folder: Path, records: int) -> tuple[int, float]:
    """Page everything while another process publishes a new version."""
    publishing = f"publish(Path({str(folder)!r}), {records}, 'changed')"
    code = f"from bench.web import publish; from pathlib import Path; {publishing}"
    writer = subprocess.Popen([sys.executable, "-c", code])
    try:
        return asyncio.run(walk(PORT))
    finally:
        assert writer.wait() == 0


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-web-") as name:
        publish(Path(name), arguments.records)
        found = measure(Path(name), arguments.records, arguments.seconds)
    for key, value in found.items():
        wanted = WANTED.get(key)
        print(
            f"{key:24} {value:>12,}"
            + (f"   wanted {'>=' if 'ratio' in key else '<'} {wanted}" if wanted else "")
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
