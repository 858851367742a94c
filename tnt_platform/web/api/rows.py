"""`/datasets/{id}/data`, `/diff` and `/quarantine`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web import cursors
from tnt_platform.web.api.datasets import DatasetId
from tnt_platform.web.context import Web, web_of
from tnt_platform.web.cursors import Cursor
from tnt_platform.web.downloads import MEDIA_TYPES, download
from tnt_platform.web.frames import before_and_after
from tnt_platform.web.openapi import DiffPage, QuarantinePage, RowsPage, problems
from tnt_platform.web.problems import Problem, bad_parameter
from tnt_platform.web.queries import DataQuery, DiffQuery, QuarantineQuery
from tnt_platform.web.responses import etag_of, json_response, next_link, not_modified
from tnt_platform.web.rows import json_array, read_version
from tnt_platform.web.selection import Selection, frame_page

router = APIRouter(tags=["datasets"])
_ROWS = 100
_FILES = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in MEDIA_TYPES.values()
    if "json" not in kind
}


@router.get(
    "/datasets/{dataset:path}/data",
    response_model=RowsPage | list[dict[str, object]],
    responses={**problems(304, 404, 410), 200: {"content": _FILES}},
)
async def data(request: Request, dataset: DatasetId, query: Annotated[DataQuery, Query()]) -> Response:
    """Return rows of a version: a page as JSON, or with `format` all of them as a file."""
    web = web_of(request)
    digest = cursors.filters_digest(
        "data", dataset, query.columns, tuple(query.where), query.partition, query.version, query.as_of
    )
    cursor = cursors.decode(query.cursor, digest) if query.cursor else None
    snapshot = await web.work.run(_chosen, web, dataset, query, cursor)
    etag = etag_of([snapshot])
    if (same := not_modified(request, etag)) is not None:
        return same
    selection = await web.work.run(Selection.of, snapshot, query)
    if query.format is not None:
        if query.limit is not None or query.cursor is not None:
            raise bad_parameter("format", "a download has all rows; omit limit and cursor")
        return await download(
            web.work, web.catalog, selection, query.format, web.settings.scratch / "web", etag
        )
    start = cursors.row_number(cursor) if cursor else 0
    rows, more = await web.work.run(
        read_version, web.catalog, snapshot, lambda: selection.page(start, query.limit or _ROWS)
    )
    next_cursor = _next_cursor(snapshot, digest, more)
    rest = {"dataset": snapshot.dataset, "version": snapshot.version}
    return _page(request, list(rows), next_cursor, rest, etag)


@router.get("/datasets/{dataset:path}/diff", response_model=DiffPage, responses=problems(304, 404, 410))
async def diff(request: Request, dataset: DatasetId, query: Annotated[DiffQuery, Query()]) -> Response:
    """Return what changed between two versions, by row and column."""
    web = web_of(request)
    digest = cursors.filters_digest("diff", dataset, query.before, query.after)
    cursor = cursors.decode(query.cursor, digest) if query.cursor else None
    before, after = query.before, query.after
    if cursor is not None:
        before, after = cursor.versions.get("before"), cursor.versions.get("after")
    older, newer = await web.work.run(before_and_after, web.catalog, dataset, before, after)
    etag = f'"{older.version}..{newer.version}"'
    if (same := not_modified(request, etag)) is not None:
        return same
    frame = await web.work.run(web.frames.diff, older, newer)
    kinds = dict(frame.group_by("change").len().iter_rows())
    rows, more = frame_page(frame, cursors.row_number(cursor) if cursor else 0, query.limit)
    pinned = {"before": older.version, "after": newer.version}
    next_cursor = cursors.cursor_of(pinned, digest, more).encode() if more is not None else None
    counts = {kind: kinds.get(kind, 0) for kind in ("added", "updated", "removed")}
    return _page(request, list(rows), next_cursor, {"dataset": dataset, **pinned, **counts}, etag)


@router.get(
    "/datasets/{dataset:path}/quarantine", response_model=QuarantinePage, responses=problems(304, 404, 410)
)
async def quarantine(
    request: Request, dataset: DatasetId, query: Annotated[QuarantineQuery, Query()]
) -> Response:
    """Return the rejected rows: file, line, raw text and reason."""
    web = web_of(request)
    digest = cursors.filters_digest("quarantine", dataset, query.reason_code, query.version, query.as_of)
    cursor = cursors.decode(query.cursor, digest) if query.cursor else None
    snapshot = await web.work.run(_chosen, web, dataset, query, cursor)
    etag = etag_of([snapshot])
    if (same := not_modified(request, etag)) is not None:
        return same
    frame = await web.work.run(web.frames.quarantine, snapshot)
    reasons = frame.group_by("reason_code").len().sort("len", "reason_code", descending=[True, False])
    if query.reason_code is not None:
        frame = frame.filter(pl.col("reason_code") == query.reason_code)
    rows, more = frame_page(frame, cursors.row_number(cursor) if cursor else 0, query.limit)
    by_reason = {code or "(none)": count for code, count in reasons.iter_rows()}
    rest = {"dataset": snapshot.dataset, "version": snapshot.version, "by_reason": by_reason}
    return _page(request, list(rows), _next_cursor(snapshot, digest, more), rest, etag)


def _chosen(web: Web, dataset: str, query: DataQuery | QuarantineQuery, cursor: Cursor | None) -> Snapshot:
    if cursor is None:
        return web.catalog.chosen(dataset, query.version, query.as_of)
    if dataset not in cursor.versions:
        raise bad_parameter("cursor", "it belongs to another dataset")
    try:
        return web.catalog.snapshot(dataset, cursor.versions[dataset])
    except Problem as problem:
        if problem.status == 400:
            raise bad_parameter(
                "cursor", "not one that this listing gave; start again without it"
            ) from problem
        raise


def _next_cursor(snapshot: Snapshot, digest: str, more: int | None) -> str | None:
    if more is None:
        return None
    return cursors.cursor_of({snapshot.dataset: snapshot.version}, digest, more).encode()


def _page(
    request: Request, rows: list[str], next_cursor: str | None, rest: Mapping[str, object], etag: str
) -> Response:
    tail = json.dumps({"count": len(rows), "cursor": next_cursor, **rest}, ensure_ascii=False)
    return json_response(f'{{"items":{json_array(rows)},{tail[1:]}', etag, next_link(request, next_cursor))
