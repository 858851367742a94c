"""How often tests try: a share by default, all of it with TNT_TEST_FULL set (`make proofs`)."""

from __future__ import annotations

import os


def rounds(full: int) -> int:
    """For the longest tests: a fifth of `full`, at least three."""
    return full if os.environ.get("TNT_TEST_FULL") else max(3, full // 5)


def tries(full: int) -> int:
    """Examples of a property: two fifths of `full`, other ones in every run."""
    return full if os.environ.get("TNT_TEST_FULL") else full * 2 // 5


def each(full: int) -> int:
    """Examples of a property that runs for each of many cases: one."""
    return full if os.environ.get("TNT_TEST_FULL") else 1
