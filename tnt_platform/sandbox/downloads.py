"""A stand-in for publishers' sites: the files of a folder over real HTTP, with faults on demand.

A file has a strong ETag (of its content) and a Last-Modified; a conditional GET of what is unchanged gets a
304, what isn't there a 404. `?fault=truncated` spoils one request, `&first=2` only the first two for a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import ETag, web

from tnt_platform.errors import ConfigError, Unavailable

START_TIMEOUT_S = 10
LYING_PAUSE_S = 0.2
KINDS = (
    "server_error",  # 500
    "throttle",  # 429, with Retry-After if retry_after_s is set
    "slow",  # half of the file, then nothing for slow_s
    "truncated",  # half of the file, then the connection is closed
    "html",  # 200, but a page instead of the file
    "lying_length",  # Content-Length says half, so half arrives and looks whole
    "endless",  # never stops sending
)
PAGE = b"<!DOCTYPE html><html><head><title>Mantenimiento</title></head><body>Volvemos pronto.</body></html>"


@dataclass
class DownloadFaults:
    """What goes wrong from now on: `kind` is one of KINDS, None for nothing.

    `first`: only so many first requests of each path are spoiled; None: all of them.
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
    """A started server; `url` has no slash at its end. `answers` counts (path, status) since the start."""

    url: str
    faults: DownloadFaults
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)


def downloads_app(
    folder: Path, faults: DownloadFaults | None = None, answers: Counter[tuple[str, int]] | None = None
) -> web.Application:
    """The application that serves `folder`; `faults` may be changed while it runs, `answers` is counted up."""
    site = _Site(folder, faults or DownloadFaults(), Counter() if answers is None else answers)
    app = web.Application()
    app.router.add_get("/{path:.*}", site.handle)
    return app


@contextlib.contextmanager
def running_downloads(
    folder: Path, faults: DownloadFaults | None = None, *, port: int = 0
) -> Iterator[RunningDownloads]:
    """The server in a thread of this process, on a free port unless one is given."""
    running = RunningDownloads("", faults or DownloadFaults())
    runner = web.AppRunner(
        downloads_app(folder, running.faults, running.answers),
        access_log=None,
        shutdown_timeout=0.5,
        handler_cancellation=True,  # a slow answer ends with its client
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="downloads", daemon=True)
    thread.start()

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    try:
        try:
            running.url = asyncio.run_coroutine_threadsafe(start(), loop).result(START_TIMEOUT_S)
        except OSError as error:
            raise Unavailable(
                f"the stand-in for downloads did not start on port {port}: {error}; give another port"
            ) from error
        yield running
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(START_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_TIMEOUT_S)
        loop.close()


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
        # Whoever gives up ends the connection, and the write with it.
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
                # Later than the announced half, or a client may take the rest for the next answer's first line.
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
        # As the standard wants it, If-Modified-Since counts only without an etag.
        unchanged = any(known.value in (etag, "*") for known in request.if_none_match)
    else:
        since = request.if_modified_since
        unchanged = since is not None and modified_at <= since
    response = web.Response(status=304) if unchanged else web.Response(body=data)
    response.etag = ETag(etag)
    response.last_modified = modified_at
    return response
