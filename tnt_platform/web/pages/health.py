"""What needs somebody's attention: failed runs and checks, data that is not fresh, rows that were refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.pages.rendering import page
from tnt_platform.web.problems import Problem
from tnt_platform.web.refusals import Refused
from tnt_platform.web.web import Web, web_of

router = APIRouter(include_in_schema=False)
_DATASETS_SHOWN = 12


@router.get("/ui/health", response_class=HTMLResponse)
async def health(request: Request) -> Response:
    """Failures as Dagster tells them, freshness, and quarantine with reasons and examples."""
    web = web_of(request)
    state = await web.dagster.state()
    shown = await web.work.run(_published, web)
    return await page(request, "health.html", state=state, **shown)


def _published(web: Web) -> dict[str, Any]:
    snapshots = web.catalog.all_current()
    refusing = [found for found in snapshots if found.manifest.counts.quarantined]
    newest = sorted(refusing, key=lambda found: found.manifest.created_at, reverse=True)[:_DATASETS_SHOWN]
    return {
        "by_age": sorted(snapshots, key=lambda found: found.manifest.created_at),
        "published": {found.dataset for found in snapshots},
        "held": [found for found in snapshots if found.manifest.paused_because],
        "quarantined": sum(found.manifest.counts.quarantined for found in snapshots),
        "refused": _refused(web, newest),
        "more_refusing": len(refusing) - len(newest),
    }


def _refused(web: Web, snapshots: Sequence[Snapshot]) -> list[tuple[Snapshot, Refused | None]]:
    """One dataset that can't be read must not hide the others."""
    found: list[tuple[Snapshot, Refused | None]] = []
    for snapshot in snapshots:
        try:
            found.append((snapshot, web.refusals.of(snapshot)))
        except Problem:
            found.append((snapshot, None))
    return found
