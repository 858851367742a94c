"""The embedded server's life, and a database's pool, limits and errors."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread
from time import sleep

import psutil
import pytest
from sqlalchemy import URL, text

from tnt_platform.errors import ConfigError, PermanentError, Refused, Unavailable
from tnt_platform.services import postgres, postgres_server
from tnt_platform.services.postgres import Database, open_database
from tnt_platform.services.postgres_server import EmbeddedServer
from tnt_platform_tests.directory.postgres.postgres_queries import rows, statement, wait_until
from tnt_platform_tests.paths import REPOSITORY

pytest_plugins = ("tnt_platform_tests.postgres_fixtures",)

USER = """
import sys, time
from pathlib import Path
from tnt_platform.services.postgres_server import EmbeddedServer
server = EmbeddedServer.join(Path(sys.argv[1]))
print("joined", flush=True)
sys.stdin.read()
"""


def user(folder: Path, **options: object) -> subprocess.Popen[str]:
    """Another process that uses the server until its standard input ends."""
    command = [sys.executable, "-c", USER, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


def joined(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    assert process.stdout is not None
    assert process.stdout.readline() == "joined\n"
    return process


def postmaster(folder: Path) -> int | None:
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    except FileNotFoundError:
        return None
    return pid if psutil.pid_exists(pid) else None


def watchers(folder: Path) -> list[psutil.Process]:
    lock = str(folder / "watcher.lock")
    return [
        process for process in psutil.process_iter(["cmdline"]) if lock in (process.info["cmdline"] or [])
    ]


@pytest.fixture
def server(server_folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer.join(server_folder)
    yield server
    server.leave()
    wait_until(lambda: postmaster(server.folder) is None)


def test_the_server_keeps_its_data_and_stops_when_its_last_user_leaves(server_folder: Path) -> None:
    with open_database(None, folder=server_folder) as database:
        statement(database, "CREATE TABLE kept (id integer)")
        with open_database(None, folder=server_folder) as second:
            assert rows(second, "SELECT * FROM kept") == []
        assert rows(database, "SELECT count(*) FROM kept") == [(0,)]
    wait_until(lambda: postmaster(server_folder) is None and not watchers(server_folder))
    with open_database(None, folder=server_folder) as database:
        assert rows(database, "SELECT count(*) FROM kept") == [(0,)]
    wait_until(lambda: postmaster(server_folder) is None)


def test_processes_share_one_server_and_a_killed_one_does_not_keep_it(server_folder: Path) -> None:
    processes = [user(server_folder) for _ in range(3)]
    for process in processes:
        joined(process)
    pid = postmaster(server_folder)
    assert pid is not None
    assert len(watchers(server_folder)) == 1
    for process in processes[:2]:
        process.kill()
        process.wait()
    sleep(0.3)
    assert postmaster(server_folder) == pid
    processes[2].kill()
    processes[2].wait()
    wait_until(lambda: postmaster(server_folder) is None and not watchers(server_folder))


def test_a_watcher_that_was_killed_is_replaced_by_the_next_user(server: EmbeddedServer) -> None:
    [watcher] = watchers(server.folder)
    watcher.kill()
    watcher.wait()
    EmbeddedServer.join(server.folder).leave()
    assert len(watchers(server.folder)) == 1


def test_a_server_that_crashed_is_started_again_by_the_next_user(server: EmbeddedServer) -> None:
    pid = postmaster(server.folder)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: postmaster(server.folder) is None)
    with open_database(None, folder=server.folder) as database:
        assert rows(database, "SELECT 1") == [(1,)]
        assert postmaster(server.folder) not in (None, pid)


def test_a_long_folder_with_spaces_works_through_a_short_socket_folder(server_folder: Path) -> None:
    folder = server_folder.parent / "it's a long name" / ("x" * 100)
    with open_database(None, folder=folder) as database:
        assert rows(database, "SELECT 1") == [(1,)]
        [socket] = rows(database, "SHOW unix_socket_directories")[0]
        assert len(socket) < 60
        assert Path(socket).stat().st_mode & 0o777 == 0o700
        assert rows(database, "SHOW listen_addresses") == [("",)]
    wait_until(lambda: postmaster(folder) is None)
    shutil.rmtree(socket, ignore_errors=True)


def test_data_of_another_version_is_refused_and_left_alone(server_folder: Path) -> None:
    (server_folder / "data").mkdir(parents=True)
    (server_folder / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(ConfigError, match=r"PostgreSQL 12.*18, 16"):
        EmbeddedServer.join(server_folder)
    assert [path.name for path in (server_folder / "data").iterdir()] == ["PG_VERSION"]


def test_a_server_that_cannot_start_says_why(server: EmbeddedServer) -> None:
    folder = server.folder
    server.leave()
    wait_until(lambda: postmaster(folder) is None)
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write("shared_buffers = 'nonsense'\n")
    with pytest.raises(Unavailable, match="shared_buffers"):
        EmbeddedServer.join(folder)


def test_without_the_extra_the_error_says_what_to_install(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "find_spec", lambda name: None)
    with (
        pytest.raises(ConfigError, match=r"(?s)DATABASE_URL.*tnt_platform\[local\]"),
        open_database(None, folder=server_folder),
    ):
        pass
    assert not postgres_server.is_installed()
    assert not server_folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_runs_for_a_normal_user_too() -> None:
    person = pwd.getpwnam("nobody")
    try:
        subprocess.run(
            [sys.executable, "-c", ""], user=person.pw_uid, group=person.pw_gid, check=True, cwd="/"
        )
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("the interpreter is in a folder that only root may enter")
    with tempfile.TemporaryDirectory(prefix="tnt-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.chown(folder, person.pw_uid, person.pw_gid)
        process = joined(
            user(folder / "postgres", user=person.pw_uid, group=person.pw_gid, extra_groups=[],
                 env={"PATH": os.environ["PATH"]}, cwd=REPOSITORY)
        )  # fmt: skip
        assert (folder / "postgres" / "data").stat().st_uid == person.pw_uid
        process.communicate("")
        wait_until(lambda: postmaster(folder / "postgres") is None)


@pytest.mark.skipif(os.geteuid() != 0, reason="nothing is opened for a normal user")
def test_for_root_closed_parents_are_opened_for_passing_only(server: EmbeddedServer) -> None:
    assert server.folder.parent.stat().st_mode & 0o777 == 0o701
    assert (server.folder / "data").stat().st_mode & 0o777 == 0o700
    assert (server.folder / "data").stat().st_uid != 0


@pytest.mark.parametrize(
    "url",
    ["mysql://me:s3cret@host/name", "postgresql+psycopg://me:s3cret@host/name", "s3cret", "postgresql://me:s3cret@host:x/n"],
)  # fmt: skip
def test_a_url_that_is_not_postgresqls_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://user:password@host/name") as caught:
        Database(url, application_name="tests")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_secrets_are_not_in_texts_and_errors(scheme: str) -> None:
    url = f"{scheme}://me:s3cret@127.0.0.1:1/name?sslpassword=s3cret2&connect_timeout=2"
    database = Database(url, application_name="tests")
    assert str(database) == "postgresql+psycopg2://me:***@127.0.0.1:1/name?connect_timeout=2"
    with pytest.raises(Unavailable, match="Connection refused") as caught:
        statement(database, "SELECT 1")
    told = "".join(traceback.format_exception(caught.value)) + repr(database) + repr(database.engine)
    assert "s3cret" not in told
    assert "me:***@127.0.0.1" in str(caught.value)


def test_every_connection_has_a_name_and_limits(directory_url: URL) -> None:
    database = Database(
        directory_url.update_query_dict({"options": "-c search_path=pg_catalog"}), application_name="the app"
    )
    shown = "SELECT current_setting(:name)"
    names = ("application_name", "statement_timeout", "idle_in_transaction_session_timeout", "search_path")
    assert [rows(database, shown, name=name)[0][0] for name in names] == [
        "the app",
        "2min",
        "5min",
        "pg_catalog",
    ]
    database.close()


def test_a_statement_that_takes_too_long_is_stopped(directory: Database) -> None:
    with pytest.raises(Unavailable, match="statement timeout"), directory.transaction() as connection:  # noqa: PT012
        connection.execute(text("SET LOCAL statement_timeout = 50"))
        connection.execute(text("SELECT pg_sleep(20)"))


def test_a_lost_connection_is_an_error_once_and_replaced_afterwards(directory: Database) -> None:
    with pytest.raises(Unavailable, match="terminat"):
        statement(directory, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert rows(directory, "SELECT 1") == [(1,)]


def test_connections_that_died_in_the_pool_are_replaced_unseen(
    directory: Database, directory_url: URL
) -> None:
    assert rows(directory, "SELECT 1") == [(1,)]
    other = Database(directory_url, application_name="killer")
    statement(other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tests'"
              " AND datname = current_database()")  # fmt: skip
    other.close()
    assert rows(directory, "SELECT 2") == [(2,)]


def test_a_pool_that_is_used_up_says_so(directory: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory.engine.pool, "_timeout", 0.05)
    held = [directory.engine.connect() for _ in range(2 * postgres.POOL_SIZE)]
    with pytest.raises(Unavailable, match="pool"):
        statement(directory, "SELECT 1")
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        (
            "SELECT * FROM nothing",
            ConfigError,
            'relation "nothing" does not exist. Check DATABASE_URL and run',
        ),
        ("SELECT 1/0", PermanentError, "division by zero"),
        ("SET ROLE nobody_at_all", PermanentError, "nobody_at_all"),
    ],
)
def test_errors_of_statements_keep_the_servers_words(
    directory: Database, sql: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        statement(directory, sql)


def test_a_database_that_is_not_there_is_a_matter_of_configuration(directory_url: URL) -> None:
    database = Database(directory_url.set(database="missing"), application_name="tests")
    with pytest.raises(ConfigError, match='database "missing" does not exist'):
        statement(database, "SELECT 1")


def test_a_wrong_password_is_refused(server: EmbeddedServer) -> None:
    database = Database(server.url, application_name="tests")
    statement(database, "CREATE ROLE me LOGIN PASSWORD 'right'")
    rules = server.folder / "data" / "pg_hba.conf"
    rules.write_text("local all me scram-sha-256\n" + rules.read_text())
    statement(database, "SELECT pg_reload_conf()")
    wrong = Database(server.url.set(username="me", password="wr0ng"), application_name="tests")

    def refused() -> bool:
        try:
            statement(wrong, "SELECT 1")
        except Refused as error:
            told = "".join(traceback.format_exception(error))
            return "password authentication failed" in told and "wr0ng" not in told
        return False

    wait_until(refused)
    database.close()


def test_deadlocks_can_be_retried(directory: Database) -> None:
    statement(directory, "INSERT INTO floors (code) VALUES ('a'), ('b')")
    outcomes: list[object] = []
    both_hold_one = Barrier(2, timeout=60)

    def lock(first: str, second: str) -> None:
        update = text("UPDATE floors SET name = 'x' WHERE code = :code")
        try:
            with directory.transaction() as connection:
                connection.execute(update, {"code": first})
                both_hold_one.wait()
                connection.execute(update, {"code": second})
        except Unavailable as error:
            outcomes.append(str(error))

    threads = [Thread(target=lock, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 1
    assert "deadlock detected" in str(outcomes[0])


def test_data_that_a_killed_process_left_half_made_is_made_anew(tmp_path: Path) -> None:
    """initdb writes PG_VERSION early: a server that starts on half of the rest never stops again."""
    half = tmp_path / "server" / "data.making"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    with open_database(None, folder=tmp_path / "server") as database, database.transaction() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1
    assert not half.exists()
