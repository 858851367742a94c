"""Blocking work beside the event loop, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8


class Work:
    """Runs functions in threads; more than `THREADS` at once wait for their turn."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` gives; when the request is given up, its thread ends by itself."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS)
        call = partial(function, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)
