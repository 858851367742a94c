"""Downloads over real HTTP: a file comes whole or not at all, in bounded size and time, and secrets stay."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import ipaddress
import random
import signal
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.errors import ConfigError, InvalidInput, Refused, TntError, Unavailable
from tnt_platform.sandbox.downloads import RunningDownloads, running_downloads
from tnt_platform.services.download import Download, Downloader, DownloadLimits
from tnt_platform.services.http_body import _Unpacker

SECRET = "tok-3n-should-never-be-seen"
NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
QUICK = {"timeout_s": 20.0, "stall_timeout_s": 10.0, "attempts": 3, "backoff_initial_s": 0.01}
DATA = bytes(range(256)) * 400

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def downloader(*, tls: ssl.SSLContext | None = None, **changes: Any) -> Downloader:
    return Downloader(
        DownloadLimits(**(QUICK | changes)), clock=lambda: NOW, uniform=random.Random(1).random, tls=tls
    )


def fetch(
    url: str, *, limits: dict[str, Any] | None = None, tls: ssl.SSLContext | None = None, **arguments: Any
) -> Download:
    with downloader(tls=tls, **(limits or {})) as one:
        return one.fetch(url, **arguments)


@contextmanager
def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server of the test's own, for what the stand-in doesn't do."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> web.ServerRunner:
        runner = web.ServerRunner(
            web.Server(handler, access_log=None, handler_cancellation=True), shutdown_timeout=0.1
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def always(status: int = 200, body: bytes = b"", **headers: str) -> Handler:
    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(
            status=status,
            body=body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    return answer


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RunningDownloads]:
    (tmp_path / "series.xlsm").write_bytes(DATA)
    with running_downloads(tmp_path) as running:
        yield running


# --- what comes back -------------------------------------------------------------------------------


def test_a_file_comes_whole_with_what_to_send_the_next_time(site: RunningDownloads) -> None:
    got = fetch(f"{site.url}/series.xlsm")
    assert (got.status, got.body, got.size_bytes) == ("new", DATA, len(DATA))
    assert (got.url, got.final_url) == (f"{site.url}/series.xlsm", f"{site.url}/series.xlsm")
    assert got.etag is not None
    assert got.last_modified is not None
    assert got.last_modified.endswith("GMT")
    assert got.duration_s > 0
    assert DATA[:20].hex() not in repr(got)


@pytest.mark.parametrize("known", [("etag",), ("last_modified",), ("etag", "last_modified")])
def test_an_unchanged_file_is_not_fetched_again(site: RunningDownloads, known: tuple[str, ...]) -> None:
    first = fetch(f"{site.url}/series.xlsm")
    again = fetch(f"{site.url}/series.xlsm", **{name: getattr(first, name) for name in known})
    assert (again.status, again.body, again.size_bytes) == ("not_modified", None, 0)
    assert (again.etag, again.last_modified) == (first.etag, first.last_modified)


def test_a_304_without_validators_keeps_those_that_were_sent() -> None:
    with serving(always(304)) as url:
        got = fetch(url, etag='W/"1"', last_modified="Fri, 20 Nov 2026 10:00:00 GMT")
    assert (got.status, got.etag, got.last_modified) == (
        "not_modified",
        'W/"1"',
        "Fri, 20 Nov 2026 10:00:00 GMT",
    )


def test_a_304_that_nobody_asked_for_is_refused() -> None:
    with serving(always(304)) as url, pytest.raises(Refused, match="HTTP 304"):
        fetch(url)


def test_a_changed_file_is_fetched_though_validators_are_sent(site: RunningDownloads, tmp_path: Path) -> None:
    first = fetch(f"{site.url}/series.xlsm")
    (tmp_path / "series.xlsm").write_bytes(DATA[::-1])
    assert (
        fetch(f"{site.url}/series.xlsm", etag=first.etag, last_modified=first.last_modified).body
        == DATA[::-1]
    )


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_not_there_is_absent_at_once(status: int) -> None:
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, body=b"<html>no</html>")

    with serving(answer) as url:
        got = fetch(f"{url}/sh_ipc_11_26.xls")
    assert (got.status, got.body) == ("absent", None)
    assert asked == ["/sh_ipc_11_26.xls"]


def test_validators_that_can_not_be_sent_again_are_left_out() -> None:
    with serving(
        always(200, b"x", Last_Modified="yesterday", Content_Type="text/CSV; charset=latin1")
    ) as url:
        got = fetch(url)
    assert (got.etag, got.last_modified, got.content_type) == (None, None, "text/csv")


def test_a_page_served_instead_of_a_file_comes_with_its_content_type(site: RunningDownloads) -> None:
    got = fetch(f"{site.url}/series.xlsm?fault=html")
    assert (got.status, got.content_type) == ("new", "text/html")


# --- what is tried again ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["server_error", "throttle", "truncated"])
def test_what_recovers_is_fetched(site: RunningDownloads, kind: str) -> None:
    site.faults.kind, site.faults.first = kind, 2
    assert fetch(f"{site.url}/series.xlsm").body == DATA
    assert site.answers.total() == 3


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("server_error", "HTTP 500: internal error"),
        ("throttle", "HTTP 429: slow down"),
        ("truncated", "51,200 of 102400 bytes"),
        ("slow", "0.2 s"),
    ],
)
def test_what_stays_broken_is_given_up_after_the_attempts(
    site: RunningDownloads, kind: str, says: str
) -> None:
    site.faults.kind = kind
    with pytest.raises(Unavailable, match=says) as failed:
        fetch(f"{site.url}/series.xlsm", limits={"stall_timeout_s": 0.2 if kind == "slow" else 10.0})
    assert f"GET {site.url}/series.xlsm" in str(failed.value)
    assert "3 attempts" in str(failed.value)
    assert site.answers.total() == 3


def test_nobody_there_is_unavailable() -> None:
    with serving(always()) as url:
        pass
    with pytest.raises(Unavailable, match="3 attempts"):
        fetch(url)


def test_retry_after_is_waited_for_but_not_beyond_its_limit(site: RunningDownloads) -> None:
    site.faults.kind, site.faults.first, site.faults.retry_after_s = "throttle", 1, 1
    assert fetch(f"{site.url}/series.xlsm").duration_s >= 1.0
    site.faults.first, site.faults.retry_after_s = 3, 3600
    assert fetch(f"{site.url}/series.xlsm", limits={"retry_after_max_s": 0.05, "attempts": 3}).duration_s < 60


def test_a_trickle_ends_at_the_total_timeout() -> None:
    async def trickle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.02)

    with serving(trickle) as url, pytest.raises(Unavailable, match=r"0\.3 s"):
        fetch(url, limits={"timeout_s": 0.3, "attempts": 2})


@pytest.mark.parametrize("status", [400, 401, 403, 451, 204, 206])
def test_a_refusal_is_final_and_shows_the_beginning_of_what_was_said(status: int) -> None:
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, body=b"the \n reason " + b"z" * 1000)

    with serving(answer) as url, pytest.raises(Refused, match=f"HTTP {status}") as refused:
        fetch(f"{url}/file.csv?key=k-123")
    assert len(asked) == 1
    if status != 204:
        assert "the reason zzz" in str(refused.value)
    assert len(str(refused.value)) < 400
    assert "k-123" not in str(refused.value)


# --- size ------------------------------------------------------------------------------------------


def test_a_file_above_the_limit_is_refused_before_it_is_read(site: RunningDownloads) -> None:
    site.faults.kind = "slow"  # half of it never comes
    with pytest.raises(InvalidInput, match="102,399") as refused:
        fetch(f"{site.url}/series.xlsm", limits={"max_bytes": len(DATA) - 1})
    assert refused.value.reason_code == "too_large"
    assert site.answers.total() == 1
    site.faults.kind = None
    assert fetch(f"{site.url}/series.xlsm", limits={"max_bytes": len(DATA)}).body == DATA


def test_an_endless_body_is_dropped_at_the_limit(site: RunningDownloads) -> None:
    site.faults.kind = "endless"
    with pytest.raises(InvalidInput, match="1,000,000"):
        fetch(f"{site.url}/series.xlsm", limits={"max_bytes": 1_000_000})


def test_no_more_is_taken_than_a_lying_length_announces(site: RunningDownloads) -> None:
    site.faults.kind = "lying_length"
    assert fetch(f"{site.url}/series.xlsm").body == DATA[: len(DATA) // 2]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_gzip_encoding_is_unpacked(encoding: str) -> None:
    packed = gzip.compress(DATA[:5000]) + gzip.compress(DATA[5000:]) + b"\0\0\0"
    with serving(always(200, packed, Content_Encoding=encoding)) as url:
        assert fetch(url).body == DATA


def test_a_gzip_bomb_is_dropped_at_the_limit() -> None:
    bomb = gzip.compress(bytes(100_000_000), 1)  # 0.4 MB
    with (
        serving(always(200, bomb, Content_Encoding="gzip")) as url,
        pytest.raises(InvalidInput, match="5,000,000"),
    ):
        fetch(url, limits={"max_bytes": 5_000_000})


@pytest.mark.parametrize(
    "body", [gzip.compress(DATA)[:-100], b"PK not gzip", gzip.compress(DATA) + b"rubbish"]
)
def test_a_damaged_gzip_encoding_is_retried(body: bytes) -> None:
    with (
        serving(always(200, body, Content_Encoding="gzip")) as url,
        pytest.raises(Unavailable, match="2 attempts"),
    ):
        fetch(url, limits={"attempts": 2})


def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    with (
        serving(always(200, b"x", Content_Encoding="br")) as url,
        pytest.raises(Refused, match="'br'"),
    ):
        fetch(url)


def test_gzip_is_unpacked_in_bounded_steps_whatever_its_ratio() -> None:
    sizes = [len(part) for part in _Unpacker().unpack(gzip.compress(bytes(20_000_000)))]
    assert max(sizes) == 1_000_000
    assert sum(sizes) == 20_000_000


@given(
    parts=st.lists(st.binary(max_size=300).map(lambda data: data * 50), max_size=4),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=5),
)
def test_gzip_is_unpacked_alike_however_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    packed = b"".join(gzip.compress(part) for part in parts)
    unpacker, out, at, turn = _Unpacker(), [], 0, 0
    while at < len(packed):
        step = cuts[turn % len(cuts)]
        out.extend(unpacker.unpack(packed[at : at + step]))
        at, turn = at + step, turn + 1
    out.append(unpacker.finish())
    assert b"".join(out) == b"".join(parts)


# --- where it may lead -----------------------------------------------------------------------------


def test_redirects_are_followed_and_the_last_address_is_told() -> None:
    async def hop(request: web.BaseRequest) -> web.Response:
        number = int(request.path[1:])
        if number == 0:
            return web.Response(body=DATA)
        status = (301, 302, 303, 307, 308)[number - 1]
        return web.Response(status=status, headers={"Location": f"/{number - 1}?from={number}"})

    with serving(hop) as url:
        got = fetch(f"{url}/5")
        assert (got.url, got.final_url, got.body) == (f"{url}/5", f"{url}/0?from=1", DATA)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/", "5"),
        ("file:///etc/passwd", "HTTP 302"),
        ("ftp://127.0.0.1/x", "HTTP 302"),
        ("data:text/csv,1", "HTTP 302"),
        ("http://[::1", "HTTP 302"),
        ("", "5"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_refused(location: str, shown: str) -> None:
    with serving(always(302, Location=location)) as url, pytest.raises(Refused, match=shown):
        fetch(url)


def test_a_redirect_without_an_address_is_refused() -> None:
    with serving(always(302)) as url, pytest.raises(Refused, match="HTTP 302"):
        fetch(url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x.csv",
        "file:///etc/passwd",
        "example.org/x.csv",
        "https://",
        "",
        "http://[::1",
        "https://ana:hunter2@example.org/x.csv",
    ],
)
def test_a_url_that_can_not_be_downloaded_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        fetch(url)
    assert "hunter2" not in str(refused.value)


def test_a_header_that_can_not_be_sent_is_a_wrong_setting() -> None:
    with serving(always()) as url, pytest.raises(ConfigError) as refused:
        fetch(url, headers={"auth-token": f"{SECRET}\r\nX: y"})
    assert SECRET not in str(refused.value)


# --- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 500])
@pytest.mark.parametrize("sent", [SECRET, f"Bearer {SECRET}", f"sid={SECRET}; theme=dark"])
def test_no_message_shows_a_header_that_was_sent_even_when_the_server_echoes_it(
    status: int, sent: str
) -> None:
    async def echo(request: web.BaseRequest) -> web.Response:
        return web.Response(
            status=status, text=f"{'x' * 150} you sent {request.headers['Authorization']} {SECRET}"
        )

    with serving(echo) as url, pytest.raises(TntError) as failed:
        fetch(url, headers={"Authorization": sent})
    chain: list[BaseException] = [failed.value]
    while chain[-1].__context__ is not None:
        chain.append(chain[-1].__context__)
    assert SECRET[:8] not in str(failed.value)
    assert all(SECRET not in str(error) + repr(error) for error in chain)


def test_credentials_are_sent_on_within_an_origin_but_not_to_another() -> None:
    seen: list[dict[str, str]] = []

    async def record(request: web.BaseRequest) -> web.Response:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(body=DATA)

    sent = {"X-Api-Key": SECRET, "Authorization": SECRET, "Cookie": SECRET, "User-Agent": "series/1"}
    with serving(record) as other:

        async def redirect(request: web.BaseRequest) -> web.Response:
            seen.append({name.lower(): value for name, value in request.headers.items()})
            to = "/here" if request.path == "/" else f"{other}/there"
            return web.Response(status=302, headers={"Location": to})

        with serving(redirect) as url:
            assert fetch(f"{url}/", headers=sent, etag='"7"').body == DATA
    at_start, within, elsewhere = seen
    assert at_start["x-api-key"] == within["x-api-key"] == within["authorization"] == SECRET
    assert SECRET not in elsewhere.values()
    assert (elsewhere["user-agent"], elsewhere["if-none-match"]) == ("series/1", '"7"')


# --- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
    server_tls: ssl.SSLContext, certificate: Path
) -> None:
    with serving(always(200, DATA), server_tls) as url:
        with pytest.raises(Refused, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(url)
        trusting = ssl.create_default_context(cafile=str(certificate))
        assert fetch(url, tls=trusting).body == DATA


def test_verification_can_not_be_switched_off() -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False
    with pytest.raises(ConfigError, match="TLS"):
        downloader(tls=careless)


def test_a_redirect_from_https_to_http_is_refused(server_tls: ssl.SSLContext, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    with (
        serving(always(200, DATA)) as plain,
        serving(always(302, Location=plain), server_tls) as url,
        pytest.raises(Refused, match="127"),
    ):
        fetch(url, tls=trusting)


# --- interrupts and limits -------------------------------------------------------------------------


def test_an_interrupt_ends_a_download_at_once(site: RunningDownloads) -> None:
    class Interrupted(BaseException):
        """As Dagster raises it from a signal handler."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    site.faults.kind, site.faults.slow_s = "slow", 5.0
    before = signal.signal(signal.SIGALRM, interrupt)
    started_s = time.monotonic()
    try:
        with downloader(stall_timeout_s=2.0) as one:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(Interrupted):
                one.fetch(f"{site.url}/series.xlsm")
            assert time.monotonic() - started_s < 2.0
            time.sleep(2.2)
            assert site.answers.total() == 1  # nothing goes on behind the caller's back
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_downloader_works_inside_a_running_loop_and_closes_twice(site: RunningDownloads) -> None:
    async def main() -> Download:
        return one.fetch(f"{site.url}/series.xlsm")

    with downloader() as one:
        assert asyncio.run(main()).body == DATA
        assert one.fetch(f"{site.url}/none").status == "absent"
    one.close()


@pytest.mark.parametrize(
    "limit",
    [
        {"max_bytes": 0},
        {"attempts": 0},
        {"timeout_s": 0.0},
        {"stall_timeout_s": -1.0},
        {"backoff_max_s": -1.0},
    ],
)
def test_a_limit_that_can_not_work_is_a_wrong_setting(limit: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limit))):
        DownloadLimits(**limit)


PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_proxy_of_the_environment_is_asked_with_its_own_credentials(no_proxy: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []

    async def proxy(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.raw_path, request.headers.get("Proxy-Authorization")))
        return web.Response(body=DATA)

    with serving(proxy) as url:
        no_proxy.setenv("HTTP_PROXY", url.replace("http://", "http://me:secret@"))
        download = fetch("http://publisher.invalid/series.xlsx")
    assert download.body == DATA
    assert download.final_url == "http://publisher.invalid/series.xlsx"
    assert seen == [("http://publisher.invalid/series.xlsx", "Basic bWU6c2VjcmV0")]


def test_hosts_of_no_proxy_and_this_machine_are_asked_themselves(no_proxy: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def proxy(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.raw_path)
        return web.Response(body=DATA)

    with serving(proxy) as url, serving(always(body=b"itself")) as here:
        no_proxy.setenv("HTTP_PROXY", url)
        no_proxy.setenv("NO_PROXY", "example.org,publisher.invalid")
        assert fetch(f"{here}/series.xlsx").body == b"itself"
        with pytest.raises(Unavailable):
            fetch("http://data.publisher.invalid/series.xlsx", limits={"attempts": 1})
    assert asked == []


def test_an_https_url_goes_through_a_tunnel_of_the_proxy(no_proxy: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def proxy(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(f"{request.method} {request.raw_path}")
        return web.Response(status=403, text="not this host")

    with serving(proxy) as url:
        no_proxy.setenv("HTTPS_PROXY", url)
        with pytest.raises(TntError, match="403"):
            fetch("https://publisher.invalid/series.xlsx", limits={"attempts": 1})
    assert asked == ["CONNECT publisher.invalid:443"]


@pytest.mark.parametrize(
    "named", ["me:hidden-word@nowhere", "socks5://me:hidden-word@nowhere:1080", "http://"]
)
def test_a_variable_that_names_no_proxy_is_an_error_that_hides_its_password(
    named: str, no_proxy: pytest.MonkeyPatch
) -> None:
    no_proxy.setenv("HTTP_PROXY", named)
    with pytest.raises(ConfigError, match="HTTP_PROXY") as fault:
        fetch("http://publisher.invalid/series.xlsx")
    assert "hidden-word" not in str(fault.value)


def test_a_proxy_that_is_away_is_named_without_its_password(no_proxy: pytest.MonkeyPatch) -> None:
    no_proxy.setenv("HTTP_PROXY", "http://me:hidden-word@127.0.0.1:9")
    with pytest.raises(Unavailable) as fault:
        fetch("http://publisher.invalid/series.xlsx", limits={"attempts": 1})
    assert "hidden-word" not in str(fault.value)
