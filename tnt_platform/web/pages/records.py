"""The records browser and the page of one record."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tnt_platform.web import cursors
from tnt_platform.web.api.records import with_provenance
from tnt_platform.web.pages.rendering import page
from tnt_platform.web.problems import missing
from tnt_platform.web.queries import CursorText, End, IfGiven, Moment, Text, VersionQuery
from tnt_platform.web.records.pages import find, page_of
from tnt_platform.web.records.reader import Wanted
from tnt_platform.web.records.table import RecordFilters
from tnt_platform.web.web import Web, web_of

router = APIRouter(include_in_schema=False)
_PER_PAGE = 25
_LEADING = ("id", "source", "captured_at")
_PLUMBING = frozenset(
    {"fingerprint", "raw_s3_key", "item_index", "item_id", "first_seen_at", "processed_at", "provenance"}
)


class BrowserQuery(BaseModel):
    """The filters of the form."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    source: Annotated[Text | None, IfGiven] = None
    start: Annotated[Moment | None, Field(alias="from"), IfGiven] = None
    end: Annotated[End | None, Field(alias="to"), IfGiven] = None
    q: Annotated[Text | None, IfGiven] = None
    cursor: CursorText | None = None


@router.get("/ui/records", response_class=HTMLResponse)
async def browse(request: Request, query: Annotated[BrowserQuery, Query()]) -> Response:
    """A table of records that fit the filters."""
    web = web_of(request)
    return await page(request, "records.html", **await web.work.run(_found, web, query))


def _found(web: Web, query: BrowserQuery) -> dict[str, Any]:
    filters = RecordFilters(query.source, query.start, query.end, query.q)
    digest = cursors.filters_digest(filters, None, None)
    cursor = cursors.decode(query.cursor, digest) if query.cursor else None
    chosen = web.records.choose(Wanted(query.source, cursor=cursor))
    found = page_of(chosen.tables, cursor, _PER_PAGE, filters, digest)
    records = [json.loads(bytes(body)) for body in found.bodies]
    every = web.records.choose(Wanted())
    return {
        "records": [(record, _gist(record)) for record in records],
        "total": sum(table.count(filters) for table in chosen.tables),
        "next": found.next.encode() if found.next else None,
        "sources": sorted({source for table in every.tables for source in table.sources if source}),
    }


def _gist(record: dict[str, Any]) -> str:
    """The record's own fields in a line."""
    own = [
        f"{value}"
        for name, value in record.items()
        if name not in _PLUMBING and name not in _LEADING and value is not None
    ]
    text = " · ".join(own)
    return text if len(text) <= 160 else f"{text[:159]}…"


@router.get("/ui/records/{record_id:path}", response_class=HTMLResponse)
async def detail(request: Request, record_id: str, query: Annotated[VersionQuery, Query()]) -> Response:
    """One record, field by field, down to the capture and the item."""
    web = web_of(request)
    wanted = Wanted(record_id.split(":", 1)[0] if query.version else None, query.version, query.as_of)
    chosen = await web.work.run(web.records.choose, wanted)
    found = find(chosen.tables, record_id)
    if found is None:
        raise missing(f"There is no record {record_id[:200]!r}.")
    is_current = query.version is None and query.as_of is None
    record = json.loads(await with_provenance(web, *found, is_current=is_current))
    provenance = record.pop("provenance")
    return await page(request, "record.html", record=record, provenance=provenance, plumbing=_PLUMBING)
