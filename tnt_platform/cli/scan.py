"""`tnt scan`: compare the files in the bucket with what is published."""

from __future__ import annotations

import click

from tnt_platform.cli.tables import console, show_rows
from tnt_platform.kinds import load_datasets
from tnt_platform.lake.publishing import open_workspace
from tnt_platform.settings import Settings
from tnt_platform.transit.reconcile import survey
from tnt_platform.transit.spec import TransitSpec


@click.command()
@click.argument("prefix", default="")
@click.option("--run", "do_it", is_flag=True, help="Materialize the dates that differ.")
def scan(prefix: str, do_it: bool) -> None:
    """Compare the files below PREFIX (default: of every dataset) with what is published."""
    workspace = open_workspace(Settings.from_environment())
    datasets = load_datasets()
    for spec in datasets.specs.values():
        if not isinstance(spec, TransitSpec):
            continue
        if not (spec.source.prefix.startswith(prefix) or prefix.startswith(spec.source.prefix)):
            continue
        with console.status(f"comparing {spec.name}"):
            found = survey(spec, workspace)
        work = [item for item in found.differences if not prefix or _below(spec, item.partition, prefix)]
        seen = (
            f"{spec.name}: {found.files_seen:,} files on {found.dates_seen} dates below {spec.source.prefix}"
        )
        console.print(f"{seen}; {len(work)} dates differ" if work else f"{seen}; nothing to do")
        if work:
            rows = [(item.partition, item.new, item.changed, item.vanished, item.reason) for item in work]
            show_rows(["date", "new", "changed", "gone", "why"], rows)
        if work and do_it:
            from tnt_platform.cli.runs import materialize

            materialize(spec, [item.partition for item in work], {})
    for reason in datasets.broken.values():
        console.print(str(reason), style="red", markup=False)
    if datasets.broken:
        raise click.exceptions.Exit(1)


def _below(spec: TransitSpec, partition: str, prefix: str) -> bool:
    """A prefix that reaches into the dates names those that start with its last part."""
    tail = prefix.removeprefix(spec.source.prefix).split("/", 1)[0]
    return not tail or len(prefix) <= len(spec.source.prefix) or partition.startswith(tail)
