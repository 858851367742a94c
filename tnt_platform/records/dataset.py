"""`RecordsDataset`: one folder with a `defs.yaml` becomes a dataset of curated records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from pydantic import model_validator

from tnt_platform.orchestration.component import newest_definitions
from tnt_platform.orchestration.legacy_dataset import Dataset
from tnt_platform.records.assets import records_assets
from tnt_platform.records.model import (
    JmesPath,
    RecordFieldModel,
    RecordsSourceModel,
    fields_of,
    source_of,
)
from tnt_platform.records.readers.items import ItemsLayout
from tnt_platform.records.spec import RecordsSpec
from tnt_platform.records.transforms.records import RecordMapping
from tnt_platform.specs.legacy_fields import Cron


class RecordsDataset(Dataset):
    """One JSON API: capture its answer, publish every item it ever showed as a record.

    `items` is the JMESPath of the list, `item_id` that of an item's own id, `count` that of the number of items that
    the answer itself gives.
    """

    source: RecordsSourceModel
    items: JmesPath = "@"
    count: JmesPath | None = None
    item_id: JmesPath
    fields: Sequence[RecordFieldModel]
    queue: str = "${TNT_CAPTURE_QUEUE_URL:-}"
    dynamodb_table: str = "${TNT_RECORDS_TABLE:-}"
    cron: Cron | None = None

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
        return newest_definitions(records_assets(spec, self.about()), spec.name, self.cron, "UTC")
