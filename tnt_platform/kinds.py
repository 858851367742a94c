"""The datasets below defs/, read from their YAML without starting Dagster's code location."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from tnt_platform.directory.dataset import DirectoryDataset
from tnt_platform.directory.spec import DirectorySpec
from tnt_platform.directory.validation import DIRECTORY_VARIABLES_IN, directory_faults
from tnt_platform.errors import ConfigError, NotFound
from tnt_platform.records.dataset import RecordsDataset
from tnt_platform.records.spec import RecordsSpec
from tnt_platform.records.validation import RECORDS_VARIABLES_IN, records_faults
from tnt_platform.report.dataset import DailyReportDataset
from tnt_platform.report.spec import ReportSpec
from tnt_platform.report.validation import REPORT_VARIABLES_IN, report_faults
from tnt_platform.series.dataset import SeriesDataset
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.series.validation.series import SERIES_VARIABLES_IN, series_faults
from tnt_platform.settings import Settings
from tnt_platform.specs.validate import Report, Rules, validate_folder
from tnt_platform.transit.dataset import TransitDataset
from tnt_platform.transit.spec import TransitSpec
from tnt_platform.transit.validation.transit import VARIABLES_IN, transit_faults

DEFS = Path(__file__).parent / "defs"
KINDS: dict[
    str, type[TransitDataset | SeriesDataset | DirectoryDataset | RecordsDataset | DailyReportDataset]
] = {
    f"tnt_platform.components.{kind.__name__}": kind
    for kind in (TransitDataset, SeriesDataset, DirectoryDataset, RecordsDataset, DailyReportDataset)
}
Spec = TransitSpec | SeriesSpec | DirectorySpec | RecordsSpec | ReportSpec
S = TypeVar("S")


RULES: dict[str, Rules] = {
    f"tnt_platform.components.{model.__name__}": Rules(model, faults, variables)
    for model, faults, variables in (
        (DailyReportDataset, report_faults, REPORT_VARIABLES_IN),
        (DirectoryDataset, directory_faults, DIRECTORY_VARIABLES_IN),
        (RecordsDataset, records_faults, RECORDS_VARIABLES_IN),
        (SeriesDataset, series_faults, SERIES_VARIABLES_IN),
        (TransitDataset, transit_faults, VARIABLES_IN),
    )
}


def validate_datasets(folder: Path, settings: Settings, *, strict_env: bool = False) -> Report:
    """Check every dataset below `folder`; see `validate_folder`."""
    return validate_folder(folder, settings, RULES, strict_env=strict_env)


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
