"""`tnt validate` and `tnt schema`: what the YAML of a dataset may hold, and what is wrong with it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import click

from tnt_platform.cli.tables import Output, printing
from tnt_platform.kinds import DEFS, KINDS, validate_datasets
from tnt_platform.settings import Settings
from tnt_platform.validation.validate import Fault

_SHARE = re.compile(r"max_\w+_share")


@click.command()
@printing
@click.argument("folder", type=click.Path(path_type=Path), default=DEFS)
@click.option("--strict-env", is_flag=True, help="Treat unset environment variables as faults.")
def validate(out: Output, folder: Path, strict_env: bool) -> None:
    """Check every dataset below FOLDER (default: the package's defs/); print each fault with file and line."""
    report = validate_datasets(folder, Settings.from_environment(), strict_env=strict_env)
    out.put("datasets", report.datasets)
    for name, faults in (("faults", report.faults), ("warnings", report.warnings)):
        out.put(name, [str(_relative(fault)) for fault in sorted(faults)])
    for fault in sorted([*report.faults, *report.warnings]):
        out.print(str(_relative(fault)))
    if report.faults:
        files = len({fault.path for fault in report.faults})
        out.warn(f"{_plural(len(report.faults), 'fault')} in {_plural(files, 'file')}")
        raise click.exceptions.Exit(1)
    out.print(f"{_plural(report.datasets, 'dataset')} OK")
    _explain_guard_rails(out)


def _explain_guard_rails(out: Output) -> None:
    """Tell the limits beyond which a publish is blocked where no YAML says otherwise."""
    limits = {
        kind.rpartition(".")[2]: {
            name: field.default for name, field in spec.model_fields.items() if _SHARE.fullmatch(name)
        }
        for kind, spec in KINDS.items()
    }
    out.put("guard_rails", limits)
    out.print("A publish is blocked beyond these shares, unless the YAML sets others (docs/operations.md):")
    for kind, shares in limits.items():
        out.print(f"  {kind}: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}")


def _relative(fault: Fault) -> Fault:
    """Shorten the path, so that terminals and editors make it a link."""
    path, here = fault.path.absolute(), Path.cwd()
    return replace(fault, path=path.relative_to(here) if path.is_relative_to(here) else path)


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@click.command()
@click.option(
    "--docs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Update the field tables of the pages in this folder.",
)
def schema(docs: Path | None) -> None:
    """Print the JSON Schema of `defs.yaml`, or update the field tables of the docs."""
    from tnt_platform.validation.documentation import json_schema, with_field_tables

    if docs is None:
        click.echo(json.dumps(json_schema(KINDS), indent=1, sort_keys=True, ensure_ascii=False))
        return
    for page in sorted(docs.rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = with_field_tables(before, list(KINDS.values()))
        if after != before:
            page.write_text(after, encoding="utf-8")
            click.echo(f"updated {page}")
