"""The OpenAPI document: the shapes of the responses, and corrections of what FastAPI derives."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict

from tnt_platform.web.problems import MEDIA_TYPE, ProblemDocument

_DESCRIPTION = (
    "Published, versioned data. Every list has a `cursor` that pins the version it started with; every response has "
    "the version as its ETag. Errors are problem+json (RFC 9457)."
)


def install(app: FastAPI, *, title: str, version: str, has_key: bool) -> None:
    """Make `app.openapi()` build the document on its first call."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=title, version=version, description=_DESCRIPTION, routes=app.routes)
            app.openapi_schema = _corrected(made, has_key=has_key)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _corrected(made: dict[str, Any], *, has_key: bool) -> dict[str, Any]:
    schemas = made.get("components", {}).get("schemas", {})
    for path, operations in made["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            # Invalid parameters are 400 here, with a problem document.
            responses.pop("422", None)
            if "400" in responses:
                content = responses["400"]["content"]
                responses["400"]["content"] = {MEDIA_TYPE: next(iter(content.values()))}
            if has_key and not path.startswith("/health"):
                operation["security"] = [{"key": []}]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    if has_key:
        made["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "x-api-key"}
        }
    return made


_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
ResponseDocs = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> ResponseDocs:
    """Document the responses of an operation other than success."""
    descriptions = {
        304: "The client has this version already (If-None-Match).",
        400: "A parameter is invalid; `detail` says which and why.",
        401: "The key is missing or wrong.",
        404: "Not found.",
        410: "The version is no longer kept; `detail` says how to continue.",
        413: "The request, or the comparison it asks for, is too large.",
        414: "The URL is too long.",
        503: "The server is busy, or the lake can't be reached; retry after `Retry-After` seconds.",
    }
    always = (400, 401, 413, 414, 503)
    documented: ResponseDocs = {
        status: {"description": descriptions[status], **(_PROBLEM if status != 304 else {})}
        for status in sorted({*statuses, *always})
    }
    # Referenced once as a model, so that the document includes its schema.
    documented[400]["model"] = ProblemDocument
    documented[400].pop("content")
    return documented


class Document(BaseModel):
    """A response; members may be added later."""

    model_config = ConfigDict(extra="allow")


class CuratedRecord(Document):
    """A published record; its further members are the fields of its source."""

    id: str
    source: str | None
    captured_at: str | None
    fingerprint: str | None


class RecordDetail(CuratedRecord):
    """A record and its provenance."""

    provenance: dict[str, Any]


class RecordsPage(Document):
    """Records sorted by source and id. `cursor` (or `lastKey`) continues in the same versions; null at the end."""

    items: list[CuratedRecord]
    count: int
    cursor: str | None
    lastKey: str | None  # noqa: N815 - the name clients of the old API read
    versions: dict[str, str]


class Day(BaseModel):
    """Number of records captured on a day (UTC)."""

    date: str
    count: int


class Summary(BaseModel):
    """All records; times are of captures."""

    total_records: int
    total_sources: int
    oldest_record: str | None
    newest_record: str | None


class Analytics(Document):
    """Counts of records; `timeline` is `by_date` as a list, oldest first.

    `summaries`: the version of each dataset's summary that was used, null where the records had to be counted.
    """

    summary: Summary
    by_source: dict[str, int]
    by_date: dict[str, int]
    timeline: list[Day]
    versions: dict[str, str]
    summaries: dict[str, str | None]


class DatasetDocument(Document):
    """A version of a dataset: its counts, key and columns."""

    dataset: str
    version: str
    published_at: str
    rows: int
    rows_in: int
    quarantined: int
    deduplicated: int
    filtered: int
    partitions: int
    size_bytes: int
    key: list[str]
    columns: dict[str, str]
    date_range: list[str] | None
    held_because: str | None


class Listing(Document):
    """A page of a list; `cursor` continues, null at the end."""

    items: list[dict[str, Any]]
    count: int
    cursor: str | None


class RowsPage(Listing):
    """Rows of one version in stored order (by partition)."""

    dataset: str
    version: str


class DiffPage(Listing):
    """Rows that differ, by key, and the number of each kind of change."""

    dataset: str
    before: str
    after: str
    added: int
    updated: int
    removed: int


class QuarantinePage(RowsPage):
    """Rejected rows, and how many there are of each reason."""

    by_reason: dict[str, int]
