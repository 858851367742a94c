"""Define the record stored for a lease, and what a store of them must do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Claim:
    """The last acquisition of a key; `owner` is None once it was released.

    `claim_id` is random: it distinguishes two acquisitions by one owner that raced for one token.
    """

    owner: str | None
    token: int
    claim_id: str
    acquired_at: datetime
    expires_at: datetime


class Claims(Protocol):
    """Stores one claim per key."""

    def read(self, key: str) -> Claim | None:
        """Return the current claim (strongly consistent), None if there never was one."""

    def write(self, key: str, claim: Claim, *, over: Claim | None, if_not_renewed: bool = False) -> bool:
        """Replace `over` (None: no claim at all) by `claim` in one step; return False if another is stored.

        The stored claim is `over` if owner and token agree, and with `if_not_renewed` the expiry too.
        """
