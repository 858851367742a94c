"""A rate limit that holds in every one-second window, not only on average."""

from __future__ import annotations

from aiolimiter import AsyncLimiter


def paced_limiter(rate_per_s: float) -> AsyncLimiter:
    """A limiter that grants at most `rate_per_s` (rounded up) in any one-second window, on average 97 % of it.

    A bucket of capacity c filled at r grants at most c + r in a second. A capacity of 1 would be strict
    spacing, which loses a timer tick at each grant; one hundredth of a second's worth more lets late grants
    catch up, and the 2 % taken off the fill rate absorb 20 ms of jitter between us and the server.
    """
    catch_up = 0.01 * rate_per_s
    fill_per_s = (rate_per_s - catch_up) / 1.02
    capacity = 1 + catch_up
    return AsyncLimiter(capacity, capacity / fill_per_s)
