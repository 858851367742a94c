"""Ports for servers that tests start as processes of their own."""

from __future__ import annotations

import os
import socket
from itertools import count

# Below what kernels hand out by themselves, so that no connection gets the port before the server listens on it.
_FIRST = 20_000
_EACH = 500  # ports of one worker of pytest-xdist
_WORKERS = 16
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_numbers = count(os.getpid())


def free_port() -> int:
    """Return a port on which nobody listens; each call gives another one."""
    for _ in range(_EACH):
        port = _FIRST + _worker * _EACH + next(_numbers) % _EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"all {_EACH} ports from {_FIRST + _worker * _EACH} on are taken")
