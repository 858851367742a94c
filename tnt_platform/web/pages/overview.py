"""The home page and the health page: what is published, how fresh it is, and what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.charts import column_plot
from tnt_platform.web.context import Web, web_of
from tnt_platform.web.frames import Rejected
from tnt_platform.web.pages.rendering import render_page
from tnt_platform.web.problems import Problem
from tnt_platform.web.records.counts import analytics

router = APIRouter(include_in_schema=False)
_DAYS_SHOWN = 60
_DATASETS_SHOWN = 12


@router.get("/", response_class=HTMLResponse)
async def home(request: Request) -> Response:
    """Show totals, records by source and day, and the freshness of every dataset."""
    web = web_of(request)
    shown = await web.work.run(_overview, web)
    return await render_page(request, "home.html", **shown)


def _overview(web: Web) -> dict[str, Any]:
    snapshots = web.catalog.all_current()
    records = analytics([web.counts.of(snapshot) for snapshot in web.tables.datasets()])
    timeline = [
        (day["date"], float(day["count"]), f"{day['date']}: {day['count']:,} records")
        for day in records["timeline"][-_DAYS_SHOWN:]
    ]
    most = max(records["by_source"].values(), default=1)
    return {
        "groups": grouped(snapshots),
        "rows": sum(snapshot.manifest.rows for snapshot in snapshots),
        "quarantined": sum(snapshot.manifest.counts.quarantined for snapshot in snapshots),
        "held": [snapshot for snapshot in snapshots if snapshot.manifest.paused_because],
        "newest": max((snapshot.manifest.created_at for snapshot in snapshots), default=None),
        "count": len(snapshots),
        "records": records,
        "timeline": column_plot(timeline),
        "sources": [
            (name, count, 100 * count / most)
            for name, count in sorted(records["by_source"].items(), key=lambda pair: -pair[1])
        ],
    }


def grouped(snapshots: Sequence[Snapshot]) -> list[tuple[str, list[Snapshot]]]:
    """Group datasets by the first part of their id, so that the steps of one dataset stay together."""
    groups = groupby(snapshots, key=lambda snapshot: snapshot.dataset.split("/", 1)[0])
    return [(name, list(members)) for name, members in groups]


@router.get("/ui/health", response_class=HTMLResponse)
async def health(request: Request) -> Response:
    """Show failures and freshness as Dagster reports them, and rejected rows with reasons."""
    web = web_of(request)
    state = await web.dagster.state()
    shown = await web.work.run(_published, web)
    return await render_page(request, "health.html", state=state, **shown)


def _published(web: Web) -> dict[str, Any]:
    snapshots = web.catalog.all_current()
    rejecting = [found for found in snapshots if found.manifest.counts.quarantined]
    newest = sorted(rejecting, key=lambda found: found.manifest.created_at, reverse=True)[:_DATASETS_SHOWN]
    return {
        "by_age": sorted(snapshots, key=lambda found: found.manifest.created_at),
        "damaged": web.catalog.damaged,
        "blocked": web.catalog.blocked(),
        "published": {found.dataset for found in snapshots},
        "held": [found for found in snapshots if found.manifest.paused_because],
        "quarantined": sum(found.manifest.counts.quarantined for found in snapshots),
        "refused": _rejected(web, newest),
        "more_refusing": len(rejecting) - len(newest),
    }


def _rejected(web: Web, snapshots: Sequence[Snapshot]) -> list[tuple[Snapshot, Rejected | None]]:
    """Return why rows were rejected; a dataset that can't be read must not hide the others."""
    rejected: list[tuple[Snapshot, Rejected | None]] = []
    for snapshot in snapshots:
        try:
            rejected.append((snapshot, web.rejected_rows.of(snapshot)))
        except Problem:
            rejected.append((snapshot, None))
    return rejected
