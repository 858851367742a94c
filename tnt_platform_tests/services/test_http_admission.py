"""The rate limit in virtual time: exact, however late the machine wakes us up."""

from __future__ import annotations

import asyncio
import bisect
import math
import random
import selectors
from collections.abc import Callable

import pytest

from tnt_platform.services.http_admission import paced_limiter


class VirtualTime(selectors.DefaultSelector):
    """Waiting takes no time: the clock jumps to the end of the wait, and `lateness_s` beyond it."""

    def __init__(self, lateness_s: Callable[[], float]) -> None:
        super().__init__()
        self.now_s = 1000.0
        self._lateness_s = lateness_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now_s += 1e-6  # running callbacks takes some time too
        if timeout:
            self.now_s += timeout + self._lateness_s()
        return super().select(0)


def grants(
    rate_per_s: float, seconds: float, lateness_s: Callable[[], float], workers: int = 64
) -> list[float]:
    """When each of many greedy workers got its turns."""
    virtual = VirtualTime(lateness_s)
    loop = asyncio.SelectorEventLoop(virtual)
    loop.time = lambda: virtual.now_s  # type: ignore[method-assign]  # the point of this test
    end_s = virtual.now_s + seconds
    granted: list[float] = []

    async def work(limiter) -> None:
        while True:
            await limiter.acquire()
            if loop.time() >= end_s:
                return
            granted.append(loop.time())

    async def run() -> None:
        limiter = paced_limiter(rate_per_s)
        await asyncio.gather(*(work(limiter) for _ in range(workers)))

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    return granted


def busiest(granted: list[float], window_s: float) -> int:
    return max(bisect.bisect_left(granted, at + window_s) - index for index, at in enumerate(granted))


LATENESS = {
    "punctual": lambda chance: 0.0,
    "a tick late": lambda chance: 0.001,
    "up to three ticks late": lambda chance: chance.uniform(0, 0.003),
    "stalled now and then": lambda chance: 0.3 if chance.random() < 0.01 else 0.0005,
}


@pytest.mark.parametrize("lateness", LATENESS)
@pytest.mark.parametrize("rate_per_s", [1, 2.5, 10, 33, 200, 1000])
def test_no_second_sees_more_than_the_rate(rate_per_s: float, lateness: str) -> None:
    chance = random.Random(1)
    granted = grants(rate_per_s, 3 + 30 / rate_per_s, lambda: LATENESS[lateness](chance), workers=16)
    assert busiest(granted, 1.0) <= math.ceil(rate_per_s)
    # Turns that drift 19 ms nearer to each other on their way to the server still keep the limit.
    assert busiest(granted, 1.019) <= math.ceil(rate_per_s)


@pytest.mark.parametrize("lateness", ["punctual", "a tick late", "up to three ticks late"])
@pytest.mark.parametrize("rate_per_s", [1, 2.5, 10, 33, 200, 1000])
def test_at_least_95_percent_of_the_rate_is_reached(rate_per_s: float, lateness: str) -> None:
    chance = random.Random(1)
    granted = grants(rate_per_s, 2 + 200 / rate_per_s, lambda: LATENESS[lateness](chance), workers=8)
    assert (len(granted) - 1) / (granted[-1] - granted[0]) >= 0.95 * rate_per_s


def test_a_pause_does_not_save_up_turns() -> None:
    granted = grants(100, 20.0, iter([5.0] + [0.0] * 100_000).__next__)
    assert busiest(granted, 1.0) <= 100
    assert busiest(granted, 0.05) <= 8
