"""`<dataset>/capture`: fetch the publisher's file, and keep its bytes once per content."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import polars as pl

from tnt_platform.errors import InvalidInput, NotFound, Unavailable
from tnt_platform.lake.captures import (
    append_capture,
    asked_whole_recently,
    capture_time,
    newest_capture,
    record_whole_asked,
)
from tnt_platform.lake.publishing import Published, Workspace
from tnt_platform.readers.paged_json import SEQUENCE_TYPE, Paging, follow_pages
from tnt_platform.readers.served_page import refuse_page
from tnt_platform.series.source import SeriesSource
from tnt_platform.series.spec import CAPTURE, SeriesSpec
from tnt_platform.services.download import Download, Downloader
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects

CAPTURES: dict[str, pl.DataType] = {
    "captured_at": pl.Datetime("us", "UTC"),
    "sha256": pl.String(),
    "size_bytes": pl.Int64(),
    "url": pl.String(),
    "etag": pl.String(),
    "last_modified": pl.String(),
    "content_type": pl.String(),
    "object_key": pl.String(),
}
_MONTH_MARK = re.compile(r"\{(YYYY|YY|MM)\}")
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,5}){1,2}$")


@dataclass(frozen=True)
class SourceFile:
    """A file and the publisher's headers; `body` is None if the content is that of the last capture."""

    url: str
    body: bytes | None = field(repr=False)
    etag: str | None = None
    last_modified: str | None = None
    content_type: str | None = None


def publish_capture(
    spec: SeriesSpec,
    workspace: Workspace,
    settings: Settings,
    downloader: Downloader,
    *,
    now: datetime,
    run_id: str,
    file: Path | None = None,
) -> Published:
    """Poll the source, or take `file` instead; content other than the newest capture's becomes the newest.

    The bytes are stored under their hash before the row that names them, so a crash in between leaves nothing to
    clean up. Partitions are months of capture.

    Raises:
        TntError: the source can't be fetched; see `fetch_source`.
    """
    base = workspace.store.current(spec.dataset(CAPTURE))
    newest = newest_capture(base)
    found = local_file(file) if file else _ask(spec, newest, workspace, settings, downloader, now)
    digest = hashlib.sha256(found.body).hexdigest() if found.body is not None else None
    if base is not None and newest is not None and digest in (None, newest["sha256"]):
        month = f"{newest['captured_at']:%Y-%m}"
        return Published.unchanged(base, month, whole=True, facts=_facts(newest))
    assert found.body is not None, "without a capture, nothing can be unchanged"
    assert digest is not None, "it is the digest of the body"
    captured_at, skew = capture_time(now, newest)
    row = _store(spec, workspace, found, found.body, digest, captured_at)
    return append_capture(
        workspace,
        spec.dataset(CAPTURE),
        row,
        partition=f"{captured_at:%Y-%m}",
        schema=CAPTURES,
        base=base,
        digest=_digest,
        run_id=run_id,
    ).with_facts(_facts(row) | skew)


def _ask(
    spec: SeriesSpec,
    newest: dict[str, Any] | None,
    workspace: Workspace,
    settings: Settings,
    downloader: Downloader,
    now: datetime,
) -> SourceFile:
    """Fetch the source; once in a while whole, as a server that always says "not modified" would leave it stale."""
    source, dataset = spec.source, spec.dataset(CAPTURE)
    days = source.trust_unchanged_days
    known = newest if newest and asked_whole_recently(workspace, dataset, newest, now, days) else None
    fetch = _Fetch(spec, workspace, settings, downloader, None if _paging(spec).follows else known)
    found = fetch_source(source, newest, fetch, settings, now)
    if newest is not None and known is None:
        record_whole_asked(workspace, dataset, now)
    return found


def _paging(spec: SeriesSpec) -> Paging:
    source = spec.source
    return Paging(
        pages=spec.pages,
        page_parameter=source.page_parameter,
        next_page=source.next_page,
        cursor_parameter=source.cursor_parameter,
        max_pages=source.max_pages,
        max_bytes=source.max_size_bytes,
    )


def _store(
    spec: SeriesSpec, workspace: Workspace, found: SourceFile, body: bytes, digest: str, now: datetime
) -> dict[str, Any]:
    """Put the bytes into the lake, and return the row that names them."""
    suffix = _SUFFIX.search(found.url.split("?")[0].rsplit("/", 1)[-1])
    key = f"captures/{spec.name}/{digest}{suffix[0].lower() if suffix else ''}"
    if not workspace.lake.exists(key):
        workspace.lake.put(key, body)
    return {
        "captured_at": now,
        "sha256": digest,
        "size_bytes": len(body),
        "url": found.url,
        "etag": found.etag,
        "last_modified": found.last_modified,
        "content_type": found.content_type,
        "object_key": key,
    }


def _digest(captures: pl.DataFrame) -> str:
    return hashlib.sha256("\n".join(captures["sha256"]).encode()).hexdigest()


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "capture_url": row["url"],
        "capture_sha256": row["sha256"],
        "capture_size_bytes": row["size_bytes"],
        "captured_at": str(row["captured_at"]),
        "capture_object": row["object_key"],
    }


def local_path(url: str | None) -> Path | None:
    """Return the file on this machine that was captured, or None if it was not one."""
    return Path(url2pathname(urlsplit(url).path)) if url and url.startswith("file:") else None


def local_file(path: Path) -> SourceFile:
    """Read a file that somebody downloaded.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is a web page.
    """
    if not path.is_file():
        raise NotFound(f"{path} is not a file")
    body = path.read_bytes()
    refuse_page(body)
    return SourceFile(path.absolute().as_uri(), body, content_type=mimetypes.guess_type(path.name)[0])


def fetch_source(
    source: SeriesSource, newest: dict[str, Any] | None, fetch: _Fetch, settings: Settings, now: datetime
) -> SourceFile:
    """Fetch the newest file of the source, unless the publisher says that it is that of the `newest` capture.

    A URL with marks for the month is tried month by month, backwards, but never beyond the month captured last: if
    the publisher's newest page is broken, an older file does not come back.

    Raises:
        NotFound: there is no file for any month.
        InvalidInput: a web page was served instead of a file.
        Unavailable: the publisher can't be reached, or the file captured last is gone for the moment.
    """
    url = settings.resolve(source.url)
    tried: list[str] = []
    for candidate in _candidates(url, source.months_back, now):
        found = fetch(candidate)
        page = _page_in(found)
        if page is not None and candidate == url:
            raise InvalidInput(page.reason_code, f"{candidate}: {page}. The published versions are untouched")
        if found is not None and page is None:
            return found
        tried.append(f"{candidate} (a web page)" if page else candidate)
        if newest is not None and candidate == newest["url"] and candidate != url:
            raise Unavailable(
                f"{candidate} was captured before and is gone, and there is no newer file (tried "
                f"{', '.join(tried[:-1]) or 'none'}); older months are not taken instead: try again later"
            )
    more = " ..." if len(tried) > 3 else ""
    months = f" and `months_back` ({source.months_back})" if len(tried) > 1 else ""
    raise NotFound(f"no file at {', '.join(tried[:3])}{more}; check `source.url` in a browser{months}")


def _page_in(found: SourceFile | None) -> InvalidInput | None:
    """Return the error if a page for people was served instead of a file."""
    if found is None or found.body is None:
        return None
    try:
        refuse_page(found.body)
    except InvalidInput as page:
        return page
    return None


def _candidates(url: str, months_back: int, now: datetime) -> Iterator[str]:
    if not _MONTH_MARK.search(url):
        yield url
        return
    this_month = now.year * 12 + now.month - 1
    for number in range(this_month, this_month - months_back - 1, -1):
        year, month = divmod(number, 12)
        values = {"YYYY": f"{year:04d}", "YY": f"{year % 100:02d}", "MM": f"{month + 1:02d}"}
        yield _MONTH_MARK.sub(lambda mark, values=values: values[mark[1]], url)  # type: ignore[misc]


@dataclass(frozen=True)
class _Fetch:
    """Fetches a file and the pages after it; `known` is the capture whose content need not be sent again."""

    spec: SeriesSpec
    workspace: Workspace
    settings: Settings
    downloader: Downloader
    known: dict[str, Any] | None

    def __call__(self, url: str) -> SourceFile | None:
        """Return None if there is no such file."""
        source = self.spec.source
        if not url.startswith(("http://", "https://")):
            return _fetch_object(url, source, self.workspace, self.settings)
        same = self.known if self.known is not None and self.known["url"] == url else {}
        response = self._download(url, etag=same.get("etag"), last_modified=same.get("last_modified"))
        if response.status == "absent":
            return None
        paging = _paging(self.spec)
        if response.body is None or not paging.follows:
            return SourceFile(
                url, response.body, response.etag, response.last_modified, response.content_type
            )
        # Its ETag is that of the first page alone.
        return SourceFile(
            url, follow_pages(url, response.body, paging, self._page), content_type=SEQUENCE_TYPE
        )

    def _page(self, url: str) -> bytes:
        body = self._download(url).body
        if body is None:
            raise Unavailable(f"{url}: this page of the answer is not there; run again later")
        return body

    def _download(self, url: str, **validators: str | None) -> Download:
        headers = self.spec.source.headers.items()
        sent = {name: self.settings.resolve(value) for name, value in headers}
        return self.downloader.fetch(url, headers=sent, **validators)


def _fetch_object(
    url: str, source: SeriesSource, workspace: Workspace, settings: Settings
) -> SourceFile | None:
    objects, key = workspace.raw, url
    if url.startswith(("file:///", "s3://")):
        folder, _, name = url.rpartition("/")
        # Both parts of a file URL are percent-encoded; the folder is decoded where it is opened.
        key = unquote(name) if url.startswith("file:") else name
        objects = Objects.open(folder, options=settings.s3_options())
    try:
        listed = objects.list(key).filter(key=key)
        if listed.is_empty():
            return None
        if (size := listed["size_bytes"][0]) > source.max_size_bytes:
            raise InvalidInput(
                "too_large",
                f"{url} has {size:,} bytes, more than `max_size_mb` allows; raise it if the size is right",
            )
        return SourceFile(url, objects.get(key), content_type=mimetypes.guess_type(key)[0])
    except NotFound:
        return None
