"""`tnt migrate`: migrate the schema of the PostgreSQL database to what this version needs."""

from __future__ import annotations

import click

from tnt_platform.directory.postgres.migrations import Revisions, migrate_down, revisions
from tnt_platform.directory.postgres.migrations import migrate as upgrade
from tnt_platform.errors import NotFound
from tnt_platform.services.postgres import open_database
from tnt_platform.settings import Settings


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if the schema is behind.")
@click.option(
    "--down-to", metavar="REVISION", help="Downgrade to this revision, before an older version is deployed."
)
def migrate(check: bool, down_to: str | None) -> None:
    """Migrate the schema of DATABASE_URL (default: the embedded server) to the latest revision, in one transaction.

    A schema of a newer version of the platform is left alone, since only that version can downgrade it.
    Dagster's own tables are migrated by `dagster instance migrate`.
    """
    if check and down_to:
        raise click.UsageError("--check changes nothing; give either --check or --down-to")
    settings = Settings.from_environment()
    url = settings.resolve("${DATABASE_URL:-}")
    with open_database(url, folder=settings.home / "postgres") as database:
        before = revisions(database)
        click.echo(f"{database.engine.url.render_as_string()}: {_describe(before)}")
        if down_to:
            migrate_down(database, _known_revision(down_to, before))
        elif before.is_behind and not check:
            upgrade(database)
        if (after := revisions(database)) != before:
            click.echo(f"now at {after.current}")
    if before.is_behind and check:
        raise click.exceptions.Exit(1)


def _describe(found: Revisions) -> str:
    current = f"at {found.current}" if found.current else "empty"
    if not found.known:
        return (
            f"{current}, which is newer than the latest revision of this version ({found.target}); left alone"
        )
    return f"{current}, needs {found.target}" if found.is_behind else f"{current}, up to date"


def _known_revision(revision: str, found: Revisions) -> str:
    """Accept only earlier revisions; Alembic would also take `base`, which drops every table."""
    if revision not in found.below:
        known = ", ".join(found.below) or "none"
        raise NotFound(f"{revision!r} is not a revision before {found.current}; choose one of: {known}")
    return revision
