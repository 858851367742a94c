"""`RecordsDataset`: one folder with a `defs.yaml` becomes a dataset of curated records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import dagster as dg
from pydantic import BaseModel, Field, model_validator

from tnt_platform.components.records.assets import records_assets
from tnt_platform.components.records.model import (
    JmesPath,
    RecordFieldModel,
    RecordsSourceModel,
    fields_of,
    source_of,
)
from tnt_platform.components.steps import schedule_status
from tnt_platform.components.transit.model import Cron
from tnt_platform.flows.records.spec import RecordsSpec
from tnt_platform.readers.items import ItemsLayout
from tnt_platform.transforms.records import RecordMapping


class RecordsDataset(dg.Component, dg.Model, dg.Resolvable):
    """One JSON API: capture its answer, publish every item it ever showed as a record.

    `items` is the JMESPath of the list, `item_id` that of an item's own id, `count` that of the number of items that
    the answer itself gives.
    """

    description: str = ""
    owners: Sequence[str] = ()
    tags: Mapping[str, str] = Field(default_factory=dict)
    source: RecordsSourceModel
    items: JmesPath = "@"
    count: JmesPath | None = None
    item_id: JmesPath
    fields: Sequence[RecordFieldModel]
    queue: str = "${TNT_CAPTURE_QUEUE_URL:-}"
    dynamodb_table: str = "${TNT_RECORDS_TABLE:-}"
    cron: Cron | None = None
    stale_after_hours: Annotated[float, Field(gt=0)] | None = None

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> RecordsDataset:
        """Take every value as the YAML writes it, without Dagster's templates; see `TransitDataset`."""
        return cls(**model.model_dump(exclude_unset=True))

    @model_validator(mode="after")
    def _named(self) -> RecordsDataset:
        if not self.fields:
            raise ValueError("fields: there is none; a record is known by what it holds")
        names = [field.name for field in self.fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"fields: {', '.join(twice)} occurs more than once; a name is one column")
        return self

    def spec(self, folder: Path) -> RecordsSpec:
        """The dataset as the flows know it; the folder names it."""
        return RecordsSpec(
            name=folder.name,
            source=source_of(self.source),
            layout=ItemsLayout(self.items, self.count),
            mapping=RecordMapping(folder.name, self.item_id, fields_of(self.fields)),
            queue=self.queue,
            table=self.dynamodb_table,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, job and schedule of the dataset."""
        spec = self.spec(context.path)
        stale = (
            dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=self.stale_after_hours))
            if self.stale_after_hours
            else None
        )
        assets = records_assets(
            spec, owners=self.owners, tags=self.tags, description=self.description, freshness=stale
        )
        selection = dg.AssetSelection.assets(*assets.keys)
        job = dg.define_asset_job(f"{spec.name}_job", selection, tags={"tnt/lane": spec.name})
        schedules = (
            [
                dg.ScheduleDefinition(
                    name=f"{spec.name}_schedule",
                    job=job,
                    cron_schedule=self.cron,
                    execution_timezone="UTC",
                    default_status=schedule_status(),
                )
            ]
            if self.cron
            else []
        )
        return dg.Definitions(assets=[assets], jobs=[job], schedules=schedules)
