"""Read many objects ahead of the caller, with bounds on requests and on bytes in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from tnt_platform.errors import Unavailable

MAX_BYTES_AHEAD = 64 * 1024 * 1024


class OpenBody(Protocol):
    """A response whose size is known and whose body has not been read yet."""

    @property
    def size_bytes(self) -> int: ...

    def read(self) -> bytes: ...


class ByteBudget:
    """Limit the bytes that wait for the caller; the object it waits for is always admitted."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._wanted = 0
        self._closed = False
        self._changed = threading.Condition()

    def take_now(self, index: int, size_bytes: int) -> bool:
        with self._changed:
            if not self._fits(index, size_bytes):
                return False
            self._held_bytes += size_bytes
            return True

    def take(self, index: int, size_bytes: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._fits(index, size_bytes))
            if self._closed:
                raise Unavailable("the reader stopped before this object was read; nothing to fix")
            self._held_bytes += size_bytes

    def want(self, index: int) -> None:
        with self._changed:
            self._wanted = index
            self._changed.notify_all()

    def release(self, size_bytes: int) -> None:
        with self._changed:
            self._held_bytes -= size_bytes
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, index: int, size_bytes: int) -> bool:
        return index <= self._wanted or self._held_bytes + size_bytes <= self._max_bytes


def read_ahead(
    keys: Sequence[str],
    open_body: Callable[[str], OpenBody],
    *,
    concurrency: int,
    max_bytes: int = MAX_BYTES_AHEAD,
) -> Iterator[tuple[str, bytes]]:
    """Yield (key, body) in the order of `keys` while at most `concurrency` requests run ahead.

    Bodies in memory or in flight never exceed `max_bytes`, except that an object larger than that is
    admitted alone when the caller waits for it.
    """
    budget = ByteBudget(max_bytes)
    pool = ThreadPoolExecutor(
        max_workers=max(1, min(concurrency, len(keys))), thread_name_prefix="read-ahead"
    )
    pending: deque[tuple[str, Future[tuple[bytes, int]]]] = deque()
    window = 2 * concurrency  # one slow object must not idle the other workers
    upcoming = iter(enumerate(keys))
    try:
        for position in range(len(keys)):
            while len(pending) < window and (following := next(upcoming, None)) is not None:
                pending.append((following[1], pool.submit(_read_within, budget, *following, open_body)))
            budget.want(position)
            key, future = pending.popleft()
            body, held_bytes = future.result()
            yield key, body
            del body, future
            budget.release(held_bytes)
    finally:
        budget.close()
        pool.shutdown(wait=False, cancel_futures=True)


def _read_within(
    budget: ByteBudget, index: int, key: str, open_body: Callable[[str], OpenBody]
) -> tuple[bytes, int]:
    body = open_body(key)
    size_bytes = body.size_bytes
    if not budget.take_now(index, size_bytes):
        # An open response would time out while the caller is busy: drop it, and request it again when there is room.
        del body
        budget.take(index, size_bytes)
        body = open_body(key)
    return body.read(), size_bytes
