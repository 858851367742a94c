"""Query and change a PostgreSQL database in tests."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep

from sqlalchemy import URL, text

from tnt_platform.services.postgres import Database


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline_s = monotonic() + timeout_s
    while not condition():
        assert monotonic() < deadline_s, "it did not happen in time"
        sleep(0.02)


def statement(database: Database, sql: str, **values: object) -> None:
    with database.transaction() as connection:
        connection.execute(text(sql), values)


def rows(database: Database, sql: str, **values: object) -> list[tuple]:
    with database.transaction() as connection:
        return [tuple(row) for row in connection.execute(text(sql), values)]


def outside_a_transaction(url: URL, sql: str) -> None:
    database = Database(url, application_name="tests")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(sql))
    database.close()
