"""Lease a dataset, so that two deployments do not do the same work twice.

A lease saves work; it is not needed for correctness, which the pointer's compare-and-swap guarantees.

Clocks: the holder writes when its claim expires by its own clock, and another takes it when that is past by
the other's clock plus a margin of a tenth of the timeout, at most 5 s. Clocks may differ by that margin for a
claim that is no longer renewed; for one with a heartbeat (every third of the timeout) by two thirds more.
Beyond that a claim may be taken early; `HeldLease.assert_held` then tells the previous holder.

Tokens strictly increase over all acquisitions of a key: one more than the last, or the milliseconds since 1970
if that is more, so that they keep increasing after the record was deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

from tnt_platform.errors import ConfigError, RetryableError, TntError
from tnt_platform.services.claims import Claim, Claims
from tnt_platform.services.lease_dynamodb import TABLE_NAME, TableClaims, lease_client
from tnt_platform.services.lease_file import FileClaims

DEFAULT_TIMEOUT_S = 300.0
_BEATS_A_TIMEOUT = 3
_MARGIN_MAX_S = 5.0
_TEXT_CHARS = 200


class LeaseHeld(RetryableError):
    """Another owner holds the lease; the message says who and until when."""


class LeaseLost(RetryableError):
    """The lease was taken over or released: what was prepared under it must not be published."""


@dataclass(frozen=True)
class Lease:
    """A granted claim; `token` distinguishes it from every earlier and later one of its key."""

    key: str
    owner: str
    token: int
    claim_id: str
    acquired_at: datetime
    expires_at: datetime
    timeout_s: float


class LeaseStore:
    """Grants leases; any number of processes may share what `claims` stores."""

    def __init__(self, claims: Claims, *, clock: Callable[[], datetime]) -> None:
        self._claims = claims
        self._clock = clock

    def acquire(self, key: str, owner: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Lease:
        """Take the lease if it is free or expired; one owner cannot take it twice either.

        `owner` is for people to read: who is working, and where.

        Raises:
            LeaseHeld: another owner holds it.
            ConfigError: an empty or overlong key or owner, or a timeout that is not above 0.
            Unavailable, NotFound, Refused, PermanentError: the claims cannot be read or written.
        """
        _refuse_unusable(key, owner, timeout_s)
        seen = self._claims.read(key)
        now = self._now()
        if seen is not None and seen.owner is not None and now <= seen.expires_at + _margin(timeout_s):
            raise _held(key, seen)
        token = max(seen.token + 1 if seen else 1, round(now.timestamp() * 1000))
        claim = Claim(owner, token, uuid4().hex, now, now + timedelta(seconds=timeout_s))
        if not self._claims.write(key, claim, over=seen, if_not_renewed=True):
            winner = self._claims.read(key)
            # Our own claim: the response to the first attempt was lost and the client retried.
            if winner != claim:
                raise _held(key, winner)
        return Lease(key, owner, token, claim.claim_id, now, claim.expires_at, timeout_s)

    def renew(self, lease: Lease) -> Lease:
        """Verify that `lease` is still the current one and extend it by its whole timeout.

        An expired lease that nobody took over is still current.

        Raises:
            LeaseLost: it was taken over or released.
            Unavailable, NotFound, Refused, PermanentError: the claims cannot be read or written.
        """
        expires_at = self._now() + timedelta(seconds=lease.timeout_s)
        claim = _claim_of(lease)
        if not self._claims.write(lease.key, replace(claim, expires_at=expires_at), over=claim):
            raise _lost(lease, self._claims.read(lease.key))
        return replace(lease, expires_at=expires_at)

    def release(self, lease: Lease) -> bool:
        """Release the lease; do nothing and return False if it is no longer the current one.

        Raises:
            Unavailable, NotFound, Refused, PermanentError: the claims cannot be read or written.
        """
        claim = _claim_of(lease)
        return self._claims.write(lease.key, replace(claim, owner=None, expires_at=self._now()), over=claim)

    def holds(self, lease: Lease) -> bool:
        """Return whether `lease` is the current one and has not expired by this process's clock.

        Raises:
            Unavailable, NotFound, Refused, PermanentError: the claims cannot be read.
        """
        stored = self._claims.read(lease.key)
        return (
            stored is not None
            and (stored.owner, stored.token) == (lease.owner, lease.token)
            and self._now() < stored.expires_at
        )

    def _now(self) -> datetime:
        # Milliseconds, so that every store gives back exactly what was written.
        now = self._clock().astimezone(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)


class HeldLease:
    """A lease under a heartbeat (see `hold_lease`)."""

    def __init__(self, store: LeaseStore, lease: Lease) -> None:
        self._store = store
        self.lease = lease
        self._lost: str | None = None
        self._over = Event()

    @property
    def token(self) -> int:
        return self.lease.token

    def assert_held(self) -> None:
        """Check with the store that the lease is still held, and renew it; call it just before a commit.

        It does not rely on the local clock, so it also works in a process that was suspended.

        Raises:
            LeaseLost: the lease was taken over; discard what was prepared.
            Unavailable, NotFound, Refused, PermanentError: the store cannot be read.
        """
        if self._lost is not None:
            raise LeaseLost(self._lost)
        self._renew()

    def beat(self) -> None:
        """Renew until stopped or lost; a store that cannot be reached is tried again at the next beat."""
        while not self._over.wait(self.lease.timeout_s / _BEATS_A_TIMEOUT):
            try:
                self._renew()
            except LeaseLost:
                return
            except TntError:
                continue

    def stop(self) -> None:
        """End the heartbeat."""
        self._over.set()

    def _renew(self) -> None:
        try:
            self.lease = self._store.renew(self.lease)
        except LeaseLost as error:
            self._lost = str(error)
            raise


@contextmanager
def hold_lease(
    store: LeaseStore, key: str, owner: str, timeout_s: float = DEFAULT_TIMEOUT_S
) -> Iterator[HeldLease]:
    """Take a lease, renew it every third of its timeout while the block runs, and release it.

    A failed release is left to the timeout: it must not hide an error of the block.

    Raises:
        LeaseHeld, ConfigError, Unavailable, NotFound, Refused, PermanentError: see `LeaseStore.acquire`.
    """
    holding = HeldLease(store, store.acquire(key, owner, timeout_s))
    heartbeat = Thread(target=holding.beat, name=f"lease {key}", daemon=True)
    try:
        heartbeat.start()
        yield holding
    finally:
        # No need to join the thread: the store rejects a renewal that comes after the release.
        holding.stop()
        with suppress(TntError):
            store.release(holding.lease)


def open_lease_store(
    location: str, options: Mapping[str, str] | None = None, *, clock: Callable[[], datetime]
) -> LeaseStore:
    """Open the lease store at `location`: a folder (`file:///path`, or a path with a slash) or a DynamoDB table.

    `options` are those of `aws_client`; a folder ignores them.

    Raises:
        ConfigError: neither a folder nor a table name, or unusable options.
    """
    if location.startswith("file://") or ("/" in location and "://" not in location):
        return LeaseStore(FileClaims(Path(location.removeprefix("file://"))), clock=clock)
    table_name = location.removeprefix("dynamodb://")
    if not TABLE_NAME.fullmatch(table_name):
        raise ConfigError(
            f"the lease store {location!r} is neither a folder (file:///path or ./path) nor a DynamoDB table "
            "(dynamodb://name or its plain name of 3 to 255 letters, digits, - _ .)"
        )
    return LeaseStore(TableClaims(table_name, lease_client(options)), clock=clock)


def _claim_of(lease: Lease) -> Claim:
    return Claim(lease.owner, lease.token, lease.claim_id, lease.acquired_at, lease.expires_at)


def _margin(timeout_s: float) -> timedelta:
    return timedelta(seconds=min(_MARGIN_MAX_S, timeout_s / 10))


def _held(key: str, claim: Claim | None) -> LeaseHeld:
    if claim is None or claim.owner is None:
        return LeaseHeld(f"lease {key!r} was taken over at this moment: try again")
    return LeaseHeld(
        f"lease {key!r} is held by {claim.owner!r} until {claim.expires_at:%Y-%m-%d %H:%M:%S} UTC "
        f"(token {claim.token}), longer if it is renewed: try again later"
    )


def _lost(lease: Lease, claim: Claim | None) -> LeaseLost:
    now = "nobody" if claim is None or claim.owner is None else f"{claim.owner!r} with token {claim.token}"
    return LeaseLost(
        f"lease {lease.key!r} of {lease.owner!r} (token {lease.token}) is lost: {now} holds it now; "
        "discard what was prepared and start the run again"
    )


def _refuse_unusable(key: str, owner: str, timeout_s: float) -> None:
    for name, text in (("key", key), ("owner", owner)):
        if not 0 < len(text) <= _TEXT_CHARS or not text.isprintable():
            raise ConfigError(f"lease {name} {text[:40]!r} must be 1 to {_TEXT_CHARS} printable characters")
    if not 0 < timeout_s < float("inf"):
        raise ConfigError(f"the timeout of lease {key!r} is {timeout_s} s; it must be above 0")
