"""The application: API, dashboard and the gate around both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from tnt_platform.errors import TntError
from tnt_platform.settings import Settings
from tnt_platform.web import openapi
from tnt_platform.web.api import datasets, health, records, rows
from tnt_platform.web.busiest import Busiest
from tnt_platform.web.gate import Gate
from tnt_platform.web.pages import datasets as datasets_page
from tnt_platform.web.pages import directory, home, reports, series, site, transit
from tnt_platform.web.pages import health as health_page
from tnt_platform.web.pages import records as records_page
from tnt_platform.web.problems import Problem, of_validation, problem_of, request_id
from tnt_platform.web.web import Check, Web

PREPARE_AFTER_S = 2.0
STATIC = Path(__file__).parent / "static"


def create_app(settings: Settings, checks: Mapping[str, Check] | None = None) -> FastAPI:
    """The application over the lake of `settings`; `checks` are what `/health/ready` asks besides the lake.

    Raises:
        ConfigError: a setting is wrong.
    """
    web = Web.of(settings, checks or {})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Not at once: whoever waits for the server to be ready comes first.
        preparing = asyncio.get_running_loop().call_later(PREPARE_AFTER_S, web.tables.prepare)
        yield
        preparing.cancel()
        web.tables.close()

    app = FastAPI(
        title="tnt_platform",
        version=version("tnt_platform"),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # The gate measures; asking OpenTelemetry at every request whether it wants to costs without it too.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.web = web
    # `rows` first: `/datasets/{id}` takes any path, slashes and all.
    api = (records, rows, datasets, health)
    pages = (home, records_page, datasets_page, transit, series, directory, reports, health_page, site)
    for module in (*api, *pages):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    openapi.install(
        app, title="tnt_platform", version=version("tnt_platform"), has_key=not web.keyring.is_open
    )
    _answer_errors(app)
    app.add_middleware(Busiest)
    if web.options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(web.options.cors_origins),
            allow_methods=["GET", "HEAD", "OPTIONS"],
            allow_headers=["x-api-key", "x-request-id", "if-none-match"],
            expose_headers=["etag", "link", "x-request-id", "retry-after"],
            max_age=600,
        )
    app.add_middleware(Gate, keyring=web.keyring, metrics=web.metrics)
    return app


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return site.error_answer(request, error)

    @app.exception_handler(TntError)
    async def platform_error(request: Request, error: TntError) -> Response:
        return site.error_answer(request, problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def bad_request(request: Request, error: RequestValidationError) -> Response:
        return site.error_answer(request, of_validation(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return _of_http(request, error)


def _of_http(request: Request, error: HTTPException) -> Response:
    if error.status_code != 405:
        code = "not-found" if error.status_code == 404 else "http"
        detail = "there is nothing at this address" if error.status_code == 404 else str(error.detail)
        return site.error_answer(request, Problem(error.status_code, code, detail))
    given = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow") or "GET"
    methods = {name.strip() for name in given.split(",")} | {"OPTIONS"}
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    if request.method == "OPTIONS":
        return Response(status_code=204, headers={"allow": allowed})
    detail = f"{request.method[:20]} is not possible here; {allowed} are"
    problem = Problem(405, "method-not-allowed", detail, headers={"allow": allowed})
    return problem.response(request_id(request))
