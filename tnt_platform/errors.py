"""The exception tree: what went wrong, whether trying again can help, and how to mend it.

    TntError
    ├── PermanentError            the same call fails the same way: never retried
    │   ├── ConfigError           a setting or a defs.yaml is wrong
    │   ├── InvalidInput          a whole file can't be read (carries a reason_code; the file is quarantined)
    │   ├── NotFound              the dataset, version or object is not there
    │   ├── CheckFailed           a blocking check refused a draft (the pointer did not move)
    │   └── Refused               the other side understood and said no (4xx, access denied)
    └── RetryableError            trying again later can help
        ├── PublishConflict       another publish replaced a partition this one was computed from
        ├── SwapLost              a pointer moved between our read and our write
        └── Unavailable           the other side timed out, reset, throttled or answered 5xx

Dagster never sees these: `components.failures.as_dagster_failure` translates them in one place.
"""

from __future__ import annotations

from collections.abc import Sequence


class TntError(Exception):
    """Root of everything the platform raises on purpose."""


class PermanentError(TntError):
    """The same call will fail the same way again."""


class RetryableError(TntError):
    """The same call may succeed later."""


class ConfigError(PermanentError):
    """A setting or a dataset's YAML is wrong; the message says where and how to mend it."""


class InvalidInput(PermanentError):
    """A whole file can't be read; `reason_code` is what its quarantine row will carry."""

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[str, ...]]:
        # Exceptions with two arguments don't survive a process boundary without this.
        return type(self), (self.reason_code, str(self))


class NotFound(PermanentError):
    """The dataset, version, tag or object is not there."""


class CheckFailed(PermanentError):
    """A blocking check refused a draft; the published version is untouched.

    `outcomes` holds what every check found, so that the evidence reaches the UI.
    """

    def __init__(self, message: str, outcomes: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.outcomes = tuple(outcomes)


class Refused(PermanentError):
    """The other side understood the request and said no."""


class PublishConflict(RetryableError):
    """A partition this publish replaces moved on since its base: recompute from the current snapshot."""


class SwapLost(RetryableError):
    """The pointer is no longer what the caller read."""


class Unavailable(RetryableError):
    """The other side timed out, reset the connection, throttled or failed."""
