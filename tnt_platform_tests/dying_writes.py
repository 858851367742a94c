"""A store whose n-th write is the last one that its process makes."""

from __future__ import annotations

from typing import Any

import pytest

from tnt_platform.storage.objects import Objects


class Died(Exception):
    """The process is gone; nothing of ours catches this."""


def die_at_write(number: int, patched: pytest.MonkeyPatch) -> None:
    """From now on the n-th write (from 0) to any store and all after it raise."""
    left = [number]

    def dying(name: str) -> None:
        whole = getattr(Objects, name)

        def write(self: Objects, *args: Any, **options: Any) -> Any:
            if left[0] <= 0:
                raise Died
            left[0] -= 1
            return whole(self, *args, **options)

        patched.setattr(Objects, name, write)

    for name in ("put", "put_file", "compare_and_swap"):
        dying(name)
