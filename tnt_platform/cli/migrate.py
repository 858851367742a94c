"""`tnt migrate`: the schema of the platform's PostgreSQL database, brought to what this version needs."""

from __future__ import annotations

import click

from tnt_platform.directory.postgres.migrations import Revisions, migrate_down, revisions
from tnt_platform.directory.postgres.migrations import migrate as upgrade
from tnt_platform.errors import NotFound
from tnt_platform.services.postgres import open_database
from tnt_platform.settings import Settings


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if the schema is behind.")
@click.option("--down-to", metavar="STEP", help="Go back to this step, before an older version is deployed.")
def migrate(check: bool, down_to: str | None) -> None:
    """Bring the schema of DATABASE_URL (default: the embedded server) to the newest step, in one transaction.

    A schema that a newer version of the platform made is left alone: only that version knows the way back.
    Dagster's own tables are migrated by `dagster instance migrate`.
    """
    if check and down_to:
        raise click.UsageError("--check changes nothing; give either it or --down-to")
    settings = Settings.from_environment()
    url = settings.resolve("${DATABASE_URL:-}")
    with open_database(url, folder=settings.home / "postgres") as database:
        before = revisions(database)
        click.echo(f"{database.engine.url.render_as_string()}: {_said(before)}")
        if down_to:
            migrate_down(database, _step(down_to, before))
        elif before.is_behind and not check:
            upgrade(database)
        if (after := revisions(database)) != before:
            click.echo(f"now at {after.current}")
    if before.is_behind and check:
        raise click.exceptions.Exit(1)


def _said(found: Revisions) -> str:
    at = f"at {found.current}" if found.current else "empty"
    if not found.known:
        return f"{at}, made by a newer version than this one, which ends at {found.target}; left as it is"
    return f"{at}, wanted {found.target}" if found.is_behind else f"{at}, the newest; nothing to do"


def _step(wanted: str, found: Revisions) -> str:
    """Only a step below the current one: Alembic would take `base`, which drops every table."""
    if wanted not in found.below:
        known = ", ".join(found.below) or "none"
        raise NotFound(f"there is no step {wanted!r} below {found.current}; known: {known}")
    return wanted
