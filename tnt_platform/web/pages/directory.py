"""The directory page: tenants that opened, closed, moved or were renamed between two versions."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.context import Web, web_of
from tnt_platform.web.frames import before_and_after
from tnt_platform.web.pages.kinds import chosen_of, datasets_of, is_directory
from tnt_platform.web.pages.rendering import render_page
from tnt_platform.web.problems import Problem
from tnt_platform.web.queries import EmptyAsNone, Strict, Text, VersionText

router = APIRouter(include_in_schema=False)
_SHOWN = 300
_NAMES = ("title_en", "title_th", "title_zh")
# The columns that people look for; the others are on the dataset's page.
_DETAILS = ("kind", "category", "floor", "zone", "unit")


class DirectoryQuery(Strict):
    """Choose a dataset and two versions."""

    dataset: Text | None = None
    before: Annotated[VersionText | None, Field(alias="from"), EmptyAsNone] = None
    after: Annotated[VersionText | None, Field(alias="to"), EmptyAsNone] = None


@router.get("/ui/directory", response_class=HTMLResponse)
async def directory(request: Request, query: Annotated[DirectoryQuery, Query()]) -> Response:
    """Show the tenants that opened, closed, moved or were renamed."""
    web = web_of(request)
    return await render_page(request, "directory.html", **await web.work.run(_shown, web, query))


def _shown(web: Web, query: DirectoryQuery) -> dict[str, Any]:
    known = datasets_of(web.catalog, is_directory)
    snapshot = chosen_of(known, query.dataset)
    shown: dict[str, Any] = {"known": known, "snapshot": snapshot, "why": None, "changes": None, "floors": []}
    if snapshot is None:
        return {**shown, "versions": []}
    shown["versions"] = web.catalog.versions(snapshot.dataset).head(50).to_dicts()
    shown["floors"] = _by_floor(web, snapshot)
    try:
        before, after = before_and_after(web.catalog, snapshot.dataset, query.before, query.after)
        rows = web.frames.diff(before, after)
    except Problem as problem:
        if query.before is not None or query.after is not None:
            raise
        return {**shown, "why": problem.detail}
    return {**shown, "before": before, "after": after, "changes": _grouped_changes(rows)}


def _by_floor(web: Web, snapshot: Snapshot) -> list[dict[str, Any]]:
    by = [name for name in ("kind", "floor") if name in snapshot.manifest.schema]
    if len(by) < 2:
        return []
    counts = (
        snapshot.scan(columns=by)
        .group_by("floor")
        .agg(pl.len().alias("tenants"), (pl.col("kind") == "dining").sum().alias("dining"))
    )
    most = counts.sort("tenants", descending=True).head(20)
    return web.cache.of_version(snapshot, "floors", most.collect).to_dicts()


def _grouped_changes(rows: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Group the changes: opened, closed, renamed, moved -> tenants with id, name, was, details."""
    found: dict[str, list[dict[str, Any]]] = {"opened": [], "closed": [], "renamed": [], "moved": []}
    for row in rows.head(20_000).iter_rows(named=True):
        fields = {change["column"]: (change["before"], change["after"]) for change in row["changed"] or []}
        tenant = {"id": row["unique_id"], "details": _details(fields, row["change"])}
        if row["change"] == "added":
            found["opened"].append({**tenant, "name": _name(fields, 1)})
        elif row["change"] == "removed":
            found["closed"].append({**tenant, "name": _name(fields, 0)})
        elif any(name in fields for name in _NAMES):
            found["renamed"].append({**tenant, "name": _name(fields, 1), "was": _name(fields, 0)})
        elif any(name in fields for name in _DETAILS):
            found["moved"].append(tenant)
    return {kind: tenants[:_SHOWN] for kind, tenants in found.items()}


def _name(fields: dict[str, tuple[str | None, str | None]], side: int) -> str:
    return next(
        (str(fields[name][side]) for name in _NAMES if name in fields and fields[name][side]), "(no name)"
    )


def _details(fields: dict[str, tuple[str | None, str | None]], change: str) -> str:
    parts = []
    for name in _DETAILS:
        before, after = fields.get(name, (None, None))
        if change == "updated":
            if name in fields:
                parts.append(f"{name}: {before or '–'} → {after or '–'}")
        elif before or after:
            parts.append(f"{name} {after if change == 'added' else before}")
    return ", ".join(parts)
