"""What a comparison of the bucket with the published data found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """One date to materialize, and why."""

    date: str
    digest: str
    new: int
    changed: int
    vanished: int

    @property
    def reason(self) -> str:
        """For a person: what differs."""
        parts = [
            f"{n} {what}"
            for n, what in ((self.new, "new"), (self.changed, "changed"), (self.vanished, "gone"))
            if n
        ]
        return ", ".join(parts) if parts else "a link of the chain is behind the files"


@dataclass(frozen=True)
class Survey:
    """What one look at the bucket found. `held_because` is set after a rollback: nothing is to be done."""

    work: list[Work]
    files_seen: int
    dates_seen: int
    held_because: str | None = None
