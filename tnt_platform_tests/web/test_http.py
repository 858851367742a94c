"""What every address does alike: methods, headers, limits, keys, errors."""

from __future__ import annotations

import json
import logging
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tnt_platform.errors import ConfigError, Unavailable
from tnt_platform.settings import Settings
from tnt_platform.web.app import create_app
from tnt_platform.web.gate import ACCESS_LOG, MAX_FAILED_LOGINS, SESSION_S, Keyring
from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import HOSTILE, Lake
from tnt_platform_tests.web.waiting import eventually

KEY = "a-key-of-enough-length"
API = [
    "/records",
    "/records/posts:1",
    "/analytics",
    "/datasets",
    "/datasets/transit/results",
    "/datasets/transit/results/versions",
    "/datasets/transit/results/data",
    "/datasets/posts/diff",
    "/datasets/transit/results/quarantine",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
]


@pytest.mark.parametrize("path", API)
def test_head_answers_as_get_without_a_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if "etag" in get.headers:
        assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("path", API)
def test_options_tells_the_methods_and_others_are_405(client: httpx.Client, path: str) -> None:
    options = client.options(path)
    assert options.status_code == 204
    assert options.headers["allow"] == "GET, HEAD, OPTIONS"
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        answer = client.request(method, path)
        assert answer.status_code == 405, method
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", [*API, "/", "/ui/records", "/nothing", "/records?limit=x", "/static/site.css"]
)
def test_every_answer_carries_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-request-id"]


def test_a_plain_request_id_is_kept_and_another_one_is_replaced(client: httpx.Client) -> None:
    kept = client.get("/nothing", headers={"x-request-id": "order-4711-abc"})
    assert kept.headers["x-request-id"] == "order-4711-abc"
    assert kept.json()["instance"] == "urn:tnt:request:order-4711-abc"
    assert client.get("/", headers={"x-request-id": "<script>"}).headers["x-request-id"] != "<script>"


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/records/..%2f..",
    ],
)
def test_traversal_leads_nowhere(address: str, path: str) -> None:
    answer = raw_answer(address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"root:" not in answer
    assert b"import" not in answer


def test_what_is_too_long_is_refused(client: httpx.Client) -> None:
    assert client.get("/records", params={"q": "a" * 9_000}).status_code == 414
    assert client.get("/records/" + "a" * 3_000).status_code == 414
    assert client.request("GET", "/records", content=b"x" * 5_000).status_code == 413
    assert client.post("/login", content=b"key=" + b"x" * 5_000).status_code == 413


def raw_answer(address: str, request: bytes) -> bytes:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(request)
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


@pytest.mark.parametrize("request_", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n"])
def test_what_is_no_request_gets_400_or_nothing_and_the_server_stays(
    address: str, client: httpx.Client, request_: bytes
) -> None:
    answer = raw_answer(address, request_)
    assert not answer or answer.startswith(b"HTTP/1.1 400")
    assert client.get("/health/live").status_code == 200


def test_a_client_that_stops_reading_stops_nobody_else(address: str, client: httpx.Client) -> None:
    parts = urlsplit(address)
    stalled = []
    for _ in range(20):
        connection = socket.create_connection((parts.hostname, parts.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        connection.sendall(b"GET /records?limit=500 HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        stalled.append(connection)
    try:
        started = time.monotonic()
        assert client.get("/records").status_code == 200
        assert client.get("/datasets/posts/data", params={"format": "csv"}).status_code == 200
        assert time.monotonic() - started < 30  # half of what a stalled client may take
    finally:
        for connection in stalled:
            connection.close()


def test_the_kernel_drops_connections_that_stop_reading(address: str) -> None:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        assert connection.getpeername()
    from tnt_platform.web.server import STALLED_TIMEOUT_S, listening_socket

    listener = listening_socket("127.0.0.1", 0)
    listener.listen()
    with listener, socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
        value = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, struct.calcsize("i"))
        assert struct.unpack("i", value)[0] == STALLED_TIMEOUT_S * 1000


def test_a_failure_inside_is_500_without_its_details(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Settings.from_environment(lake.environment))

    def broken() -> None:
        raise RuntimeError("an inner detail")

    app.state.web.catalog.all_current = broken
    with (
        httpx.Client(transport=_InThread(app), base_url="http://test") as client,
        caplog.at_level(logging.INFO),
    ):
        answer = client.get("/datasets")
    assert answer.status_code == 500
    assert "an inner detail" not in answer.text
    assert "an inner detail" in caplog.text


class _InThread(httpx.BaseTransport):
    """An application without a server, for what a server in a thread can't be made to do."""

    def __init__(self, app: object) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        import anyio

        async def answered() -> httpx.Response:
            found = await self._transport.handle_async_request(request)
            return httpx.Response(found.status_code, headers=found.headers, content=await found.aread())

        return anyio.run(answered)


@pytest.fixture(scope="module")
def locked(lake: Lake) -> Iterator[str]:
    environment = {**lake.environment, "TNT_API_KEY": KEY, "TNT_CORS_ORIGINS": "https://app.example.org"}
    with running(environment) as url:
        yield url


def test_with_a_key_only_health_docs_and_login_are_open(locked: str) -> None:
    with httpx.Client(base_url=locked) as client:
        for path in ("/health/live", "/health/ready", "/openapi.json", "/docs", "/login", "/static/site.css"):
            assert client.get(path).status_code == 200, path
        for path in ("/records", "/datasets", "/metrics", "/datasets/posts/data?format=csv"):
            answer = client.get(path)
            assert answer.status_code == 401, path
            assert answer.json()["type"] == "urn:tnt:problem:v1:no-key"
        for key in ("", "wrong", KEY + "x", KEY.upper()):
            assert client.get("/records", headers={"x-api-key": key}).status_code == 401
        assert client.get("/records", headers={"x-api-key": KEY}).status_code == 200
        assert (
            client.get("/openapi.json").json()["components"]["securitySchemes"]["key"]["name"] == "x-api-key"
        )


def test_people_sign_in_with_the_key(locked: str) -> None:
    with httpx.Client(base_url=locked) as client:
        asked = client.get("/ui/records")
        assert (asked.status_code, asked.headers["location"]) == (303, "/login")
        assert client.post("/login", data={"key": "wrong"}).status_code == 403
        answer = client.post("/login", data={"key": KEY})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert KEY not in cookie
        assert client.get("/ui/records").status_code == 200
        assert client.get("/datasets").status_code == 200
        client.post("/logout")
        assert client.get("/ui/records").status_code == 303
        assert client.get("/records", headers={"cookie": "tnt_session=0"}).status_code == 401


def test_only_listed_sites_may_read_from_scripts(locked: str, client: httpx.Client) -> None:
    asked = {"access-control-request-method": "GET", "access-control-request-headers": "x-api-key"}
    with httpx.Client(base_url=locked) as other:
        good = other.options("/records", headers={"origin": "https://app.example.org", **asked})
        assert good.headers["access-control-allow-origin"] == "https://app.example.org"
        bad = other.options("/records", headers={"origin": "https://evil.example.org", **asked})
        assert "access-control-allow-origin" not in bad.headers
    assert (
        "access-control-allow-origin"
        not in client.get("/records", headers={"origin": "https://x.org"}).headers
    )


@pytest.mark.parametrize(
    "setting",
    [
        {"TNT_API_KEY": "short"},
        {"TNT_CORS_ORIGINS": "app"},
        {"TNT_DAGSTER_URL": "javascript:alert(1)"},
        {"TNT_DAGSTER_API_URL": "file:///etc"},
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(lake: Lake, setting: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        create_app(Settings.from_environment({**lake.environment, **setting}))


def test_ready_names_the_part_that_fails(lake: Lake) -> None:
    def down() -> str:
        raise Unavailable("the queue does not answer")

    with running(lake.environment, {"queue": down, "configuration": lambda: "fine"}) as url:
        answer = httpx.get(f"{url}/health/ready")
        assert answer.status_code == 503
        found = answer.json()["checks"]
        assert found["queue"] == {"status": "failed", "detail": "the queue does not answer"}
        assert found["lake"]["status"] == found["configuration"]["status"] == "ok"
        assert httpx.get(f"{url}/health/live").status_code == 200


def test_metrics_count_by_route_and_tell_of_datasets(client: httpx.Client) -> None:
    client.get("/records/posts:1")
    client.get("/records/posts:2")
    text = client.get("/metrics").text
    assert 'tnt_dataset_rows{dataset="posts"} 130.0' in text
    assert 'tnt_dataset_quarantined_rows{dataset="transit/results"} 4.0' in text
    assert 'route="/records/{record_id:path}"' in text
    assert "posts:1" not in text


def test_each_request_is_one_line_of_json(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, ACCESS_LOG):
        client.get(
            "/records",
            params={"q": f"{HOSTILE}\nline"},
            headers={"x-request-id": "id-of-this-one", "x-api-key": KEY},
        )
        eventually(lambda: "id-of-this-one" in caplog.text)
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == ACCESS_LOG]
    line = next(line for line in lines if line["request_id"] == "id-of-this-one")
    assert line["status"] == 200
    assert line["route"] == "/records"
    assert line["size_bytes"] > 0
    assert KEY not in caplog.text


def test_the_docs_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    text = client.get("/docs").text
    assert "http://" not in text.replace("http://127.0.0.1:3000", "")
    assert "https://" not in text
    assert "/datasets/{dataset}/data" in text


def test_an_empty_home_is_served(tmp_path: Path) -> None:
    with running({"TNT_HOME": str(tmp_path)}) as url:
        for path in (
            "/",
            "/ui/records",
            "/ui/datasets",
            "/ui/transit",
            "/ui/series",
            "/ui/directory",
            "/ui/reports",
            "/ui/health",
        ):
            assert httpx.get(url + path).status_code == 200, path


def test_a_session_that_was_ended_or_is_over_opens_nothing() -> None:
    now = [1_000.0]
    keyring = Keyring(KEY, clock=lambda: now[0])
    first, second = (f"tnt_session={keyring.session()}".encode() for _ in range(2))
    assert first != second
    assert [keyring._is_session(cookie) for cookie in (first, second)] == [True, True]
    keyring.end_session(first)
    assert [keyring._is_session(cookie) for cookie in (first, second)] == [False, True]
    assert not Keyring("another key of sixteen")._is_session(second)
    assert not keyring._is_session(second.replace(b"=", b"=9"))
    now[0] += SESSION_S
    assert not keyring._is_session(second)


def test_after_logging_out_the_cookie_is_refused_and_behind_https_it_is_secure(locked: str) -> None:
    with httpx.Client(base_url=locked, timeout=30) as client:
        answer = client.post("/login", data={"key": KEY}, headers={"x-forwarded-proto": "https"})
        assert "secure" in answer.headers["set-cookie"].lower()
        cookie = {"cookie": answer.headers["set-cookie"].split(";")[0]}
        client.cookies.clear()
        assert client.get("/datasets", headers=cookie).status_code == 200
        client.post("/logout", headers=cookie)
        assert client.get("/datasets", headers=cookie).status_code == 401


def test_wrong_keys_and_idle_logins_keep_nobody_with_a_key_from_reading(locked: str) -> None:
    host, port = urlsplit(locked).hostname or "", urlsplit(locked).port or 0
    idle = [socket.create_connection((host, port)) for _ in range(600)]
    try:
        for one in idle:
            one.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n")
        time.sleep(0.5)
        with httpx.Client(base_url=locked, timeout=30) as client:
            assert client.get("/datasets", headers={"x-api-key": KEY}).status_code == 200
    finally:
        for one in idle:
            one.close()


def test_a_key_cannot_be_guessed_quickly() -> None:
    now = [0.0]
    keyring = Keyring(KEY, clock=lambda: now[0])
    for _ in range(MAX_FAILED_LOGINS):
        assert keyring.may_try()
        keyring.failed()
    assert not keyring.may_try()
    now[0] += 61
    assert keyring.may_try()
