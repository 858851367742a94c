"""How often the longest tests try: a share by default, all of it with TNT_TEST_FULL set (`make proofs`)."""

from __future__ import annotations

import os


def rounds(full: int) -> int:
    """A fifth of `full`, at least three."""
    return full if os.environ.get("TNT_TEST_FULL") else max(3, full // 5)
