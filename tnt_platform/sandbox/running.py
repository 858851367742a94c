"""Start and stop the stand-in rate API: in a thread for tests, in a process for benchmarks and demos."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from tnt_platform.errors import Unavailable
from tnt_platform.sandbox.faults import Faults
from tnt_platform.sandbox.rate_api import RateApi

STOP_TIMEOUT_S = 10


class RunningRateApi:
    """A started API; `url` has no slash at its end."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stats(self) -> dict[str, Any]:
        """What it was asked since the last reset (see `RateApi.stats`)."""
        return self._control("GET", "stats")

    def set_faults(self, **changes: object) -> None:
        """Change some fault settings from now on."""
        self._control("POST", "faults", changes)

    def reset(self) -> None:
        """Forget what was asked, attempts included."""
        self._control("POST", "reset")

    def _control(self, method: str, name: str, body: object = None) -> dict[str, Any]:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=STOP_TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, f"/_sandbox/{name}", json.dumps(body))
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        if response.status != 200:
            raise ValueError(answer["error"])
        return answer


@contextlib.contextmanager
def running_rate_api(
    faults: Faults | None = None, *, port: int = 0, token: str | None = None
) -> Iterator[RunningRateApi]:
    """The API in a thread of this process, on a free port unless one is given."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    started = threading.Event()
    addresses: list[str] = []
    failures: list[BaseException] = []

    def announce(url: str) -> None:
        addresses.append(url)
        started.set()

    def run() -> None:
        try:
            loop.run_until_complete(serve(RateApi(faults or Faults(), token=token), port, announce, stop))
        except OSError as error:
            failures.append(error)
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run, name="rate-api", daemon=True)
    thread.start()
    started.wait(STOP_TIMEOUT_S)
    if not addresses:
        raise Unavailable(f"the stand-in rate API did not start: {failures}")
    try:
        yield RunningRateApi(addresses[0])
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(STOP_TIMEOUT_S)


@contextlib.contextmanager
def rate_api_process(*arguments: str) -> Iterator[RunningRateApi]:
    """The API in a process of its own; `arguments` as on the command line, such as --latency-ms 20."""
    command = [sys.executable, "-m", "tnt_platform.sandbox.running", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  (our own module)
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise Unavailable("the stand-in rate API did not start; run its module to see why")
            yield RunningRateApi(json.loads(line)["url"])
        finally:
            process.terminate()


async def serve(
    api: RateApi, port: int, announce: Callable[[str], None], stop: asyncio.Event, *, host: str = "127.0.0.1"
) -> None:
    """Serve until `stop` is set; `announce` is given the address as soon as it answers."""
    runner = web.ServerRunner(web.Server(api.handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        announce(f"http://{host}:{runner.addresses[0][1]}")
        await stop.wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Serve until interrupted; the first line of output is {"url": ...}."""
    parser = argparse.ArgumentParser(description="Stand-in carrier rate API with faults on demand.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", help="the only auth-token that is accepted; any other text without it")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--faults", type=json.loads, default={}, metavar="JSON", help='{"error_rate": 0.1}')
    options = parser.parse_args()
    faults = Faults(latency_ms=options.latency_ms).changed(options.faults)

    def announce(url: str) -> None:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
        sys.stdout.flush()

    async def run() -> None:
        api = RateApi(faults, token=options.token)
        await serve(api, options.port, announce, asyncio.Event(), host=options.host)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


if __name__ == "__main__":
    main()
