"""Emulate the carrier's rate API over HTTP: generated rates, with faults on demand.

    python -m tnt_platform.sandbox.running --port 8099 --latency-ms 20

`POST /{origin}/rate/qualifiedcarriers` responds like the real one; `GET /_sandbox/health`,
`GET /_sandbox/stats`, `GET|POST /_sandbox/faults` and `POST /_sandbox/reset` control the emulator.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import re
import time
from array import array
from collections import Counter
from email.utils import formatdate
from typing import Any

from aiohttp import web

from tnt_platform.errors import ConfigError
from tnt_platform.sandbox.faults import Faults, request_digest
from tnt_platform.sandbox.zones import Region, lane, region_of

RATE_PATH = re.compile(r"/([^/]+)/rate/qualifiedcarriers")
REQUIRED_HEADERS = ("X-WHM-CLIENT", "auth-token")
JSON_HEADERS = {"Content-Type": "application/json"}
PAGE = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>Back soon.</body></html>"


class RateApi:
    """The behaviour of the API and the requests so far; one instance serves one port."""

    def __init__(self, faults: Faults, *, token: str | None = None) -> None:
        self.faults = faults
        self._token = token
        self.reset()

    def reset(self) -> None:
        """Reset all counts."""
        self._arrivals_s = array("d")
        self._asked: Counter[bytes] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._in_flight = 0
        self._max_in_flight = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to one request; a router would cost a third of the throughput."""
        if request.path.startswith("/_sandbox/"):
            return await self._handle_control(request)
        self._arrivals_s.append(time.monotonic())
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            return await self._handle_rate(request)
        finally:
            self._in_flight -= 1

    async def _handle_rate(self, request: web.BaseRequest) -> web.StreamResponse:
        path = RATE_PATH.fullmatch(request.path)
        if path is None or request.method != "POST":
            return self._refuse(404, "no such operation")
        given = [request.headers.get(name) for name in REQUIRED_HEADERS]
        if not all(given) or (self._token is not None and given[1] != self._token):
            return self._refuse(401, f"the headers {' and '.join(REQUIRED_HEADERS)} are required")
        body = await request.read()
        digest = request_digest(request.path, body)
        self._asked[digest] += 1
        attempt = self._asked[digest]
        faults = self.faults
        if delay_s := faults.delay_s(digest, attempt):
            await asyncio.sleep(delay_s)
        fault = faults.spoils(digest, attempt) if faults.any_spoiled else None
        try:
            destination = json.loads(body)["shipment_info"]["consignee_info"]["postal_code"]
        except (ValueError, KeyError, TypeError):
            return self._refuse(400, "shipment_info.consignee_info.postal_code is missing")
        if fault in (None, "slow", "string_days", "missing_ground", "malformed", "no_rates_map"):
            return await self._answer(path[1], str(destination), fault)
        return self._fail(request, str(fault))

    async def _answer(self, origin: str, destination: str, fault: str | None) -> web.Response:
        self._outcomes[fault or "ok"] += 1
        if fault == "slow":
            await asyncio.sleep(self.faults.slow_s)
        shape = fault if fault in ("string_days", "missing_ground") else None
        body = rates_body(region_of(origin), region_of(destination), shape)
        if fault == "malformed":
            body = body[: len(body) // 2]
        if fault == "no_rates_map":
            body = b'{"message":"no carrier qualifies"}'
        return web.Response(body=body, headers=JSON_HEADERS)

    def _fail(self, request: web.BaseRequest, fault: str) -> web.Response:
        self._outcomes[fault] += 1
        if fault == "html":
            return web.Response(body=PAGE, headers={"Content-Type": "text/html"})
        if fault == "throttle":
            return web.Response(status=429, body=b'{"error":"slow down"}', headers=self._throttle_headers())
        if fault == "reset" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=500, body=b'{"error":"internal"}', headers=JSON_HEADERS)

    def _throttle_headers(self) -> dict[str, str]:
        if self.faults.retry_after_s is None:
            return JSON_HEADERS
        when = str(self.faults.retry_after_s)
        if self.faults.retry_after_as_date:
            # An HTTP date has whole seconds; round up, so that it is never too early.
            when = formatdate(math.ceil(time.time()) + self.faults.retry_after_s, usegmt=True)
        return JSON_HEADERS | {"Retry-After": when}

    def _refuse(self, status: int, error: str) -> web.Response:
        self._outcomes[f"refused_{status}"] += 1
        return _json({"error": error}, status)

    async def _handle_control(self, request: web.BaseRequest) -> web.Response:
        match request.method, request.path.removeprefix("/_sandbox/"):
            case "GET", "health":
                return _json({"status": "ok"})
            case "GET", "stats":
                return _json(self.stats())
            case "GET", "faults":
                return _json(self.faults.as_json())
            case "POST", "faults":
                try:
                    self.faults = self.faults.changed(json.loads(await request.read()))
                except (ValueError, AttributeError, ConfigError) as error:
                    return _json({"error": str(error)}, 400)
                return _json(self.faults.as_json())
            case "POST", "reset":
                self.reset()
                return _json({"status": "ok"})
        return _json({"error": "no such operation"}, 404)

    def stats(self) -> dict[str, Any]:
        """Return the counts of requests since the last reset."""
        arrivals = self._arrivals_s
        span_s = arrivals[-1] - arrivals[0] if len(arrivals) > 1 else 0.0
        return {
            "requests": len(arrivals),
            "distinct": len(self._asked),
            "repeats": self._asked.total() - len(self._asked),
            "max_per_second": busiest_second(arrivals),
            "mean_per_second": round((len(arrivals) - 1) / span_s, 1) if span_s else 0.0,
            "max_in_flight": self._max_in_flight,
            "outcomes": dict(sorted(self._outcomes.items())),
        }


def busiest_second(arrivals_s: array[float]) -> int:
    """Return the most arrivals in any window of one second."""
    most = first = 0
    for last, arrival_s in enumerate(arrivals_s):
        while arrival_s - arrivals_s[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@functools.lru_cache(maxsize=50_000)
def rates_body(origin: Region | None, destination: Region | None, fault: str | None) -> bytes:
    """Return the response for a lane: one key per carrier; ground is not the first rate, and some fields are null."""
    served = lane(origin, destination) if origin and destination else None
    rates = [_rate("UPS Next Day Air", "UPS.NDA", 1), _rate("UPS 2nd Day Air", "UPS.2DA", 2)]
    if served is not None and fault != "missing_ground":
        zone, days = served
        # Real responses spell the service both ways, and may lack one of the two fields.
        name = ("UPS Ground", "ups ground", None)[zone % 3]
        rates.append(_rate(name, "UPS.GND", f"{days} days" if fault == "string_days" else days))
    answer = {
        "ratesMap": [
            {"key": "UPS", "value": rates},
            {"key": "OTHER", "value": [_rate("Other Economy", None, 8), _rate(None, "OTH.EXP", None)]},
        ]
    }
    return json.dumps(answer, separators=(",", ":")).encode()


def _rate(name: str | None, symbol: str | None, days: int | str | None) -> dict[str, Any]:
    return {"serviceName": name, "serviceSymbol": symbol, "transitDays": days}


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(value).encode(), headers=JSON_HEADERS)
