"""Configure the HTTP server that runs the application."""

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
# Connections that send nothing, or receive nothing, are closed after this long.
SILENT_TIMEOUT_S = 15
STALLED_TIMEOUT_S = 60
SHUTDOWN_TIMEOUT_S = 10


class TimeLimitProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a time limit for connections that never send a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit, which the first bytes end."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(SILENT_TIMEOUT_S, self.timeout_keep_alive_handler)


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket whose connections the kernel drops when their reader stops reading.

    Raises:
        OSError: the address is in use or not local.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Accepted connections inherit it; uvicorn itself has no such limit.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_TIMEOUT_S * 1000)
    try:
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def server_of(app: FastAPI) -> uvicorn.Server:
    """Return a server; `server.run(sockets=[...])` runs it."""
    config = uvicorn.Config(
        app,
        http=TimeLimitProtocol,
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
    """Raise the limit of open files to the maximum that needs no privileges."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))


def log_to_stdout() -> None:
    """Log accesses as JSON lines to stdout, and everything else to stderr."""
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(logging.Formatter("%(message)s"))
    access = logging.getLogger(ACCESS_LOG)
    access.handlers, access.propagate = [lines], False
    access.setLevel(logging.INFO)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    logging.getLogger(ERROR_LOG).setLevel(logging.INFO)
