from __future__ import annotations

import json
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.errors import ConfigError, NotFound, PermanentError, Refused, Unavailable
from tnt_platform.services.aws import aws_client
from tnt_platform.services.dynamodb import ResultsTable, UpsertCounts, dynamodb_client
from tnt_platform.services.dynamodb_items import (
    MAX_ITEM_BYTES,
    ItemShape,
    attribute_value,
    item_of_row,
    item_size_bytes,
    key_identity,
)
from tnt_platform_tests.aws_emulator import KEYS, Misbehaviour

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EXPIRES_AT = NOW + timedelta(days=90)
SHAPE = ItemShape(("test_id",), "ttl", "fingerprint")


def results(count: int, *, days: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "test_id": [f"test-{i:05}" for i in range(count)],
            "actual_transit_days": [days] * count,
            "tested_at": [NOW] * count,
        },
        schema_overrides={"tested_at": pl.Datetime("us", "UTC")},
    )


def table_of(client: Any, name: str = "results", **settings: Any) -> ResultsTable:
    table = ResultsTable(
        name, client, **{"key": ["test_id"], "clock": lambda: NOW, "wait_max_s": 0.01, **settings}
    )
    table.ensure()
    return table


def stored(client: Any, name: str = "results") -> dict[str, dict[str, Any]]:
    pages = client.get_paginator("scan").paginate(TableName=name)
    return {item["test_id"]["S"]: item for page in pages for item in page["Items"]}


@cache
def shared_client(endpoint: str) -> Any:
    # boto3 takes a tenth of a second to build one.
    return dynamodb_client({"endpoint": endpoint, **KEYS})


@pytest.fixture
def client(aws_options: dict[str, str]) -> Any:
    return shared_client(aws_options["endpoint"])


@pytest.fixture
def proxied(proxied_options: dict[str, str]) -> Any:
    return shared_client(proxied_options["endpoint"])


def outcome(counts: UpsertCounts) -> tuple[int, int, int]:
    assert counts.unprocessed == 0
    return counts.created, counts.updated, counts.unchanged


# --- what is written ---


def test_new_changed_and_equal_rows_are_counted_apart_and_add_up(client: Any) -> None:
    table = table_of(client)
    assert outcome(table.upsert(results(230), expires_at=EXPIRES_AT)) == (230, 0, 0)
    changed = results(260).with_columns(
        pl.when(pl.int_range(pl.len()) < 40)
        .then(9)
        .otherwise("actual_transit_days")
        .alias("actual_transit_days")
    )
    assert outcome(table.upsert(changed, expires_at=EXPIRES_AT)) == (30, 40, 190)
    held = stored(client)
    assert len(held) == 260
    assert held["test-00039"]["actual_transit_days"] == {"N": "9"}
    assert held["test-00040"]["actual_transit_days"] == {"N": "3"}


def test_running_the_same_rows_again_sends_no_write_even_with_a_later_expiry(
    proxied: Any, misbehaviour: Misbehaviour
) -> None:
    table = table_of(proxied)
    first = table.upsert(results(120), expires_at=EXPIRES_AT)
    misbehaviour.seen.clear()
    again = table.upsert(results(120), expires_at=EXPIRES_AT + timedelta(days=1))
    assert outcome(again) == (0, 0, 120)
    assert set(misbehaviour.seen) == {"BatchGetItem"}
    assert (first.write_units, first.read_units) == (120, 120)
    assert (again.write_units, again.read_units) == (0, 120)
    assert stored(proxied)["test-00000"]["ttl"] == {"N": str(int(EXPIRES_AT.timestamp()))}


def test_a_frame_is_read_100_keys_and_written_25_rows_a_call(
    proxied: Any, misbehaviour: Misbehaviour
) -> None:
    table = table_of(proxied)
    misbehaviour.seen.clear()
    table.upsert(results(201), expires_at=EXPIRES_AT)
    assert misbehaviour.seen.count("BatchGetItem") == 3
    assert misbehaviour.seen.count("BatchWriteItem") == 4 + 4 + 1


def test_rows_known_to_be_new_are_written_without_a_read(proxied: Any, misbehaviour: Misbehaviour) -> None:
    rows = results(60)
    counts = table_of(proxied).upsert(rows, expires_at=EXPIRES_AT, compare=False)
    assert outcome(counts) == (60, 0, 0)
    assert counts.read_units == 0
    assert len(stored(proxied)) == 60
    assert not misbehaviour.seen.count("BatchGetItem")
    assert outcome(table_of(proxied).upsert(rows, expires_at=EXPIRES_AT)) == (0, 0, 60)


def test_an_item_past_its_expiry_counts_as_absent_until_it_is_swept(client: Any) -> None:
    table_of(client).upsert(results(5), expires_at=EXPIRES_AT)
    later = table_of(client, clock=lambda: EXPIRES_AT + timedelta(hours=1))
    renewed = EXPIRES_AT + timedelta(days=90)
    assert outcome(later.upsert(results(5), expires_at=renewed)) == (5, 0, 0)
    assert stored(client)["test-00000"]["ttl"] == {"N": str(int(renewed.timestamp()))}


def test_an_item_that_another_program_wrote_without_a_fingerprint_is_updated(client: Any) -> None:
    table = table_of(client)
    client.put_item(TableName="results", Item={"test_id": {"S": "test-00000"}})
    assert outcome(table.upsert(results(1), expires_at=EXPIRES_AT)) == (0, 1, 0)


def test_rows_missing_from_a_call_are_left_alone(client: Any) -> None:
    table = table_of(client)
    table.upsert(results(3), expires_at=EXPIRES_AT)
    assert outcome(table.upsert(results(1), expires_at=EXPIRES_AT)) == (0, 0, 1)
    assert len(stored(client)) == 3


def test_no_rows_make_no_call(proxied: Any, misbehaviour: Misbehaviour) -> None:
    table = table_of(proxied)
    misbehaviour.seen.clear()
    assert table.upsert(results(0), expires_at=EXPIRES_AT) == UpsertCounts()
    assert table.upsert(iter(()), expires_at=EXPIRES_AT) == UpsertCounts()
    assert misbehaviour.seen == []


def test_a_key_of_two_attributes_with_a_number_is_recognised_again(client: Any) -> None:
    client.create_table(
        TableName="observations",
        KeySchema=[
            {"AttributeName": "series", "KeyType": "HASH"},
            {"AttributeName": "year", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "series", "AttributeType": "S"},
            {"AttributeName": "year", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    table = ResultsTable("observations", client, key=["series", "year"], clock=lambda: NOW)
    rows = [{"series": "IPC", "year": year, "value": year / 7} for year in (2000, 2010, 2026)]
    assert outcome(table.upsert(iter(rows), expires_at=EXPIRES_AT)) == (3, 0, 0)
    assert outcome(table.upsert(rows, expires_at=EXPIRES_AT)) == (0, 0, 3)


def test_stored_values_keep_their_exact_form(client: Any) -> None:
    row = {
        "test_id": "a",
        "price": 0.1,
        "weight": Decimal("12345678901234567890.12345678901234567"),
        "success": False,
        "nothing": None,
        "at": datetime(2026, 11, 20, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-3))),
        "day": date(2026, 11, 20),
        "rates": [{"days": 3, "note": None}, None],
        "raw": b"\x00\xff",
    }
    table_of(client).upsert([row], expires_at=EXPIRES_AT)
    item = stored(client)["a"]
    fingerprint = item.pop("fingerprint")["S"]
    assert item == {
        "test_id": {"S": "a"},
        "price": {"N": "0.1"},
        "weight": {"N": "12345678901234567890.12345678901234567"},
        "success": {"BOOL": False},
        "at": {"S": "2026-11-20T06:04:05.000006Z"},
        "day": {"S": "2026-11-20"},
        "rates": {"L": [{"M": {"days": {"N": "3"}}}, {"NULL": True}]},
        "raw": {"B": b"\x00\xff"},
        "ttl": {"N": str(int(EXPIRES_AT.timestamp()))},
    }
    assert len(fingerprint) == 64


# --- what is refused ---


def test_a_key_that_occurs_twice_is_refused_before_anything_is_written(client: Any) -> None:
    table = table_of(client)
    twice = pl.concat([results(300), results(2, days=9)])
    for rows in (twice, twice.to_dicts()):
        with pytest.raises(PermanentError, match=r"2 keys.*test-00000"):
            table.upsert(rows, expires_at=EXPIRES_AT)
    assert stored(client) == {}


def test_one_row_that_cannot_be_stored_keeps_no_other_from_being_written(client: Any) -> None:
    table = table_of(client)
    good = results(40).to_dicts()
    bad = {**good[0], "test_id": "big", "request_payload": "x" * 410_000}
    for _ in range(2):
        with pytest.raises(PermanentError, match="test_id='big'"):
            table.upsert([*good[:20], bad, *good[20:]], expires_at=EXPIRES_AT)
        assert stored(client).keys() == {row["test_id"] for row in good}


def test_an_oversize_row_is_refused_by_name(client: Any) -> None:
    rows = [{"test_id": "big", "request_payload": "x" * MAX_ITEM_BYTES}]
    with pytest.raises(PermanentError, match=r"test_id='big'.*409,600.*droppable"):
        table_of(client).upsert(rows, expires_at=EXPIRES_AT)


def test_a_droppable_payload_that_does_not_fit_becomes_null_and_says_so(client: Any) -> None:
    table = table_of(client)
    row = {"test_id": "a", "request_payload": "q" * 1000, "response_payload": "r" * MAX_ITEM_BYTES}
    droppable = ("request_payload", "response_payload")
    counts = table.upsert([row], expires_at=EXPIRES_AT, droppable=droppable)
    item = stored(client)["a"]
    assert item["response_payload"] == {"NULL": True}
    assert item["response_payload_omitted"] == {"BOOL": True}
    assert item["request_payload"] == {"S": "q" * 1000}
    assert "request_payload_omitted" not in item
    assert counts.payloads_omitted == 1
    assert outcome(table.upsert([row], expires_at=EXPIRES_AT, droppable=droppable)) == (0, 0, 1)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"test_id": "a", "at": datetime(2026, 1, 1)}, "'at'.*time zone"),  # noqa: DTZ001
        ({"test_id": "a", "v": float("nan")}, "'v'.*nan"),
        ({"test_id": "a", "v": 10**40 + 1}, "'v'.*38"),
        ({"test_id": "a", "v": 1e200}, "'v'.*1E-130"),
        ({"test_id": "a", "v": timedelta(1)}, "'v'.*timedelta"),
        ({"test_id": "a", "v": "\ud800"}, "'v'"),
        ({"test_id": "a", "ttl": 5}, r"\['ttl'\]"),
        ({"test_id": "a", "payload_omitted": 5}, r"\['payload_omitted'\]"),
        ({"test_id": ""}, "'test_id'"),
        ({"other": 1}, "'test_id'"),
        ({"test_id": True}, "'test_id'"),
        ({"test_id": "k" * 2049}, "2048"),
    ],
)
def test_a_row_that_cannot_be_kept_exactly_is_refused_by_name(row: dict[str, Any], complaint: str) -> None:
    shape = ItemShape(("test_id",), "ttl", "fingerprint", droppable=("payload",))
    with pytest.raises(PermanentError, match=rf"^row test_id=.*{complaint}"):
        item_of_row(row, shape, expires_at_s=1)


def test_an_expiry_without_a_zone_or_in_the_past_is_refused(client: Any) -> None:
    table = table_of(client)
    with pytest.raises(PermanentError, match="time zone"):
        table.upsert(results(1), expires_at=EXPIRES_AT.replace(tzinfo=None))
    with pytest.raises(PermanentError, match="past"):
        table.upsert(results(1), expires_at=NOW)
    assert stored(client) == {}


def test_a_frame_without_the_key_column_is_refused(client: Any) -> None:
    with pytest.raises(PermanentError, match=r"\['test_id'\]"):
        table_of(client).upsert(results(1).rename({"test_id": "id"}), expires_at=EXPIRES_AT)


@pytest.mark.parametrize("key", [[], ["a", "a"], ["a", "b", "c"], ["ttl"]])
def test_an_impossible_key_is_refused_when_the_table_is_named(key: list[str]) -> None:
    with pytest.raises(PermanentError):
        ResultsTable("results", None, key=key)


# --- trouble on the other side ---


def test_items_and_keys_the_service_leaves_unprocessed_are_sent_again(
    proxied: Any, misbehaviour: Misbehaviour
) -> None:
    table = table_of(proxied)
    misbehaviour.partial_writes = misbehaviour.partial_reads = 4
    assert outcome(table.upsert(results(150), expires_at=EXPIRES_AT)) == (150, 0, 0)
    assert len(stored(proxied)) == 150
    misbehaviour.partial_reads = 4
    assert outcome(table.upsert(results(150), expires_at=EXPIRES_AT)) == (0, 0, 150)


def test_a_table_that_stays_saturated_is_unavailable_and_a_later_run_writes_the_rest(
    proxied: Any, misbehaviour: Misbehaviour
) -> None:
    table = table_of(proxied, attempts=3, threads=1)
    misbehaviour.partial_writes, misbehaviour.take = 3, 2
    with pytest.raises(Unavailable, match=r"300 rows \(81 created"):
        table.upsert(results(300), expires_at=EXPIRES_AT)
    assert (
        len(stored(proxied)) == 81
    )  # 3 tries of 2 of the first 25; the other 75 of that batch; no second batch
    assert outcome(table.upsert(results(300), expires_at=EXPIRES_AT)) == (219, 0, 81)


def test_keys_that_cannot_be_read_leave_their_rows_unwritten(
    proxied: Any, misbehaviour: Misbehaviour
) -> None:
    table = table_of(proxied, attempts=2, threads=1)
    misbehaviour.partial_reads, misbehaviour.take = 2, 0
    with pytest.raises(Unavailable, match="0 created"):
        table.upsert(results(10), expires_at=EXPIRES_AT)
    assert stored(proxied) == {}


def test_a_throttled_call_or_a_broken_one_is_tried_again(proxied: Any, misbehaviour: Misbehaviour) -> None:
    table = table_of(proxied)
    misbehaviour.refusals = [(400, "ThrottlingException"), (500, "InternalServerError")]
    assert outcome(table.upsert(results(30), expires_at=EXPIRES_AT)) == (30, 0, 0)


@pytest.mark.parametrize(
    ("status", "code", "raised", "says"),
    [
        (400, "ProvisionedThroughputExceededException", Unavailable, ""),
        (503, "ServiceUnavailable", Unavailable, ""),
        (400, "AccessDeniedException", Refused, "dynamodb:BatchGetItem"),
        (400, "ValidationException", Refused, "test_id"),
        (400, "ResourceNotFoundException", NotFound, "terraform apply"),
    ],
)
def test_errors_say_what_where_and_how_to_mend_it(
    proxied_options: dict[str, str],
    misbehaviour: Misbehaviour,
    status: int,
    code: str,
    raised: type[Exception],
    says: str,
) -> None:
    client = aws_client("dynamodb", proxied_options, attempts=1)
    misbehaviour.refusals = [(status, code)]
    table = ResultsTable("results", client, key=["test_id"], clock=lambda: NOW)
    with pytest.raises(raised, match=rf"(?s)'results'.*{code}.*{says}"):
        table.upsert(results(1), expires_at=EXPIRES_AT)


def test_a_missing_table_is_not_found(client: Any) -> None:
    table = ResultsTable("absent", client, key=["test_id"], clock=lambda: NOW)
    with pytest.raises(NotFound, match="absent"):
        table.upsert(results(1), expires_at=EXPIRES_AT)


def test_an_answer_cut_off_or_too_late_is_unavailable(
    proxied_options: dict[str, str], misbehaviour: Misbehaviour
) -> None:
    def table(read_timeout_s: float) -> ResultsTable:
        client = aws_client("dynamodb", proxied_options, attempts=1, read_timeout_s=read_timeout_s)
        return ResultsTable("results", client, key=["test_id"], clock=lambda: NOW)

    misbehaviour.garbage = 1
    with pytest.raises(Unavailable, match="lacks 'Responses'"):
        table(read_timeout_s=30).upsert(results(1), expires_at=EXPIRES_AT)
    misbehaviour.delay_s = 0.6
    with pytest.raises(Unavailable, match=r"(?i)timeout"):
        table(read_timeout_s=0.2).upsert(results(1), expires_at=EXPIRES_AT)


def test_nobody_listening_is_unavailable(aws_options: dict[str, str]) -> None:
    client = aws_client("dynamodb", {**aws_options, "endpoint": "http://127.0.0.1:9"}, attempts=1)
    with pytest.raises(Unavailable):
        ResultsTable("results", client, key=["test_id"]).ensure()


# --- the client and the table ---


def test_ensure_makes_a_table_that_expires_and_can_be_called_again(client: Any) -> None:
    table_of(client)
    table_of(client)
    ttl = client.describe_time_to_live(TableName="results")["TimeToLiveDescription"]
    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "ttl")


def test_ensure_refuses_a_table_with_another_key(client: Any) -> None:
    table_of(client)
    with pytest.raises(ConfigError, match="'results'"):
        table_of(client, key=["shipper_id", "test_id"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"regoin": "us-east-1"}, "regoin"),
        ({"region": "us-east-1", "access_key_id": "a"}, "secret access key"),
        ({"region": "us-east-1", "endpoint": "not a url"}, "not a url"),
    ],
)
def test_wrong_client_options_are_refused(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        dynamodb_client(options)


def test_the_lakes_s3_options_build_a_client_as_they_are(aws_options: dict[str, str]) -> None:
    s3_options = {f"aws_{name}": value for name, value in aws_options.items()} | {"allow_http": "true"}
    client = dynamodb_client(s3_options)
    table_of(client).upsert(results(1), expires_at=EXPIRES_AT)
    assert len(stored(client)) == 1


def test_options_may_be_spelled_as_boto3_does(
    aws_options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secret_access_key"])
    client = dynamodb_client({"endpoint_url": aws_options["endpoint"], "region_name": "eu-west-3"})
    assert (client.meta.endpoint_url, client.meta.region_name) == (aws_options["endpoint"], "eu-west-3")
    table_of(client).upsert(results(1), expires_at=EXPIRES_AT)
    assert len(stored(client)) == 1


# --- properties of items ---

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**37), 10**37)
    | st.floats(-1e100, 1e100, allow_subnormal=False).filter(lambda f: f == 0 or abs(f) > 1e-100)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
)
names = st.text(min_size=1, max_size=8).filter(lambda n: n not in {"ttl", "fingerprint", "test_id"})
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=4,
)
rows = st.dictionaries(names, values, max_size=5).map(lambda row: {"test_id": "a", **row})


@given(rows)
def test_the_fingerprint_depends_on_content_and_not_on_order_or_expiry(row: dict[str, Any]) -> None:
    one = item_of_row(row, SHAPE, expires_at_s=1)
    other = item_of_row(dict(reversed(row.items())), SHAPE, expires_at_s=2)
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != item_of_row({**row, "one more": 1}, SHAPE, expires_at_s=1).fingerprint


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_stored_float_reads_back_as_the_same_float_or_is_refused(value: float) -> None:
    try:
        text = attribute_value(value)["N"]
    except ValueError:
        assert not 1e-130 <= abs(value) < 1e126
    else:
        assert struct.pack("d", float(text)) == struct.pack("d", value + 0.0 if value else 0.0)


@given(rows)
def test_a_row_always_encodes_to_what_the_api_takes(row: dict[str, Any]) -> None:
    from boto3.dynamodb.types import TypeDeserializer

    item = item_of_row(row, SHAPE, expires_at_s=7)
    read: Any = TypeDeserializer().deserialize
    plain = {name: read(value) for name, value in item.attributes.items()}
    assert plain["ttl"] == 7
    assert {name for name, value in row.items() if value is not None} == plain.keys() - {"ttl", "fingerprint"}


def test_a_number_key_is_the_same_key_however_it_is_spelled() -> None:
    assert (
        key_identity({"k": {"N": "100"}})
        == key_identity({"k": {"N": "1E+2"}})
        == key_identity({"k": {"N": "100.0"}})
    )
    assert key_identity({"k": {"N": "100"}}) != key_identity({"k": {"S": "100"}})
    assert attribute_value(3.0) == attribute_value(3) == attribute_value(Decimal("3.00")) == {"N": "3"}


def test_sizes_follow_the_published_rules() -> None:
    item: dict[str, Any] = {
        "né": {"S": "é"},
        "n": {"N": "-12.5"},
        "l": {"L": [{"NULL": True}]},
        "m": {"M": {"k": {"B": b"12"}}},
    }
    assert item_size_bytes(item) == (3 + 2) + (1 + 2 + 1 + 1) + (1 + 3 + 1 + 1) + (1 + 3 + 1 + 1 + 2)


def test_a_row_at_the_limit_is_kept_whole() -> None:
    spare = (
        MAX_ITEM_BYTES - item_of_row({"test_id": "a", "p": ""}, SHAPE, expires_at_s=2_000_000_000).size_bytes
    )
    shape = ItemShape(("test_id",), "ttl", "fingerprint", droppable=("p",))
    fits = item_of_row({"test_id": "a", "p": "x" * spare}, shape, expires_at_s=2_000_000_000)
    over = item_of_row({"test_id": "a", "p": "x" * (spare + 1)}, shape, expires_at_s=2_000_000_000)
    assert (fits.omitted, fits.size_bytes) == ((), MAX_ITEM_BYTES)
    assert over.omitted == ("p",)
    assert json.dumps(over.attributes["p_omitted"]) == '{"BOOL": true}'
