"""Emulate the directory API of a mall over HTTP: given records in pages, with faults on demand.

`GET /directory?page=N&limit=100` with the header X-Apig-AppCode returns {totalRecord, page, limit, totalPages, data}.
A page beyond the last is empty. Page 1 starts a pass over all pages, by which some faults are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from tnt_platform.errors import ConfigError
from tnt_platform.sandbox.emulator import app_runner, running_emulator

Record = Mapping[str, object]

PATH = "/directory"
APP_CODE_HEADER = "X-Apig-AppCode"
APP_CODE = "sandbox"
START_TIMEOUT_S = 10
LARGEST_LIMIT = 1_000
KINDS = (
    "server_error",  # 500
    "throttle",  # 429, with Retry-After if retry_after_s is set
    "unauthorized",  # 401, despite correct credentials
    "not_found",  # 404
    "slow",  # a correct response after slow_s
    "invalid_json",  # half of the response
    "html",  # 200, but a web page
    "huge",  # a correct response, padded to huge_bytes
    "other_page",  # the records of page 1
    "other_limit",  # half as many records as requested
)
REPEATS = ("same", "changed")
SHIFTS = ("insert", "remove")
WEB_PAGE = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>Back soon.</body></html>"


@dataclass
class DirectoryFaults:
    """The current faults, which may be changed while the API runs.

    `kind` (of KINDS) affects page `page` (None: every page), the `first` times it is requested (None: always).
    `total_pages_off` and `total_records_off` are added to the true totals. `repeat`: the first record is repeated at
    the end, with the same or changed content. `shift`: in each of the first `shift_readings` passes, a record is
    inserted at the front of the directory or removed from it once page `shift_after` was returned; with
    `stale_totals` the totals stay those of page 1.
    """

    kind: str | None = None
    page: int | None = None
    first: int | None = None
    slow_s: float = 30.0
    retry_after_s: int | None = None
    huge_bytes: int = 51_000_000
    total_pages_off: int = 0
    total_records_off: int = 0
    repeat: str | None = None
    shift: str | None = None
    shift_after: int = 1
    shift_readings: int = 1
    stale_totals: bool = False

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("repeat", REPEATS), ("shift", SHIFTS)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise ConfigError(f"unknown {name} {value!r}; available: {', '.join(known)}")


class DirectoryApi:
    """The `records` served, and the responses so far: `answers` counts (page, status)."""

    def __init__(
        self,
        records: Sequence[Record],
        faults: DirectoryFaults | None = None,
        *,
        app_code: str = APP_CODE,
        cookies: Mapping[str, str] | None = None,
    ) -> None:
        self.faults = faults or DirectoryFaults()
        self._app_code = app_code
        self._cookies = dict(cookies or {})
        self._inserted = 0
        self.serve(records)

    def serve(self, records: Sequence[Record]) -> None:
        """Serve these records from now on, and reset the counts."""
        self.records = list(records)
        self.answers: Counter[tuple[int, int]] = Counter()
        self._asked: Counter[int] = Counter()
        self._readings = 0
        self._has_shifted = False
        self._first_total = len(self.records)

    async def handle(self, request: web.Request) -> web.Response:
        """Respond to one request."""
        try:
            page, limit = int(request.query["page"]), int(request.query.get("limit", "100"))
        except (KeyError, ValueError):
            return self._counted(0, _json({"error": "page and limit must be whole numbers"}, 400))
        if page < 1 or not 1 <= limit <= LARGEST_LIMIT:
            return self._counted(page, _json({"error": f"page from 1, limit from 1 to {LARGEST_LIMIT}"}, 400))
        if not self._is_authorized(request):
            return self._counted(page, _json({"error": f"{APP_CODE_HEADER} or a cookie is wrong"}, 401))
        self._asked[page] += 1
        faults = self.faults
        is_spoiled = faults.page in (None, page) and not (faults.first and self._asked[page] > faults.first)
        answer = await self._answer(page, limit, faults.kind if is_spoiled else None)
        return self._counted(page, answer)

    async def _answer(self, page: int, limit: int, kind: str | None) -> web.Response:
        failures = {"server_error": 500, "unauthorized": 401, "not_found": 404}
        if kind in failures:
            return _json({"error": kind}, failures[kind])
        if kind == "throttle":
            after_s = self.faults.retry_after_s
            return _json(
                {"error": "slow down"}, 429, {} if after_s is None else {"Retry-After": str(after_s)}
            )
        if kind == "html":
            return web.Response(body=WEB_PAGE, content_type="text/html")
        if kind == "slow":
            await asyncio.sleep(self.faults.slow_s)
        given = (1 if kind == "other_page" else page, max(1, limit // 2) if kind == "other_limit" else limit)
        body = json.dumps(self._page(*given), ensure_ascii=False).encode()
        if kind == "invalid_json":
            body = body[: len(body) // 2]
        if kind == "huge":
            body = body.ljust(self.faults.huge_bytes)
        return web.Response(body=body, content_type="application/json")

    def _page(self, page: int, limit: int) -> dict[str, object]:
        if page == 1:
            self._readings += 1
            self._has_shifted = False
            self._first_total = len(self.records)
        faults = self.faults
        records = [*self.records, *self._repeated()]
        total = len(records) - len(self.records) + self._first_total if faults.stale_totals else len(records)
        answer: dict[str, object] = {
            "totalRecord": max(0, total + faults.total_records_off),
            "page": page,
            "limit": limit,
            "totalPages": max(0, -(-total // limit) + faults.total_pages_off),
            "data": records[(page - 1) * limit : page * limit],
        }
        if page == faults.shift_after and self._readings <= faults.shift_readings:
            self._shift()
        return answer

    def _repeated(self) -> list[Record]:
        if self.faults.repeat is None or not self.records:
            return []
        again = dict(self.records[0])
        if self.faults.repeat == "changed":
            again["shopNameEnglish"] = f"{again.get('shopNameEnglish')} (moved)"
        return [again]

    def _shift(self) -> None:
        if self._has_shifted or not self.records:
            return
        if self.faults.shift == "insert":
            self._inserted += 1
            fresh = {"uniqueId": f"MD-X{self._inserted:06d}", "tenantId": f"X{self._inserted:07d}"}
            self.records.insert(0, {**self.records[0], **fresh})
        elif self.faults.shift == "remove":
            del self.records[0]
        self._has_shifted = True

    def _is_authorized(self, request: web.Request) -> bool:
        return request.headers.get(APP_CODE_HEADER) == self._app_code and all(
            request.cookies.get(name) == value for name, value in self._cookies.items()
        )

    def _counted(self, page: int, answer: web.Response) -> web.Response:
        self.answers[page, answer.status] += 1
        return answer


@dataclass
class RunningDirectory:
    """A running API; `url` is that of the directory, without a query."""

    url: str
    api: DirectoryApi = field(repr=False)


@contextlib.contextmanager
def running_directory(api: DirectoryApi, *, port: int = 0) -> Iterator[RunningDirectory]:
    """Run the API in a thread of this process, on a free port by default."""
    app = web.Application()
    app.router.add_get(PATH, api.handle)
    with running_emulator(lambda: app_runner(app), "directory API", port) as url:
        yield RunningDirectory(f"{url}{PATH}", api)


def _json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(value, status=status, headers=headers)
