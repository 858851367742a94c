"""`<dataset>/capture`: poll the API, and store its response once per content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from tnt_platform.errors import InvalidInput, NotFound, Unavailable
from tnt_platform.lake.captures import (
    append_capture,
    asked_whole_recently,
    capture_time,
    newest_capture,
    record_whole_asked,
)
from tnt_platform.lake.guard_rails import NO_OVERRIDES, Overrides, exceeds
from tnt_platform.lake.publishing import Published, Workspace, retry_conflicts
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import RowCounts
from tnt_platform.readers.paged_json import Paging, follow_pages
from tnt_platform.readers.served_page import first_text
from tnt_platform.records.readers.items import read_items
from tnt_platform.records.spec import CAPTURE, RecordsSpec
from tnt_platform.records.transforms.records import REJECTED, MappedItems, content_digest, map_items
from tnt_platform.services.download import Download, Downloader
from tnt_platform.settings import Settings

# One row per poll. `status`: captured (new content), refused (new content, rejected whole), unchanged (the records of
# the previous poll), still_refused (the rejected bytes again). Only the first two are curated.
# `item_ids` are the items of a captured response; an unchanged poll has those of the capture before it.
CAPTURES: dict[str, pl.DataType] = {
    "captured_at": pl.Datetime("us", "UTC"),
    "sha256": pl.String(),
    "size_bytes": pl.Int64(),
    "records": pl.Int64(),
    "object_key": pl.String(),
    "url": pl.String(),
    "status": pl.String(),
    "etag": pl.String(),
    "last_modified": pl.String(),
    "content_digest": pl.String(),
    "item_ids": pl.List(pl.String()),
}
CAPTURED, REFUSED, UNCHANGED, STILL_REFUSED = "captured", "refused", "unchanged", "still_refused"
_RAW_CHARS = 2_000


@dataclass(frozen=True)
class ParsedCapture:
    """The items of one capture. A response without readable items counts as one rejected item."""

    item_count: int
    mapped: MappedItems

    @property
    def accepted(self) -> bool:
        """Whether the capture was accepted, perhaps without some invalid items; otherwise all of it was rejected."""
        return self.mapped.rejected.is_empty() or not self.mapped.records.is_empty()

    @property
    def counts(self) -> RowCounts:
        """Items in = records + rejected + repeated."""
        mapped = self.mapped
        return RowCounts(
            rows_in=self.item_count,
            published=mapped.records.height,
            quarantined=mapped.rejected.height,
            deduplicated=mapped.deduplicated,
        )


def parse_capture(spec: RecordsSpec, body: bytes, overrides: Overrides = NO_OVERRIDES) -> ParsedCapture:
    """Map the items of a response to records, or reject all of it; no content makes this raise.

    All of it is rejected if more than `max_rejected_share` of the items are invalid, unless that is accepted.
    """
    limit = 1.0 if overrides.accept_rejected else spec.max_rejected_share
    try:
        items = read_items(body, spec.items, spec.count, spec.pages)
    except InvalidInput as error:
        return rejected_whole(spec, error, first_text(body)[:_RAW_CHARS])
    mapped = map_items(items, spec, spec.name, lambda invalid, of: exceeds(invalid, of, limit))
    return ParsedCapture(len(items), mapped)


def rejected_whole(spec: RecordsSpec, error: InvalidInput, raw: str) -> ParsedCapture:
    """Reject a capture whose items can't be told apart: one row in, one rejected."""
    row = (0, raw, error.reason_code, str(error))
    rejected = pl.DataFrame([row], schema=dict(REJECTED), orient="row")
    return ParsedCapture(1, MappedItems(pl.DataFrame(schema=spec.schema_of_records), rejected))


def publish_capture(
    spec: RecordsSpec,
    workspace: Workspace,
    settings: Settings,
    downloader: Downloader,
    *,
    run_id: str,
    overrides: Overrides = NO_OVERRIDES,
) -> Published:
    """Poll the API and publish one row about the poll; new content is stored before the row that names it.

    A poll that finds the latest captured bytes stores no object and leaves nothing to curate: its row only says when
    the records were last seen. If that object was deleted, it is captured anew. Partitions are UTC days.

    Raises:
        NotFound: the url does not exist.
        TntError: the download failed; see `Downloader.fetch`.
    """
    dataset = spec.dataset(CAPTURE)
    latest = newest_capture(workspace.store.current(dataset))
    # Once in a while the response is asked for whole: a server that always says "not modified" would leave it stale.
    days = spec.source.trust_unchanged_days
    is_recent = asked_whole_recently(workspace, dataset, None, workspace.clock(), days)
    known = latest if is_recent and _is_stored(workspace, latest) else None
    download = _download(spec, settings, downloader, known)
    now = workspace.clock()
    if not is_recent:
        record_whole_asked(workspace, dataset, now)
    return retry_conflicts(lambda: _publish_poll(spec, workspace, download, now, run_id, overrides))


def _latest_content(snapshot: Snapshot | None) -> str | None:
    """Return the digest of the records that the API last showed, as far as the polls of the latest day know."""
    if snapshot is None or snapshot.partitions.is_empty():
        return None
    polls = snapshot.scan([str(snapshot.partitions["partition"].max())], ["captured_at", "content_digest"])
    rows = polls.drop_nulls("content_digest").sort("captured_at").tail(1).collect()
    return str(rows["content_digest"][0]) if rows.height else None


def to_curate(polls: pl.DataFrame) -> pl.DataFrame:
    """Keep the polls (CAPTURES) that brought new content, oldest first."""
    return polls.filter(pl.col("status").is_in([CAPTURED, REFUSED])).sort("captured_at")


def captures_digest(object_keys: Iterable[str]) -> str:
    """Return a digest of a day's captures, which tells whether all were curated; it is empty for none."""
    keys = sorted(object_keys)
    return hashlib.sha256("\n".join(keys).encode()).hexdigest() if keys else ""


def _download(
    spec: RecordsSpec, settings: Settings, downloader: Downloader, latest: dict[str, Any] | None
) -> Download:
    """Fetch the response with the pages after it, unless it is that of the `latest` capture."""
    url = settings.resolve(spec.source.url)
    paging = _paging(spec)
    # The validators of a response are those of its first page alone.
    known = latest if latest and latest["url"] == url and not paging.follows else None
    headers = {name: settings.resolve(value) for name, value in spec.source.headers.items()}
    download = downloader.fetch(
        url,
        etag=known["etag"] if known else None,
        last_modified=known["last_modified"] if known else None,
        headers=headers,
    )
    if download.status == "absent":
        raise NotFound(f"{spec.name}: {url} does not exist; check `source.url` in a browser")
    if download.body is None or not paging.follows:
        return download

    def page(address: str) -> bytes:
        body = downloader.fetch(address, headers=headers).body
        if body is None:
            raise Unavailable(
                f"{spec.name}: {address}: this page of the answer is not there; run again later"
            )
        return body

    return replace(download, body=follow_pages(url, download.body, paging, page))


def _paging(spec: RecordsSpec) -> Paging:
    source = spec.source
    return Paging(
        pages=spec.pages,
        page_parameter=source.page_parameter,
        next_page=source.next_page,
        cursor_parameter=source.cursor_parameter,
        max_pages=source.max_pages,
        max_bytes=source.max_size_bytes,
    )


def _publish_poll(
    spec: RecordsSpec,
    workspace: Workspace,
    download: Download,
    now: datetime,
    run_id: str,
    overrides: Overrides,
) -> Published:
    base = workspace.store.current(spec.dataset(CAPTURE))
    latest = newest_capture(base)
    now, skew = capture_time(now, latest)
    if not _is_stored(workspace, latest):
        latest = None
    row = _poll_row(spec, download, latest, _latest_content(base) if latest else None, now, overrides)
    if download.body is not None and not workspace.raw.exists(row["object_key"]):
        workspace.raw.put(row["object_key"], download.body)
    published = append_capture(
        workspace,
        spec.dataset(CAPTURE),
        row,
        partition=f"{now:%Y-%m-%d}",
        schema=CAPTURES,
        base=base,
        digest=lambda polls: captures_digest(to_curate(polls)["object_key"]),
        run_id=run_id,
    )
    facts = {name: row[name] for name in ("object_key", "sha256", "records", "status", "url")}
    return replace(published, counts=RowCounts(rows_in=1, published=1)).with_facts(
        {f"capture_{name}": value for name, value in facts.items() if value is not None}
        | {"captured_at": str(now), **skew}
    )


def _is_stored(workspace: Workspace, capture: dict[str, Any] | None) -> bool:
    return capture is not None and workspace.raw.exists(capture["object_key"])


def _poll_row(
    spec: RecordsSpec,
    download: Download,
    latest: dict[str, Any] | None,
    latest_content: str | None,
    now: datetime,
    overrides: Overrides,
) -> dict[str, Any]:
    sha256 = hashlib.sha256(download.body).hexdigest() if download.body is not None else None
    poll = {
        "captured_at": now,
        "url": download.url,
        "etag": download.etag,
        "last_modified": download.last_modified,
    }
    if latest is not None and sha256 in (None, latest["sha256"]):
        status = UNCHANGED if latest["content_digest"] else STILL_REFUSED
        return {**latest, **poll, "status": status, "item_ids": None}
    if download.body is None or sha256 is None:
        raise Unavailable(
            f"{spec.name}: {download.url} is not modified, but its capture was deleted during this run; run again"
        )
    parsed = parse_capture(spec, download.body, overrides)
    records = parsed.mapped.records
    content = content_digest(records) if parsed.accepted else None
    is_known = content is not None and content == latest_content
    status = UNCHANGED if is_known else CAPTURED if parsed.accepted else REFUSED
    return {
        **poll,
        "sha256": sha256,
        "size_bytes": len(download.body),
        "records": records.height if parsed.accepted else None,
        "object_key": f"raw/source={spec.name}/date={now:%Y-%m-%d}/{now:%Y%m%dT%H%M%S}Z-{sha256[:16]}.json",
        "status": status,
        "content_digest": content,
        "item_ids": records["item_id"].to_list() if status == CAPTURED else None,
    }
