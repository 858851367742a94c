"""Leases between real processes, over a folder and over DynamoDB: never two at once, and the loser knows."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tnt_platform.errors import (
    ConfigError,
    NotFound,
    PermanentError,
    Refused,
    RetryableError,
    Unavailable,
)
from tnt_platform.services.claims import Claim, Claims
from tnt_platform.services.lease import Lease, LeaseHeld, LeaseLost, LeaseStore, hold_lease, open_lease_store
from tnt_platform.services.lease_dynamodb import TableClaims, lease_client
from tnt_platform.services.lease_file import FileClaims
from tnt_platform_tests.aws_emulator import Misbehaviour
from tnt_platform_tests.rounds import tries

KEY = "etl:bcra_infomondia_series"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROCESSES = multiprocessing.get_context("spawn")


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class SetClock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Site:
    """Where leases are kept; processes open it for themselves."""

    location: str
    options: Mapping[str, str]

    def store(self, clock: Any = utc_now) -> LeaseStore:
        return open_lease_store(self.location, self.options, clock=clock)


@pytest.fixture(scope="session")
def one_at_a_time_url(moto_url: str) -> Iterator[str]:
    """The stand-in once more, answering one request at a time.

    moto checks a condition and writes in two steps that threads can interleave; DynamoDB does it in one.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def table(aws_options: dict[str, str], one_at_a_time_url: str) -> Site:
    options = {**aws_options, "endpoint": one_at_a_time_url}
    TableClaims("leases", lease_client(options)).ensure()
    return Site("dynamodb://leases", options)


@pytest.fixture(params=["file", "dynamodb"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "file":
        return Site(f"file://{tmp_path / 'leases'}", {})
    found: Site = request.getfixturevalue("table")
    return found


@contextmanager
def process(target: Any, *arguments: Any) -> Iterator[tuple[BaseProcess, Connection]]:
    ours, theirs = PROCESSES.Pipe()
    child = PROCESSES.Process(target=target, args=(*arguments, theirs))
    child.start()
    try:
        yield child, ours
    finally:
        if child.is_alive():
            child.kill()
        child.join()


def said(child: Connection) -> Any:
    assert child.poll(60), "the child process says nothing"
    return child.recv()


def acquired_in_time(store: LeaseStore, owner: str, timeout_s: float, patience_s: float = 30.0) -> Lease:
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            return store.acquire(KEY, owner, timeout_s)
        except LeaseHeld:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


# --- one at a time ---------------------------------------------------------------------------------


def contest(site: Site, folder: Path, name: str, rounds: int, _: Connection) -> None:
    store = site.store()
    for _round in range(rounds):
        while True:
            try:
                lease = store.acquire(KEY, name, 60)
                break
            except LeaseHeld:
                time.sleep(random.uniform(0.005, 0.05))
        os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))  # fails when somebody else is inside
        time.sleep(0.01)
        with (folder / "log").open("a") as log:
            log.write(f"{lease.token} {name}\n")
        assert store.holds(lease)
        (folder / "inside").unlink()
        assert store.release(lease)


@pytest.mark.heavy
def test_of_eight_processes_never_two_hold_the_lease_and_each_gets_it(site: Site, tmp_path: Path) -> None:
    names = [f"process {number}" for number in range(8)]
    with ExitStack() as started:
        children = [started.enter_context(process(contest, site, tmp_path, name, 3))[0] for name in names]
        deadline_s = time.monotonic() + 200
        while any(child.exitcode is None for child in children) and time.monotonic() < deadline_s:
            time.sleep(0.05)
            if any(child.exitcode for child in children):
                break
    assert [child.exitcode for child in children] == [0] * 8
    lines = [line.split(" ", 1) for line in (tmp_path / "log").read_text().splitlines()]
    tokens = [int(token) for token, _ in lines]
    assert sorted(name for _, name in lines) == sorted(names * 3)
    assert all(earlier < later for earlier, later in pairwise(tokens))


def test_of_eight_that_want_an_expired_lease_at_once_one_gets_it(site: Site) -> None:
    clock = SetClock()
    first = site.store(clock).acquire(KEY, "gone", 100)
    clock.wait(106)
    stores = [site.store(clock) for _ in range(8)]
    together, won = threading.Barrier(8), list[Lease]()

    def take(number: int) -> None:
        together.wait(20)
        with suppress(LeaseHeld):
            won.append(stores[number].acquire(KEY, "the same owner", 100))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert won[0].token > first.token


def test_a_held_lease_names_its_owner_and_until_when(site: Site) -> None:
    store = site.store(SetClock())
    lease = store.acquire(KEY, "run 7 on worker-1")
    with pytest.raises(LeaseHeld, match=r"'run 7 on worker-1'.*2026-11-20 12:05:00 UTC") as refused:
        store.acquire(KEY, "run 8")
    assert isinstance(refused.value, RetryableError)
    assert (lease.key, lease.owner, lease.acquired_at) == (KEY, "run 7 on worker-1", NOW)
    assert lease.expires_at == NOW + timedelta(seconds=300)
    assert store.acquire("etl:indec_ipc", "run 8").owner == "run 8"


def test_a_lease_is_not_granted_twice_to_one_owner_either(site: Site) -> None:
    store = site.store()
    store.acquire(KEY, "run 7")
    with pytest.raises(LeaseHeld):
        store.acquire(KEY, "run 7")


def test_an_expired_lease_is_taken_only_after_the_margin_for_clocks_that_differ(site: Site) -> None:
    clock = SetClock()
    store = site.store(clock)
    store.acquire(KEY, "gone", 300)
    clock.wait(305)
    with pytest.raises(LeaseHeld):
        store.acquire(KEY, "next", 300)
    clock.wait(0.01)
    assert store.acquire(KEY, "next", 300).owner == "next"


def test_release_by_a_non_owner_does_nothing(site: Site) -> None:
    clock = SetClock()
    store = site.store(clock)
    late = store.acquire(KEY, "late", 300)
    clock.wait(400)
    current = store.acquire(KEY, "current", 300)
    assert store.release(late) is False
    assert store.release(replace(current, owner="impostor")) is False
    assert store.release(replace(current, token=current.token + 1)) is False
    assert store.holds(current)
    assert store.release(current) is True
    assert store.release(current) is False
    assert not store.holds(current)


def test_tokens_rise_even_when_the_record_was_deleted(tmp_path: Path) -> None:
    clock = SetClock()
    store = Site(f"{tmp_path}/leases", {}).store(clock)
    before = store.acquire(KEY, "before")
    (record,) = (tmp_path / "leases").glob("*.json")
    record.unlink()
    clock.wait(0.001)
    assert store.acquire(KEY, "after").token > before.token
    assert not store.holds(before)
    with pytest.raises(LeaseLost):
        store.renew(before)


OWNERS = ("ana", "bo", "cy")
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["acquire", "renew", "release", "holds", "wait"]), st.integers(0, 2)),
    max_size=25,
)
NUMBERS = count()
WAITS_S = (60.0, 101.0, 106.0)  # within the timeout, within the margin, beyond both


@pytest.mark.heavy
@settings(deadline=None, max_examples=tries(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_every_sequence_of_operations_ends_as_the_model_says(
    site: Site, operations: list[tuple[str, int]]
) -> None:
    clock, key = SetClock(), f"etl:{next(NUMBERS)}"
    store = site.store(clock)
    leases: dict[int, Lease] = {}  # the newest that each owner was granted
    holder: Lease | None = None
    tokens = [0]
    for operation, who in operations:
        mine = leases.get(who)
        is_holder = mine is not None and holder is not None and mine.token == holder.token
        if operation == "wait":
            clock.wait(WAITS_S[who])
        elif operation == "acquire" and holder and clock.now <= holder.expires_at + timedelta(seconds=5):
            with pytest.raises(LeaseHeld):
                store.acquire(key, OWNERS[who], 100)
        elif operation == "acquire":
            holder = leases[who] = store.acquire(key, OWNERS[who], 100)
            tokens.append(holder.token)
        elif mine is None:
            continue
        elif operation == "renew" and is_holder:
            holder = leases[who] = store.renew(mine)
            assert holder.expires_at == clock.now + timedelta(seconds=100)
        elif operation == "renew":
            with pytest.raises(LeaseLost):
                store.renew(mine)
        elif operation == "release":
            assert store.release(mine) is is_holder
            holder = None if is_holder else holder
        else:
            assert store.holds(mine) is (is_holder and clock.now < mine.expires_at)
    assert all(earlier < later for earlier, later in pairwise(tokens))


# --- owners that stop ------------------------------------------------------------------------------


def hold(site: Site, timeout_s: float, parent: Connection) -> None:
    with hold_lease(site.store(), KEY, "the first", timeout_s) as lease:
        parent.send(lease.token)
        parent.recv()
        try:
            lease.assert_held()
            parent.send("held")
        except LeaseLost as error:
            parent.send(str(error))


@pytest.mark.parametrize("other", ["holds it still", "is done already", "never came"])
def test_an_owner_stopped_for_longer_than_the_timeout_learns_whether_it_was_replaced(
    site: Site, other: str
) -> None:
    store = site.store()
    with process(hold, site, 1.0) as (child, pipe):
        token = said(pipe)
        os.kill(child.pid or 0, signal.SIGSTOP)
        if other == "never came":
            time.sleep(1.3)
        else:
            second = acquired_in_time(store, "the second", 10)
            assert second.token > token
            if other == "is done already":
                assert store.release(second)
        pipe.send("go on")
        os.kill(child.pid or 0, signal.SIGCONT)
        verdict = said(pipe)
        child.join(20)
        assert child.exitcode == 0
    if other == "never came":
        assert verdict == "held"
    else:
        assert f"(token {token}) is lost" in verdict
    if other == "holds it still":
        assert "'the second'" in verdict
        assert store.holds(second)  # and the first did not release it on its way out


def test_the_lease_of_a_killed_owner_is_taken_after_its_expiry(site: Site) -> None:
    store = site.store()
    with process(hold, site, 4.0) as (child, pipe):
        token = said(pipe)
        child.kill()
        child.join()
        with pytest.raises(LeaseHeld, match="'the first'"):
            store.acquire(KEY, "the second", 4.0)
        assert acquired_in_time(store, "the second", 4.0).token > token


def test_a_heartbeat_keeps_the_lease_of_a_job_longer_than_the_timeout(site: Site) -> None:
    store, rival = site.store(), site.store()
    with hold_lease(store, KEY, "long job", 3.0) as lease:
        first_expiry = lease.lease.expires_at
        while utc_now() <= first_expiry + timedelta(seconds=0.2):
            with pytest.raises(LeaseHeld):
                rival.acquire(KEY, "rival", 3.0)
            time.sleep(0.05)
        lease.assert_held()
        assert lease.lease.expires_at > first_expiry + timedelta(seconds=1)
    assert rival.acquire(KEY, "rival", 3.0).token > lease.token


def test_assert_held_asks_the_store_and_not_the_clock(site: Site) -> None:
    ahead = SetClock(utc_now() + timedelta(seconds=400))
    with hold_lease(site.store(), KEY, "first", 300) as lease:
        lease.assert_held()
        site.store(ahead).acquire(KEY, "second", 300)
        for _ in range(2):
            with pytest.raises(LeaseLost, match="'second'"):
                lease.assert_held()
    assert issubclass(LeaseLost, RetryableError)


def test_the_lease_is_released_when_the_job_fails(site: Site) -> None:
    with pytest.raises(ZeroDivisionError), hold_lease(site.store(), KEY, "first"):
        raise ZeroDivisionError
    with hold_lease(site.store(), KEY, "second") as lease:
        lease.assert_held()


# --- stores that fail ------------------------------------------------------------------------------


class Spoiled:
    """Claims reached over something unreliable."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self.answers_lost = 0
        self.failures = 0
        self.meanwhile: Callable[[], object] | None = None  # what somebody else does just before a write

    def read(self, key: str) -> Claim | None:
        return self._claims.read(key)

    def write(self, key: str, claim: Claim, *, over: Claim | None, if_not_renewed: bool = False) -> bool:
        if self.meanwhile:
            self.meanwhile, meanwhile = None, self.meanwhile
            meanwhile()
        if self.failures:
            self.failures -= 1
            raise Unavailable("not now")
        done = self._claims.write(key, claim, over=over, if_not_renewed=if_not_renewed)
        if self.answers_lost:
            self.answers_lost -= 1
            return self._claims.write(key, claim, over=over, if_not_renewed=if_not_renewed)
        return done


def test_a_renewal_between_the_look_and_the_grip_of_another_wins(site: Site) -> None:
    clock = SetClock()
    store = site.store(clock)
    lease = store.acquire(KEY, "late but alive", 100)
    clock.wait(106)
    claims = Spoiled(store._claims)
    claims.meanwhile = lambda: store.renew(lease)
    with pytest.raises(LeaseHeld, match="'late but alive'"):
        LeaseStore(claims, clock=clock).acquire(KEY, "next", 100)
    assert store.holds(store.renew(lease))


def test_an_acquisition_whose_answer_was_lost_is_known_for_our_own(tmp_path: Path) -> None:
    claims = Spoiled(FileClaims(tmp_path))
    store = LeaseStore(claims, clock=SetClock())
    claims.answers_lost = 1
    lease = store.acquire(KEY, "first")
    claims.answers_lost = 1
    assert store.holds(store.renew(lease))


def test_a_heartbeat_outlives_a_store_that_fails_for_a_while(tmp_path: Path) -> None:
    claims = Spoiled(FileClaims(tmp_path))
    with hold_lease(LeaseStore(claims, clock=utc_now), KEY, "first", 0.3) as lease:
        claims.failures = 2
        before = lease.lease.expires_at
        deadline_s = time.monotonic() + 30
        while claims.failures or lease.lease.expires_at <= before:
            assert time.monotonic() < deadline_s, "the heartbeat gave up"
            time.sleep(0.02)
        lease.assert_held()


def test_a_release_that_fails_does_not_hide_what_the_job_did(tmp_path: Path) -> None:
    claims = Spoiled(FileClaims(tmp_path))

    def job() -> None:
        with hold_lease(LeaseStore(claims, clock=utc_now), KEY, "first"):
            claims.failures = 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        job()
    assert claims.failures == 0


def test_a_commit_is_not_allowed_when_the_store_can_not_be_asked(tmp_path: Path) -> None:
    claims = Spoiled(FileClaims(tmp_path))
    with hold_lease(LeaseStore(claims, clock=utc_now), KEY, "first") as lease:
        claims.failures = 1
        with pytest.raises(Unavailable):
            lease.assert_held()


def test_half_an_answer_grants_nothing(
    table: Site, proxied_options: dict[str, str], misbehaviour: Misbehaviour
) -> None:
    store = open_lease_store("leases", proxied_options, clock=utc_now)
    misbehaviour.garbage = 100
    with pytest.raises(Unavailable):
        store.acquire(KEY, "first")
    misbehaviour.garbage = 0
    lease = store.acquire(KEY, "first")
    misbehaviour.garbage = 100
    with pytest.raises(Unavailable):
        store.renew(lease)


def test_a_table_that_is_missing_or_closed_says_how_to_mend_it(
    table: Site, proxied_options: dict[str, str], misbehaviour: Misbehaviour
) -> None:
    with pytest.raises(NotFound, match=r"'no-such-table'.*terraform apply"):
        open_lease_store("no-such-table", proxied_options, clock=utc_now).acquire(KEY, "first")
    misbehaviour.refusals = [(400, "AccessDeniedException")]
    with pytest.raises(Refused, match="dynamodb:GetItem and dynamodb:PutItem"):
        open_lease_store("leases", proxied_options, clock=utc_now).acquire(KEY, "first")


def test_the_table_holds_what_its_schema_says(table: Site) -> None:
    clock = SetClock()
    lease = table.store(clock).acquire(KEY, "run 7", 300)
    client = lease_client(table.options)
    (item,) = client.scan(TableName="leases")["Items"]
    expires_at = int((NOW + timedelta(seconds=300)).timestamp())
    assert item.pop("claim_id") == {"S": lease.claim_id}
    assert {name: next(iter(value.items())) for name, value in item.items()} == {
        "lock_key": ("S", KEY),
        "owner": ("S", "run 7"),
        "token": ("N", str(lease.token)),
        "acquired_at": ("N", f"{NOW.timestamp():.3f}"),
        "expires_at": ("N", f"{expires_at}.000"),
        "ttl": ("N", str(expires_at + 90 * 86_400)),
    }
    ttl = client.describe_time_to_live(TableName="leases")["TimeToLiveDescription"]
    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "ttl")


def test_what_is_no_lease_is_not_overwritten(table: Site, tmp_path: Path) -> None:
    old_lock = {"lock_key": {"S": KEY}, "locked_at": {"N": "1"}}
    lease_client(table.options).put_item(TableName="leases", Item=old_lock)
    with pytest.raises(PermanentError, match="is not a lease"):
        table.store().acquire(KEY, "first")
    store = Site(f"file://{tmp_path}", {}).store()
    lease = store.acquire(KEY, "first")
    (record,) = tmp_path.glob("*.json")
    record.write_text(json.dumps({"owner": "somebody"}))
    for operation in (store.renew, store.release, store.holds):
        with pytest.raises(PermanentError, match=r"\.json"):
            operation(lease)


def test_a_folder_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match="leases"):
        Site(f"{tmp_path}/file/leases", {}).store().acquire(KEY, "first")


@pytest.mark.parametrize("location", ["", "ab", "redis://host/1", "a table", "dynamodb://"])
def test_a_location_that_is_neither_folder_nor_table_is_refused(location: str) -> None:
    with pytest.raises(ConfigError, match="lease store"):
        open_lease_store(location, {"region": "us-east-1"}, clock=utc_now)


@pytest.mark.parametrize(
    ("key", "owner", "timeout_s"),
    [("", "a", 1.0), (KEY, "", 1.0), (KEY, "a\nb", 1.0), ("k" * 201, "a", 1.0), ("ñ" * 100, "a", 1.0)]
    + [(KEY, "a", bad) for bad in (0.0, -1.0, float("nan"), float("inf"))],
)
def test_a_lease_that_can_not_be_is_refused(tmp_path: Path, key: str, owner: str, timeout_s: float) -> None:
    with pytest.raises(ConfigError):
        Site(f"{tmp_path}/leases", {}).store().acquire(key, owner, timeout_s)


@given(key=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12))
def test_every_key_has_a_file_of_its_own(key: str) -> None:
    path = FileClaims(Path("/leases"))._path(key)
    assert path.parent == Path("/leases")
    assert path != FileClaims(Path("/leases"))._path(key + ".")
    assert len({path, path.with_suffix(".lock"), path.with_suffix(".new")}) == 3
