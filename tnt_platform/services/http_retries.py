"""How long to wait before asking again, and the TLS that every client here has."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from tnt_platform.errors import ConfigError


@dataclass(frozen=True)
class Backoff:
    """Waits that double from `initial_s` to `max_s`, spread by jitter; a Retry-After is cut to `retry_after_max_s`.

    `uniform` gives numbers in [0, 1).
    """

    initial_s: float
    max_s: float
    retry_after_max_s: float
    uniform: Callable[[], float]

    def wait_s(self, attempt: int, asked_s: float | None) -> float:
        """The wait after attempt number `attempt` (from 1), when the server asked for `asked_s` or nothing."""
        if asked_s is not None:
            # Jitter is added, never subtracted: nobody comes back earlier than asked.
            return min(asked_s, self.retry_after_max_s) + self.uniform() * self.initial_s
        backoff_s = self.initial_s * 2.0 ** min(attempt - 1, 30)
        return min(backoff_s, self.max_s) * (0.5 + self.uniform() / 2)


def verifying(tls: ssl.SSLContext | None, owner: str) -> ssl.SSLContext | bool:
    """The context for a connector; without one of the caller's, the default, which verifies.

    Raises:
        ConfigError: the context doesn't verify certificates and host names.
    """
    if tls is not None and (tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname):
        raise ConfigError(f"the TLS context given to {owner} must verify certificates and host names")
    return tls or True
