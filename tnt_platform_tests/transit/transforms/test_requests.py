"""Rows become requests without losing a zero, and nothing but a whole number becomes days."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

import tnt_platform
from tnt_platform.errors import ConfigError
from tnt_platform.transit.transforms.answers import compile_answer, read_answer
from tnt_platform.transit.transforms.request_template import read_template
from tnt_platform.transit.transforms.requests import build_requests, with_ship_dates
from tnt_platform_tests.paths import SHARED

REQUEST_JSON = Path(tnt_platform.__file__).parent / "defs" / "transit" / "request.json"
GROUND = compile_answer(
    """
    {rates: ratesMap[].value[]}
    | {rates: rates,
       ground: rates[?lower(serviceName) == 'ups ground' || ends_with(serviceSymbol, '.GND')] | [0]}
    | {rates: rates, ground: ground, days: ground.transitDays}
    """
)


def template(body: object = None, url: str = "http://api/{origin}", **parts: object):
    return read_template(json.dumps({"url": url, "body": body, **parts}), source="request.json")


def body_of(built, row: int = 0):
    return json.loads(built.requests["request_payload"][row])


# --- templates -------------------------------------------------------------------------------------


def test_a_field_alone_keeps_its_type_and_inside_text_becomes_text() -> None:
    rows = pl.DataFrame(
        {
            "origin": ["00501"],
            "weight": [2.5],
            "pieces": [3],
            "fragile": [True],
            "cost": [Decimal("1.10")],
            "day": [dt.date(2026, 11, 20)],
            "note": ['a "quoted"\nline'],
        }
    )
    body = {
        "zip": "{origin}",
        "weight": "{weight}",
        "pieces": "{pieces}",
        "fragile": "{fragile}",
        "cost": "{cost}",
        "day": "{day}",
        "text": "{pieces} from {origin}: {note} ({fragile})",
        "fixed": [1, None, {"x": "{{literal}}"}],
    }
    built = build_requests(rows, template(body))
    assert body_of(built) == {
        "zip": "00501",
        "weight": 2.5,
        "pieces": 3,
        "fragile": True,
        "cost": 1.1,
        "day": "2026-11-20",
        "text": '3 from 00501: a "quoted"\nline (true)',
        "fixed": [1, None, {"x": "{literal}"}],
    }
    assert '"cost":1.10' in built.requests["request_payload"][0]


@settings(deadline=None)  # others use this machine
@given(
    st.text(min_size=1).filter(lambda t: t not in (".", "..")),
    st.none() | st.text(),
    st.integers(-(2**63), 2**63 - 1),
)
def test_any_text_survives_the_way_into_the_request(part: str, value: str | None, number: int) -> None:
    rows = pl.DataFrame(
        {"origin": [part], "v": [value], "n": [number]}, schema={"origin": str, "v": str, "n": int}
    )
    built = build_requests(rows, template({"v": "{v}", "n": "{n}", "inside": "<{origin}>"}))
    assert body_of(built) == {"v": value, "n": number, "inside": f"<{part}>"}
    encoded = built.requests["url"][0].removeprefix("http://api/")
    assert unquote(encoded, errors="strict") == part
    assert not set(encoded) & set("/?#& ")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_id_is_a_hash_of_method_url_and_canonical_body_alone(newline: str) -> None:
    rows = pl.DataFrame({"origin": ["1"], "a": [1], "b": [2]})
    one = build_requests(rows, template({"x": "{a}", "y": "{b}"}, headers={"auth-token": "${TOKEN}"}))
    text = newline.join(['{"body": {"y": "{b}",', '"x": "{a}"}, "url": "http://api/{origin}"}'])
    other = build_requests(rows, read_template(text, source="other.json"))
    assert one.requests.equals(other.requests)
    expected = hashlib.sha256(b'POST http://api/1 {"x":1,"y":2}').hexdigest()
    assert one.requests["request_id"].to_list() == [expected]
    assert "TOKEN" not in str(one.requests.to_dicts())


def test_identical_requests_are_asked_once_and_every_row_knows_its_own() -> None:
    rows = pl.DataFrame({"origin": ["1", "2", "1"], "other": ["x", "y", "z"]})
    built = build_requests(rows, template({"o": "{origin}"}))
    assert built.requests["url"].to_list() == ["http://api/1", "http://api/2"]
    ids = built.requests["request_id"].to_list()
    assert built.asked_by["request_id"].to_list() == [ids[0], ids[1], ids[0]]


def test_a_row_that_cannot_be_asked_says_why_and_spares_the_others() -> None:
    rows = pl.DataFrame({"origin": ["1", None, "..", "4", ""], "weight": [1.0, 1.0, 1.0, float("nan"), 1.0]})
    built = build_requests(rows, template({"w": "{weight}"}))
    assert built.asked_by["reason_code"].to_list() == [
        None,
        "missing_value",
        "bad_url_part",
        "bad_number",
        "bad_url_part",
    ]
    assert built.asked_by["request_id"].is_null().to_list() == [False, True, True, True, True]
    assert "origin" in built.asked_by["reason"][1]
    assert built.requests.height == 1


def test_a_null_that_is_a_whole_value_is_json_null() -> None:
    rows = pl.DataFrame({"origin": ["1"], "weight": [None]}, schema={"origin": pl.Utf8, "weight": pl.Float64})
    assert body_of(build_requests(rows, template({"w": "{weight}"}))) == {"w": None}


def test_no_rows_and_constant_templates_work() -> None:
    empty = build_requests(pl.DataFrame(schema={"origin": pl.Utf8}), template({"o": "{origin}"}))
    assert empty.requests.schema == {
        "request_id": pl.Utf8,
        "method": pl.Utf8,
        "url": pl.Utf8,
        "request_payload": pl.Utf8,
    }
    assert empty.asked_by.schema == {"request_id": pl.Utf8, "reason_code": pl.Utf8, "reason": pl.Utf8}
    assert (empty.requests.height, empty.asked_by.height) == (0, 0)
    constant = build_requests(pl.DataFrame({"a": [1, 2]}), template({"x": [], "y": {}}, url="http://api/all"))
    assert constant.requests.rows() == [
        (constant.asked_by["request_id"][1], "POST", "http://api/all", '{"x":[],"y":{}}')
    ]
    without_body = build_requests(pl.DataFrame({"a": [1]}), template(url="http://api/{a}", method="GET"))
    assert without_body.requests.select("method", "url", "request_payload").rows() == [
        ("GET", "http://api/1", None)
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "not JSON"),
        ("[]", "RequestFile"),
        ('{"url": "u", "boddy": 1}', "boddy"),
        ('{"url": ""}', "url"),
        ('{"url": "u", "method": "FETCH"}', "method"),
        ('{"url": "u/{origin"}', "url: .* 3 "),
        ('{"url": "u", "body": {"a": ["}"]}}', r"body\.a\[0\]"),
        ('{"url": "u", "body": {"{a}": 1}}', r"body\.{a}"),
        ('{"url": "u", "body": {"a": "${env:TOKEN}"}}', r"body\.a"),
        ('{"url": "u?key=${TOKEN}"}', "url"),
        ('{"url": "u", "headers": {"a": "{origin}"}}', r"headers\.a"),
        ('{"url": "u", "headers": {"a": 1}}', r"headers\.a"),
    ],
)
def test_a_wrong_template_is_rejected_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError, match=f"^request.json: (.|\n)*{place}"):
        read_template(text, source="request.json")


def test_an_unknown_field_names_the_file_the_place_and_what_there_is() -> None:
    rows = pl.DataFrame({"origin": ["1"], "weight": [1.0]})
    with pytest.raises(ConfigError) as caught:
        build_requests(rows, template({"p": {"w": "{wieght}"}}), {"api_url": "x"})
    for piece in ("request.json", "body.p.w", "'wieght'", "{weight}", "api_url, origin, weight"):
        assert piece in str(caught.value)


def test_a_type_that_has_no_place_in_a_request_is_rejected() -> None:
    rows = pl.DataFrame({"origin": ["1"], "parts": [[1, 2]]})
    with pytest.raises(ConfigError, match=r"body\.p.*'parts'.*List"):
        build_requests(rows, template({"p": "{parts}"}))


def test_a_name_that_is_both_column_and_constant_is_rejected() -> None:
    with pytest.raises(ConfigError, match="'origin'"):
        build_requests(pl.DataFrame({"origin": ["1"]}), template(), {"origin": "2"})


def test_the_transit_template_carries_the_rows_own_destination() -> None:
    row = {
        "origin": "10022",
        "destination": "00501",
        "state": "NY",
        "shipper_id": "000011",
        "locn_nbr": "00001",
        "locnType": "DC",
        "barcode": "000123",
        "weight": 2.5,
        "length": 4,
        "width": 5,
        "height": 6,
        "hazmat": "N",
        "delivery_method": "GROUND",
        "address1": "1 Main St",
        "city": "Newark",
        "country": "US",
        "postal_code": "07101",
        "state_province": "NJ",
    }
    rows = with_ship_dates(pl.DataFrame([row]), dt.date(2026, 11, 26))
    shipped = read_template(REQUEST_JSON.read_bytes(), source="request.json")
    built = build_requests(rows, shipped, {"api_url": "https://carrier.example/v1/"})
    assert built.requests["url"][0] == "https://carrier.example/v1/10022/rate/qualifiedcarriers"
    body = body_of(built)
    assert body["shipment_info"]["consignee_info"] == {
        "address1": "1 Main St",
        "city": "Newark",
        "country_code": "US",
        "postal_code": "00501",
        "state_province": "NY",
    }
    assert body["package_info"]["ship_date"] == "2026-11-26"
    assert body["package_info"]["expected_delivery_date"] == "2026-12-03"
    assert body["package_info"]["shipper_id"] == "000011"
    assert body["package_info"]["weight"] == 2.5
    assert set(body) == {
        "package_info",
        "shipment_info",
        "printing_info",
        "return_address",
        "hold_at_address",
        "international",
    }


# --- answers ---------------------------------------------------------------------------------------


def rates(*values: object, days: object = 3) -> bytes:
    ground = {"serviceName": "UPS Ground", "serviceSymbol": "UPS.GND", "transitDays": days}
    return json.dumps({"ratesMap": [{"key": "k", "value": [*values, ground]}]}).encode()


@pytest.mark.parametrize(
    "rate",
    [
        {"serviceName": "UPS Ground", "transitDays": 4},
        {"serviceName": "uPS gROUND", "serviceSymbol": None, "transitDays": 4},
        {"serviceName": None, "serviceSymbol": "X.GND", "transitDays": 4},
        {"serviceSymbol": ".GND", "transitDays": 4},
    ],
)
def test_the_first_ground_rate_wins_however_it_is_named(rate: dict[str, object]) -> None:
    noise = [
        None,
        7,
        {},
        {"serviceName": 5, "serviceSymbol": 6},
        {"serviceSymbol": "UPS.GNDX", "transitDays": 1},
    ]
    assert read_answer(rates(*noise, rate), GROUND).days == 4


def test_document_order_goes_over_all_entries_of_the_map() -> None:
    entries = [
        {"key": "a", "value": None},
        {"key": "b", "value": [{"serviceName": "Air", "transitDays": 1}]},
        {"key": "c", "value": [{"serviceSymbol": "C.GND", "transitDays": 5}]},
        {"key": "d", "value": [{"serviceName": "UPS Ground", "transitDays": 2}]},
    ]
    assert read_answer(json.dumps({"ratesMap": entries}).encode(), GROUND).days == 5


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (None, "invalid_json"),
        (b'{"ratesMap": [', "invalid_json"),
        (b"\xff\xfe\x00", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b" \n<!DOCTYPE html><html></html>", "html_instead_of_json"),
        (b'<?xml version="1.0"?><!DOCTYPE html><html></html>', "html_instead_of_json"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><error/>', "invalid_json"),
        (b'{"ratesMap": [], "ratesMap": []}', "invalid_json"),
        (b"{}", "no_rates_map"),
        (b"null", "no_rates_map"),
        (b"[]", "no_rates_map"),
        (b'"text"', "no_rates_map"),
        (b'{"ratesMap": null}', "no_rates_map"),
        (b'{"ratesMap": []}', "no_rates_map"),
        (b'{"ratesMap": [{"key": "k", "value": []}]}', "no_rates_map"),
        (b'{"ratesMap": [{"key": "k", "value": null}]}', "no_rates_map"),
        (
            b'{"ratesMap": [{"key": "k", "value": [{"serviceName": "Air", "transitDays": 1}]}]}',
            "no_ground_rate",
        ),
    ],
)
def test_every_unusable_answer_has_its_own_reason(body: bytes | None, code: str) -> None:
    reading = read_answer(body, GROUND)
    assert (reading.days, reading.reason_code) == (None, code)
    assert reading.reason


def test_an_answer_without_days_is_quoted_with_what_the_carrier_says() -> None:
    reading = read_answer(b'{"ratesMap": null, "errors": [{"message": "unknown destination"}]}', GROUND)
    assert (reading.days, reading.reason_code) == (None, "no_rates_map")
    assert "unknown destination" in str(reading.reason)
    assert "XML" in str(read_answer(b"<?xml version='1.0'?><error/>", GROUND).reason)


@pytest.mark.parametrize(
    "days", ["3 days", "3", 3.5, 3.0, -1, True, False, None, [3], {"d": 3}, 366, 10**30, "three"]
)
def test_days_are_never_coerced(days: object) -> None:
    assert read_answer(rates(days=days), GROUND).reason_code == "bad_transit_days"


@settings(deadline=None)  # others use this machine
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda c: (
            st.lists(c)
            | st.dictionaries(
                st.sampled_from(["ratesMap", "value", "serviceName", "serviceSymbol", "transitDays"]), c
            )
        ),
    )
)
def test_no_answer_raises_and_each_gives_days_or_a_reason(answer: object) -> None:
    reading = read_answer(json.dumps({"ratesMap": [{"value": [answer]}, answer]}).encode(), GROUND)
    assert (reading.days is None) != (reading.reason_code is None)


@pytest.mark.parametrize(
    ("text", "near"),
    [("rates[", "rates["), ("", ""), ("a.b. | c", "|"), ("upper(a)", "upper("), ("{dais: a}", "dais")],
)
def test_a_wrong_expression_is_rejected_when_it_is_loaded_and_points_to_its_place(
    text: str, near: str
) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        compile_answer(text)
    (found,) = caught.value.context["mistakes"]
    assert found.near == near


def test_an_expression_that_does_not_fit_the_answer_is_a_reason() -> None:
    reading = read_answer(b'{"a": "x"}', compile_answer("abs(a)"))
    assert reading.reason_code == "unexpected_answer"


def easypost(name: str) -> bytes:
    path = SHARED / "carrier_rates_easypost" / name
    if not path.exists():
        pytest.skip("shared data is not here")
    return path.read_bytes()


def service_days(rates_path: str, service: str, days: str = "delivery_days"):
    return compile_answer(
        f"{{rates: {rates_path}}} | {{rates: rates, ground: rates[?service == '{service}'] | [0]}}"
        f" | {{rates: rates, ground: ground, days: ground.{days}}}"
    )


TINT = "easypost_time_in_transit_data.days_in_transit.percentile_50"


@pytest.mark.parametrize(
    ("name", "expression", "expected"),
    [
        ("test_beta_retrieve_stateless_rates.0.json", service_days("rates", "GroundAdvantage"), 3),
        ("test_shipment_smart_rate.0.json", service_days("rates", "Express"), 1),
        ("test_shipment_smart_rate.1.json", service_days("result", "GroundAdvantage"), 3),
        (
            "test_shipment_smart_rate.1.json",
            service_days("result", "Express", "time_in_transit.percentile_85"),
            3,
        ),
        ("test_rate_retrieve.1.json", service_days("[@]", "Priority"), 2),
        ("test_rate_retrieve.1.json", compile_answer("delivery_days"), 2),
        ("test_order_get_rates.1.json", service_days("rates", "GroundAdvantage"), 3),
        ("test_order_get_rates.0.json", service_days("shipments[].rates[]", "Priority"), 2),
        ("test_smartrate_estimate_delivery_date.0.json", service_days("results", "groundadvantage", TINT), 3),
        ("test_rate_retrieve.0.json", service_days("rates", "Pigeon"), "no_ground_rate"),
        ("test_rate_retrieve.0.json", service_days("rates", "Express", "delivery_date"), "bad_transit_days"),
        ("test_rate_retrieve.0.json", GROUND, "no_rates_map"),
        ("test_rate_retrieve.1.json", compile_answer("delivery_date"), "no_ground_rate"),
    ],
)
def test_recorded_answers_of_another_carrier_are_read_by_other_expressions(
    name: str, expression, expected: int | str
) -> None:
    reading = read_answer(easypost(name), expression)
    assert expected in (reading.days, reading.reason_code)


def test_an_api_that_moves_to_another_host_is_not_asked_again() -> None:
    template = read_template('{"method": "GET", "url": "{api_url}/{origin}"}', source="request.json")
    rows = pl.DataFrame({"origin": ["00501", "10022"]})
    before = build_requests(rows, template, {"api_url": "http://old.test:1"}).requests
    after = build_requests(rows, template, {"api_url": "https://new.test"}).requests
    assert before["request_id"].to_list() == after["request_id"].to_list()
    assert before["request_id"].n_unique() == 2
    assert after["url"].to_list() == ["https://new.test/00501", "https://new.test/10022"]
