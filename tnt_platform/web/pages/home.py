"""The first page: how much there is, how fresh it is, and what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.charts.columns import column_plot
from tnt_platform.web.pages.rendering import page
from tnt_platform.web.records.analytics import analytics
from tnt_platform.web.web import Web, web_of

router = APIRouter(include_in_schema=False)
_DAYS_SHOWN = 60


@router.get("/", response_class=HTMLResponse)
async def home(request: Request) -> Response:
    """Cards, records by source and day, and every dataset's freshness."""
    web = web_of(request)
    shown = await web.work.run(_overview, web)
    return await page(request, "home.html", **shown)


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
    """Datasets by the first part of their id: the steps of one system stay together."""
    groups = groupby(snapshots, key=lambda snapshot: snapshot.dataset.split("/", 1)[0])
    return [(name, list(members)) for name, members in groups]
