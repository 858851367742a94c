"""`<dataset>/capture`: what the source answered, kept once per content, and when it was looked at."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl

from tnt_platform.errors import NotFound, Unavailable
from tnt_platform.lake.captures import append_capture, newest_capture
from tnt_platform.lake.publishing import Published, Workspace, retry_conflicts
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import RowCounts
from tnt_platform.records.reading import read_capture
from tnt_platform.records.spec import CAPTURE, RecordsSpec
from tnt_platform.records.transforms.records import content_digest
from tnt_platform.services.download import Download, Downloader
from tnt_platform.settings import Settings

# `status`: captured (another content), refused (another content, which can't be taken whole), unchanged (the records of
# the look before), still_refused (the refused bytes again). The first two are curated.
# `item_ids` names the items of a captured content; those of an unchanged look are those of the capture before it.
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


def publish_capture(
    spec: RecordsSpec,
    workspace: Workspace,
    settings: Settings,
    downloader: Downloader,
    *,
    run_id: str,
) -> Published:
    """Look at the source once and note what was found; a new content is stored before the row that names it.

    A look that finds the bytes captured last stores no object and asks for no curation: it is a row that says when
    the records were last seen. If that object is gone, it is captured anew. Partitions are the UTC days of capture.

    Raises:
        NotFound: there is nothing at the url.
        TntError: the source can't be had; see `Downloader.fetch`.
    """
    newest = newest_capture(workspace.store.current(spec.dataset(CAPTURE)))
    found = _fetched(spec, settings, downloader, newest if _is_kept(workspace, newest) else None)
    now = workspace.clock()
    return retry_conflicts(lambda: _noted(spec, workspace, found, now, run_id))


def _newest_content(snapshot: Snapshot | None) -> str | None:
    """The digest of the records that the source held when it could be read last, as far as that day's looks tell."""
    if snapshot is None or snapshot.partitions.is_empty():
        return None
    last = str(snapshot.partitions["partition"].max())
    looks = snapshot.scan([last], columns=["captured_at", "content_digest"]).drop_nulls("content_digest")
    rows = looks.sort("captured_at").tail(1).collect()
    return str(rows["content_digest"][0]) if rows.height else None


def to_curate(rows: pl.DataFrame) -> pl.DataFrame:
    """The captures (CAPTURES) with a content that was not there at the look before, in order of time."""
    return rows.filter(pl.col("status").is_in([CAPTURED, REFUSED])).sort("captured_at")


def captures_digest(object_keys: list[str]) -> str:
    """What tells whether the captures of a day were all curated: a digest of their keys; empty for none."""
    return hashlib.sha256("\n".join(sorted(object_keys)).encode()).hexdigest() if object_keys else ""


def _fetched(
    spec: RecordsSpec, settings: Settings, downloader: Downloader, newest: dict[str, Any] | None
) -> Download:
    url = settings.resolve(spec.source.url)
    same = newest if newest and newest["url"] == url else None
    found = downloader.fetch(
        url,
        etag=same["etag"] if same else None,
        last_modified=same["last_modified"] if same else None,
        headers={name: settings.resolve(value) for name, value in spec.source.headers.items()},
    )
    if found.status == "absent":
        raise NotFound(f"{spec.name}: there is nothing at {url}; check `source.url` in a browser")
    return found


def _noted(spec: RecordsSpec, workspace: Workspace, found: Download, now: datetime, run_id: str) -> Published:
    base = workspace.store.current(spec.dataset(CAPTURE))
    newest = newest_capture(base)
    kept = newest if _is_kept(workspace, newest) else None
    row = _row(spec, found, kept, _newest_content(base) if kept else None, now)
    if found.body is not None and not workspace.raw.exists(row["object_key"]):
        workspace.raw.put(row["object_key"], found.body)
    published = append_capture(
        workspace,
        spec.dataset(CAPTURE),
        row,
        partition=f"{now:%Y-%m-%d}",
        schema=CAPTURES,
        base=base,
        digest=lambda rows: captures_digest(to_curate(rows)["object_key"].to_list()),
        run_id=run_id,
    )
    facts = {name: row[name] for name in ("object_key", "sha256", "records", "status", "url")}
    return replace(published, counts=RowCounts(rows_in=1, published=1)).with_facts(
        {f"capture_{name}": value for name, value in facts.items() if value is not None}
        | {"captured_at": str(now)}
    )


def _is_kept(workspace: Workspace, newest: dict[str, Any] | None) -> bool:
    return newest is not None and workspace.raw.exists(newest["object_key"])


def _row(
    spec: RecordsSpec,
    found: Download,
    newest: dict[str, Any] | None,
    newest_content: str | None,
    now: datetime,
) -> dict[str, Any]:
    digest = hashlib.sha256(found.body).hexdigest() if found.body is not None else None
    seen = {"captured_at": now, "url": found.url, "etag": found.etag, "last_modified": found.last_modified}
    if newest is not None and digest in (None, newest["sha256"]):
        status = UNCHANGED if newest["content_digest"] else STILL_REFUSED
        return {**newest, **seen, "status": status, "item_ids": None}
    if found.body is None or digest is None:
        raise Unavailable(f"{spec.name}: the capture that is not modified went away meanwhile; run again")
    reading = read_capture(spec, found.body)
    records = reading.mapped.records
    content = content_digest(records) if reading.accepted else None
    is_known = content is not None and content == newest_content
    status = UNCHANGED if is_known else CAPTURED if reading.accepted else REFUSED
    return {
        **seen,
        "sha256": digest,
        "size_bytes": len(found.body),
        "records": records.height if reading.accepted else None,
        "object_key": f"raw/source={spec.name}/date={now:%Y-%m-%d}/{now:%Y%m%dT%H%M%S}Z-{digest[:16]}.json",
        "status": status,
        "content_digest": content,
        "item_ids": records["item_id"].to_list() if status == CAPTURED else None,
    }
