"""Check the options of an S3 bucket once, and pass them on as obstore, polars and botocore name them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from obstore.store import S3Store

from tnt_platform.errors import ConfigError

_FLAGS = {"virtual_hosted_style_request", "allow_http", "skip_signature", "s3_express"}
_CREDENTIALS = {"access_key_id", "secret_access_key", "session_token"}
_STRINGS = {"endpoint", "region", "server_side_encryption", "sse_kms_key_id", "profile"}
_NUMBERS = {"connect_timeout_s", "read_timeout_s", "timeout_s", "max_retries", "retry_timeout_s"}


def checked_options(options: Mapping[str, str]) -> dict[str, str]:
    """Return the options under one spelling.

    Raises:
        ConfigError: an option is unknown.
    """
    known = _FLAGS | _CREDENTIALS | _STRINGS | _NUMBERS
    checked = {}
    for name, value in options.items():
        spelled = name.lower().removeprefix("aws_").replace("endpoint_url", "endpoint")
        if spelled not in known:
            raise ConfigError(f"S3 option {name!r} is unknown; expected one of {', '.join(sorted(known))}")
        if value != "":
            checked[spelled] = str(value)
    return checked


def polars_options(options: Mapping[str, str]) -> dict[str, str]:
    """Return the same options as polars' storage_options name them."""
    shared = {f"aws_{name}": options[name] for name in (*_CREDENTIALS, "region") if name in options}
    if profile := options.get("profile"):
        frozen = _profile_credentials(profile)()
        shared |= {
            "aws_access_key_id": frozen["access_key_id"],
            "aws_secret_access_key": frozen["secret_access_key"],
            "aws_session_token": frozen.get("token") or "",
        }
    if endpoint := options.get("endpoint"):
        shared |= {
            "aws_endpoint_url": endpoint,
            "aws_allow_http": str(endpoint.startswith("http://")).lower(),
        }
        shared |= {"aws_virtual_hosted_style_request": options.get("virtual_hosted_style_request", "false")}
    return {name: value for name, value in shared.items() if value}


def open_store(name: str, options: Mapping[str, str]) -> S3Store:
    """Open obstore's client for one bucket, with a timeout and retries on every request."""
    endpoint = options.get("endpoint", "")
    config: dict[str, Any] = {k: options[k] for k in _CREDENTIALS | _STRINGS - {"profile"} if k in options}
    config |= {k: _flag(k, options[k]) for k in _FLAGS - {"allow_http"} if k in options}
    config.setdefault("region", "us-east-1" if endpoint else None)
    seconds = {k: timedelta(seconds=_number(k, v)) for k, v in options.items() if k.endswith("_s")}
    provider = _profile_credentials(options["profile"]) if "profile" in options else None
    return S3Store(
        name,
        config=cast("Any", {k: v for k, v in config.items() if v is not None}),
        client_options={
            "allow_http": _flag("allow_http", options.get("allow_http", str(endpoint.startswith("http://")))),
            "connect_timeout": seconds.get("connect_timeout_s", timedelta(seconds=5)),
            # For each read, not for the whole transfer: a large part may take far longer.
            "read_timeout": seconds.get("read_timeout_s", timedelta(seconds=30)),
            "timeout": seconds.get("timeout_s", timedelta(minutes=10)),
            "pool_max_idle_per_host": "128",
        },
        retry_config={
            "max_retries": int(_number("max_retries", options.get("max_retries", "6"))),
            "retry_timeout": seconds.get("retry_timeout_s", timedelta(seconds=90)),
            "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=5)},
        },
        credential_provider=cast("Any", provider),
    )


def paging_client(options: Mapping[str, str]) -> Any:
    """Open botocore's client, for the few listings that obstore cannot do."""
    # Takes 0.3 s to import and is almost never needed.
    from botocore.config import Config
    from botocore.session import Session

    virtual = options.get("virtual_hosted_style_request") == "true" or "endpoint" not in options
    return Session(profile=options.get("profile")).create_client(
        "s3",
        endpoint_url=options.get("endpoint"),
        region_name=options.get("region") or ("us-east-1" if "endpoint" in options else None),
        aws_access_key_id=options.get("access_key_id"),
        aws_secret_access_key=options.get("secret_access_key"),
        aws_session_token=options.get("session_token"),
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"max_attempts": 4, "mode": "standard"},
            s3={"addressing_style": "virtual" if virtual else "path"},
        ),
    )


def _profile_credentials(profile: str) -> Any:
    # botocore takes 0.3 s to import, and only a profile needs it.
    from botocore.session import Session
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider(Session(profile=profile))


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"S3 option {name}={value!r} is not a number; write it like {name}=30") from None


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ConfigError(f"S3 option {name}={value!r} is not a boolean; write true or false")
    return value.lower() == "true"
