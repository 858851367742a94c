"""Emulate the sites of publishers over HTTP: the files of a folder, with faults on demand.

Files have a strong ETag and a Last-Modified date; a conditional GET of an unchanged file returns 304, and a missing
file 404. `?fault=truncated` adds a fault to one request, `&first=2` only to the first two of a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import ETag, web

from tnt_platform.errors import ConfigError
from tnt_platform.sandbox.emulator import app_runner, running_emulator

START_TIMEOUT_S = 10
LYING_PAUSE_S = 0.2
KINDS = (
    "server_error",  # 500
    "throttle",  # 429, with Retry-After if retry_after_s is set
    "slow",  # half of the file, then nothing for slow_s
    "truncated",  # half of the file, then the connection is closed
    "html",  # 200 with a web page instead of the file
    "lying_length",  # Content-Length says half, so half arrives and looks complete
    "endless",  # never stops sending
)
PAGE = b"<!DOCTYPE html><html><head><title>Mantenimiento</title></head><body>Volvemos pronto.</body></html>"


@dataclass
class DownloadFaults:
    """The current fault: `kind` is one of KINDS, or None for no fault.

    `first`: affect only this many requests of each path; None: all of them.
    """

    kind: str | None = None
    first: int | None = None
    slow_s: float = 30.0
    retry_after_s: int | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ConfigError(f"unknown fault {self.kind!r}; available: {', '.join(KINDS)}")


@dataclass
class RunningDownloads:
    """A running server; `url` has no trailing slash. `answers` counts (path, status) since the start."""

    url: str
    faults: DownloadFaults
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)


@contextlib.contextmanager
def running_downloads(
    folder: Path, faults: DownloadFaults | None = None, *, port: int = 0
) -> Iterator[RunningDownloads]:
    """Run the server in a thread of this process, on a free port by default."""
    running = RunningDownloads("", faults or DownloadFaults())
    site = _Site(folder, running.faults, running.answers)
    app = web.Application()
    app.router.add_get("/{path:.*}", site.handle)
    with running_emulator(lambda: app_runner(app), "downloads", port) as running.url:
        yield running


class _Site:
    def __init__(self, folder: Path, faults: DownloadFaults, answers: Counter[tuple[str, int]]) -> None:
        self._folder = folder.resolve()
        self._faults = faults
        self._answers = answers
        self._asked: Counter[str] = Counter()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self._asked[path] += 1
        file = (self._folder / path).resolve()
        if not file.is_relative_to(self._folder) or not file.is_file():
            return self._counted(path, web.Response(status=404, text="no such file"))
        data = await asyncio.to_thread(file.read_bytes)
        try:
            fault = self._fault(request, path)
        except (ConfigError, ValueError) as error:
            return self._counted(path, web.Response(status=400, text=str(error)))
        if fault is None:
            return self._counted(path, _file_answer(request, file, data))
        return await self._spoil(request, path, data, fault)

    def _fault(self, request: web.Request, path: str) -> str | None:
        query = request.query
        spoiled = self._faults
        if "fault" in query:
            first = int(query["first"]) if "first" in query else None
            spoiled = DownloadFaults(query["fault"], first)
        return None if spoiled.first is not None and self._asked[path] > spoiled.first else spoiled.kind

    async def _spoil(self, request: web.Request, path: str, data: bytes, fault: str) -> web.StreamResponse:
        if fault == "server_error":
            return self._counted(path, web.Response(status=500, text="internal error"))
        if fault == "throttle":
            after_s = self._faults.retry_after_s
            headers = {} if after_s is None else {"Retry-After": str(after_s)}
            return self._counted(path, web.Response(status=429, text="slow down", headers=headers))
        if fault == "html":
            return self._counted(path, web.Response(body=PAGE, content_type="text/html"))
        response = web.StreamResponse()
        half = data[: len(data) // 2]
        if fault != "endless":
            response.content_length = len(half) if fault == "lying_length" else len(data)
        self._counted(path, response)
        await response.prepare(request)
        # A client that gives up ends the connection, and the write with it.
        with contextlib.suppress(ConnectionResetError):
            await self._send(request, response, data, fault)
        return response

    async def _send(
        self, request: web.Request, response: web.StreamResponse, data: bytes, fault: str
    ) -> None:
        while fault == "endless":
            await response.write(bytes(65_536))
        half = len(data) // 2
        await response.write(data[:half])
        if fault == "slow":
            await asyncio.sleep(self._faults.slow_s)
            await response.write(data[half:])
        elif request.transport is not None:
            if fault == "lying_length":
                # Delayed, or the client may take the second half for the start of the next response.
                await asyncio.sleep(LYING_PAUSE_S)
                request.transport.write(data[half:])
            request.transport.close()

    def _counted(self, path: str, response: web.StreamResponse) -> web.StreamResponse:
        self._answers[path, response.status] += 1
        return response


def _file_answer(request: web.Request, file: Path, data: bytes) -> web.Response:
    etag = hashlib.sha256(data).hexdigest()[:32]
    modified_at = datetime.fromtimestamp(int(file.stat().st_mtime), UTC)
    if request.if_none_match is not None:
        # As HTTP requires, If-Modified-Since counts only without If-None-Match.
        unchanged = any(known.value in (etag, "*") for known in request.if_none_match)
    else:
        since = request.if_modified_since
        unchanged = since is not None and modified_at <= since
    response = web.Response(status=304) if unchanged else web.Response(body=data)
    response.etag = ETag(etag)
    response.last_modified = modified_at
    return response
