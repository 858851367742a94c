"""`/datasets`, `/datasets/{id}` and `/datasets/{id}/versions`."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from tnt_platform.web import cursors
from tnt_platform.web.context import web_of
from tnt_platform.web.frames import describe
from tnt_platform.web.openapi import DatasetDocument, Listing, problems
from tnt_platform.web.queries import ListQuery, VersionQuery
from tnt_platform.web.responses import etag_of, etag_of_all, json_response, next_link, not_modified
from tnt_platform.web.rows import json_array
from tnt_platform.web.selection import frame_page

router = APIRouter(tags=["datasets"])
DatasetId = Annotated[
    str,
    Path(
        max_length=300,
        description="Dataset id, which may contain slashes, such as `transit/results`.",
        json_schema_extra={"format": "tnt-dataset"},
    ),
]


@router.get("/datasets", response_model=Listing, responses=problems(304))
async def list_datasets(request: Request, query: Annotated[ListQuery, Query()]) -> Response:
    """List the published datasets with their current versions; every publish changes the ETag."""
    web = web_of(request)
    snapshots = await web.work.run(web.catalog.all_current)
    etag = etag_of_all(snapshots)
    if (same := not_modified(request, etag)) is not None:
        return same
    digest = cursors.filters_digest("datasets")
    after = cursors.decode(query.cursor, digest).after if query.cursor else ""
    if not isinstance(after, str):
        raise cursors.invalid_cursor()
    rest = [snapshot for snapshot in snapshots if snapshot.dataset > after]
    shown = rest[: query.limit]
    more = len(rest) > len(shown)
    next_cursor = cursors.cursor_of({}, digest, shown[-1].dataset).encode() if more else None
    body = {"items": [describe(snapshot) for snapshot in shown], "count": len(shown), "cursor": next_cursor}
    return json_response(json.dumps(body), etag, next_link(request, next_cursor))


@router.get("/datasets/{dataset:path}/versions", response_model=Listing, responses=problems(304, 404))
async def list_versions(
    request: Request, dataset: DatasetId, query: Annotated[ListQuery, Query()]
) -> Response:
    """List the kept versions, latest first, with what each changed."""
    web = web_of(request)
    current = await web.work.run(web.catalog.current, dataset)
    table = await web.work.run(web.catalog.versions, dataset)
    digest = cursors.filters_digest("versions", dataset)
    start = 0
    if query.cursor is not None:
        after = cursors.decode(query.cursor, digest).after
        if not isinstance(after, str):
            raise cursors.invalid_cursor()
        # Versions published in the meantime are listed before `after`, and expired ones vanish from the end.
        start = int((table["version"] >= after).sum())
    rows, more = frame_page(table, start, query.limit)
    next_cursor = None
    if more is not None:
        next_cursor = cursors.cursor_of({}, digest, table["version"][more - 1]).encode()
    rest = json.dumps({"count": len(rows), "cursor": next_cursor, "current": current.version})
    # No ETag, because tags change without a new version.
    body = f'{{"items":{json_array(list(rows))},{rest[1:]}'
    return Response(
        body,
        headers={"cache-control": "private, no-cache", **next_link(request, next_cursor)},
        media_type="application/json",
    )


@router.get("/datasets/{dataset:path}", response_model=DatasetDocument, responses=problems(304, 404, 410))
async def one_dataset(
    request: Request, dataset: DatasetId, query: Annotated[VersionQuery, Query()]
) -> Response:
    """Return one version of a dataset: counts, key, columns, and what it changed."""
    web = web_of(request)
    snapshot = await web.work.run(web.catalog.chosen, dataset, query.version, query.as_of)
    etag = etag_of([snapshot])
    if (same := not_modified(request, etag)) is not None:
        return same
    manifest = snapshot.manifest
    log = manifest.changelog
    more = {
        "parent": manifest.parent,
        "run_id": manifest.run_id,
        "code_version": manifest.code_version,
        "note": manifest.note,
        "changes": {
            "added": log.added,
            "updated": log.updated,
            "removed": log.removed,
            "partitions": len(log.partitions_changed),
        },
        "watermarks": {name: moment.isoformat() for name, moment in manifest.watermarks.items()},
        "about": manifest.about,
    }
    return json_response(json.dumps({**describe(snapshot), **more}, default=str), etag)
