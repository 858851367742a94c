"""The HTTP client against a real server over loopback: every fault has an answer, limits hold, secrets stay."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import logging
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tnt_platform.errors import ConfigError
from tnt_platform.sandbox.faults import Faults
from tnt_platform.sandbox.running import running_rate_api
from tnt_platform.services.http import HttpClient, HttpLimits, HttpRequest, HttpResponse
from tnt_platform.services.http_attempts import retry_after_s

SECRET = "tok-3n-should-never-be-seen"
HEADERS = {"X-WHM-CLIENT": "whm-client-77", "auth-token": SECRET, "Content-Type": "application/json"}
NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
QUICK = {"timeout_s": 20.0, "backoff_initial_s": 0.01, "breaker_cool_down_s": 0.05}

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def limits(**changes: object) -> HttpLimits:
    return HttpLimits(**(QUICK | changes))


def client(**changes: object) -> HttpClient:
    return HttpClient(limits(**changes), clock=lambda: NOW, uniform=random.Random(1).random)


def rate_requests(url: str, count: int = 1, **headers: str) -> list[HttpRequest]:
    return [
        HttpRequest(
            request_id=f"r{number}",
            method="POST",
            url=f"{url}/10022/rate/qualifiedcarriers",
            headers=HEADERS | headers,
            body=json.dumps(
                {"shipment_info": {"consignee_info": {"postal_code": f"{10001 + number}"}}}
            ).encode(),
        )
        for number in range(count)
    ]


def ask(asker: HttpClient, requests: list[HttpRequest]) -> list[HttpResponse]:
    answers: list[HttpResponse] = []
    asker.send_many(requests, on_response=answers.append)
    return answers


def ask_one(url: str, **changes: object) -> HttpResponse:
    with client(**changes) as asker:
        (answer,) = ask(asker, rate_requests(url))
    return answer


@contextmanager
def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server of the test's own, for what the stand-in API doesn't do."""
    loop, stop, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    port: list[int] = []

    async def run() -> None:
        runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port.append(runner.addresses[0][1])
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- one request -----------------------------------------------------------------------------------


def test_an_answer_comes_back_with_its_facts() -> None:
    with running_rate_api(Faults(latency_ms=30)) as api:
        answer = ask_one(api.url)
    assert (answer.request_id, answer.status, answer.reason_code, answer.reason) == ("r0", 200, None, None)
    assert answer.attempts == 1
    assert answer.asked_at == NOW
    assert answer.latency_ms >= 30
    assert "ratesMap" in json.loads(answer.body or b"")


@pytest.mark.parametrize(
    ("faults", "code", "status"),
    [
        ({"slow_rate": 1.0, "slow_s": 3}, "timeout", None),
        ({"reset_rate": 1.0}, "connection", None),
        ({"error_rate": 1.0}, "server_error", 500),
        ({"throttle_rate": 1.0}, "throttled", 429),
    ],
)
def test_what_stays_broken_is_given_up_after_the_attempts_with_its_reason(
    faults: dict[str, float], code: str, status: int | None
) -> None:
    with running_rate_api(Faults(**faults)) as api:
        answer = ask_one(api.url, attempts=3, timeout_s=0.2 if code == "timeout" else 20.0)
        assert api.stats()["requests"] == 3
    assert (answer.reason_code, answer.status, answer.attempts) == (code, status, 3)
    assert answer.reason is not None
    assert "3 attempts" in answer.reason


@pytest.mark.parametrize("kind", ["slow", "reset", "error", "throttle"])
def test_what_recovers_is_answered(kind: str) -> None:
    with running_rate_api(Faults(first_attempts=2, **{f"{kind}_rate": 1.0})) as api:
        answer = ask_one(api.url, attempts=3, timeout_s=1.0 if kind == "slow" else 20.0)
    assert (answer.reason_code, answer.attempts) == (None, 3)


@pytest.mark.parametrize("kind", ["html", "malformed", "no_rates_map", "string_days", "missing_ground"])
def test_a_wrong_body_is_not_a_matter_for_retries(kind: str) -> None:
    with running_rate_api(Faults(**{f"{kind}_rate": 1.0})) as api:
        answer = ask_one(api.url)
    assert (answer.status, answer.reason_code, answer.attempts) == (200, None, 1)


def test_a_refused_connection_is_a_reason() -> None:
    answer = ask_one(f"http://127.0.0.1:{free_port()}", attempts=2)
    assert (answer.reason_code, answer.status, answer.attempts) == ("connection", None, 2)


def test_a_client_error_is_final() -> None:
    with running_rate_api() as api, client() as asker:
        (answer,) = ask(asker, [HttpRequest("r0", "POST", f"{api.url}/wrong/path", HEADERS, b"{}")])
    assert (answer.reason_code, answer.status, answer.attempts) == ("refused", 404, 1)
    assert answer.reason == 'HTTP 404: {"error": "no such operation"}'


def test_a_request_that_cannot_be_sent_is_refused_alone() -> None:
    with running_rate_api() as api, client() as asker:
        wrong = HttpRequest("wrong", "POST", "http://[", HEADERS, b"")
        smuggled = rate_requests(api.url, 1, evil="a\r\nb: c")[0]
        answers = {a.request_id: a for a in ask(asker, [wrong, smuggled])}
        assert api.stats()["requests"] == 0
    assert {a.reason_code for a in answers.values()} == {"refused"}


def test_retry_after_in_seconds_is_waited_for() -> None:
    with running_rate_api(Faults(throttle_rate=1.0, retry_after_s=1, first_attempts=1)) as api:
        started_s = time.monotonic()
        answer = ask_one(api.url)
    assert answer.reason_code is None
    assert time.monotonic() - started_s >= 1.0


def test_retry_after_is_capped() -> None:
    with running_rate_api(Faults(throttle_rate=1.0, retry_after_s=3600, first_attempts=1)) as api:
        started_s = time.monotonic()
        answer = ask_one(api.url, retry_after_max_s=0.2)
    assert answer.reason_code is None
    assert 0.2 <= time.monotonic() - started_s < 60


def test_retry_after_as_an_http_date_is_waited_for() -> None:
    with running_rate_api(
        Faults(throttle_rate=1.0, retry_after_s=1, retry_after_as_date=True, first_attempts=1)
    ) as api:
        started_s = time.monotonic()
        with HttpClient(
            limits(), clock=lambda: dt.datetime.now(dt.UTC), uniform=random.Random(1).random
        ) as asker:
            (answer,) = ask(asker, rate_requests(api.url))
    assert answer.reason_code is None
    assert time.monotonic() - started_s >= 1.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 20 Nov 2026 12:00:30 -0000", 30.0),
        ("Fri, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_or_ignored(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, lambda: NOW) == seconds


@pytest.mark.parametrize("announced", [True, False])
def test_an_oversized_answer_is_cut_off_while_it_is_read(announced: bool) -> None:
    sent_bytes = [0]

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "50000000"} if announced else {})
        await response.prepare(request)
        for _ in range(500):
            sent_bytes[0] += 100_000
            await response.write(b"x" * 100_000)
        return response

    with serving(handler) as url:
        answer = ask_one(url, max_response_bytes=200_000)
    assert (answer.reason_code, answer.body, answer.attempts) == ("too_large", None, 1)
    assert sent_bytes[0] < 20_000_000


def test_a_compressed_bomb_is_not_asked_for_and_not_unpacked_past_the_limit() -> None:
    asked_for: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked_for.append(request.headers["Accept-Encoding"])
        response = web.Response(body=b"0" * 30_000_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    with serving(handler) as url:
        answer = ask_one(url, max_response_bytes=200_000)
    assert answer.reason_code == "too_large"
    assert asked_for == ["identity"]


def test_an_answer_cut_short_is_a_connection_failure() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"ratesMap":')
        assert request.transport is not None
        request.transport.close()
        return response

    with serving(handler) as url:
        answer = ask_one(url, attempts=2)
    assert (answer.reason_code, answer.body, answer.attempts) == ("connection", None, 2)


def test_redirects_are_not_followed() -> None:
    seen: list[str] = []

    async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.headers.get("auth-token", ""))
        return web.Response(text="{}")

    with serving(elsewhere) as other:

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": f"{other}/stolen?token={SECRET}"})

        with serving(handler) as url:
            answer = ask_one(url)
    assert (answer.reason_code, answer.status, seen) == ("refused", 307, [])
    assert "HTTP 307" in (answer.reason or "")
    assert "127.0.0.1" in (answer.reason or "")
    assert SECRET not in (answer.reason or "")


# --- TLS -------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "server.pem"
    path.write_bytes(pem + built.public_bytes(serialization.Encoding.PEM))
    return path


async def says_ok(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="{}")


def test_an_unknown_certificate_is_refused_and_a_trusted_one_is_not(certificate: Path) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with serving(says_ok, served) as url:
        untrusted = ask_one(url)
        with HttpClient(limits(), clock=lambda: NOW, uniform=random.Random(1).random, tls=trusting) as asker:
            (trusted,) = ask(asker, rate_requests(url))
    assert (untrusted.reason_code, untrusted.attempts) == ("connection", 1)
    assert "CERTIFICATE_VERIFY_FAILED" in (untrusted.reason or "")
    assert trusted.reason_code is None


def test_verification_cannot_be_switched_off() -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    with pytest.raises(ConfigError, match="TLS"):
        HttpClient(limits(), clock=lambda: NOW, uniform=lambda: 0.0, tls=careless)


# --- secrets ---------------------------------------------------------------------------------------


def test_secrets_are_in_no_repr_reason_body_or_log(caplog: pytest.LogCaptureFixture) -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=int(request.path[1:4]), text=f"you sent {request.headers['auth-token']}")

    async def mangled(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(f"HTTP/1.1 200 OK\r\nbroken header {SECRET}\r\n\r\n".encode())
        await asyncio.sleep(0.05)
        request.transport.close()
        return web.Response()

    caplog.set_level(logging.DEBUG)
    with serving(echo) as url, serving(mangled) as broken, client(attempts=2) as asker:
        requests = [
            HttpRequest(f"{status}", "POST", f"{url}/{status}", HEADERS, b"{}")
            for status in (401, 404, 429, 500)
        ]
        requests += rate_requests(broken) + rate_requests("http://127.0.0.1:1")
        requests += rate_requests(url, 1, **{"auth-token": f"{SECRET}\r\nx: y"})
        answers = ask(asker, requests)
        shown = [repr(requests), repr(asker), repr(answers), *(str(a.body) for a in answers), caplog.text]
    assert len(answers) == 7
    assert all(a.reason_code for a in answers)
    assert "***" in "".join(a.reason or "" for a in answers)
    assert not [text for text in shown if SECRET in text]


def test_an_exception_of_the_caller_carries_no_secret() -> None:
    def explode(answer: HttpResponse) -> None:
        raise RuntimeError(f"can't store {answer!r}")

    with running_rate_api() as api, client() as asker, pytest.raises(RuntimeError) as caught:
        asker.send_many(rate_requests(api.url, 3), on_response=explode)
    assert SECRET not in str(caught.value)


# --- many requests ---------------------------------------------------------------------------------


def test_every_request_is_answered_once_and_concurrency_is_bounded() -> None:
    with running_rate_api(Faults(latency_ms=5, error_rate=0.3, first_attempts=1)) as api:
        with client(concurrency=8) as asker:
            answers = ask(asker, rate_requests(api.url, 300))
        stats = api.stats()
    assert sorted(a.request_id for a in answers) == sorted(f"r{n}" for n in range(300))
    assert {a.reason_code for a in answers} == {None}
    assert stats["max_in_flight"] == 8
    assert stats["distinct"] == 300
    assert stats["repeats"] == stats["outcomes"]["error"] > 50


def test_requests_are_taken_only_as_fast_as_they_are_answered() -> None:
    taken: list[int] = []
    furthest_ahead = 0

    def produced(url: str) -> Iterator[HttpRequest]:
        for number, request in enumerate(rate_requests(url, 200)):
            taken.append(number)
            yield request

    answered: list[HttpResponse] = []

    def note(answer: HttpResponse) -> None:
        nonlocal furthest_ahead
        furthest_ahead = max(furthest_ahead, len(taken) - len(answered))
        answered.append(answer)

    with running_rate_api() as api, client(concurrency=5) as asker:
        asker.send_many(produced(api.url), on_response=note)
    assert len(answered) == 200
    assert furthest_ahead <= 5


def test_the_rate_limit_holds_over_retries_and_from_call_to_call() -> None:
    # Two thirds of the requests are sent twice, and each is a call of its own.
    rate_per_s = 50
    with running_rate_api(Faults(error_rate=0.67, first_attempts=1)) as api:
        with client(rate_per_s=rate_per_s, backoff_initial_s=0.0) as asker:
            for request in rate_requests(api.url, 60):
                ask(asker, [request])
        stats = api.stats()
    assert stats["repeats"] > 20
    # The server shares this process, and whoever else uses this machine delays its clock:
    # test_http_admission.py proves the limit exactly, in virtual time.
    assert stats["max_per_second"] <= 1.1 * rate_per_s


def test_an_error_of_the_caller_stops_the_run_and_closes_its_connections() -> None:
    def explode(answer: HttpResponse) -> None:
        raise RuntimeError("stop here")

    with running_rate_api(Faults(latency_ms=20)) as api, client(concurrency=4) as asker:
        with pytest.raises(RuntimeError, match="stop here"):
            asker.send_many(rate_requests(api.url, 100), on_response=explode)
        assert api.stats()["requests"] <= 8
        # The client is still good for another run.
        assert len(ask(asker, rate_requests(api.url, 5))) == 5


def test_an_interrupt_ends_the_run_within_a_moment() -> None:
    script = """
import datetime as dt, sys
from tnt_platform.services.http import HttpClient, HttpLimits, HttpRequest
asker = HttpClient(HttpLimits(), clock=lambda: dt.datetime.now(dt.UTC), uniform=lambda: 0.5)
print("asking", flush=True)
try:
    asker.send_many([HttpRequest("r", "GET", sys.argv[1])], on_response=print)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    arrived, left = threading.Event(), threading.Event()

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.01)
        left.set()
        return web.Response()

    with serving(hang) as url:
        child = subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True)
        assert arrived.wait(60)
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=30)
        assert left.wait(30)
    assert said.split() == ["asking", "interrupted"]
    assert child.returncode == 0


class DagsterLikeInterrupt(BaseException):
    """Dagster's interrupts are neither Exception nor KeyboardInterrupt."""


def test_an_interrupt_that_asyncio_would_only_log_still_ends_the_run() -> None:
    def interrupt(_: HttpResponse) -> None:
        def from_a_callback() -> None:
            raise DagsterLikeInterrupt

        asyncio.get_running_loop().call_soon(from_a_callback)

    with running_rate_api(Faults(latency_ms=50)) as api, client(concurrency=1) as asker:
        with pytest.raises(DagsterLikeInterrupt):
            asker.send_many(rate_requests(api.url, 50), on_response=interrupt)
        assert api.stats()["requests"] <= 3


# --- the circuit -----------------------------------------------------------------------------------


def test_an_outage_ends_the_run_soon_and_every_request_still_has_an_answer() -> None:
    with running_rate_api(Faults(error_rate=1.0)) as api:
        with client(concurrency=4, breaker_failures=20, breaker_probes=2, attempts=3) as asker:
            answers = ask(asker, rate_requests(api.url, 400))
        sent = api.stats()["requests"]
    by_code = {code: sum(a.reason_code == code for a in answers) for code in ("server_error", "circuit_open")}
    assert sum(by_code.values()) == 400
    assert 20 <= sent <= 20 + 4 + 2
    assert by_code["circuit_open"] > 380
    unasked = next(a for a in answers if a.reason_code == "circuit_open")
    assert (unasked.attempts, unasked.status, unasked.asked_at) == (0, None, NOW)
    assert "HTTP 500" in (unasked.reason or "")


def test_a_blip_costs_no_request_and_only_probes_are_sent_meanwhile() -> None:
    with running_rate_api(Faults(error_rate=1.0)) as api:
        with client(
            concurrency=4, breaker_failures=8, breaker_probes=100, breaker_cool_down_s=0.1, attempts=50
        ) as asker:
            mend = threading.Timer(0.6, api.set_faults, kwargs={"error_rate": 0.0})
            mend.start()
            answers = ask(asker, rate_requests(api.url, 40))
            mend.join()
        outcomes = api.stats()["outcomes"]
    assert {a.reason_code for a in answers} == {None}
    assert outcomes["ok"] == 40
    assert 8 <= outcomes["error"] <= 8 + 3 + 7  # those in flight at the opening, then one probe each 0.1 s


def test_requests_that_wait_for_their_turn_when_the_circuit_opens_are_not_sent() -> None:
    asker = client(concurrency=8, rate_per_s=5, breaker_failures=2, breaker_probes=1, attempts=1)
    with running_rate_api(Faults(error_rate=1.0)) as api, asker:
        answers = ask(asker, rate_requests(api.url, 8))
        assert api.stats()["requests"] <= 4  # two failures, perhaps one in flight, one probe
    assert [a.reason_code for a in answers].count("circuit_open") >= 4


def test_the_next_run_probes_once_and_recovers() -> None:
    asker = client(concurrency=2, breaker_failures=4, breaker_probes=2, attempts=1)
    with running_rate_api(Faults(error_rate=1.0)) as api, asker:
        assert {a.reason_code for a in ask(asker, rate_requests(api.url, 20))} == {
            "server_error",
            "circuit_open",
        }
        api.reset()
        assert [a.reason_code for a in ask(asker, rate_requests(api.url, 20))].count("circuit_open") == 19
        assert api.stats()["requests"] == 1
        api.set_faults(error_rate=0.0)
        assert {a.reason_code for a in ask(asker, rate_requests(api.url, 20))} == {None}


def test_refused_credentials_stop_the_run_too() -> None:
    with running_rate_api(token="another") as api:
        with client(concurrency=2, breaker_failures=10, breaker_probes=1) as asker:
            answers = ask(asker, rate_requests(api.url, 200))
        assert api.stats()["requests"] <= 13
    assert {a.reason_code for a in answers} == {"refused", "circuit_open"}


def test_a_failed_request_whose_retry_is_turned_away_keeps_its_own_reason() -> None:
    asker = client(concurrency=1, breaker_failures=2, breaker_probes=1, attempts=10)
    with running_rate_api(Faults(error_rate=1.0)) as api, asker:
        (answer,) = ask(asker, rate_requests(api.url))
    assert (answer.reason_code, answer.attempts) == ("server_error", 3)


@pytest.mark.parametrize(
    "wrong",
    [{"concurrency": 0}, {"rate_per_s": 0}, {"timeout_s": -1}, {"attempts": 0}, {"breaker_cool_down_s": -1}],
)
def test_impossible_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        HttpLimits(**wrong)
