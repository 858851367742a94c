"""Errors as `application/problem+json` (RFC 9457), or as a page."""

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
    """The body of an error response. `type` is stable, so programs may compare it; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


class Problem(Exception):
    """A response other than success. `code` ends the problem's type; `more` are additional members."""

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
        """Return the phrase of the status."""
        return HTTPStatus(self.status).phrase

    def document(self, request_id: str) -> dict[str, Any]:
        """Return the members of the body."""
        return {
            "type": f"urn:tnt:problem:v1:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:tnt:request:{request_id}",
            **self.more,
        }

    def response(self, request_id: str) -> Response:
        """Return the response as problem+json."""
        body = json.dumps(self.document(request_id), ensure_ascii=False, default=str).encode(
            "utf-8", "backslashreplace"
        )
        headers = {"cache-control": "no-store", **self.headers}
        return Response(body, self.status, headers=headers, media_type=MEDIA_TYPE)


def bad_parameter(parameter: str, message: str) -> Problem:
    """Return the problem of an invalid parameter."""
    return Problem(400, f"bad-{parameter}", f"{parameter}: {message}", parameter=parameter)


def not_found(detail: str) -> Problem:
    """Return the problem of something that does not exist."""
    return Problem(404, "not-found", detail)


def problem_of(error: TntError) -> Problem:
    """Convert an error of the platform."""
    if isinstance(error, NotFound):
        return not_found(str(error))
    if isinstance(error, ConfigError):
        return Problem(400, "bad-request", str(error))
    if isinstance(error, RetryableError):
        headers = {"retry-after": str(RETRY_AFTER_S)}
        return Problem(503, "lake-unavailable", str(error), headers=headers)
    return Problem(500, "unreadable", str(error))


def validation_problem(error: RequestValidationError) -> Problem:
    """Convert a validation error, naming each parameter without repeating its value."""
    faults = [
        {
            "parameter": str(fault["loc"][-1]),
            "message": str(fault["msg"]).removeprefix("Value error, "),
            "place": str(fault["loc"][0]),
        }
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['parameter']}: {fault['message']}" for fault in faults)
    return Problem(400, "bad-parameter", detail[:2_000], errors=faults)


def request_id(request: Request) -> str:
    """Return the id that the gate assigned to a request."""
    return str(request.scope.get("tnt.request_id", "none"))
