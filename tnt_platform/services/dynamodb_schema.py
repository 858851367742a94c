"""Create tables on a local AWS emulator; in AWS, Terraform owns them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tnt_platform.errors import ConfigError


def ensure_table(client: Any, table_name: str, key: Sequence[str], *, ttl_attribute: str) -> None:
    """Create the table (string keys, on demand) and its expiry if absent, and wait until it is ready.

    Raises:
        ConfigError: the table exists with another key.
    """
    try:
        found = client.describe_table(TableName=table_name)["Table"]["KeySchema"]
    except client.exceptions.ResourceNotFoundException:
        found = _create(client, table_name, key)
    held = [part["AttributeName"] for part in sorted(found, key=lambda part: part["KeyType"])]
    if held != list(key):
        raise ConfigError(
            f"DynamoDB table {table_name!r} has the key {held}, not {list(key)}: "
            "name another table, or configure the key it has"
        )
    answer = client.describe_time_to_live(TableName=table_name)
    if answer["TimeToLiveDescription"].get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
        client.update_time_to_live(
            TableName=table_name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": ttl_attribute},
        )


def _create(client: Any, table_name: str, key: Sequence[str]) -> list[dict[str, str]]:
    schema = [
        {"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)
    ]
    # In use: another process is creating it at this moment, which is just as good.
    with suppress(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName=table_name,
            KeySchema=schema,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key],
            BillingMode="PAY_PER_REQUEST",
        )
    client.get_waiter("table_exists").wait(TableName=table_name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return schema
