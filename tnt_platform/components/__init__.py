"""Kinds of datasets: what a `defs.yaml` may have as its `type`."""

from tnt_platform.directory.dataset import DirectoryDataset
from tnt_platform.records.dataset import RecordsDataset
from tnt_platform.report.component import DailyReportDataset
from tnt_platform.series.dataset import SeriesDataset
from tnt_platform.transit.dataset import TransitDataset

__all__ = ["DailyReportDataset", "DirectoryDataset", "RecordsDataset", "SeriesDataset", "TransitDataset"]
