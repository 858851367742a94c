"""Choose which requests to the emulated rate API get a fault, by seed and request, so that runs are repeatable."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields, replace

from tnt_platform.errors import ConfigError

KINDS = (
    "error",  # 500
    "throttle",  # 429
    "reset",  # the connection is reset without a response
    "slow",  # a correct response after slow_s
    "html",  # 200 with a web page
    "malformed",  # 200 with truncated JSON
    "no_rates_map",
    "string_days",  # "3 days"
    "missing_ground",
)


@dataclass(frozen=True)
class Faults:
    """The faults of the API.

    Rates are shares of distinct requests (0 to 1, together at most 1); `seed` and the request alone decide which are
    chosen. With `first_attempts` = K only the first K attempts at a chosen request fail, so that retries succeed;
    otherwise all fail. `retry_after_s` is sent with each 429, in whole seconds or, with `retry_after_as_date`, as an
    HTTP date.
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    error_rate: float = 0.0
    throttle_rate: float = 0.0
    reset_rate: float = 0.0
    slow_rate: float = 0.0
    html_rate: float = 0.0
    malformed_rate: float = 0.0
    no_rates_map_rate: float = 0.0
    string_days_rate: float = 0.0
    missing_ground_rate: float = 0.0
    slow_s: float = 30.0
    retry_after_s: int | None = None
    retry_after_as_date: bool = False
    first_attempts: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        rates = [getattr(self, f"{kind}_rate") for kind in KINDS]
        if min(rates) < 0 or sum(rates) > 1 + 1e-9:
            raise ConfigError(f"fault rates must be 0 or more and add up to at most 1; they are {rates}")

    def changed(self, changes: dict[str, object]) -> Faults:
        """Return these faults with some fields replaced.

        Raises:
            ConfigError: an unknown field or a value of the wrong type.
        """
        known = {field.name: field.type for field in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ConfigError(f"unknown fault setting {name!r}; available: {', '.join(known)}")
            if not isinstance(value, int | float) and not (value is None and "None" in str(known[name])):
                raise ConfigError(f"fault setting {name} is {value!r}; expected {known[name]}")
        return replace(self, **changes)  # type: ignore[arg-type]  # checked above

    def as_json(self) -> dict[str, object]:
        """Return all settings by name."""
        return asdict(self)

    @property
    def any_spoiled(self) -> bool:
        return any(getattr(self, f"{kind}_rate") for kind in KINDS)

    def spoils(self, digest: bytes, attempt: int) -> str | None:
        """Return the kind of fault for an attempt (from 1) at a request; None for a correct response."""
        if self.first_attempts is not None and attempt > self.first_attempts:
            return None
        place = _unit(b"kind:%d:" % self.seed + digest)
        for kind in KINDS:
            place -= getattr(self, f"{kind}_rate")
            if place < 0:
                return kind
        return None

    def delay_s(self, digest: bytes, attempt: int) -> float:
        """Return the delay of a response."""
        if not self.jitter_ms:
            return self.latency_ms / 1000
        return (self.latency_ms + self.jitter_ms * _unit(b"delay:%d:" % attempt + digest)) / 1000


def request_digest(path: str, body: bytes) -> bytes:
    """Return a digest that equal requests share."""
    return hashlib.blake2b(path.encode() + b"\n" + body, digest_size=8).digest()


def _unit(data: bytes) -> float:
    """Hash the data to a number in [0, 1), evenly distributed."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "big") / 2**56
