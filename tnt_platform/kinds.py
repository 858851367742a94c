"""The datasets below defs/, read from their YAML without starting Dagster's code location."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from tnt_platform.directory.spec import DirectorySpec
from tnt_platform.errors import ConfigError, NotFound
from tnt_platform.records.spec import RecordsSpec
from tnt_platform.report.spec import ReportSpec
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.settings import Settings
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.specs.fields import meant, some
from tnt_platform.transit.spec import TransitSpec
from tnt_platform.validation.validate import Report, validate_file, validate_folder

# LibYAML reads six times as fast, where it is there.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEFS = Path(__file__).parent / "defs"
# What a defs.yaml has as its `type`, and the spec that its `attributes` are.
KINDS: Mapping[str, type[DatasetSpec]] = {
    "tnt_platform.components.DailyReportDataset": ReportSpec,
    "tnt_platform.components.DirectoryDataset": DirectorySpec,
    "tnt_platform.components.RecordsDataset": RecordsSpec,
    "tnt_platform.components.SeriesDataset": SeriesSpec,
    "tnt_platform.components.TransitDataset": TransitSpec,
}
Spec = TransitSpec | SeriesSpec | DirectorySpec | RecordsSpec | ReportSpec
S = TypeVar("S")


@dataclass(frozen=True)
class Datasets:
    """The datasets of a folder by name: those that can be loaded, and why the others can't."""

    specs: Mapping[str, Spec]
    broken: Mapping[str, ConfigError]


def load_datasets(folder: Path = DEFS) -> Datasets:
    """Load every dataset on its own: one that is broken does not keep the others from loading."""
    specs: dict[str, Spec] = {}
    broken: dict[str, ConfigError] = {}
    for path in sorted(folder.glob("*/defs.yaml")):
        try:
            specs[path.parent.name] = load_spec(path)
        except ConfigError as error:
            broken[path.parent.name] = error
    return Datasets(specs, broken)


def load_spec(path: Path) -> Spec:
    """Read one `defs.yaml`.

    Raises:
        ConfigError: it is broken; the message is what `tnt validate` prints of it.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506 - a safe loader
        kind, attributes = KINDS[document["type"]], document["attributes"]
        return kind.model_validate(attributes).placed_in(path.parent)  # type: ignore[return-value]
    except Exception as error:
        faults = validate_file(path, Settings.from_environment(), KINDS).faults
        reason = "\n".join(map(str, faults)) or f"{path} can't be loaded: {error}"
        raise ConfigError(reason) from error


def validate_datasets(folder: Path, settings: Settings, *, strict_env: bool = False) -> Report:
    """Check every dataset below `folder`; see `validate_folder`."""
    return validate_folder(folder, settings, KINDS, strict_env=strict_env)


def dataset_specs(folder: Path = DEFS) -> Mapping[str, Spec]:
    """Every dataset by name.

    Raises:
        ConfigError: one of them is broken.
    """
    found = load_datasets(folder)
    if found.broken:
        raise ConfigError("\n".join(map(str, found.broken.values())))
    return found.specs


def dataset_spec(name: str, folder: Path = DEFS) -> Spec:
    """One dataset of any kind, whatever the state of the others.

    Raises:
        NotFound: there is no such dataset; the message names the nearest.
        ConfigError: it is broken.
    """
    path = folder / name / "defs.yaml"
    if not path.is_file():
        names = [path.parent.name for path in folder.glob("*/defs.yaml")]
        raise NotFound(f"there is no dataset {name!r}; {meant(name, names, f'known: {some(names)}')}")
    return load_spec(path)


def transit_specs(folder: Path = DEFS) -> dict[str, TransitSpec]:
    """Every transit dataset that can be loaded, by name."""
    specs = load_datasets(folder).specs
    return {name: spec for name, spec in specs.items() if isinstance(spec, TransitSpec)}


def transit_spec(name: str) -> TransitSpec:
    """One transit dataset; raises as `dataset_spec`, also for another kind."""
    return _of_kind(name, TransitSpec)


def series_spec(name: str) -> SeriesSpec:
    """One dataset of series; raises as `dataset_spec`, also for another kind."""
    return _of_kind(name, SeriesSpec)


def _of_kind(name: str, kind: type[S]) -> S:
    spec = dataset_spec(name)
    if not isinstance(spec, kind):
        raise NotFound(f"{name} is a {type(spec).__name__}; this needs a {kind.__name__}")
    return spec
