"""`SeriesDataset`: one folder with a `defs.yaml` becomes a dataset of economic series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import dagster as dg
from pydantic import Field, model_validator

from tnt_platform.orchestration.component import newest_definitions
from tnt_platform.orchestration.legacy_dataset import Dataset
from tnt_platform.series.assets import series_assets
from tnt_platform.series.model import (
    Frequency,
    SeriesModel,
    SeriesSourceModel,
    TableModel,
    layout_of,
    source_of,
)
from tnt_platform.series.scaffold import SeriesScaffolder
from tnt_platform.series.spec import Reader, SeriesSpec, Strategy
from tnt_platform.series.transforms.observations import DEFAULT_NA, Conventions
from tnt_platform.specs.legacy_fields import Cron, Regex, TimeZone


@dg.scaffold_with(SeriesScaffolder)
class SeriesDataset(Dataset):
    """One published source of series: capture it, read it, publish the history of its observations."""

    provider: str
    timezone: TimeZone
    frequency: Frequency
    source: SeriesSourceModel
    reader: Reader
    series: Sequence[SeriesModel] = ()
    table: TableModel | None = None
    footer: Regex | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None
    date_order: Literal["dmy", "mdy", "ymd"] | None = None
    not_available: Sequence[str] = DEFAULT_NA
    marks: Sequence[str] = ()
    negative_parentheses: bool = False
    duplicates: Literal["refuse", "first", "last"] = "refuse"
    history: Literal["complete", "window"] = "complete"
    partition_strategy: Strategy = "series_year_month"
    max_gap_periods: Annotated[int, Field(ge=0)] | None = None
    jump_limit: Annotated[float, Field(gt=0)] | None = 25
    lock_key: str | None = None
    lock_timeout_s: Annotated[float, Field(gt=0)] = 300
    notify_topic: str = "${SNS_PROJECTION_TOPIC_ARN:-}"
    cron: Cron | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SeriesDataset:
        codes = [one.code for one in self.series if "{" not in one.code]
        if twice := sorted({code for code in codes if codes.count(code) > 1}):
            raise ValueError(f"series: {', '.join(twice)} occurs more than once; a code names one series")
        if self.thousands == self.decimal:
            raise ValueError(f"thousands: {self.thousands!r} is the decimal mark too; they must differ")
        if self.thousands == "." and self._numbers_as_such:
            raise ValueError(
                "thousands: '.' can't be told from the decimal point of cells that are numbers, as in workbooks "
                "and JSON; leave it out"
            )
        layout_of(self.reader, self.series, self.table, self.frequency, self.footer)
        return self

    @property
    def _numbers_as_such(self) -> bool:
        return self.table is None or self.table.format == "json"

    def spec(self, folder: Path) -> SeriesSpec:
        """The dataset as the flows know it; the folder names it."""
        return SeriesSpec(
            name=folder.name,
            provider=self.provider,
            source=source_of(self.source),
            reader=self.reader,
            layout=layout_of(self.reader, self.series, self.table, self.frequency, self.footer),
            conventions=Conventions(
                timezone=self.timezone,
                decimal=self.decimal,
                thousands=self.thousands,
                date_order=self.date_order,
                na_tokens=tuple(self.not_available),
                duplicates=self.duplicates,
                numbers_as_such=self._numbers_as_such,
                marks=tuple(self.marks),
                negative_parentheses=self.negative_parentheses,
            ),
            strategy=self.partition_strategy,
            history=self.history,
            max_gap_periods=self.max_gap_periods,
            jump_limit=self.jump_limit,
            lock_key=self.lock_key,
            lock_timeout_s=self.lock_timeout_s,
            notify_topic=self.notify_topic,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, job and schedule of the dataset."""
        spec = self.spec(context.path)
        return newest_definitions(series_assets(spec, self.about()), spec.name, self.cron, self.timezone)
