"""The exception tree: what went wrong, and whether a retry can help.

    TntError
    ├── PermanentError            the same call fails the same way: never retry
    │   ├── ConfigError           a setting or a defs.yaml is wrong
    │   ├── InvalidInput          a whole file cannot be read (has a reason_code; the file is quarantined)
    │   ├── NotFound              the dataset, version or object does not exist
    │   ├── CheckFailed           a blocking check failed on a draft (the pointer did not move)
    │   └── Refused               the other side rejected the request (4xx, access denied)
    └── RetryableError            a later retry can help
        ├── PublishConflict       another publish replaced a partition that this one replaces
        ├── SwapLost              a pointer moved between our read and our write
        └── Unavailable           the other side timed out, reset, throttled or answered 5xx

Dagster never sees these: `orchestration.failures.as_dagster_failure` translates them.
"""

from __future__ import annotations

from collections.abc import Sequence


class TntError(Exception):
    """The base of everything the platform raises on purpose."""


class PermanentError(TntError):
    """The same call would fail the same way again."""


class RetryableError(TntError):
    """The same call may succeed later."""


class ConfigError(PermanentError):
    """A setting or a dataset's YAML is wrong; the message says where and how to fix it."""


class InvalidInput(PermanentError):
    """A whole file cannot be read; `reason_code` goes into its quarantine row."""

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[str, ...]]:
        # Without this, an exception with two arguments cannot be pickled between processes.
        return type(self), (self.reason_code, str(self))


class NotFound(PermanentError):
    """The dataset, version, tag or object does not exist."""


class CheckFailed(PermanentError):
    """A blocking check failed on a draft; the published version is untouched.

    `outcomes` has the outcome of every check, for the UI.
    """

    def __init__(self, message: str, outcomes: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.outcomes = tuple(outcomes)


class Refused(PermanentError):
    """The other side understood the request and rejected it."""


class PublishConflict(RetryableError):
    """A partition that this publish replaces changed since its base: recompute from the current snapshot."""


class SwapLost(RetryableError):
    """The pointer is no longer what the caller read."""


class Unavailable(RetryableError):
    """The other side timed out, reset the connection, throttled or failed."""
