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
from tnt_platform.web.context import Web, web_of
from tnt_platform.web.pages.rendering import render_page
from tnt_platform.web.problems import not_found
from tnt_platform.web.queries import CursorText, EmptyAsNone, End, Moment, Text, VersionQuery
from tnt_platform.web.records.reader import VersionChoice, find, page_of_records
from tnt_platform.web.records.table import RecordFilters

router = APIRouter(include_in_schema=False)
_PER_PAGE = 25
_LEADING = ("id", "source", "captured_at")
_TECHNICAL_FIELDS = frozenset(
    {"fingerprint", "raw_s3_key", "item_index", "item_id", "first_seen_at", "processed_at", "provenance"}
)


class BrowserQuery(BaseModel):
    """The filters of the form."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    source: Annotated[Text | None, EmptyAsNone] = None
    start: Annotated[Moment | None, Field(alias="from"), EmptyAsNone] = None
    end: Annotated[End | None, Field(alias="to"), EmptyAsNone] = None
    q: Annotated[Text | None, EmptyAsNone] = None
    cursor: CursorText | None = None


@router.get("/ui/records", response_class=HTMLResponse)
async def browse(request: Request, query: Annotated[BrowserQuery, Query()]) -> Response:
    """List the records that match the filters."""
    web = web_of(request)
    return await render_page(request, "records.html", **await web.work.run(_found, web, query))


def _found(web: Web, query: BrowserQuery) -> dict[str, Any]:
    filters = RecordFilters(query.source, query.start, query.end, query.q)
    digest = cursors.filters_digest(filters, None, None)
    cursor = cursors.decode(query.cursor, digest) if query.cursor else None
    chosen = web.records.choose(VersionChoice(query.source, cursor=cursor))
    found = page_of_records(chosen.tables, cursor, _PER_PAGE, filters, digest)
    records = [json.loads(bytes(body)) for body in found.bodies]
    every = web.records.choose(VersionChoice())
    return {
        "records": [(record, _content_line(record)) for record in records],
        "total": sum(table.count(filters) for table in chosen.tables),
        "next": found.next.encode() if found.next else None,
        "sources": sorted({source for table in every.tables for source in table.sources if source}),
    }


def _content_line(record: dict[str, Any]) -> str:
    """Join the record's own fields to one line."""
    own = [
        f"{value}"
        for name, value in record.items()
        if name not in _TECHNICAL_FIELDS and name not in _LEADING and value is not None
    ]
    text = " · ".join(own)
    return text if len(text) <= 160 else f"{text[:159]}…"


@router.get("/ui/records/{record_id:path}", response_class=HTMLResponse)
async def detail(request: Request, record_id: str, query: Annotated[VersionQuery, Query()]) -> Response:
    """Show one record with its fields and provenance."""
    web = web_of(request)
    choice = VersionChoice(record_id.split(":", 1)[0] if query.version else None, query.version, query.as_of)
    chosen = await web.work.run(web.records.choose, choice)
    found = find(chosen.tables, record_id)
    if found is None:
        raise not_found(f"There is no record {record_id[:200]!r}.")
    is_current = query.version is None and query.as_of is None
    record = json.loads(await with_provenance(web, *found, is_current=is_current))
    provenance = record.pop("provenance")
    return await render_page(
        request, "record.html", record=record, provenance=provenance, plumbing=_TECHNICAL_FIELDS
    )
