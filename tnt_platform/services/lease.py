"""A lease on a dataset: who works on it now, so that two deployments don't do the same work twice.

It is politeness, never correctness: publishing is kept right by the pointer's compare-and-swap.

Clocks: the holder writes when its claim expires by its own clock, and another takes it when that is past by
the other's clock by a margin of a tenth of the timeout, at most 5 s. Clocks may differ by that margin for a
claim that is no longer renewed; for one with a heartbeat (every third of the timeout) by two thirds more.
Beyond that a claim may be taken early; `HeldLease.assert_held` then says so to the one who lost it.

Tokens strictly rise over all acquisitions of a key: one more than the last, or the milliseconds since 1970 if
that is more, so that they go on rising when the record was deleted.
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

DEFAULT_TIMEOUT_S = 300.0
_BEATS_A_TIMEOUT = 3
_MARGIN_MAX_S = 5.0
_TEXT_CHARS = 200


class LeaseHeld(RetryableError):
    """Somebody else holds the lease; the message says who and until when."""


class LeaseLost(RetryableError):
    """The lease went to somebody else or was released: what was prepared under it must not be published."""


@dataclass(frozen=True)
class Lease:
    """A claim that was granted; `token` tells it from every earlier and later one of its key."""

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
        """Take the lease if it is free or expired; it is not granted twice to one owner either.

        `owner` is for people to read: who works, and where.

        Raises:
            LeaseHeld: somebody holds it.
            ConfigError: an empty or overlong key or owner, or a timeout that is not above 0.
            Unavailable, NotFound, Refused, PermanentError: the claims can't be read or written.
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
            # Our own claim: the answer to the first try was lost and the client tried again.
            if winner != claim:
                raise _held(key, winner)
        return Lease(key, owner, token, claim.claim_id, now, claim.expires_at, timeout_s)

    def renew(self, lease: Lease) -> Lease:
        """Prove that the lease is still this one and give it its whole timeout again.

        A lease that expired and that nobody took is still this one.

        Raises:
            LeaseLost: somebody took it, or it was released.
            Unavailable, NotFound, Refused, PermanentError: the claims can't be read or written.
        """
        expires_at = self._now() + timedelta(seconds=lease.timeout_s)
        claim = _claim_of(lease)
        if not self._claims.write(lease.key, replace(claim, expires_at=expires_at), over=claim):
            raise _lost(lease, self._claims.read(lease.key))
        return replace(lease, expires_at=expires_at)

    def release(self, lease: Lease) -> bool:
        """Free the lease; False, and nothing is done, when it is no longer this one.

        Raises:
            Unavailable, NotFound, Refused, PermanentError: the claims can't be read or written.
        """
        claim = _claim_of(lease)
        return self._claims.write(lease.key, replace(claim, owner=None, expires_at=self._now()), over=claim)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is stored as this one and has not expired by this process's clock.

        Raises:
            Unavailable, NotFound, Refused, PermanentError: the claims can't be read.
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
        """Ask the store whether the lease is still ours, and renew it: to be called just before a commit.

        It does not trust the local clock, so it also holds for a process that was stopped in between.

        Raises:
            LeaseLost: somebody took the lease; give up what was prepared.
            Unavailable, NotFound, Refused, PermanentError: the store can't be asked.
        """
        if self._lost is not None:
            raise LeaseLost(self._lost)
        self._renew()

    def beat(self) -> None:
        """Renew until it is over or lost; a store that can't be reached is asked again at the next beat."""
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
    """Hold a lease for the block: taken, renewed every third of its timeout, released.

    A release that fails is left to the timeout: it must not hide what the block did.

    Raises:
        LeaseHeld, ConfigError, Unavailable, NotFound, Refused, PermanentError: see `LeaseStore.acquire`.
    """
    holding = HeldLease(store, store.acquire(key, owner, timeout_s))
    heartbeat = Thread(target=holding.beat, name=f"lease {key}", daemon=True)
    try:
        heartbeat.start()
        yield holding
    finally:
        # The thread isn't waited for: a renewal that comes after the release is refused by the store.
        holding.stop()
        with suppress(TntError):
            store.release(holding.lease)


def open_lease_store(
    location: str, options: Mapping[str, str] | None = None, *, clock: Callable[[], datetime]
) -> LeaseStore:
    """The store at `location`: a folder (`file:///path`, or a path with a slash) or a DynamoDB table.

    `options` are those of `aws_client` and mean nothing to a folder.

    Raises:
        ConfigError: neither a folder nor a table name, or unusable options.
    """
    from tnt_platform.services.lease_dynamodb import TABLE_NAME, TableClaims, lease_client
    from tnt_platform.services.lease_file import FileClaims

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
        return LeaseHeld(f"lease {key!r} changed hands at this moment: try again")
    return LeaseHeld(
        f"lease {key!r} is held by {claim.owner!r} until {claim.expires_at:%Y-%m-%d %H:%M:%S} UTC "
        f"(token {claim.token}), longer if it is renewed: try again later"
    )


def _lost(lease: Lease, claim: Claim | None) -> LeaseLost:
    now = "nobody" if claim is None or claim.owner is None else f"{claim.owner!r} with token {claim.token}"
    return LeaseLost(
        f"lease {lease.key!r} of {lease.owner!r} (token {lease.token}) is lost: {now} holds it now; "
        "publish nothing and start again"
    )


def _refuse_unusable(key: str, owner: str, timeout_s: float) -> None:
    for name, text in (("key", key), ("owner", owner)):
        if not 0 < len(text) <= _TEXT_CHARS or not text.isprintable():
            raise ConfigError(f"lease {name} {text[:40]!r} must be 1 to {_TEXT_CHARS} printable characters")
    if not 0 < timeout_s < float("inf"):
        raise ConfigError(f"the timeout of lease {key!r} is {timeout_s} s; it must be above 0")
