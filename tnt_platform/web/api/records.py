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
from tnt_platform.web.answers import etag_of, json_answer, next_link, not_modified
from tnt_platform.web.api.documents import Analytics, RecordDetail, RecordsPage, problems
from tnt_platform.web.problems import missing
from tnt_platform.web.queries import RecordsQuery, SourceQuery, VersionQuery, asked, parameters_of
from tnt_platform.web.records.analytics import analytics as analytics_of
from tnt_platform.web.records.pages import find, page_of
from tnt_platform.web.records.reader import Chosen, Wanted
from tnt_platform.web.records.summaries import Counts
from tnt_platform.web.records.table import RecordTable
from tnt_platform.web.web import Web, web_of

router = APIRouter(tags=["records"])
_JSON = json.JSONEncoder(ensure_ascii=False).encode


@router.get(
    "/records",
    response_model=RecordsPage,
    responses=problems(304, 410),
    openapi_extra=parameters_of(RecordsQuery),
)
async def list_records(request: Request) -> Response:
    """Curated records, a page at a time, by source, time of capture and text."""
    web, query = web_of(request), asked(RecordsQuery, request)
    filters = query.filters
    digest = cursors.filters_digest(filters, query.version, query.as_of)
    cursor = cursors.decode(query.place, digest) if query.place else None
    wanted = Wanted(query.source, query.version, query.as_of, cursor)
    chosen = await _chosen(web, wanted)
    etag = etag_of(chosen.snapshots)
    if (same := not_modified(request, etag)) is not None:
        return same
    if all(table.is_cheap(filters) for table in chosen.tables):
        found = page_of(chosen.tables, cursor, query.limit, filters, digest)
    else:
        found = await web.work.run(page_of, chosen.tables, cursor, query.limit, filters, digest)
    place = found.next.encode() if found.next else None
    rest = _JSON(
        {"count": len(found.bodies), "cursor": place, "lastKey": place, "versions": _versions(chosen)}
    )
    body = b'{"items":[' + b",".join(found.bodies) + b"]," + rest[1:].encode()
    return json_answer(body, etag, next_link(request, place))


@router.get(
    "/records/{record_id:path}",
    response_model=RecordDetail,
    responses=problems(304, 404, 410),
    openapi_extra=parameters_of(VersionQuery),
)
async def one_record(request: Request, record_id: str) -> Response:
    """One record with its provenance: the capture and the place in it."""
    web, query = web_of(request), asked(VersionQuery, request)
    # Ids begin with the source; a version needs one.
    source = record_id.split(":", 1)[0] if query.version else None
    wanted = Wanted(source, query.version, query.as_of)
    chosen = await _chosen(web, wanted)
    looks = [web.records.last_look(snapshot.dataset).version for snapshot in chosen.snapshots]
    etag = etag_of(chosen.snapshots, *looks)
    if (same := not_modified(request, etag)) is not None:
        return same
    found = find(chosen.tables, record_id)
    if found is None:
        raise missing(f"no record {record_id[:200]!r}; GET /records lists those that are there")
    is_current = query.version is None and query.as_of is None
    return json_answer(await with_provenance(web, *found, is_current=is_current), etag)


@router.get("/analytics", response_model=Analytics, responses=problems(304, 410))
async def analytics(request: Request, query: Annotated[SourceQuery, Query()]) -> Response:
    """How many records there are, by source and by day of capture."""
    web = web_of(request)
    wanted = Wanted(query.source, query.version, query.as_of)
    snapshots = await web.work.run(web.records.snapshots, wanted)
    counts = await web.work.run(_counted, web, snapshots, query.source)
    summaries = {found.dataset: one.summary for found, one in zip(snapshots, counts, strict=True)}
    etag = etag_of(snapshots, *(version or "" for version in summaries.values()))
    if (same := not_modified(request, etag)) is not None:
        return same
    versions = {snapshot.dataset: snapshot.version for snapshot in snapshots}
    return json_answer(_JSON({**analytics_of(counts), "versions": versions, "summaries": summaries}), etag)


def _counted(web: Web, snapshots: Sequence[Snapshot], source: str | None) -> list[Counts]:
    return [web.counts.of(snapshot, source) for snapshot in snapshots]


async def with_provenance(web: Web, table: RecordTable, body: bytes, *, is_current: bool) -> str:
    """The record and where it comes from. A record of an unchanged capture was last seen in that one."""
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
    """At once for an item of the newest content, as nearly always; the others have to be looked for."""
    look = web.records.last_look(dataset)
    item = record.get("item_id")
    seen = look.seen(item)
    if seen is not None or look.since is None or not isinstance(item, str):
        return seen
    captured_at = record.get("captured_at")
    moment = datetime.fromisoformat(captured_at) if captured_at else None
    return await web.work.run(web.records.last_seen, dataset, item, moment)


async def _chosen(web: Web, wanted: Wanted) -> Chosen:
    """At once if nothing has to be read for it, as nearly always."""
    ready = web.records.peek(wanted)
    return ready if ready is not None else await web.work.run(web.records.choose, wanted)


def _versions(chosen: Chosen) -> dict[str, str]:
    return {snapshot.dataset: snapshot.version for snapshot in chosen.snapshots}
