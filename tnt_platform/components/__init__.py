"""Kinds of datasets in Dagster: what a `defs.yaml` may have as its `type`."""

from __future__ import annotations

from typing import Any

from tnt_platform.directory.component import DirectoryDataset
from tnt_platform.orchestration.component import DatasetComponent
from tnt_platform.records.component import RecordsDataset
from tnt_platform.report.component import DailyReportDataset
from tnt_platform.series.component import SeriesDataset
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.transit.component import TransitDataset

__all__ = ["DailyReportDataset", "DirectoryDataset", "RecordsDataset", "SeriesDataset", "TransitDataset"]

_COMPONENTS: tuple[type[DatasetComponent[Any]], ...] = (
    DailyReportDataset,
    DirectoryDataset,
    RecordsDataset,
    SeriesDataset,
    TransitDataset,
)


def component_of(spec: DatasetSpec) -> DatasetComponent[Any]:
    """The component that turns this spec into assets, checks and triggers."""
    return next(kind(spec) for kind in _COMPONENTS if isinstance(spec, kind.spec_type))
