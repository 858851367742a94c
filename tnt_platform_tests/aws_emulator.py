"""A stand-in for AWS over real HTTP (moto's server), emptied before every test, and a proxy to spoil it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from logging import WARNING, getLogger
from threading import Lock, Thread
from time import sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

KEYS = {"region": "us-east-1", "access_key_id": "AKIATEST", "secret_access_key": "nothing-secret"}


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    getLogger("werkzeug").setLevel(WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws_options(moto_url: str) -> dict[str, str]:
    """Options for a client of the stand-in, which holds nothing at this moment."""
    urlopen(Request(f"{moto_url}/moto-api/reset", method="POST"), timeout=10).close()
    return {"endpoint": moto_url, **KEYS}


@dataclass
class Misbehaviour:
    """What the proxy does to DynamoDB calls; each counter runs down as it is used."""

    seen: list[str] = field(default_factory=list)  # every operation that arrived, such as BatchWriteItem
    partial_writes: int = 0  # take only `take` puts of so many BatchWriteItem calls
    partial_reads: int = 0  # take only `take` keys of so many BatchGetItem calls
    take: int = 3
    refusals: list[tuple[int, str]] = field(default_factory=list)  # answer with this status and error code
    garbage: int = 0  # answer so many calls with half a JSON document
    delay_s: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def used_up(self, counter: str) -> bool:
        """Whether nothing is left of `counter`; takes one from it otherwise."""
        with self.lock:
            left = getattr(self, counter)
            setattr(self, counter, max(0, left - 1))
            return bool(left == 0)


@pytest.fixture(scope="session")
def proxy(moto_url: str) -> Iterator[ThreadingHTTPServer]:
    handler = type("Handler", (_Proxy,), {"target": moto_url})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def misbehaviour(proxy: ThreadingHTTPServer) -> Misbehaviour:
    """What the proxy will do to this test's calls: nothing, until the test says so."""
    _Proxy.does = Misbehaviour()
    return _Proxy.does


@pytest.fixture
def proxied_options(
    aws_options: dict[str, str], proxy: ThreadingHTTPServer, misbehaviour: Misbehaviour
) -> dict[str, str]:
    """Options for a client that reaches the stand-in through the proxy."""
    return {**aws_options, "endpoint": f"http://127.0.0.1:{proxy.server_address[1]}"}


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target = ""
    does = Misbehaviour()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        with self.does.lock:
            self.does.seen.append(operation)
            refusal = self.does.refusals.pop(0) if self.does.refusals else None
        sleep(self.does.delay_s)
        if refusal:
            self._answer(
                refusal[0], {"__type": f"com.amazonaws#{refusal[1]}", "message": "as the test wants"}
            )
        elif not self.does.used_up("garbage"):
            self._send(200, b'{"Responses": {')
        elif operation == "BatchWriteItem" and not self.does.used_up("partial_writes"):
            self._partly(
                body, "UnprocessedItems", lambda puts: (puts[: self.does.take], puts[self.does.take :])
            )
        elif operation == "BatchGetItem" and not self.does.used_up("partial_reads"):
            self._partly(body, "UnprocessedKeys", self._split_keys)
        else:
            self._send(*self._forward(body))

    def _split_keys(self, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        keys = request["Keys"]
        return {**request, "Keys": keys[: self.does.take]}, {**request, "Keys": keys[self.does.take :]}

    def _partly(self, body: bytes, rest_name: str, split: Any) -> None:
        """Forward the first part of a batch and hand the rest back, as a throttled table does."""
        [(table, whole)] = json.loads(body)["RequestItems"].items()
        part, rest = split(whole)
        answer: dict[str, Any] = {"Responses": {table: []}, rest_name: {}}
        if part if isinstance(part, list) else part["Keys"]:
            status, forwarded = self._forward(json.dumps({"RequestItems": {table: part}}).encode())
            assert status == 200, forwarded
            answer = json.loads(forwarded)
        if rest if isinstance(rest, list) else rest["Keys"]:
            answer[rest_name] = {table: rest}
        self._answer(200, answer)

    def _forward(self, body: bytes) -> tuple[int, bytes]:
        headers = {
            name: value for name, value in self.headers.items() if name not in ("Host", "Content-Length")
        }
        try:
            with urlopen(
                Request(self.target, data=body, headers=headers, method="POST"), timeout=10
            ) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, json.dumps(content).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing on standard error."""
