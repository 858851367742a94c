"""The stand-in rate API with an outage for the shipments of one day, until somebody mends it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import threading
from collections.abc import Iterator

from aiohttp import web

from tnt_platform.sandbox.faults import Faults
from tnt_platform.sandbox.rate_api import RateApi
from tnt_platform.sandbox.running import serve

START_TIMEOUT_S = 20


class RateApiWithABadDay(RateApi):
    """Answers 500 to every request whose ship date is `bad_day`; None once it is mended."""

    def __init__(self, bad_day: dt.date) -> None:
        super().__init__(Faults())
        self.url = ""
        self.bad_day: dt.date | None = bad_day
        self.asked_on: dict[str, int] = {}

    async def _handle_rate(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        day = _ship_date(body)
        self.asked_on[day] = self.asked_on.get(day, 0) + 1
        if self.bad_day is not None and day == self.bad_day.isoformat():
            return self._fail(request, "error")
        return await super()._handle_rate(request)


def _ship_date(body: str) -> str:
    return str(json.loads(body)["package_info"]["ship_date"])


@contextlib.contextmanager
def rate_api_with_a_bad_day(bad_day: dt.date) -> Iterator[RateApiWithABadDay]:
    """Serve it in a thread of this process."""
    api, loop = RateApiWithABadDay(bad_day), asyncio.new_event_loop()
    stop, started = asyncio.Event(), threading.Event()

    def announce(url: str) -> None:
        api.url = url
        started.set()

    thread = threading.Thread(
        target=lambda: loop.run_until_complete(serve(api, 0, announce, stop)), daemon=True
    )
    thread.start()
    assert started.wait(START_TIMEOUT_S), "the rate API did not start"
    try:
        yield api
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_TIMEOUT_S)
