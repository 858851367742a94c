"""`tnt validate`: every fault of every dataset's YAML at once, with file and line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from tnt_platform.kinds import DEFS, validate_datasets
from tnt_platform.settings import Settings
from tnt_platform.validation.validate import Fault


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=DEFS)
@click.option("--strict-env", is_flag=True, help="An environment variable that is not set is a fault.")
def validate(folder: Path, strict_env: bool) -> None:
    """Check every dataset below FOLDER (default: the package's defs/) and print each fault with file and line."""
    report = validate_datasets(folder, Settings.from_environment(), strict_env=strict_env)
    for fault in sorted([*report.faults, *report.warnings]):
        click.echo(str(_from_here(fault)))
    if report.faults:
        files = len({fault.path for fault in report.faults})
        click.echo(f"{_counted(len(report.faults), 'fault')} in {_counted(files, 'file')}", err=True)
        raise click.exceptions.Exit(1)
    click.echo(f"{_counted(report.datasets, 'dataset')} in order")


def _from_here(fault: Fault) -> Fault:
    """The path as an editor or a terminal opens it with a click."""
    path, here = fault.path.absolute(), Path.cwd()
    return replace(fault, path=path.relative_to(here) if path.is_relative_to(here) else path)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
