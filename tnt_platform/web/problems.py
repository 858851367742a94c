"""Every error as `application/problem+json` (RFC 9457), or as a page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from tnt_platform.errors import ConfigError, NotFound, RetryableError, TntError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


class ProblemDocument(BaseModel):
    """What an error answers. `type` is stable: programs may compare it; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


class Problem(Exception):
    """An answer other than success. `code` ends the problem's type; `more` are members of its own."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def document(self, request_id: str) -> dict[str, Any]:
        """The members of the answer."""
        return {
            "type": f"urn:tnt:problem:v1:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:tnt:request:{request_id}",
            **self.more,
        }

    def response(self, request_id: str) -> Response:
        """The answer as problem+json."""
        body = json.dumps(self.document(request_id), ensure_ascii=False, default=str).encode(
            "utf-8", "backslashreplace"
        )
        headers = {"cache-control": "no-store", **self.headers}
        return Response(body, self.status, headers=headers, media_type=MEDIA_TYPE)


def bad(parameter: str, message: str) -> Problem:
    """A parameter that can't be used."""
    return Problem(400, f"bad-{parameter}", f"{parameter}: {message}", parameter=parameter)


def missing(what: str) -> Problem:
    """Something that is not there."""
    return Problem(404, "not-found", what)


def problem_of(error: TntError) -> Problem:
    """What an error of the platform is to a client."""
    if isinstance(error, NotFound):
        return missing(str(error))
    if isinstance(error, ConfigError):
        return Problem(400, "bad-request", str(error))
    if isinstance(error, RetryableError):
        headers = {"retry-after": str(RETRY_AFTER_S)}
        return Problem(503, "lake-unavailable", str(error), headers=headers)
    return Problem(500, "unreadable", str(error))


def of_validation(error: RequestValidationError) -> Problem:
    """A problem that names each parameter; what was sent is not repeated."""
    faults = [
        {
            "parameter": str(fault["loc"][-1]),
            "message": str(fault["msg"]).removeprefix("Value error, "),
            "place": str(fault["loc"][0]),
        }
        for fault in error.errors()
    ]
    said = "; ".join(f"{fault['parameter']}: {fault['message']}" for fault in faults)
    return Problem(400, "bad-parameter", said[:2_000], errors=faults)


def request_id(request: Request) -> str:
    """The id that the gate gave this request."""
    return str(request.scope.get("tnt.request_id", "none"))
