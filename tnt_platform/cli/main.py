"""The command line: each command in a module of its own, imported when it is used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from tnt_platform.errors import TntError


class _Commands(click.Group):
    """Says what went wrong in one line: a stack trace is no message to a user."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except TntError as error:
            if ctx.params.get("debug"):
                raise
            click.secho(f"tnt: {error}", fg="red", err=True)
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the stack trace of an error.")
@click.version_option(package_name="tnt_platform")
def main(debug: bool) -> None:
    """Files in, versioned and traceable published data out."""
    os.environ.setdefault("DAGSTER_HOME", str(_project_folder()))


def _project_folder() -> Path:
    """The folder with dagster.yaml: the one we are in, or the checkout this package was installed from."""
    here = Path.cwd()
    for folder in (here, Path(__file__).parents[2]):
        if (folder / "dagster.yaml").is_file():
            return folder
    return here


def _add_commands() -> None:
    from tnt_platform.cli import history, runs, serving, validation
    from tnt_platform.cli.demo import demo

    for command in (
        demo,
        serving.dev,
        serving.sandbox,
        runs.scan,
        runs.run,
        runs.replay,
        history.versions,
        history.show,
        history.diff,
        history.rollback,
        history.tag,
        history.verify,
        history.expire,
        validation.validate,
    ):
        main.add_command(command)


_add_commands()
