"""`SeriesDataset`: one folder with a `defs.yaml` becomes a dataset of economic series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import dagster as dg
from pydantic import BaseModel, Field, model_validator

from tnt_platform.components.series.assets import series_assets
from tnt_platform.components.series.model import (
    Frequency,
    SeriesModel,
    SeriesSourceModel,
    TableModel,
    TimeZone,
    layout_of,
    source_of,
)
from tnt_platform.components.series.scaffold import SeriesScaffolder
from tnt_platform.components.steps import schedule_status
from tnt_platform.components.transit.model import Cron, Regex
from tnt_platform.flows.series.spec import Reader, SeriesSpec, Strategy
from tnt_platform.transforms.observations import DEFAULT_NA, Conventions


@dg.scaffold_with(SeriesScaffolder)
class SeriesDataset(dg.Component, dg.Model, dg.Resolvable):
    """One published source of series: capture it, read it, publish the history of its observations."""

    description: str = ""
    provider: str
    owners: Sequence[str] = ()
    tags: Mapping[str, str] = Field(default_factory=dict)
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
    duplicates: Literal["refuse", "first", "last"] = "refuse"
    history: Literal["complete", "window"] = "complete"
    partition_strategy: Strategy = "series_year_month"
    max_gap_periods: Annotated[int, Field(ge=0)] | None = None
    jump_limit: Annotated[float, Field(gt=0)] | None = 25
    lock_key: str | None = None
    lock_timeout_s: Annotated[float, Field(gt=0)] = 300
    notify_topic: str = "${SNS_PROJECTION_TOPIC_ARN:-}"
    cron: Cron | None = None
    stale_after_hours: Annotated[float, Field(gt=0)] | None = None

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> SeriesDataset:
        """Take every value as the YAML writes it, without Dagster's templates; see `TransitDataset`."""
        return cls(**model.model_dump(exclude_unset=True))

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
        stale = (
            dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=self.stale_after_hours))
            if self.stale_after_hours
            else None
        )
        assets = series_assets(
            spec, owners=self.owners, tags=self.tags, description=self.description, freshness=stale
        )
        job = dg.define_asset_job(
            f"{spec.name}_job", dg.AssetSelection.assets(*assets.keys), tags={"tnt/lane": spec.name}
        )
        schedules = (
            [
                dg.ScheduleDefinition(
                    name=f"{spec.name}_schedule",
                    job=job,
                    cron_schedule=self.cron,
                    execution_timezone=self.timezone,
                    default_status=schedule_status(),
                )
            ]
            if self.cron
            else []
        )
        return dg.Definitions(assets=[assets], jobs=[job], schedules=schedules)
