"""Render templates; all values are escaped."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from tnt_platform.web.context import Web, web_of
from tnt_platform.web.responses import etag_of_all

TEMPLATES = Path(__file__).parents[1] / "templates"
_UNITS = ("B", "kB", "MB", "GB", "TB")


async def render_page(request: Request, template: str, *, status: int = 200, **shown: Any) -> HTMLResponse:
    """Render a page of the dashboard."""
    web = web_of(request)
    etag = etag_of_all(await web.work.run(web.catalog.all_current)) if status == 200 else ""
    return render(request, web, template, status=status, etag=etag, **shown)


def render(
    request: Request, web: Web, template: str, *, status: int = 200, etag: str = "", **shown: Any
) -> HTMLResponse:
    """Render a page without reading the lake."""
    text = (
        templates()
        .get_template(template)
        .render(
            path=request.scope["path"],
            query=dict(request.query_params),
            etag=etag,
            has_login=not web.keyring.is_open,
            dagster_url=web.options.dagster_url,
            now=datetime.now(UTC),
            **shown,
        )
    )
    return HTMLResponse(text, status, headers={"cache-control": "private, no-cache"})


@lru_cache(maxsize=1)
def templates() -> Environment:
    """Load the templates with their filters."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "size": size,
        "ago": ago,
        "moment": moment,
        "span": span,
        "percent": percent,
        "path": quote_path,
        "query": urlencode,
    }
    return environment


def number(value: float | None, decimals: int = 0) -> str:
    """Format a number; a dash for None."""
    return "–" if value is None else f"{value:,.{decimals}f}"


def percent(value: float | None) -> str:
    """Format a share as a percentage."""
    return "–" if value is None else f"{value * 100:.1f} %"


def size(value: float) -> str:
    """Format a size in bytes."""
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def moment(value: datetime | date | str | None) -> str:
    """Format a time in UTC, to the minute."""
    if value is None:
        return "–"
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return str(value)
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else f"{value:%Y-%m-%d}"


def ago(value: datetime, now: datetime) -> str:
    """Format the time since, in the largest fitting unit."""
    seconds = (now - value).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(abs(seconds) // length)
        if count:
            duration = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"{duration} ago" if seconds > 0 else f"in {duration}"
    return "just now"


def span(value: timedelta) -> str:
    """Format a duration."""
    hours = value.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h"


def quote_path(text: str) -> str:
    """Quote a path, keeping slashes."""
    return quote(text, safe="/")
