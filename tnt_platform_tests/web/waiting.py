"""Waiting for what happens soon."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], *, within_s: float = 60) -> None:
    """Return as soon as `holds`, fail after `within_s`."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)
