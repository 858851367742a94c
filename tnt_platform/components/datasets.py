"""The datasets below defs/, read from their YAML without starting Dagster's code location."""

from __future__ import annotations

from pathlib import Path

import yaml

from tnt_platform.components.transit.dataset import TransitDataset
from tnt_platform.errors import ConfigError, NotFound
from tnt_platform.flows.transit.spec import TransitSpec

KIND = "tnt_platform.components.TransitDataset"
DEFS = Path(__file__).parents[1] / "defs"


def transit_specs(folder: Path = DEFS) -> dict[str, TransitSpec]:
    """Every transit dataset by name.

    Raises:
        ConfigError: a defs.yaml can't be read; `tnt validate` says where.
    """
    specs: dict[str, TransitSpec] = {}
    for path in sorted(folder.glob("*/defs.yaml")):
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
            if document["type"] == KIND:
                specs[path.parent.name] = TransitDataset.resolve_from_dict(document["attributes"]).spec(
                    path.parent
                )
        except Exception as error:
            raise ConfigError(
                f"{path} can't be read: {error}\nRun `tnt validate` for file and line."
            ) from error
    return specs


def transit_spec(name: str) -> TransitSpec:
    """One dataset.

    Raises:
        NotFound: there is no such dataset; the message says which exist.
    """
    specs = transit_specs()
    if name not in specs:
        raise NotFound(f"there is no dataset {name!r}; known: {', '.join(specs)}")
    return specs[name]
