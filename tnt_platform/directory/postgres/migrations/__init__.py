"""The schema of the platform's PostgreSQL database, step by step (Alembic), run from code.

A new step is a module in `versions/` with `revision`, `down_revision`, `upgrade` and `downgrade`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from tnt_platform.services.postgres import Database

# Any number will do that nothing else in the database uses ("tnt" and a 1, as bytes).
MIGRATION_LOCK = 0x746E7401
LOCK_TIMEOUT_S = 60
_one_at_a_time = Lock()  # Alembic keeps the step it runs in module variables


def migrate(database: Database) -> None:
    """Bring the schema to the newest step, in one transaction; processes wait for each other.

    Raises:
        Unavailable: another migration holds the lock for longer than a minute, or the database is away.
        Refused: the user may not create tables.
    """
    _run(database, lambda config: command.upgrade(config, "head"))


def migrate_down(database: Database, to: str = "base") -> None:
    """Take the schema back to step `to`, in one transaction; `base` drops every table and what it holds.

    Raises:
        Unavailable, Refused: see `migrate`.
    """
    _run(database, lambda config: command.downgrade(config, to))


def _run(database: Database, step: Callable[[Config], None]) -> None:
    with _one_at_a_time, database.transaction() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        step(config)
