"""Migrate the schema of the PostgreSQL database with Alembic, run from code.

A new migration is a module in `versions/` with `revision`, `down_revision`, `upgrade` and `downgrade`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from tnt_platform.errors import Unavailable
from tnt_platform.services.postgres import Database

# Any number that nothing else in the database uses: "tnt" and a 1, as bytes.
MIGRATION_LOCK = 0x746E7401
LOCK_TIMEOUT_S = 60
DDL_LOCK_TIMEOUT_S = 2
DDL_ATTEMPTS = 30
DDL_PAUSE_S = 2.0
_NOT_GRANTED = "55P03"
_one_at_a_time = Lock()  # Alembic keeps its state in module variables


@dataclass(frozen=True)
class Revisions:
    """The revision of a schema (None: empty), the newest one of this release, and all of them, oldest first."""

    current: str | None
    target: str
    steps: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether this release knows the current revision; otherwise a newer release created it."""
        return self.current is None or self.current in self.steps

    @property
    def below(self) -> tuple[str, ...]:
        """The revisions to which the schema can be downgraded."""
        return self.steps[: self.steps.index(self.current)] if self.current in self.steps else ()

    @property
    def is_behind(self) -> bool:
        """Whether `migrate` has something to do; a schema of a newer release is not behind."""
        return self.known and self.current != self.target


def revisions(database: Database) -> Revisions:
    """Read the revision of the schema, without changing anything.

    Raises:
        Unavailable: the database cannot be reached.
        Refused: the user may not read it.
    """
    scripts = ScriptDirectory(str(Path(__file__).parent))
    with database.transaction() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    newest_first = [script.revision for script in scripts.walk_revisions()]
    return Revisions(current, newest_first[0], tuple(reversed(newest_first)))


def migrate(database: Database) -> None:
    """Upgrade the schema to the newest revision, in one transaction; processes wait for each other.

    Raises:
        Unavailable: another migration held the lock for more than a minute, or the database cannot be reached.
        Refused: the user may not create tables.
    """
    _run(database, lambda config: command.upgrade(config, "head"))


def migrate_down(database: Database, to: str = "base") -> None:
    """Downgrade the schema to revision `to`, in one transaction; `base` drops every table with its rows.

    Raises:
        Unavailable, Refused: see `migrate`.
    """
    _run(database, lambda config: command.downgrade(config, to))


def _run(database: Database, step: Callable[[Config], None]) -> None:
    """Run a step; give up its locks and try again later rather than make readers queue behind it."""
    for attempt in range(1, DDL_ATTEMPTS + 1):
        started_s = time.monotonic()
        try:
            with _one_at_a_time:
                _run_once(database, step)
        except Unavailable as error:
            code = getattr(getattr(error.__cause__, "orig", None), "pgcode", None)
            # After so long it was another migration that did not end, not a reader.
            is_other_migration = time.monotonic() - started_s >= LOCK_TIMEOUT_S
            if code != _NOT_GRANTED or is_other_migration or attempt == DDL_ATTEMPTS:
                raise
            time.sleep(DDL_PAUSE_S)
        else:
            return


def _run_once(database: Database, step: Callable[[Config], None]) -> None:
    with database.transaction() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        # Whoever comes after a statement that waits for a table waits too, readers included.
        connection.execute(text(f"SET LOCAL lock_timeout = '{DDL_LOCK_TIMEOUT_S}s'"))
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        step(config)
