"""`/health/live`, `/health/ready` and `/metrics`."""

from __future__ import annotations

import asyncio
import json

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from tnt_platform.errors import TntError
from tnt_platform.web.web import Check, web_of
from tnt_platform.web.work import Work

router = APIRouter(tags=["health"])
CHECK_TIMEOUT_S = 5.0


class Alive(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """What each check found; `status` is ok or failed, and so is the status of each check."""

    status: str
    checks: dict[str, dict[str, str]]


@router.get("/health/live", response_model=Alive)
async def live() -> Response:
    """Whether the process answers at all."""
    return Response('{"status":"ok"}', media_type="application/json", headers={"cache-control": "no-store"})


@router.get(
    "/health/ready",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "A part that requests need does not answer."}},
)
async def ready(request: Request) -> Response:
    """Whether the lake, the configuration and, where they are set, the queue and the database answer."""
    web = web_of(request)
    checks = {"lake": web.catalog.probe, **web.checks}
    found = await asyncio.gather(*(_asked(web.work, check) for check in checks.values()))
    answers = dict(zip(checks, found, strict=True))
    failed = any(answer["status"] != "ok" for answer in answers.values())
    body = json.dumps({"status": "failed" if failed else "ok", "checks": answers})
    headers = {"cache-control": "no-store"}
    return Response(body, 503 if failed else 200, headers=headers, media_type="application/json")


@router.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(request: Request) -> Response:
    """Measures for Prometheus."""
    web = web_of(request)
    body = await web.work.run(web.metrics.exposition)
    return Response(body, media_type="text/plain; version=1.0.0; charset=utf-8")


async def _asked(work: Work, check: Check) -> dict[str, str]:
    """One check's answer; what it raises is told without secrets, as the platform's own errors are."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return {"status": "ok", "detail": await work.run(check)}
    except TimeoutError:
        return {"status": "failed", "detail": f"no answer within {CHECK_TIMEOUT_S:.0f} s"}
    except TntError as error:
        return {"status": "failed", "detail": str(error)}
    except Exception as error:  # noqa: BLE001 - a check that breaks is a check that failed
        return {"status": "failed", "detail": f"{type(error).__name__}; the log of the server says more"}
