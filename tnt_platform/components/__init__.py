"""Kinds of datasets: what a `defs.yaml` may have as its `type`."""

from tnt_platform.components.directory.dataset import DirectoryDataset
from tnt_platform.components.records.dataset import RecordsDataset
from tnt_platform.components.report.dataset import DailyReportDataset
from tnt_platform.components.series.dataset import SeriesDataset
from tnt_platform.components.transit.dataset import TransitDataset

__all__ = ["DailyReportDataset", "DirectoryDataset", "RecordsDataset", "SeriesDataset", "TransitDataset"]
