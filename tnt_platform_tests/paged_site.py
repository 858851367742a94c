"""A site whose JSON comes in pages, with or without a word about how many; tests change its pages."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class PagedSite:
    """`pages` by the value of the query's `page` or `cursor`; "1" is what an address without it gives.

    etag: always sent, and answered by 304 whatever the content is.
    """

    url: str = ""
    pages: dict[str, Any] = field(default_factory=dict)
    etag: str | None = None
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def running_pages() -> Iterator[PagedSite]:
    """Run the site in a thread."""
    site = PagedSite()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            name = (query.get("page") or query.get("cursor") or ["1"])[0]
            site.asked.append(self.path)
            site.headers.append(dict(self.headers))
            if site.etag and self.headers.get("If-None-Match") == site.etag:
                self.send_response(304)
                self.send_header("ETag", site.etag)
                self.end_headers()
                return
            page = site.pages.get(name)
            body = page if isinstance(page, bytes) else json.dumps(page).encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Length", str(len(body)))
            if site.etag:
                self.send_header("ETag", site.etag)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}/data"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
