"""The HTTP server around the application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import sys

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tnt_platform.web.gate import ACCESS_LOG, ERROR_LOG

BACKLOG = 4_096
# A connection that sends nothing, and one that takes nothing, are closed after so long.
SILENT_TIMEOUT_S = 15
STALLED_TIMEOUT_S = 60
SHUTDOWN_TIMEOUT_S = 10


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, but a connection that never sends a request does not stay for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock that the first bytes stop."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(SILENT_TIMEOUT_S, self.timeout_keep_alive_handler)


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket whose connections the kernel drops when their reader stops reading.

    Raises:
        OSError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Accepted connections inherit it; uvicorn itself would wait for such a reader for ever.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_TIMEOUT_S * 1000)
    try:
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def server_of(app: FastAPI) -> uvicorn.Server:
    """A server that is not running yet; `server.run(sockets=[...])` runs it."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=SILENT_TIMEOUT_S,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
    )
    return uvicorn.Server(config)


def allow_many_connections() -> None:
    """Take as many open files as the system allows without asking for more rights."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def log_to_stdout() -> None:
    """The access log as JSON lines on stdout, everything else on stderr."""
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(logging.Formatter("%(message)s"))
    access = logging.getLogger(ACCESS_LOG)
    access.handlers, access.propagate = [lines], False
    access.setLevel(logging.INFO)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    logging.getLogger(ERROR_LOG).setLevel(logging.INFO)
