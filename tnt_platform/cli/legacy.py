"""`tnt import-legacy`: a dataset file of the old series system becomes a `defs.yaml`."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from tnt_platform.cli.new import defs_path
from tnt_platform.cli.tables import console, show_rows
from tnt_platform.errors import ConfigError
from tnt_platform.kinds import DEFS, validate_datasets
from tnt_platform.series.drafting.draft import defs_text
from tnt_platform.series.legacy.convert import Converted, converted
from tnt_platform.series.legacy.fields import FATES
from tnt_platform.settings import Settings


@click.command("import-legacy")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--to", type=click.Path(path_type=Path), default=DEFS, help="Where NAME/defs.yaml goes (default: defs/)."
)
def import_legacy(file: Path, to: Path) -> None:
    """Turn FILE, a dataset of the old series system, into a defs.yaml; say what became of each of its fields."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} can't be read: {error}; give a YAML file of the old system") from error
    found = converted(document, file.name)
    path = defs_path(found.name, to)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(found, file), encoding="utf-8")
    notes = sorted(found.notes, key=lambda note: FATES.index(note.fate))
    show_rows(("field", "what became of it", ""), [(note.field, note.fate, note.said) for note in notes])
    faults = validate_datasets(path.parent, Settings.from_environment()).faults
    for fault in faults:
        console.print(str(fault), markup=False, style="red")
    console.print(f"\nwrote {path}" + ("; mend what is named" if faults else ""), markup=False)
    if faults:
        raise click.exceptions.Exit(1)


def _text(found: Converted, file: Path) -> str:
    heading = [f"From {file.name} of the old system, by `tnt import-legacy`."]
    heading += [f"TODO {note.field}: {note.said}" for note in found.notes if note.fate == "to do"]
    return defs_text(heading, found.attributes, found.comments)
