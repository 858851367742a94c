"""What is stored of a lease, and what stores it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Claim:
    """What is stored for a key: the last acquisition; `owner` is None once it was released.

    `claim_id` is random: it tells apart two acquisitions by one owner that raced for one token.
    """

    owner: str | None
    token: int
    claim_id: str
    acquired_at: datetime
    expires_at: datetime


class Claims(Protocol):
    """Where claims are stored, one a key."""

    def read(self, key: str) -> Claim | None:
        """The claim as it is now (strongly consistent), None if there never was one."""

    def write(self, key: str, claim: Claim, *, over: Claim | None, if_not_renewed: bool = False) -> bool:
        """Store `claim` in one step if the stored one is `over` (None: none at all), else return False.

        `over` is the stored one if owner and token agree, and with `if_not_renewed` the expiry too.
        """
