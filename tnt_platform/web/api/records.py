"""`/records`, `/records/{id}` and `/analytics`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web import cursors
from tnt_platform.web.context import Web, web_of
from tnt_platform.web.openapi import Analytics, RecordDetail, RecordsPage, problems
from tnt_platform.web.problems import not_found
from tnt_platform.web.queries import RecordsQuery, SourceQuery, VersionQuery, parameters_of, parse_query
from tnt_platform.web.records.counts import Counts
from tnt_platform.web.records.counts import analytics as analytics_of
from tnt_platform.web.records.reader import Chosen, VersionChoice, find, page_of_records
from tnt_platform.web.records.table import RecordTable
from tnt_platform.web.responses import etag_of, json_response, next_link, not_modified

router = APIRouter(tags=["records"])
_JSON = json.JSONEncoder(ensure_ascii=False).encode


@router.get(
    "/records",
    response_model=RecordsPage,
    responses=problems(304, 410),
    openapi_extra=parameters_of(RecordsQuery),
)
async def list_records(request: Request) -> Response:
    """List curated records, filtered by source, time of capture and text."""
    web, query = web_of(request), parse_query(RecordsQuery, request)
    filters = query.filters
    digest = cursors.filters_digest(filters, query.version, query.as_of)
    cursor = cursors.decode(query.position, digest) if query.position else None
    choice = VersionChoice(query.source, query.version, query.as_of, cursor)
    chosen = await _chosen(web, choice)
    etag = etag_of(chosen.snapshots)
    if (same := not_modified(request, etag)) is not None:
        return same
    if all(table.is_cheap(filters) for table in chosen.tables):
        found = page_of_records(chosen.tables, cursor, query.limit, filters, digest)
    else:
        found = await web.work.run(page_of_records, chosen.tables, cursor, query.limit, filters, digest)
    next_cursor = found.next.encode() if found.next else None
    rest = _JSON(
        {
            "count": len(found.bodies),
            "cursor": next_cursor,
            "lastKey": next_cursor,
            "versions": _versions(chosen),
        }
    )
    body = b'{"items":[' + b",".join(found.bodies) + b"]," + rest[1:].encode()
    return json_response(body, etag, next_link(request, next_cursor))


@router.get(
    "/records/{record_id:path}",
    response_model=RecordDetail,
    responses=problems(304, 404, 410),
    openapi_extra=parameters_of(VersionQuery),
)
async def one_record(request: Request, record_id: str) -> Response:
    """Return one record with its provenance: the capture and the position in it."""
    web, query = web_of(request), parse_query(VersionQuery, request)
    # Ids start with the source, which a version needs.
    source = record_id.split(":", 1)[0] if query.version else None
    choice = VersionChoice(source, query.version, query.as_of)
    chosen = await _chosen(web, choice)
    captures = [web.records.latest_capture(snapshot.dataset).version for snapshot in chosen.snapshots]
    etag = etag_of(chosen.snapshots, *captures)
    if (same := not_modified(request, etag)) is not None:
        return same
    found = find(chosen.tables, record_id)
    if found is None:
        raise not_found(f"there is no record {record_id[:200]!r}; GET /records lists the records")
    is_current = query.version is None and query.as_of is None
    return json_response(await with_provenance(web, *found, is_current=is_current), etag)


@router.get("/analytics", response_model=Analytics, responses=problems(304, 410))
async def analytics(request: Request, query: Annotated[SourceQuery, Query()]) -> Response:
    """Count the records by source and by day of capture."""
    web = web_of(request)
    choice = VersionChoice(query.source, query.version, query.as_of)
    snapshots = await web.work.run(web.records.snapshots, choice)
    counts = await web.work.run(_count, web, snapshots, query.source)
    summaries = {found.dataset: one.summary for found, one in zip(snapshots, counts, strict=True)}
    etag = etag_of(snapshots, *(version or "" for version in summaries.values()))
    if (same := not_modified(request, etag)) is not None:
        return same
    versions = {snapshot.dataset: snapshot.version for snapshot in snapshots}
    return json_response(_JSON({**analytics_of(counts), "versions": versions, "summaries": summaries}), etag)


def _count(web: Web, snapshots: Sequence[Snapshot], source: str | None) -> list[Counts]:
    return [web.counts.of(snapshot, source) for snapshot in snapshots]


async def with_provenance(web: Web, table: RecordTable, body: bytes, *, is_current: bool) -> str:
    """Return a record with its provenance."""
    record = json.loads(body)
    seen = await _last_seen(web, table.dataset, record) if is_current else None
    provenance = {
        "dataset": table.dataset,
        "version": table.version,
        "raw_s3_key": record.get("raw_s3_key"),
        "item_index": record.get("item_index"),
        "captured_at": record.get("captured_at"),
        "last_seen_at": seen.isoformat() if seen else record.get("last_seen_at"),
    }
    return f'{body[:-1].decode()},"provenance":{_JSON(provenance)}}}'


async def _last_seen(web: Web, dataset: str, record: dict[str, Any]) -> datetime | None:
    """Return when an item was last seen: at once for items of the latest content, else from older captures."""
    latest = web.records.latest_capture(dataset)
    item = record.get("item_id")
    seen = latest.seen(item)
    if seen is not None or latest.since is None or not isinstance(item, str):
        return seen
    captured_at = record.get("captured_at")
    moment = datetime.fromisoformat(captured_at) if captured_at else None
    return await web.work.run(web.records.last_seen, dataset, item, moment)


async def _chosen(web: Web, choice: VersionChoice) -> Chosen:
    """Choose without a thread if nothing has to be read, which is the usual case."""
    ready = web.records.peek(choice)
    return ready if ready is not None else await web.work.run(web.records.choose, choice)


def _versions(chosen: Chosen) -> dict[str, str]:
    return {snapshot.dataset: snapshot.version for snapshot in chosen.snapshots}
