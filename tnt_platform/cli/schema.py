"""`tnt schema`: what a `defs.yaml` may hold, for editors and for the docs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tnt_platform.kinds import KINDS
from tnt_platform.validation.documentation import json_schema, with_field_tables


@click.command()
@click.option(
    "--docs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Update the field tables here.",
)
def schema(docs: Path | None) -> None:
    """Print the JSON Schema of `defs.yaml`, or with --docs bring the field tables of a folder of pages up to date."""
    if docs is None:
        click.echo(json.dumps(json_schema(KINDS), indent=1, sort_keys=True, ensure_ascii=False))
        return
    for page in sorted(docs.rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = with_field_tables(before, list(KINDS.values()))
        if after != before:
            page.write_text(after, encoding="utf-8")
            click.echo(f"updated {page}")
