"""moto's AWS on a port, counting what it is asked: `python -m bench.cost_server`; the first line of output is its URL.

GET /bench/counts answers {"s3 GetObject": 12, "dynamodb BatchWriteItem": 3, ...} since the start.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from logging import ERROR, getLogger
from typing import Any
from urllib.parse import parse_qs

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

COUNTS = "/bench/counts"
SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")
BY_METHOD = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "POST": "PostObject"}


class Counting:
    """A WSGI application that counts before it hands on."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == COUNTS:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._counts).encode()]
        with self._lock:
            self._counts[_kind(environ)] += 1
        return self._application(environ, start_response)


def _kind(environ: dict[str, Any]) -> str:
    """Service and operation, as the bill knows them."""
    signed = SERVICE.search(environ.get("HTTP_AUTHORIZATION", ""))
    service = signed.group(1) if signed else "unsigned"
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return f"{service} {target.rpartition('.')[2]}"
    if service != "s3":
        return f"{service} {environ['REQUEST_METHOD']}"
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    if environ["REQUEST_METHOD"] == "GET" and ("list-type" in query or "prefix" in query):
        return "s3 ListObjects"
    return f"s3 {BY_METHOD.get(environ['REQUEST_METHOD'], environ['REQUEST_METHOD'].title())}"


def main() -> None:
    """Serve until terminated."""
    getLogger("werkzeug").setLevel(ERROR)
    application = Counting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)  # type: ignore[arg-type]
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
