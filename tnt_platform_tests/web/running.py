"""The real server in a thread of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tnt_platform.settings import Settings
from tnt_platform.web.app import create_app
from tnt_platform.web.context import Check
from tnt_platform.web.server import listening_socket, server_of


@contextmanager
def running(environment: Mapping[str, str], checks: Mapping[str, Check] | None = None) -> Iterator[str]:
    """Serve the lake of `environment`; the address."""
    app = create_app(Settings.from_environment(environment), checks)
    server, listener = server_of(app), listening_socket("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server did not stop"
