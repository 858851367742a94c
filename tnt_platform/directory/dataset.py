"""`DirectoryDataset`: one folder with a `defs.yaml` and its lookup CSVs becomes a directory in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import dagster as dg
from pydantic import Field

from tnt_platform.directory.assets import directory_assets
from tnt_platform.directory.spec import DirectorySource, DirectorySpec
from tnt_platform.orchestration.component import newest_definitions
from tnt_platform.orchestration.legacy_dataset import Dataset
from tnt_platform.specs.legacy_fields import Cron, TimeZone


class DirectorySourceModel(dg.Model, dg.Resolvable):
    """The API that serves the directory in pages; `${VARIABLES}` are resolved when a run starts."""

    url: str
    headers: Mapping[str, str] = Field(default_factory=dict)
    cookies: Mapping[str, str] = Field(default_factory=dict)
    page_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    pause_s: Annotated[float, Field(ge=0)] = 0.1
    max_page_mb: Annotated[float, Field(gt=0)] = 50
    timeout_s: Annotated[float, Field(gt=0)] = 30
    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    readings: Annotated[int, Field(ge=1, le=10)] = 3


class DirectoryDataset(Dataset):
    """A paginated directory API: pages captured whole, tenants matched and translated, upserted with an audit log."""

    timezone: TimeZone = "UTC"
    source: DirectorySourceModel
    max_withdrawn_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    database_url: str = "${DATABASE_URL:-}"
    lock_timeout_s: Annotated[float, Field(gt=0)] = 300
    cron: Cron | None = None

    def spec(self, folder: Path) -> DirectorySpec:
        """The dataset as the flows know it; the folder names it and holds its lookups."""
        given = self.source.model_dump(exclude={"max_page_mb"})
        return DirectorySpec(
            name=folder.name,
            source=DirectorySource(**given, max_page_bytes=int(self.source.max_page_mb * 1_000_000)),
            lookups=folder,
            timezone=self.timezone,
            max_withdrawn_share=self.max_withdrawn_share,
            database_url=self.database_url,
            lock_timeout_s=self.lock_timeout_s,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, job and schedule of the dataset."""
        spec = self.spec(context.path)
        return newest_definitions(directory_assets(spec, self.about()), spec.name, self.cron, self.timezone)
