"""What the AWS clients of this layer share: how one is built, and how its errors become ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tnt_platform.errors import ConfigError, NotFound, PermanentError, Refused, TntError, Unavailable

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

# The lake's S3 options may be handed over as they are: these say nothing to an API that isn't S3.
_S3_ONLY = {"allow_http", "virtual_hosted_style_request"}
_OPTIONS = {
    "endpoint": "endpoint_url",
    "region": "region_name",
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}

_NOT_FOUND_CODES = {
    "ResourceNotFoundException",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
}
# Throttling comes as a 400 from some APIs, so the status alone doesn't tell.
_TRANSIENT_CODES = {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "LimitExceededException",
    "OverLimit",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}


def aws_client(
    service: str,
    options: Mapping[str, str] | None = None,
    *,
    connect_timeout_s: float = 5.0,
    read_timeout_s: float = 15.0,
    attempts: int = 5,
    max_connections: int = 10,
) -> Any:
    """Build a boto3 client that times out, retries with jitter and never waits for ever.

    `options`: endpoint, region, access_key_id, secret_access_key, session_token, as the object store spells
    them (with or without `aws_`) or as boto3 does (endpoint_url, region_name); without keys the default
    credential chain is used. The client may be shared by threads.

    Raises:
        ConfigError: an unknown option, half a key pair, no region or a malformed endpoint.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    arguments = _client_arguments(options or {})
    config = Config(
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        # "standard" backs off with full jitter on throttling, 5xx, resets and timeouts alike.
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=max_connections,
        tcp_keepalive=True,
    )
    try:
        return boto3.session.Session().client(service, config=config, **arguments)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"no {service} client could be built: {error}. Set the region (AWS_REGION), a full endpoint URL "
            "if one is used, and credentials or a role"
        ) from error


def _client_arguments(options: Mapping[str, str]) -> dict[str, str]:
    arguments = {}
    for name, value in options.items():
        plain = name.lower().removeprefix("aws_").removesuffix("_url").removesuffix("_name")
        if plain in _S3_ONLY:
            continue
        if plain not in _OPTIONS:
            raise ConfigError(f"unknown AWS option {name!r}: expected one of {', '.join(sorted(_OPTIONS))}")
        if value:
            arguments[_OPTIONS[plain]] = value
    if ("aws_access_key_id" in arguments) != ("aws_secret_access_key" in arguments):
        raise ConfigError(
            "an access key id and a secret access key belong together: set both, or neither to use a role"
        )
    return arguments


def response_field(response: Mapping[str, Any], name: str) -> Any:
    """Return a field that AWS includes in every response of this kind.

    Raises:
        Unavailable: the field is missing, so the response was cut off or came from a proxy. botocore parses a
            body that is not JSON as an empty response, which would read as "nothing failed".
    """
    if name not in response:
        raise Unavailable(
            f"an AWS response lacks {name!r}: it was cut off, or a proxy answered instead of AWS; "
            "if this persists, check the endpoint and the proxy settings"
        )
    return response[name]


@contextmanager
def translated_aws_errors(doing: str, *, if_missing: str, if_refused: str) -> Iterator[None]:
    """Raise botocore's errors as the platform's, saying what was being done and how to mend it.

    Raises:
        Unavailable: throttled, 5xx, timed out or cut off, after the client's own retries.
        NotFound: the table or queue isn't there (`if_missing` says what to do).
        Refused: access denied or the request was judged wrong (`if_refused` says what to do).
        ConfigError: no credentials, region or usable endpoint on this side.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _from_answer(error, doing, if_missing, if_refused) from error
    except ResponseParserError as error:  # not a BotoCoreError
        raise Unavailable(f"can't {doing}: the answer can't be read: {str(error)[:200]}") from error
    except BotoCoreError as error:
        raise _from_this_side(error, doing) from error


def _from_answer(error: ClientError, doing: str, if_missing: str, if_refused: str) -> TntError:
    said: dict[str, Any] = dict(error.response.get("Error", {}))
    code = str(said.get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    what = f"can't {doing}: {code or status}: {said.get('Message') or 'no message'}"
    if code in _TRANSIENT_CODES or status >= 500 or status == 429:
        return Unavailable(f"{what}. It was retried; running again later can help")
    if code in _NOT_FOUND_CODES:
        return NotFound(f"{what}. {if_missing}")
    return Refused(f"{what}. {if_refused}")


def _from_this_side(error: BotoCoreError, doing: str) -> TntError:
    from botocore import exceptions as botocore

    lost = (
        botocore.ConnectionError,  # nobody there, no name, TLS
        botocore.HTTPClientError,  # read timeouts, resets
        botocore.IncompleteReadError,
        botocore.CredentialRetrievalError,
        botocore.MetadataRetrievalError,
        botocore.WaiterError,
    )
    misconfigured = (
        botocore.NoCredentialsError,
        botocore.PartialCredentialsError,
        botocore.NoRegionError,
        botocore.ProfileNotFound,
        botocore.EndpointProviderError,
    )
    what = f"can't {doing}: {error}"
    if isinstance(error, lost):
        return Unavailable(f"{what}. It was retried; running again later can help")
    if isinstance(error, misconfigured):
        return ConfigError(
            f"{what}. Set the region, the endpoint and the credentials, or give the task a role"
        )
    return PermanentError(what)
