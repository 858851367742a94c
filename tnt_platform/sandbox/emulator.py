"""Run an emulator, an aiohttp server on a local port, in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

from aiohttp import web

from tnt_platform.errors import Unavailable

START_TIMEOUT_S = 10


def app_runner(app: web.Application) -> web.AppRunner:
    """Wrap an application so that a slow response ends with its client."""
    return web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)


@contextlib.contextmanager
def running_emulator(make_runner: Callable[[], web.BaseRunner], name: str, port: int = 0) -> Iterator[str]:
    """Serve on `port`, or a free port for 0, and yield the URL without a trailing slash.

    Raises:
        Unavailable: the server can't listen on the port.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    started = asyncio.run_coroutine_threadsafe(_start(make_runner, port), loop)
    runner: web.BaseRunner | None = None
    try:
        try:
            runner = started.result(START_TIMEOUT_S)
        except OSError as error:
            raise Unavailable(
                f"the emulator of the {name} did not start on port {port}: {error}; choose another port"
            ) from error
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        if runner is not None:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(START_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_TIMEOUT_S)
        loop.close()


async def _start(make_runner: Callable[[], web.BaseRunner], port: int) -> web.BaseRunner:
    runner = make_runner()
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner
