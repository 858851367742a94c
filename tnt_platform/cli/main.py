"""The command line: each command lives in a module of its own, imported when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click

from tnt_platform.errors import TntError

COMMANDS = {
    "demo": "demo",
    "dev": "serving",
    "sandbox": "serving",
    "serve": "serve",
    "scan": "runs",
    "run": "runs",
    "replay": "runs",
    "versions": "history",
    "show": "history",
    "diff": "history",
    "rollback": "history",
    "tag": "history",
    "verify": "history",
    "expire": "history",
    "validate": "validation",
    "migrate": "migrate",
    "cost": "cost",
    "new": "new",
    "import-legacy": "legacy",
}


class _Commands(click.Group):
    """Imports a command when it is asked for, and says what went wrong in one line instead of a stack trace."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tnt_platform.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

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
