"""Read the environment into one frozen object; no other module reads it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tnt_platform.errors import ConfigError

# A default may itself hold placeholders, such as the {MM} of a URL.
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:[^{}]|\{[A-Za-z]+\})*))?\}")

_OBJECT_STORE_OPTIONS = {
    "AWS_ENDPOINT_URL": "endpoint",
    "AWS_ENDPOINT_URL_S3": "endpoint",
    "AWS_REGION": "region",
    "AWS_DEFAULT_REGION": "region",
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
    "AWS_PROFILE": "profile",
}


@dataclass(frozen=True)
class Settings:
    """The settings of one process; every field has a default that works on a laptop without an account.

    `lake_url` and `raw_url` are `file:///folder` or `s3://bucket/prefix`: the only difference between a laptop, an
    S3 emulator and AWS.
    """

    home: Path
    lake_url: str
    raw_url: str
    scratch: Path
    event_queue_url: str | None
    results_table: str | None
    lock_table: str | None
    schedules_run: bool
    task_vcpu: float
    task_memory_gb: float
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read `TNT_*` (documented in docs/operations.md) and the usual `AWS_*` variables.

        Raises:
            ConfigError: a URL has another scheme, or a number is invalid.
        """
        env = dict(os.environ if environment is None else environment)
        home = Path(env.get("TNT_HOME") or ".tnt").absolute()
        lake_url = _checked_url("TNT_LAKE_URL", env.get("TNT_LAKE_URL") or (home / "lake").as_uri())
        return cls(
            home=home,
            lake_url=lake_url,
            raw_url=_checked_url("TNT_RAW_URL", env.get("TNT_RAW_URL") or (home / "raw").as_uri()),
            scratch=Path(env.get("TNT_SCRATCH") or home / "scratch").absolute(),
            event_queue_url=env.get("TNT_EVENT_QUEUE_URL") or None,
            results_table=env.get("TNT_RESULTS_TABLE") or None,
            lock_table=env.get("TNT_LOCK_TABLE") or None,
            schedules_run=env.get("TNT_SCHEDULES") != "stopped",
            task_vcpu=_number(env, "TNT_TASK_VCPU", 1.0),
            task_memory_gb=_number(env, "TNT_TASK_MEMORY_GB", 2.0),
            environment=env,
        )

    def s3_options(self) -> dict[str, str]:
        """Return the options of an object store client; the AWS default chain supplies the others."""
        return {
            option: self.environment[name]
            for name, option in _OBJECT_STORE_OPTIONS.items()
            if self.environment.get(name)
        }

    def aws_options(self, service: str) -> dict[str, str]:
        """Return the keyword arguments of a boto3 client of `service`; the AWS default chain supplies the others."""
        endpoint = self.environment.get(f"AWS_ENDPOINT_URL_{service.upper()}") or self.environment.get(
            "AWS_ENDPOINT_URL"
        )
        region = self.environment.get("AWS_REGION") or self.environment.get("AWS_DEFAULT_REGION")
        options = {"endpoint_url": endpoint, "region_name": region}
        return {name: value for name, value in options.items() if value}

    def missing(self, text: str) -> list[str]:
        """Return the names of the `${VARIABLES}` in `text` that have neither a value nor a default."""
        return [
            name
            for name, default in _PLACEHOLDER.findall(text)
            if not self.environment.get(name) and f"${{{name}:-" not in text and not default
        ]

    def resolve(self, text: str) -> str:
        """Replace `${NAME}` and `${NAME:-default}` by the environment's values; call it at run time only.

        Raises:
            ConfigError: a variable without a default is not set.
        """
        missing = self.missing(text)
        if missing:
            raise ConfigError(
                f"environment variable {missing[0]} is not set, but {text!r} needs it. "
                f"Set it (see docs/operations.md) or add a default: ${{{missing[0]}:-value}}."
            )
        return _PLACEHOLDER.sub(lambda m: self.environment.get(m[1]) or m[2] or "", text)


def _checked_url(name: str, url: str) -> str:
    if not url.startswith(("file:///", "s3://")):
        raise ConfigError(f"{name} is {url!r}; expected file:///absolute/folder or s3://bucket/prefix.")
    return url.rstrip("/")


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}; expected a number such as {default}.") from None
