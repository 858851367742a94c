"""What all pages share: errors, the login and the documentation of the API."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tnt_platform.web.pages.rendering import rendered
from tnt_platform.web.problems import Problem, request_id
from tnt_platform.web.session import COOKIE
from tnt_platform.web.web import web_of

router = APIRouter(include_in_schema=False)
SESSION_S = 12 * 3600


def error_answer(request: Request, problem: Problem) -> Response:
    """A page for people who look at the dashboard, problem+json for everybody else."""
    path = request.scope["path"]
    if path != "/" and not path.startswith("/ui"):
        return problem.response(request_id(request))
    answer = rendered(
        request, web_of(request), "error.html", status=problem.status, problem=problem, id=request_id(request)
    )
    answer.headers.update(problem.headers)
    return answer


@router.get("/docs", response_class=HTMLResponse)
async def documentation(request: Request) -> Response:
    """The API for people, from the OpenAPI document; nothing is loaded from elsewhere."""
    document = request.app.openapi()
    operations = [
        {"path": path, "method": method.upper(), **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return rendered(request, web_of(request), "docs.html", operations=operations, document=document)


@router.get("/login", response_class=HTMLResponse)
async def login_form(request: Request) -> Response:
    """Ask for the key."""
    return rendered(request, web_of(request), "login.html", wrong=False)


@router.post("/login", response_class=HTMLResponse)
async def login(request: Request) -> Response:
    """Take the key and begin a session; other sites can't use its cookie."""
    web = web_of(request)
    given = parse_qs((await request.body()).decode("utf-8", "replace")).get("key", [""])[0]
    if web.keyring.is_open or not web.keyring.is_key(given.encode()):
        return rendered(request, web, "login.html", status=403, wrong=True)
    answer = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(
        COOKIE, web.keyring.session(), max_age=SESSION_S, httponly=True, samesite="strict", secure=secure
    )
    return answer


@router.post("/logout", response_class=HTMLResponse)
async def logout(request: Request) -> Response:
    """End the session."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
