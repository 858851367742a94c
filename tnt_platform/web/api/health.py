"""`/health/live`, `/health/ready` and `/metrics`."""

from __future__ import annotations

import asyncio
import json

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from tnt_platform.errors import TntError
from tnt_platform.web.context import Check, Work, web_of

router = APIRouter(tags=["health"])
CHECK_TIMEOUT_S = 5.0


class Alive(BaseModel):
    """The process responds."""

    status: str


class Ready(BaseModel):
    """The outcome of each check; `status` is ok or failed, overall and per check."""

    status: str
    checks: dict[str, dict[str, str]]


@router.get("/health/live", response_model=Alive)
async def live() -> Response:
    """Tell that the process responds."""
    return Response('{"status":"ok"}', media_type="application/json", headers={"cache-control": "no-store"})


@router.get(
    "/health/ready",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "A part that requests need does not respond."}},
)
async def ready(request: Request) -> Response:
    """Check the lake, the configuration and, if configured, the queue and the database."""
    web = web_of(request)
    checks = {"lake": web.catalog.probe, **web.checks}
    found = await asyncio.gather(*(_run_check(web.work, check) for check in checks.values()))
    outcomes = dict(zip(checks, found, strict=True))
    failed = any(outcome["status"] != "ok" for outcome in outcomes.values())
    body = json.dumps({"status": "failed" if failed else "ok", "checks": outcomes})
    headers = {"cache-control": "no-store"}
    return Response(body, 503 if failed else 200, headers=headers, media_type="application/json")


@router.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(request: Request) -> Response:
    """Return metrics for Prometheus."""
    web = web_of(request)
    body = await web.work.run(web.metrics.exposition)
    return Response(body, media_type="text/plain; version=1.0.0; charset=utf-8")


async def _run_check(work: Work, check: Check) -> dict[str, str]:
    """Run one check; only the platform's own errors are shown, since others may contain secrets."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return {"status": "ok", "detail": await work.run(check)}
    except TimeoutError:
        return {"status": "failed", "detail": f"no response within {CHECK_TIMEOUT_S:.0f} s"}
    except TntError as error:
        return {"status": "failed", "detail": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a check raises, it failed
        return {"status": "failed", "detail": f"{type(error).__name__}; see the log of the server"}
