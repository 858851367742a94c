"""Store claims on leases in a DynamoDB table: one item per key, every write conditional."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from tnt_platform.errors import PermanentError
from tnt_platform.services.aws import aws_client, response_field, translated_aws_errors
from tnt_platform.services.claims import Claim
from tnt_platform.services.dynamodb_schema import ensure_table

TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
KEY_ATTRIBUTE = "lock_key"
TTL_ATTRIBUTE = "ttl"
# Tokens keep increasing without the item; this only decides how long the last owner can be looked up.
_KEPT_S = 90 * 86_400
# Requested because "no item" and "written" are empty responses, as is one that was cut off.
_PROOF = "ConsumedCapacity"


def lease_client(options: Mapping[str, str] | None = None) -> Any:
    """Build the client that `TableClaims` uses (see `aws_client` for the options and errors)."""
    return aws_client("dynamodb", options, read_timeout_s=10.0)


class TableClaims:
    """One table of claims: key `lock_key` (text); attributes owner (absent once released), token, claim_id,
    acquired_at and expires_at (epoch seconds, with milliseconds), ttl (epoch seconds, 90 days later)."""

    def __init__(self, table_name: str, client: Any) -> None:
        self.table_name = table_name
        self._client = client

    def ensure(self) -> None:
        """Create the table (on demand) and its expiry if absent: local use, Terraform owns AWS.

        Raises:
            ConfigError: the table exists with another key.
            Unavailable, NotFound, Refused: see `translated_aws_errors`.
        """
        with self._translated("create"):
            ensure_table(self._client, self.table_name, [KEY_ATTRIBUTE], ttl_attribute=TTL_ATTRIBUTE)

    def read(self, key: str) -> Claim | None:
        """See `Claims.read`.

        Raises:
            PermanentError: the item is not a claim.
            Unavailable, NotFound, Refused: see `translated_aws_errors`.
        """
        with self._translated("read"):
            answer = self._client.get_item(
                TableName=self.table_name,
                Key={KEY_ATTRIBUTE: {"S": key}},
                ConsistentRead=True,
                ReturnConsumedCapacity="TOTAL",
            )
            response_field(answer, _PROOF)
        item = answer.get("Item")
        return None if item is None else self._claim(key, item)

    def write(self, key: str, claim: Claim, *, over: Claim | None, if_not_renewed: bool = False) -> bool:
        """See `Claims.write`.

        Raises:
            Unavailable, NotFound, Refused: see `translated_aws_errors`.
        """
        condition, names, values = _condition(over, if_not_renewed)
        request = {"ConditionExpression": condition, "ExpressionAttributeNames": names}
        if values:
            request["ExpressionAttributeValues"] = values
        with self._translated("write to"):
            try:
                answer = self._client.put_item(
                    TableName=self.table_name,
                    Item=_item(key, claim),
                    ReturnConsumedCapacity="TOTAL",
                    **request,
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
            response_field(answer, _PROOF)
        return True

    def _claim(self, key: str, item: Mapping[str, Mapping[str, str]]) -> Claim:
        try:
            return Claim(
                owner=item["owner"]["S"] if "owner" in item else None,
                token=int(item["token"]["N"]),
                claim_id=item["claim_id"]["S"],
                acquired_at=_time(item["acquired_at"]["N"]),
                expires_at=_time(item["expires_at"]["N"]),
            )
        except (KeyError, ValueError, OverflowError) as error:
            raise PermanentError(
                f"item {key!r} of DynamoDB table {self.table_name!r} is not a lease ({error!r} in it): "
                "name another table, or delete the item once no run works on the dataset"
            ) from error

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated_aws_errors(
            f"{doing} DynamoDB table {self.table_name!r}",
            if_missing="Create it (terraform apply in AWS, TableClaims.ensure() on a local emulator) "
            "and check the region and endpoint",
            if_refused="Give the run's role dynamodb:GetItem and dynamodb:PutItem on it, "
            f"and check that its key is {KEY_ATTRIBUTE!r}",
        )


def _item(key: str, claim: Claim) -> dict[str, dict[str, str]]:
    item = {
        KEY_ATTRIBUTE: {"S": key},
        "token": {"N": str(claim.token)},
        "claim_id": {"S": claim.claim_id},
        "acquired_at": {"N": _epoch_s(claim.acquired_at)},
        "expires_at": {"N": _epoch_s(claim.expires_at)},
        TTL_ATTRIBUTE: {"N": str(int(claim.expires_at.timestamp()) + _KEPT_S)},
    }
    if claim.owner is not None:
        item["owner"] = {"S": claim.owner}
    return item


def _condition(
    over: Claim | None, if_not_renewed: bool
) -> tuple[str, dict[str, str], dict[str, dict[str, str]]]:
    """The condition that the stored item is `over`, with its names (some are reserved words) and values."""
    if over is None:
        return "attribute_not_exists(#key)", {"#key": KEY_ATTRIBUTE}, {}
    names = {"#token": "token", "#owner": "owner"}
    values = {":token": {"N": str(over.token)}}
    parts = ["#token = :token"]
    if over.owner is None:
        parts.append("attribute_not_exists(#owner)")
    else:
        parts.append("#owner = :owner")
        values[":owner"] = {"S": over.owner}
    if if_not_renewed:
        parts.append("#expires_at = :expires_at")
        names["#expires_at"] = "expires_at"
        values[":expires_at"] = {"N": _epoch_s(over.expires_at)}
    return " AND ".join(parts), names, values


def _epoch_s(when: datetime) -> str:
    return f"{when.timestamp():.3f}"


def _time(epoch_s: str) -> datetime:
    return datetime.fromtimestamp(float(epoch_s), UTC)
