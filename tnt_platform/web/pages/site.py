"""Error pages, the login, and the documentation of the API."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tnt_platform.web.context import web_of
from tnt_platform.web.gate import COOKIE, SESSION_S
from tnt_platform.web.pages.rendering import render
from tnt_platform.web.problems import Problem, request_id

router = APIRouter(include_in_schema=False)
BODY_S = 5.0


def error_response(request: Request, problem: Problem) -> Response:
    """Respond with a page on the dashboard, and with problem+json elsewhere."""
    path = request.scope["path"]
    if path != "/" and not path.startswith("/ui"):
        return problem.response(request_id(request))
    response = render(
        request, web_of(request), "error.html", status=problem.status, problem=problem, id=request_id(request)
    )
    response.headers.update(problem.headers)
    return response


@router.get("/docs", response_class=HTMLResponse)
async def documentation(request: Request) -> Response:
    """Show the API from the OpenAPI document, without loading anything from other sites."""
    document = request.app.openapi()
    operations = [
        {"path": path, "method": method.upper(), **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return render(request, web_of(request), "docs.html", operations=operations, document=document)


@router.get("/login", response_class=HTMLResponse)
async def login_form(request: Request) -> Response:
    """Show the login form."""
    return render(request, web_of(request), "login.html", wrong=False)


@router.post("/login", response_class=HTMLResponse)
async def login(request: Request) -> Response:
    """Check the key and start a session, whose cookie other sites can't use."""
    web = web_of(request)
    if not web.keyring.may_try():
        detail = "too many logins with a wrong key; try again in a minute"
        raise Problem(429, "too-many-logins", detail, headers={"retry-after": "60"})
    try:
        async with asyncio.timeout(BODY_S):
            body = await request.body()
    except TimeoutError:
        raise Problem(408, "too-slow", f"the form did not arrive within {BODY_S:.0f} s") from None
    given = parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0]
    if web.keyring.is_open or not web.keyring.is_key(given.encode()):
        web.keyring.failed()
        return render(request, web, "login.html", status=403, wrong=True)
    response = RedirectResponse("/", 303)
    # Behind a load balancer the last hop is plain. Whoever forges the header gets a cookie that is sent less often.
    secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
    response.set_cookie(
        COOKIE, web.keyring.session(), max_age=SESSION_S, httponly=True, samesite="strict", secure=secure
    )
    return response


@router.post("/logout", response_class=HTMLResponse)
async def logout(request: Request) -> Response:
    """End the session, also for whoever copied the cookie."""
    web_of(request).keyring.end_session(request.headers.get("cookie", "").encode("latin-1"))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
