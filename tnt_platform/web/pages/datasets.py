"""The list of datasets, the page of one dataset, and the diff of two versions."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tnt_platform.web.context import Web, web_of
from tnt_platform.web.frames import before_and_after
from tnt_platform.web.pages.overview import grouped
from tnt_platform.web.pages.rendering import render_page
from tnt_platform.web.problems import Problem
from tnt_platform.web.queries import DiffQuery, VersionQuery

router = APIRouter(include_in_schema=False)
_VERSIONS_SHOWN = 50
_EXAMPLES = 5
_REASONS_SHOWN = 30
_ROWS_SHOWN = 200


@router.get("/ui/datasets", response_class=HTMLResponse)
async def index(request: Request) -> Response:
    """List every dataset with its current version."""
    web = web_of(request)
    snapshots = await web.work.run(web.catalog.all_current)
    return await render_page(request, "datasets.html", groups=grouped(snapshots), count=len(snapshots))


@router.get("/ui/datasets/{dataset:path}/diff", response_class=HTMLResponse)
async def compare(request: Request, dataset: str, query: Annotated[DiffQuery, Query()]) -> Response:
    """Show the rows that differ between two versions."""
    web = web_of(request)
    return await render_page(request, "diff.html", **await web.work.run(_differences, web, dataset, query))


def _differences(web: Web, dataset: str, query: DiffQuery) -> dict[str, Any]:
    before, after = before_and_after(web.catalog, dataset, query.before, query.after)
    frame = web.frames.diff(before, after)
    kinds = dict(frame.group_by("change").len().iter_rows())
    return {
        "dataset": dataset,
        "before": before,
        "after": after,
        "kinds": {kind: kinds.get(kind, 0) for kind in ("added", "updated", "removed")},
        "rows": frame.head(_ROWS_SHOWN).to_dicts(),
        "total": frame.height,
        "key": after.manifest.key,
    }


@router.get("/ui/datasets/{dataset:path}", response_class=HTMLResponse)
async def one(request: Request, dataset: str, query: Annotated[VersionQuery, Query()]) -> Response:
    """Show one version: its facts, the other versions, and rejected rows."""
    web = web_of(request)
    return await render_page(request, "dataset.html", **await web.work.run(_described, web, dataset, query))


def _described(web: Web, dataset: str, query: VersionQuery) -> dict[str, Any]:
    snapshot = web.catalog.chosen(dataset, query.version, query.as_of)
    versions = web.catalog.versions(dataset)
    return {
        "snapshot": snapshot,
        "manifest": snapshot.manifest,
        "is_current": web.catalog.current(dataset).version == snapshot.version,
        "versions": versions.head(_VERSIONS_SHOWN).to_dicts(),
        "all_versions": versions.height,
        **_rejected(web, snapshot),
    }


def _rejected(web: Web, snapshot: Any) -> dict[str, Any]:
    """Return the reasons of rejected rows with counts and examples."""
    if not snapshot.manifest.counts.quarantined:
        return {"reasons": [], "too_many": None}
    try:
        frame = web.frames.quarantine(snapshot)
    except Problem as problem:
        return {"reasons": [], "too_many": problem.detail}
    counts = frame.group_by("reason_code").len().sort("len", "reason_code", descending=[True, False])
    shown = ["file_key", "line_no", "raw", "reason"]
    reasons = [
        (
            code or "(none)",
            count,
            frame.filter(pl.col("reason_code").eq_missing(code)).head(_EXAMPLES).select(shown).to_dicts(),
        )
        for code, count in counts.head(_REASONS_SHOWN).iter_rows()
    ]
    return {"reasons": reasons, "too_many": None}
