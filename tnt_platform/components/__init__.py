"""Kinds of datasets in Dagster: what a `defs.yaml` may have as its `type`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import yaml

from tnt_platform.directory.component import DirectoryDataset
from tnt_platform.orchestration.component import DatasetComponent
from tnt_platform.records.component import RecordsDataset
from tnt_platform.report.component import DailyReportDataset
from tnt_platform.series.dataset import SeriesDataset
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.transit.component import TransitDataset

__all__ = ["DailyReportDataset", "DirectoryDataset", "RecordsDataset", "SeriesDataset", "TransitDataset"]

_COMPONENTS: tuple[type[DatasetComponent[Any]], ...] = (
    DailyReportDataset,
    DirectoryDataset,
    RecordsDataset,
    TransitDataset,
)


def component_of(spec: DatasetSpec) -> DatasetComponent[Any]:
    """The component that turns this spec into assets, checks and triggers."""
    return next(kind(spec) for kind in _COMPONENTS if isinstance(spec, kind.spec_type))


def legacy_definitions(path: Path) -> dg.Definitions:
    """For the kinds that are not declared by a spec yet."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    kind = globals()[document["type"].rsplit(".", 1)[1]]
    component = kind.resolve_from_dict(document["attributes"])
    definitions: dg.Definitions = component.build_defs(SimpleNamespace(path=path.parent))
    return definitions
