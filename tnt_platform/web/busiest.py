"""The busiest addresses, answered before FastAPI's stack of routes and parameters, which documents them only.

That stack took a third of the time of a page of records. Whatever is not answered here goes on to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tnt_platform.errors import TntError
from tnt_platform.web.api.records import list_records, one_record
from tnt_platform.web.problems import Problem, of_validation, problem_of, request_id

_RECORDS = "/records"
_RECORD = "/records/"


@dataclass(frozen=True)
class _Named:
    """What the gate calls an address in measures and the log."""

    path: str


_LIST, _ONE = _Named("/records"), _Named("/records/{record_id:path}")


class Busiest:
    """ASGI middleware that answers GETs of records itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application do it."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path == _RECORDS:
            scope["route"] = _LIST
            request = Request(scope, receive)
            response = await _answered(request, lambda: list_records(request))
        elif path.startswith(_RECORD) and len(path) > len(_RECORD):
            scope["route"] = _ONE
            request = Request(scope, receive)
            response = await _answered(request, lambda: one_record(request, path[len(_RECORD) :]))
        else:
            await self._app(scope, receive, send)
            return
        await response(scope, receive, send)


async def _answered(request: Request, handle: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await handle()
    except Problem as problem:
        return problem.response(request_id(request))
    except TntError as error:
        return problem_of(error).response(request_id(request))
    except RequestValidationError as error:
        return of_validation(error).response(request_id(request))
