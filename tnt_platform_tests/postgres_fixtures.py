"""A real PostgreSQL for tests: the embedded one, or the one of TNT_TEST_DATABASE_URL (a superuser's)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from tnt_platform.directory.postgres.migrations import migrate
from tnt_platform.directory.postgres.tables import metadata
from tnt_platform.services.postgres import Database
from tnt_platform.services.postgres_server import EmbeddedServer
from tnt_platform_tests.directory.postgres.postgres_queries import (
    outside_a_transaction,
    statement,
    wait_until,
)

_numbers = count()


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A short path that the server's user may reach; pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix="tnt-pg-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "postgres"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[URL]:
    given = os.environ.get("TNT_TEST_DATABASE_URL")
    if given:
        yield make_url(given)
        return
    folder = Path(tempfile.mkdtemp(prefix="tnt-pg-"))
    server = EmbeddedServer.join(folder / "postgres")
    yield server.url
    server.leave()
    wait_until(lambda: not (folder / "postgres" / "data" / "postmaster.pid").exists())
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def directory_url(postgres_url: URL) -> Iterator[URL]:
    """A database with the newest schema."""
    with _temporary(postgres_url) as url:
        database = Database(url, application_name="tests")
        migrate(database)
        database.close()
        yield url


@pytest.fixture
def directory(directory_url: URL) -> Iterator[Database]:
    """The database of `directory_url` without rows."""
    database = Database(directory_url, application_name="tests")
    statement(database, f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE")
    yield database
    database.close()


@pytest.fixture
def empty_database_url(postgres_url: URL) -> Iterator[URL]:
    """A database without a schema, for one test."""
    with _temporary(postgres_url) as url:
        yield url


@contextmanager
def _temporary(url: URL) -> Iterator[URL]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    outside_a_transaction(url, f"CREATE DATABASE {name}")
    yield url.set(database=name)
    outside_a_transaction(url, f"DROP DATABASE {name} WITH (FORCE)")
