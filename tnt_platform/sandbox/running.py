"""Run the emulated rate API: in a thread for tests, in a process for benchmarks and demos."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from tnt_platform.errors import Unavailable
from tnt_platform.sandbox.emulator import running_emulator
from tnt_platform.sandbox.faults import Faults
from tnt_platform.sandbox.rate_api import RateApi

STOP_TIMEOUT_S = 10


class RunningRateApi:
    """A running API; `url` has no trailing slash."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stats(self) -> dict[str, Any]:
        """Return the requests since the last reset (see `RateApi.stats`)."""
        return self._control("GET", "stats")

    def set_faults(self, **changes: object) -> None:
        """Change some fault settings."""
        self._control("POST", "faults", changes)

    def reset(self) -> None:
        """Reset all counts, including attempts."""
        self._control("POST", "reset")

    def _control(self, method: str, name: str, body: object = None) -> dict[str, Any]:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=STOP_TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, f"/_sandbox/{name}", json.dumps(body))
            response = connection.getresponse()
            body_read: dict[str, Any] = json.loads(response.read())
        if response.status != 200:
            raise ValueError(body_read["error"])
        return body_read


def server_runner(api: RateApi) -> web.ServerRunner:
    """Wrap the API; call it in a running event loop."""
    return web.ServerRunner(web.Server(api.handle, access_log=None), shutdown_timeout=1)


@contextlib.contextmanager
def running_rate_api(
    faults: Faults | None = None, *, port: int = 0, token: str | None = None
) -> Iterator[RunningRateApi]:
    """Run the API in a thread of this process, on a free port by default."""
    api = RateApi(faults or Faults(), token=token)
    with running_emulator(lambda: server_runner(api), "rate API", port) as url:
        yield RunningRateApi(url)


@contextlib.contextmanager
def rate_api_process(*arguments: str) -> Iterator[RunningRateApi]:
    """Run the API in a process of its own; `arguments` are those of `main`, such as --latency-ms 20."""
    command = [sys.executable, "-m", "tnt_platform.sandbox.running", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  (a module of this package)
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise Unavailable(
                    f"the emulated rate API did not start; run `{' '.join(command)}` to see why"
                )
            yield RunningRateApi(json.loads(line)["url"])
        finally:
            process.terminate()


async def serve(
    api: RateApi, port: int, announce: Callable[[str], None], stop: asyncio.Event, *, host: str = "127.0.0.1"
) -> None:
    """Serve until `stop` is set; call `announce` with the URL once it responds."""
    runner = server_runner(api)
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
    parser = argparse.ArgumentParser(description="Emulate the carrier's rate API, with faults on demand.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", help="the only auth-token that is accepted (default: any)")
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
