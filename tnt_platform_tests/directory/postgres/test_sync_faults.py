"""Whatever kills a sync, the tables hold one whole state and the log is right; and the main queries use indexes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from threading import Event, Thread
from time import sleep
from typing import Any

import polars as pl
import pytest
from sqlalchemy import URL, event, text

from tnt_platform.directory.postgres import staging as directory_staging
from tnt_platform.directory.postgres import sync as directory_sync
from tnt_platform.directory.postgres.sync import DirectorySync
from tnt_platform.errors import Unavailable
from tnt_platform.services.postgres import Database
from tnt_platform_tests.directory.postgres.frames import CATEGORIES, FLOORS, issues, tenant, tenants, unmapped
from tnt_platform_tests.directory.postgres.postgres_queries import rows, statement, wait_until
from tnt_platform_tests.directory.postgres.test_sync import newest_log, slugs, synced
from tnt_platform_tests.rounds import rounds

pytest_plugins = ("tnt_platform_tests.postgres_fixtures",)

INPUTS = {"categories": CATEGORIES, "floors": FLOORS, "issues": issues(), "unmapped": unmapped()}


def state(number: int, records: int = 300) -> pl.DataFrame:
    """Make state `number`: every record carries the number, a third changes kind, some are missing."""
    return tenants(
        *(
            tenant(
                f"u{record}",
                kind="dining" if (record + number) % 3 == 0 else "shop",
                slug_base=f"s{record % 50}",
                title_en=f"{number}",
                zone=str(number),
            )
            for record in range(records)
            if (record + number) % 7
        )
    )


def live(database: Database) -> set[tuple[str, str, str, str]]:
    found = set()
    for kind in ("shop", "dining"):
        sql = f"SELECT unique_id, zone, title FROM {kind}s LEFT JOIN {kind}_translations ON {kind}_id = id"
        found |= {(kind, *row) for row in rows(database, sql + " WHERE withdrawn_at IS NULL")}
    return found


def expected(frame: pl.DataFrame) -> set[tuple[str, str, str, str]]:
    return set(frame.select("kind", "unique_id", "zone", "title_en").iter_rows())


def whole_state(database: Database) -> int:
    """Return the number of the state in the tables, which must be complete and the only one."""
    found = live(database)
    [number] = {int(zone) for _, _, zone, _ in found}
    assert found == expected(state(number))
    everyone = list(slugs(database).values())
    assert len(everyone) == len(set(everyone))
    return number


def apply(database: Database, number: int, **options: Any) -> None:
    with DirectorySync(database, owner=str(number), **options) as sync:
        sync.apply(state(number), complete=True, **INPUTS)


def test_a_session_terminated_before_the_commit_leaves_the_tables_unchanged(
    directory: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(directory, 1)
    real = directory_sync.upsert

    def killed(connection: Any, *frames: Any, **given: Any) -> Any:
        real(connection, *frames, **given)
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with monkeypatch.context() as patch:
        patch.setattr(directory_sync, "upsert", killed)
        with pytest.raises(Unavailable):
            apply(directory, 2)
    assert whole_state(directory) == 1
    status, error, owner = newest_log(directory, "status, error, owner")
    assert (status, owner) == ("FAILED", "2")
    assert error.startswith("Unavailable: ")
    apply(directory, 3)
    assert whole_state(directory) == 3


def test_a_session_terminated_during_copy_leaves_the_tables_unchanged(
    directory: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(directory, 1)
    real = directory_staging.copy_into

    def killed(connection: Any, table: str, frame: pl.DataFrame) -> int:
        pid = connection.connection.dbapi_connection.info.backend_pid
        statement(directory, "SELECT pg_terminate_backend(:pid)", pid=pid)
        return real(connection, table, frame)

    with monkeypatch.context() as patch:
        patch.setattr(directory_staging, "copy_into", killed)
        with pytest.raises(Unavailable):
            apply(directory, 2)
    assert whole_state(directory) == 1
    assert newest_log(directory, "status, owner") == ("FAILED", "2")


def test_a_connection_lost_after_the_commit_counts_as_success(directory: Database) -> None:
    """The response to COMMIT is lost; the log row, written in the same transaction, shows that it succeeded."""
    apply(directory, 1)
    armed = Event()

    @event.listens_for(directory.engine, "commit")
    def lose_the_answer(connection: Any) -> None:
        if armed.is_set() and connection.info.pop("loses", False):
            driver = connection.connection.dbapi_connection
            driver.commit()
            pid = driver.info.backend_pid
            armed.clear()
            statement(directory, "SELECT pg_terminate_backend(:pid)", pid=pid)
            wait_until(lambda: rows(directory, f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}") == [])

    with DirectorySync(directory, owner="2") as sync:
        sync._connection.info["loses"] = True
        armed.set()
        counts = sync.apply(state(2), complete=True, **INPUTS)
    assert counts.records == state(2).height
    assert whole_state(directory) == 2
    assert newest_log(directory, "status, owner") == ("COMPLETED", "2")


def test_a_session_lost_between_begin_and_apply_ends_as_failed(directory: Database) -> None:
    with pytest.raises(Unavailable), DirectorySync(directory, owner="test") as sync:  # noqa: PT012
        statement(
            directory, "SELECT pg_terminate_backend(backend_pid) FROM sync_logs WHERE status = 'RUNNING'"
        )
        sync.apply(state(1), complete=True, **INPUTS)
    assert newest_log(directory, "status, completed_at IS NOT NULL") == ("FAILED", True)


def test_an_unreachable_database_does_not_hide_what_stopped_the_sync(
    directory: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise Unavailable("gone")

    with pytest.raises(ValueError, match="page 7"), DirectorySync(directory, owner="test") as sync:  # noqa: PT012
        monkeypatch.setattr(directory_sync.log, "end", away)
        monkeypatch.setattr(sync, "_status_after_loss", away)
        raise ValueError("page 7")
    monkeypatch.undo()
    apply(directory, 1)
    assert rows(directory, "SELECT status FROM sync_logs ORDER BY id") == [("FAILED",), ("COMPLETED",)]


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_sessions_terminated_at_random_points_leave_whole_states(
    directory: Database, directory_url: URL
) -> None:
    chance = random.Random(7)
    killer = Database(directory_url, application_name="killer")
    apply(directory, 0)
    outcomes = {"killed": 0, "survived": 0}
    held = 0
    for number in range(1, rounds(50) + 1):
        delay_s = chance.uniform(0, 0.25)

        def kill(delay_s: float = delay_s) -> None:
            sleep(delay_s)
            rows(killer, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE application_name = 'tests' AND datname = current_database()")  # fmt: skip

        thread = Thread(target=kill)
        thread.start()
        before = held
        try:
            apply(directory, number)
            outcomes["survived"] += 1
            wanted = number
        except Unavailable:
            outcomes["killed"] += 1
            wanted = before
        thread.join()
        directory.engine.dispose()
        held = whole_state(directory)
        status, owner = newest_log(directory, "status, owner")
        if owner == str(number):
            assert (held == number) == (status == "COMPLETED")
        assert held == wanted
    apply(directory, 99)
    assert rows(directory, "SELECT count(*) FROM sync_logs WHERE status = 'RUNNING'") == [(0,)]
    assert outcomes["killed"] > rounds(50) / 10
    killer.close()


CHILD = """
import sys
from tnt_platform.services.postgres import Database
from tnt_platform_tests.directory.postgres.test_sync_faults import apply
database = Database(sys.argv[1], application_name="child")
apply(database, int(sys.argv[2]))
for number in range(int(sys.argv[2]) + 1, 10**9):
    print("ready", flush=True)
    apply(database, number)
"""


def children(url: URL) -> Iterator[subprocess.Popen[str]]:
    """Start processes that sync one state after another; one ahead of its use, because imports take seconds."""
    first = 0

    def start() -> subprocess.Popen[str]:
        nonlocal first
        first += 1000
        command = [sys.executable, "-c", CHILD, url.render_as_string(hide_password=False), str(first)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    while True:
        yield start()


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_processes_killed_at_random_points_leave_whole_states(
    directory: Database, directory_url: URL
) -> None:
    chance = random.Random(11)
    seen = set()
    processes = children(directory_url)
    for _ in range(rounds(50)):
        process = next(processes)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sleep(chance.uniform(0, 0.4))
        process.kill()
        process.wait()
        seen.add(newest_log(directory, "status")[0])
        with DirectorySync(directory, owner="after", lock_timeout_s=30):
            held = whole_state(directory)
        log = rows(directory, "SELECT status FROM sync_logs WHERE owner = :owner", owner=str(held))
        assert log == [("COMPLETED",)]
        completed = rows(
            directory, "SELECT owner FROM sync_logs WHERE status = 'COMPLETED' ORDER BY id DESC LIMIT 1"
        )
        assert completed == [(str(held),)]
        assert rows(directory, "SELECT count(*) FROM sync_logs WHERE status = 'RUNNING'") == [(0,)]
    assert "RUNNING" in seen


@pytest.mark.heavy
def test_fifty_thousand_records_with_equal_slug_bases_and_special_characters(directory: Database) -> None:
    special = "é\\N\t\r\n\"'{},\u2028\U0001f354"
    frame = tenants(
        *(
            tenant(f"{number:06}", kind=("shop", "dining")[number % 2], slug_base=f"s{number % 100}",
                   title_th=special * (number % 3), gallery=[special, ""], category="FASHION", fingerprint=str(number))
            for number in range(50_000)
        )
    )  # fmt: skip
    with DirectorySync(directory, owner="test") as sync:
        assert sync.apply(frame, complete=True, **INPUTS).created == 50_000
    everyone = slugs(directory)
    assert len(set(everyone.values())) == 50_000
    assert everyone["000100"] == "s0-2"
    assert everyone["049999"] == "s99-500"
    assert rows(directory, "SELECT DISTINCT gallery FROM dinings") == [([special, ""],)]
    with DirectorySync(directory, owner="test") as sync:
        assert sync.apply(frame, complete=True, **INPUTS).unchanged == 50_000


MAIN_QUERIES = {
    "a page of the site": ("SELECT * FROM shops WHERE slug = 'slug-of-u77'", "shops_slug_key"),
    "a record of the source": ("SELECT * FROM dinings WHERE unique_id = 'u78'", "dinings_unique_id_key"),
    "the list of a category": (
        "SELECT * FROM shops WHERE category_id = 1 AND status = 'ACTIVE' AND withdrawn_at IS NULL"
        " ORDER BY sort_order, id LIMIT 20",
        "shops_listed_by_category",
    ),
    "the list of a floor": (
        "SELECT * FROM dinings WHERE floor_id = 1 AND status = 'ACTIVE' AND withdrawn_at IS NULL"
        " ORDER BY sort_order, id LIMIT 20",
        "dinings_listed_by_floor",
    ),
    "a page's texts": (
        "SELECT * FROM shop_translations WHERE shop_id = 77 AND locale = 'th'",
        "shops_pkey",
    ),
    "the newest syncs": ("SELECT * FROM sync_logs ORDER BY started_at DESC LIMIT 20", "sync_logs_by_start"),
    "what runs now": ("SELECT * FROM sync_logs WHERE status = 'RUNNING'", "sync_logs_one_running"),
    "a sync's issues": ("SELECT * FROM sync_issues WHERE sync_id = 5", "sync_issues_by_sync"),
    "a sync's unmapped values": ("SELECT * FROM sync_unmapped WHERE sync_id = 5", "sync_unmapped_by_sync"),
}


def test_a_sync_that_changes_every_row_leaves_each_on_its_page(directory: Database) -> None:
    """On the same page, the new version of a row needs no new index entry."""
    pages = "SELECT unique_id, (CAST(CAST(ctid AS text) AS point))[0] FROM shops ORDER BY 1"
    apply(directory, 0)
    before = rows(directory, pages)
    frame = state(0).with_columns(zone=pl.lit("new"), fingerprint=pl.col("fingerprint") + "2")
    with DirectorySync(directory, owner="test") as sync:
        assert sync.apply(frame, complete=True, **INPUTS).updated == frame.height
    assert rows(directory, pages) == before
    assert len({page for _, page in before}) > 5


def fill(database: Database) -> None:
    names = (f"u{number}" for number in range(4000))
    synced(database, *(tenant(name, kind=("shop", "dining")[n % 2], category="FASHION" if n % 3 else None,
                              floor="GF" if n % 5 else None) for n, name in enumerate(names)))  # fmt: skip
    statement(database, "UPDATE shops SET status = 'ACTIVE' WHERE id % 4 = 0")
    statement(database, "UPDATE dinings SET status = 'ACTIVE' WHERE id % 4 = 0")
    statement(database, "INSERT INTO sync_logs (status, started_at, completed_at, owner)"
              " SELECT 'FAILED', now() - n * interval '1 h', now(), 'x' FROM generate_series(1, 2000) n")  # fmt: skip
    statement(
        database,
        "INSERT INTO sync_issues SELECT 1 + n % 500, n, 'f', 'c', 'v', 'm' FROM generate_series(1, 9000) n",
    )
    statement(
        database,
        "INSERT INTO sync_unmapped SELECT 1 + n % 500, 'floor', n, 1, '[]' FROM generate_series(1, 9000) n",
    )
    statement(database, "ANALYZE")


def test_the_main_queries_use_their_indexes(directory: Database) -> None:
    fill(directory)
    used = {}
    for name, (query, _) in MAIN_QUERIES.items():
        [[plan]] = rows(directory, f"EXPLAIN (FORMAT JSON) {query}")
        used[name] = json.dumps(plan)
    missing = [name for name, (_, index) in MAIN_QUERIES.items() if f'"{index}"' not in used[name]]
    assert missing == []
    assert not [name for name, plan in used.items() if "Seq Scan" in plan]
