"""The datasets below defs/, read from their YAML without starting Dagster's code location."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from tnt_platform.components.directory.dataset import DirectoryDataset
from tnt_platform.components.records.dataset import RecordsDataset
from tnt_platform.components.report.dataset import DailyReportDataset
from tnt_platform.components.series.dataset import SeriesDataset
from tnt_platform.components.transit.dataset import TransitDataset
from tnt_platform.errors import ConfigError, NotFound
from tnt_platform.flows.directory.spec import DirectorySpec
from tnt_platform.flows.records.spec import RecordsSpec
from tnt_platform.flows.report.spec import ReportSpec
from tnt_platform.flows.series.spec import SeriesSpec
from tnt_platform.flows.transit.spec import TransitSpec

DEFS = Path(__file__).parents[1] / "defs"
KINDS: dict[
    str, type[TransitDataset | SeriesDataset | DirectoryDataset | RecordsDataset | DailyReportDataset]
] = {
    f"tnt_platform.components.{kind.__name__}": kind
    for kind in (TransitDataset, SeriesDataset, DirectoryDataset, RecordsDataset, DailyReportDataset)
}
Spec = TransitSpec | SeriesSpec | DirectorySpec | RecordsSpec | ReportSpec
S = TypeVar("S")


def dataset_specs(folder: Path = DEFS) -> dict[str, Spec]:
    """Every dataset by name.

    Raises:
        ConfigError: a defs.yaml can't be read; `tnt validate` says where.
    """
    specs: dict[str, Spec] = {}
    for path in sorted(folder.glob("*/defs.yaml")):
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
            kind = KINDS.get(document["type"])
            if kind is not None:
                specs[path.parent.name] = kind.resolve_from_dict(document["attributes"]).spec(path.parent)
        except Exception as error:
            raise ConfigError(
                f"{path} can't be read: {error}\nRun `tnt validate` for file and line."
            ) from error
    return specs


def dataset_spec(name: str) -> Spec:
    """One dataset of any kind.

    Raises:
        NotFound: there is no such dataset; the message says which exist.
    """
    return _named(name, dataset_specs())


def transit_specs(folder: Path = DEFS) -> dict[str, TransitSpec]:
    """Every transit dataset by name; raises as `dataset_specs`."""
    return {name: spec for name, spec in dataset_specs(folder).items() if isinstance(spec, TransitSpec)}


def transit_spec(name: str) -> TransitSpec:
    """One transit dataset; raises as `dataset_spec`."""
    return _named(name, transit_specs())


def series_spec(name: str) -> SeriesSpec:
    """One dataset of series; raises as `dataset_spec`."""
    specs = {name: spec for name, spec in dataset_specs().items() if isinstance(spec, SeriesSpec)}
    return _named(name, specs)


def _named(name: str, specs: Mapping[str, S]) -> S:
    if name not in specs:
        raise NotFound(f"there is no dataset {name!r}; known: {', '.join(specs)}")
    return specs[name]
