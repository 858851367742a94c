"""The stand-in API answers from the zone table and misbehaves reproducibly."""

from __future__ import annotations

import http.client
import json
from array import array
from urllib.parse import urlsplit

import pytest

from tnt_platform.errors import ConfigError
from tnt_platform.sandbox.faults import KINDS, Faults, request_digest
from tnt_platform.sandbox.rate_api import busiest_second
from tnt_platform.sandbox.running import RunningRateApi, rate_api_process, running_rate_api
from tnt_platform.sandbox.zones import ground_days
from tnt_platform.transit.transforms.answers import compile_answer, read_answer

HEADERS = {"X-WHM-CLIENT": "tests", "auth-token": "secret"}
GROUND = compile_answer(
    """
    {rates: ratesMap[].value[]}
    | {rates: rates,
       ground: rates[?lower(serviceName) == 'ups ground' || ends_with(serviceSymbol, '.GND')] | [0]}
    | {rates: rates, ground: ground, days: ground.transitDays}
    """
)


def post(
    api: RunningRateApi, origin: str, destination: object, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    address = urlsplit(api.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    body = json.dumps({"shipment_info": {"consignee_info": {"postal_code": destination}}})
    try:
        connection.request(
            "POST", f"/{origin}/rate/qualifiedcarriers", body, HEADERS if headers is None else headers
        )
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "destination",
    ["00501", "10001", "60601", "73301", "90210", "98101", "00601", "96701", "99999", "34001", "x"],
)
def test_answers_agree_with_the_zone_table(destination: str) -> None:
    with running_rate_api() as api:
        status, _, body = post(api, "10022", destination)
    reading = read_answer(body, GROUND)
    assert status == 200
    assert reading.days == ground_days("10022", destination)
    assert reading.reason_code == (None if reading.days else "no_ground_rate")


@pytest.mark.parametrize("missing", ["X-WHM-CLIENT", "auth-token"])
def test_both_headers_are_required(missing: str) -> None:
    with running_rate_api() as api:
        status, _, _ = post(api, "10022", "00501", {k: v for k, v in HEADERS.items() if k != missing})
    assert status == 401


def test_a_set_token_is_the_only_one_accepted() -> None:
    with running_rate_api(token="other") as api:
        assert post(api, "10022", "00501")[0] == 401
        assert post(api, "10022", "00501", HEADERS | {"auth-token": "other"})[0] == 200


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("error", 500, None),
        ("throttle", 429, None),
        ("html", 200, "html_instead_of_json"),
        ("malformed", 200, "invalid_json"),
        ("no_rates_map", 200, "no_rates_map"),
        ("string_days", 200, "bad_transit_days"),
        ("missing_ground", 200, "no_ground_rate"),
    ],
)
def test_each_fault_shows_as_itself_and_stops_after_its_attempts(
    kind: str, status: int, reason: str | None
) -> None:
    with running_rate_api(Faults(first_attempts=1, **{f"{kind}_rate": 1.0})) as api:
        first_status, _, first_body = post(api, "10022", "60601")
        second_status, _, second_body = post(api, "10022", "60601")
        assert api.stats()["outcomes"] == {kind: 1, "ok": 1}
    assert first_status == status
    if reason:
        assert read_answer(first_body, GROUND).reason_code == reason
    assert (second_status, read_answer(second_body, GROUND).days) == (200, 3)


def test_a_reset_ends_the_connection_without_an_answer() -> None:
    with running_rate_api(Faults(reset_rate=1.0)) as api, pytest.raises(ConnectionError):
        post(api, "10022", "60601")


def test_retry_after_is_sent_as_seconds_or_as_a_date() -> None:
    with running_rate_api(Faults(throttle_rate=1.0)) as api:
        assert "Retry-After" not in post(api, "10022", "1")[1]
        api.set_faults(retry_after_s=7)
        assert post(api, "10022", "1")[1]["Retry-After"] == "7"
        api.set_faults(retry_after_as_date=True)
        assert post(api, "10022", "1")[1]["Retry-After"].endswith("GMT")


def test_which_requests_are_spoiled_depends_on_seed_and_request_alone() -> None:
    digests = [request_digest("/1/rate", str(number).encode()) for number in range(4000)]
    faults = Faults(error_rate=0.1, html_rate=0.2, seed=3)
    chosen = [faults.spoils(digest, 1) for digest in digests]
    assert chosen == [faults.spoils(digest, 5) for digest in digests]
    assert chosen != [Faults(error_rate=0.1, html_rate=0.2, seed=4).spoils(d, 1) for d in digests]
    assert 0.07 < chosen.count("error") / 4000 < 0.13
    assert 0.16 < chosen.count("html") / 4000 < 0.24
    everything = Faults(**{f"{kind}_rate": 1 / len(KINDS) for kind in KINDS})
    assert {everything.spoils(digest, 1) for digest in digests} >= set(KINDS)


def test_stats_count_requests_distinct_ones_and_repeats_until_a_reset() -> None:
    with running_rate_api() as api:
        for destination in ("60601", "60601", "90210"):
            post(api, "10022", destination)
        stats = api.stats()
        api.reset()
        assert api.stats()["requests"] == 0
    assert (stats["requests"], stats["distinct"], stats["repeats"]) == (3, 2, 1)
    assert stats["max_per_second"] == 3


@pytest.mark.parametrize(
    ("arrivals_s", "most"),
    [([], 0), ([5.0], 1), ([0, 0.9, 1.0, 1.8], 3), ([0, 1, 2, 3], 1), ([0, 0, 0.5, 1.4], 3)],
)
def test_the_busiest_second_starts_anywhere(arrivals_s: list[float], most: int) -> None:
    assert busiest_second(array("d", arrivals_s)) == most


def test_wrong_fault_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.7"):
        Faults(error_rate=0.7, html_rate=0.7)
    with running_rate_api() as api:
        with pytest.raises(ValueError, match=r"eror_rate.*latency_ms"):
            api.set_faults(eror_rate=1)
        with pytest.raises(ValueError, match=r"error_rate.*often"):
            api.set_faults(error_rate="often")
        assert post(api, "10022", "60601")[0] == 200


def test_bad_requests_are_told_so() -> None:
    with running_rate_api() as api:
        address = urlsplit(api.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
        for method, path, body, status in [
            ("POST", "/10022/rate/qualifiedcarriers", "{", 400),
            ("POST", "/10022/rate/qualifiedcarriers", "[]", 400),
            ("GET", "/10022/rate/qualifiedcarriers", "", 404),
            ("POST", "/elsewhere", "{}", 404),
            ("GET", "/_sandbox/nothing", "", 404),
            ("GET", "/_sandbox/health", "", 200),
        ]:
            connection.request(method, path, body, HEADERS)
            response = connection.getresponse()
            response.read()
            assert (path, response.status) == (path, status)
        connection.close()


def test_it_runs_in_a_process_of_its_own() -> None:
    with rate_api_process("--faults", '{"html_rate": 1.0}') as api:
        status, headers, _ = post(api, "10022", "60601")
    assert (status, headers["Content-Type"]) == (200, "text/html")
