"""JSON answers with an ETag, and 304 for those who have it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from tnt_platform.lake.snapshot import Snapshot

# What was read may be kept, but not given again without asking: a new version may be there.
_CACHE = "private, no-cache"
_PLACES = ("cursor=", "lastKey=")


def etag_of(snapshots: Sequence[Snapshot], *more: str) -> str:
    """The version id, or a digest of several; `more` is what else the answer depends on."""
    if len(snapshots) == 1 and not any(more):
        return f'"{snapshots[0].version}"'
    return etag_of_all(snapshots, *more)


def etag_of_all(snapshots: Sequence[Snapshot], *more: str) -> str:
    """A digest of datasets and their versions, which also changes when a dataset comes or goes."""
    text = "\n".join([*(f"{snapshot.dataset} {snapshot.version}" for snapshot in snapshots), *more])
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def not_modified(request: Request, etag: str) -> Response | None:
    """304 if the client has this very content."""
    given = request.headers.get("if-none-match")
    if given is None:
        return None
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    if etag not in tags and tags != ["*"]:
        return None
    return Response(status_code=304, headers={"etag": etag, "cache-control": _CACHE})


def json_answer(body: str | bytes, etag: str, headers: Mapping[str, str] | None = None) -> Response:
    """JSON text as an answer."""
    named = {"etag": etag, "cache-control": _CACHE, **(headers or {})}
    return Response(body, headers=named, media_type="application/json")


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """The header that names the next page."""
    if cursor is None:
        return {}
    text = request.scope["query_string"].decode("latin-1")
    given = [pair for pair in text.split("&") if pair and not pair.startswith(_PLACES)]
    url = f"{quote(request.scope['path'])}?{'&'.join([*given, f'cursor={cursor}'])}"
    # What a client sent goes back into a header: nothing but plain characters of a URL.
    return {"link": f'<{url}>; rel="next"'} if url.isascii() and url.isprintable() and ">" not in url else {}
