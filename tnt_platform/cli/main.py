"""The command line: each command is a module of its own, imported when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from tnt_platform.errors import TntError


class Command(NamedTuple):
    """The module of a command, and its line in `tnt --help`: printing that must not import them all."""

    module: str
    help: str


COMMANDS = {
    "demo": Command("demo", "Make 1,000 shipper files, let the sensor find them, and show the outcome."),
    "dev": Command("serving", "Start web UI, daemon, dashboard and emulated APIs."),
    "sandbox": Command("serving", "Emulate the carrier's rate API until Ctrl-C."),
    "serve": Command("serve", "Serve the REST API and the dashboard until Ctrl-C."),
    "scan": Command("scan", "Compare the raw files with what is published."),
    "run": Command("runs", "Materialize a dataset."),
    "replay": Command("runs", "Ask the API again for the quarantined cases alone."),
    "versions": Command("history", "List the versions of a dataset, or all datasets."),
    "show": Command("history", "Show the rows or the quarantine of a version."),
    "diff": Command("history", "Show by key what changed between two versions."),
    "rollback": Command("history", "Make a dataset what it was in an earlier version."),
    "tag": Command("history", "Name a version, so that it never expires."),
    "verify": Command("history", "Read every live file again and check it."),
    "expire": Command("history", "Drop old versions."),
    "validate": Command("validation", "Check every dataset's YAML; print faults by file and line."),
    "schema": Command("schema", "Print the JSON Schema of defs.yaml, or write the docs' field tables."),
    "migrate": Command("migrate", "Migrate the schema of the platform's PostgreSQL database."),
    "cost": Command("cost", "Price what each environment on AWS costs when idle."),
    "new": Command("new", "Draft a dataset from a file."),
    "import-legacy": Command("legacy", "Convert a dataset of the old series system."),
}


class _Commands(click.Group):
    """Imports a command when it is asked for, and prints an error as one line instead of a stack trace."""

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
        own = [CompletionItem(n, help=c.help) for n, c in COMMANDS.items() if n.startswith(incomplete)]
        return own + click.Command.shell_complete(self, ctx, incomplete)

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
