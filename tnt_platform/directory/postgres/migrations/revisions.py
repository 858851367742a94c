"""Where the schema of a database stands, and where this version of the platform wants it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from tnt_platform.services.postgres import Database


@dataclass(frozen=True)
class Revisions:
    """The step a schema is at (None: empty), the newest of this version, and all of this version, oldest first."""

    current: str | None
    target: str
    steps: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether this version knows the current step; else a newer one made the schema."""
        return self.current is None or self.current in self.steps

    @property
    def below(self) -> tuple[str, ...]:
        """The steps that the schema can go back to."""
        return self.steps[: self.steps.index(self.current)] if self.current in self.steps else ()

    @property
    def is_behind(self) -> bool:
        """Whether `migrate` has something to do. A schema that a newer version made is not behind."""
        return self.known and self.current != self.target


def revisions(database: Database) -> Revisions:
    """Read where the schema stands; changes nothing.

    Raises:
        Unavailable, Refused: the database is away, or the user may not read it.
    """
    scripts = ScriptDirectory(str(Path(__file__).parent))
    with database.transaction() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    newest_first = [step.revision for step in scripts.walk_revisions()]
    return Revisions(current, newest_first[0], tuple(reversed(newest_first)))
