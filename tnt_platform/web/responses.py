"""Build JSON responses with an ETag, and 304 for clients that have the content already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from tnt_platform.lake.snapshot import Snapshot

# Clients may store a response, but must revalidate it: there may be a new version.
_CACHE = "private, no-cache"
_CURSOR_PARAMETERS = ("cursor=", "lastKey=")


def etag_of(snapshots: Sequence[Snapshot], *more: str) -> str:
    """Return the version id, or a digest of several; `more` is what else the response depends on."""
    if len(snapshots) == 1 and not any(more):
        return f'"{snapshots[0].version}"'
    return etag_of_all(snapshots, *more)


def etag_of_all(snapshots: Sequence[Snapshot], *more: str) -> str:
    """Return a digest of datasets and their versions, which also changes when a dataset is added or removed."""
    text = "\n".join([*(f"{snapshot.dataset} {snapshot.version}" for snapshot in snapshots), *more])
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def not_modified(request: Request, etag: str) -> Response | None:
    """Return 304 if the client has this content already, else None."""
    given = request.headers.get("if-none-match")
    if given is None:
        return None
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    if etag not in tags and tags != ["*"]:
        return None
    return Response(status_code=304, headers={"etag": etag, "cache-control": _CACHE})


def json_response(body: str | bytes, etag: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON text as a response."""
    all_headers = {"etag": etag, "cache-control": _CACHE, **(headers or {})}
    return Response(body, headers=all_headers, media_type="application/json")


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """Return the Link header of the next page."""
    if cursor is None:
        return {}
    text = request.scope["query_string"].decode("latin-1")
    given = [pair for pair in text.split("&") if pair and not pair.startswith(_CURSOR_PARAMETERS)]
    url = f"{quote(request.scope['path'])}?{'&'.join([*given, f'cursor={cursor}'])}"
    # The header repeats what the client sent: allow only printable ASCII without ">".
    return {"link": f'<{url}>; rel="next"'} if url.isascii() and url.isprintable() and ">" not in url else {}
