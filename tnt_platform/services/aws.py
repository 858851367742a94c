"""Build AWS clients and translate their errors into the platform's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tnt_platform.errors import ConfigError, NotFound, PermanentError, Refused, TntError, Unavailable

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

# Callers may pass the lake's S3 options as they are; these mean nothing to other APIs.
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
    """Build a boto3 client with timeouts and retries with jitter, so that no call waits forever.

    `options`: endpoint, region, access_key_id, secret_access_key, session_token, spelled as for
    the object store (with or without `aws_`) or as in boto3 (endpoint_url, region_name); without keys the
    default credential chain applies. Threads may share the client.

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
            f"cannot build a client for {service}: {error}. Set the region (AWS_REGION), a full endpoint URL "
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
    """Raise botocore's errors as the platform's, saying what was being done and how to fix it.

    Raises:
        Unavailable: throttled, 5xx, timed out or cut off, after the client's own retries.
        NotFound: the table, queue or topic does not exist (`if_missing` says what to do).
        Refused: access denied or an invalid request (`if_refused` says what to do).
        ConfigError: no credentials, region or usable endpoint on this side.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _client_error(error, doing, if_missing, if_refused) from error
    except ResponseParserError as error:  # not a BotoCoreError
        raise Unavailable(f"cannot {doing}: the response is malformed: {str(error)[:200]}") from error
    except BotoCoreError as error:
        raise _local_error(error, doing) from error


def _client_error(error: ClientError, doing: str, if_missing: str, if_refused: str) -> TntError:
    fault: dict[str, Any] = dict(error.response.get("Error", {}))
    code = str(fault.get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    what = f"cannot {doing}: {code or status}: {fault.get('Message') or 'no message'}"
    if code in _TRANSIENT_CODES or status >= 500 or status == 429:
        return Unavailable(f"{what}. It was retried; run again later")
    if code in _NOT_FOUND_CODES:
        return NotFound(f"{what}. {if_missing}")
    return Refused(f"{what}. {if_refused}")


def _local_error(error: BotoCoreError, doing: str) -> TntError:
    from botocore import exceptions as botocore

    unreachable = (
        botocore.ConnectionError,  # no server, no such host, TLS
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
    what = f"cannot {doing}: {error}"
    if isinstance(error, unreachable):
        return Unavailable(f"{what}. It was retried; run again later")
    if isinstance(error, misconfigured):
        return ConfigError(
            f"{what}. Set the region, the endpoint and the credentials, or give the task a role"
        )
    return PermanentError(what)
