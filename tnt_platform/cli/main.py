"""The `tnt` command group, which imports the module of a command only when that command is used."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from tnt_platform.errors import TntError


class Command(NamedTuple):
    """The module of a command, and its line in `tnt --help`, which is printed without importing the modules."""

    module: str
    help: str


COMMANDS = {
    "demo": Command("demo", "Publish 1,000 generated shipper files and show the outcome."),
    "dev": Command("serving", "Start the web UI, the daemon, the dashboard and emulated APIs."),
    "sandbox": Command("serving", "Emulate the carrier's rate API until Ctrl-C."),
    "serve": Command("serving", "Serve the REST API and the dashboard until Ctrl-C."),
    "scan": Command("scan", "Compare the raw files with the published data."),
    "run": Command("runs", "Materialize a dataset."),
    "replay": Command("runs", "Ask the rate API again for quarantined cases only."),
    "versions": Command("history", "List the versions of a dataset, or all datasets."),
    "show": Command("history", "Show the rows or the quarantine of a version."),
    "diff": Command("history", "Show the rows that differ between two versions."),
    "rollback": Command("history", "Publish the content of an earlier version again."),
    "tag": Command("history", "Name a version, so that it never expires."),
    "verify": Command("history", "Verify the hashes and row counts of all published files."),
    "expire": Command("history", "Delete old versions."),
    "validate": Command(
        "validation", "Check the YAML of every dataset; print each fault with file and line."
    ),
    "schema": Command("validation", "Print the JSON Schema of defs.yaml, or update the docs' field tables."),
    "migrate": Command("migrate", "Migrate the schema of the PostgreSQL database."),
    "cost": Command("cost", "Price each AWS environment when it is idle."),
    "new": Command("new", "Draft a dataset from a file."),
    "import-legacy": Command("new", "Convert a dataset of the legacy series system."),
}

# Of a home that another user made, or a read-only file system.
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


class _Commands(click.Group):
    """Import a command when it is used, and print an error as one line instead of a stack trace."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tnt_platform.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        matching = [CompletionItem(n, help=c.help) for n, c in COMMANDS.items() if n.startswith(incomplete)]
        return matching + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except TntError as error:
            if ctx.params.get("debug"):
                raise
            click.secho(f"tnt: {error}", fg="red", err=True)
            sys.exit(1)
        except OSError as error:
            if ctx.params.get("debug") or error.errno not in _NOT_ALLOWED:
                raise
            click.secho(
                f"tnt: {error.filename}: {error.strerror}; let this user read and write it, or set TNT_HOME (data) and "
                "DAGSTER_HOME (runs) to folders that it may write",
                fg="red",
                err=True,
            )
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the stack trace of an error.")
@click.version_option(package_name="tnt_platform")
def main(debug: bool) -> None:
    """Turn files into versioned, traceable published data."""
    os.environ.setdefault("DAGSTER_HOME", str(_project_folder()))


def _project_folder() -> Path:
    """Return the folder with dagster.yaml: the current one, or the checkout that this package is installed from."""
    here = Path.cwd()
    for folder in (here, Path(__file__).parents[2]):
        if (folder / "dagster.yaml").is_file():
            return folder
    return here
