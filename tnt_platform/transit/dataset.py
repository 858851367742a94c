"""`TransitDataset`: one folder with a `defs.yaml` becomes a whole transit dataset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import dagster as dg
from pydantic import Field, model_validator

from tnt_platform.orchestration.legacy_dataset import Dataset
from tnt_platform.specs.legacy_fields import IsoDate, SensorModel
from tnt_platform.transit.assets import transit_assets
from tnt_platform.transit.model import (
    ColumnModel,
    DynamoDbModel,
    LayoutModel,
    RateApiModel,
    SampleModel,
    SourceModel,
    layout_of,
    rate_api_of,
    source_of,
)
from tnt_platform.transit.sensor import reconciling_sensor, sweep_schedule
from tnt_platform.transit.spec import Sample, TransitSpec
from tnt_platform.transit.transforms.transit import PassRule


class TransitDataset(Dataset):
    """Files of expected transit times, compared with the actual ones.

    With `rate_api` the actual days are asked for, case by case; without, `expected_date` and
    `actual_date` are columns of the file.
    """

    start_date: IsoDate = "2020-01-01"
    source: SourceModel
    layouts: Sequence[LayoutModel]
    columns: Sequence[ColumnModel]
    identity: Sequence[str]
    passes_when: PassRule = "equal"
    summary_by: Sequence[str] = ()
    rate_api: RateApiModel | None = None
    sample_per_file: SampleModel | None = None
    dynamodb: DynamoDbModel | None = None
    sensor: SensorModel = Field(default_factory=SensorModel)

    @model_validator(mode="after")
    def _consistent(self) -> TransitDataset:
        declared = {column.name for column in self.columns}
        if len(declared) < len(self.columns):
            raise ValueError("columns: a name occurs twice; names must be unique")
        known = declared | set(source_of(self.source).fields)
        for option, names in (("identity", self.identity), ("summary_by", self.summary_by)):
            if missing := [name for name in names if name not in known]:
                raise ValueError(
                    f"{option}: {missing} are neither columns nor groups of key_pattern (the date is the partition, "
                    f"not a column); known: {sorted(known)}"
                )
        needed = {"expected_transit_days"} if self.rate_api else {"expected_date", "actual_date"}
        if missing := sorted(needed - {c.name for c in self.columns if c.required}):
            raise ValueError(
                f"columns: {missing} must be declared and required {'with' if self.rate_api else 'without'} rate_api"
            )
        for layout in self.layouts:
            layout_of(layout, self.columns)
        return self

    def spec(self, folder: Path) -> TransitSpec:
        """The dataset as the flows know it; the folder names it."""
        return TransitSpec(
            name=folder.name,
            source=source_of(self.source),
            layouts=tuple(layout_of(layout, self.columns) for layout in self.layouts),
            identity=tuple(self.identity),
            passes_when=self.passes_when,
            summary_by=tuple(self.summary_by),
            start_date=date.fromisoformat(self.start_date),
            api=rate_api_of(self.rate_api, folder) if self.rate_api else None,
            sample=Sample(self.sample_per_file.rows, self.sample_per_file.seed)
            if self.sample_per_file
            else None,
            same_file_again=self.source.same_file_again,
            results_table=self.dynamodb.table if self.dynamodb else None,
            ttl_days=self.dynamodb.ttl_days if self.dynamodb else 90,
            payloads_in_table=self.dynamodb.payloads if self.dynamodb else False,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, sensor, sweep schedule and job of the dataset."""
        spec = self.spec(context.path)
        assets = transit_assets(spec, self.about())
        selection = dg.AssetSelection.assets(*assets.keys)
        sweep = sweep_schedule(spec, self.sensor, selection)
        return dg.Definitions(
            assets=[assets],
            sensors=[reconciling_sensor(spec, self.sensor, selection)],
            schedules=[sweep],
            jobs=[sweep.job],
        )
