"""Build the application: the REST API, the dashboard, and the gate around both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
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
from tnt_platform.web.context import Check, Web
from tnt_platform.web.fast_path import FastPath
from tnt_platform.web.gate import Gate
from tnt_platform.web.pages import datasets as datasets_page
from tnt_platform.web.pages import directory, overview, reports, series, site, transit
from tnt_platform.web.pages import records as records_page
from tnt_platform.web.problems import Problem, problem_of, request_id, validation_problem

PREPARE_AFTER_S = 2.0
STATIC = Path(__file__).parent / "static"
# `rows` before `datasets`: `/datasets/{id}` matches any path, including slashes.
_API = (records, rows, datasets, health)
_PAGES = (overview, records_page, datasets_page, transit, series, directory, reports, site)


def create_app(settings: Settings, checks: Mapping[str, Check] | None = None) -> FastAPI:
    """Build the application over the lake of `settings`; `/health/ready` runs `checks` besides reading the lake.

    Raises:
        ConfigError: a setting is wrong.
    """
    web = Web.of(settings, checks or {})
    app = FastAPI(
        title="tnt_platform",
        version=version("tnt_platform"),
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(web),
        # The gate measures; asking OpenTelemetry on every request whether it is enabled would cost time for nothing.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.web = web
    for module in (*_API, *_PAGES):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    openapi.install(
        app, title="tnt_platform", version=version("tnt_platform"), has_key=not web.keyring.is_open
    )
    _add_error_handlers(app)
    _add_middleware(app, web)
    return app


def _lifespan(web: Web) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Delayed, so that whoever waits for the server to be ready comes first.
        preparing = asyncio.get_running_loop().call_later(PREPARE_AFTER_S, web.tables.prepare)
        yield
        preparing.cancel()
        web.tables.close()

    return lifespan


def _add_middleware(app: FastAPI, web: Web) -> None:
    """Add the layers around the routes; the one added last is the outermost."""
    app.add_middleware(FastPath)
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


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return site.error_response(request, error)

    @app.exception_handler(TntError)
    async def platform_error(request: Request, error: TntError) -> Response:
        return site.error_response(request, problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def bad_request(request: Request, error: RequestValidationError) -> Response:
        return site.error_response(request, validation_problem(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return _http_error_response(request, error)


def _http_error_response(request: Request, error: HTTPException) -> Response:
    if error.status_code != 405:
        code = "not-found" if error.status_code == 404 else "http"
        detail = "nothing is served at this address" if error.status_code == 404 else str(error.detail)
        return site.error_response(request, Problem(error.status_code, code, detail))
    allow = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow") or "GET"
    methods = {name.strip() for name in allow.split(",")} | {"OPTIONS"}
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    if request.method == "OPTIONS":
        return Response(status_code=204, headers={"allow": allowed})
    detail = f"{request.method[:20]} is not allowed here; use one of {allowed}"
    problem = Problem(405, "method-not-allowed", detail, headers={"allow": allowed})
    return problem.response(request_id(request))
