"""Clients that stop reading: what they hold, for how long, and who notices."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import polars as pl
import pytest

from tnt_platform.web import server
from tnt_platform.web.downloads import MAX_DOWNLOADS
from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import Lake
from tnt_platform_tests.web.waiting import eventually

pytestmark = pytest.mark.heavy
STALLED_S = 5
ROWS = 300_000
DOWNLOAD = "/datasets/large/data?format=csv"


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that gives up soon, with more to download than any socket takes."""
    monkeypatch.setattr(server, "STALLED_TIMEOUT_S", STALLED_S)
    lake = Lake(tmp_path)
    number = pl.int_range(ROWS, eager=True).alias("n").to_frame()
    lake.publish("large", {"whole": number.with_columns(text=pl.format("{}" + "x" * 100, "n"))}, ["n"])
    with running(lake.environment) as url:
        yield url


def stalled(address: str) -> socket.socket:
    """A connection that asks for the download and reads its first bytes only."""
    parts = urlsplit(address)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect((parts.hostname, parts.port))
    connection.sendall(f"GET {DOWNLOAD} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    return connection


def test_clients_that_stop_reading_hold_their_downloads_only_for_a_while(large: str) -> None:
    with ExitStack() as opened, httpx.Client(base_url=large, timeout=120) as client:
        for _ in range(MAX_DOWNLOADS):
            opened.enter_context(stalled(large))
        full = client.get(DOWNLOAD)
        assert (full.status_code, full.headers["retry-after"]) == (503, "10")
        assert client.get("/datasets/large/data?limit=500").status_code == 200, "all else is served"
        eventually(lambda: client.head(DOWNLOAD).status_code == 200, within_s=90)
        whole = client.get(DOWNLOAD)
        assert whole.status_code == 200
        assert whole.text.count("\n") == ROWS + 1


def test_a_client_that_reads_slowly_gets_everything(large: str) -> None:
    with httpx.Client(base_url=large, timeout=120) as client, client.stream("GET", DOWNLOAD) as answer:
        size, pauses = 0, 0
        for piece in answer.iter_bytes(1 << 20):
            size += len(piece)
            if pauses < 5:
                pauses += 1
                # Much shorter than what counts as stalled, longer than it in sum.
                time.sleep(STALLED_S * 0.25)
        assert size == len("n,text\n") + sum(len(f"{n},{n}") + 101 for n in range(ROWS))
