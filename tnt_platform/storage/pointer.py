"""What a compare-and-swap expects to find, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pointer:
    """A small object as it was read: its bytes, and the etag that a swap must still find."""

    value: bytes
    etag: str


def shown(pointer: Pointer | None) -> str:
    """A pointer's value for a message."""
    return "nothing" if pointer is None else repr(pointer.value[:80])
