"""The shapes of the answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from tnt_platform.web.problems import MEDIA_TYPE, ProblemDocument

_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
ResponseDocs = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> ResponseDocs:
    """What an operation may answer other than success."""
    said = {
        304: "The client has this version already (If-None-Match).",
        400: "A parameter can't be used; `detail` says which and why.",
        401: "The key is missing or wrong.",
        404: "There is no such thing.",
        410: "The version is not kept any more; `detail` says how to go on.",
        413: "The request, or what it asks to compare, is too large.",
        414: "The address is too long.",
        503: "Busy, or the lake can't be reached; try again after `Retry-After` seconds.",
    }
    always = (400, 401, 413, 414, 503)
    documented: ResponseDocs = {
        status: {"description": said[status], **(_PROBLEM if status != 304 else {})}
        for status in sorted({*statuses, *always})
    }
    # Named once, so that the schema is in the document.
    documented[400]["model"] = ProblemDocument
    documented[400].pop("content")
    return documented


class Document(BaseModel):
    """An answer; members may be added later."""

    model_config = ConfigDict(extra="allow")


class CuratedRecord(Document):
    """One record as published; the members beyond these are the fields of its source."""

    id: str
    source: str | None
    captured_at: str | None
    fingerprint: str | None


class RecordDetail(CuratedRecord):
    """One record and where it comes from."""

    provenance: dict[str, Any]


class RecordsPage(Document):
    """Records in the order of source and id. `cursor` (or `lastKey`) goes on in the same versions; null at the end."""

    items: list[CuratedRecord]
    count: int
    cursor: str | None
    lastKey: str | None  # noqa: N815 - the name clients of the old API read
    versions: dict[str, str]


class Day(BaseModel):
    """Records captured on a day (UTC)."""

    date: str
    count: int


class Summary(BaseModel):
    """All records; the times are of captures."""

    total_records: int
    total_sources: int
    oldest_record: str | None
    newest_record: str | None


class Analytics(Document):
    """Counts of records; `timeline` is `by_date` as a list, oldest first.

    `summaries`: the version of each dataset's summary that told, null where the records had to be counted.
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
    """A page of a list; `cursor` goes on, null at the end."""

    items: list[dict[str, Any]]
    count: int
    cursor: str | None


class RowsPage(Listing):
    """Rows of one version in the order they are stored (by partition)."""

    dataset: str
    version: str


class DiffPage(Listing):
    """Rows that differ, by key, and how many there are of each kind."""

    dataset: str
    before: str
    after: str
    added: int
    updated: int
    removed: int


class QuarantinePage(RowsPage):
    """Refused rows, and how many there are of each reason."""

    by_reason: dict[str, int]
