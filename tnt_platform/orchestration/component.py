"""The base of every kind of dataset in Dagster: build assets, checks and triggers from its spec."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic, Self, TypeVar

import dagster as dg

from tnt_platform.orchestration.event_sensor import EventListener
from tnt_platform.orchestration.steps import schedule_status
from tnt_platform.specs.dataset import DatasetSpec

S = TypeVar("S", bound=DatasetSpec)


class DatasetComponent(dg.Component, Generic[S]):
    """A Dagster component whose attributes are the spec itself; Dagster templates are not resolved in it."""

    spec_type: ClassVar[type[DatasetSpec]]

    def __init__(self, spec: S) -> None:
        self.spec = spec

    @classmethod
    def get_model_cls(cls) -> type[DatasetSpec]:
        """Return the model of the YAML's `attributes`."""
        return cls.spec_type

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> Self:
        """Build the component from the attributes that Dagster read; the folder names the dataset."""
        return cls(attributes.placed_in(context.path))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build what Dagster loads."""
        return self.definitions()

    def event_listener(self) -> EventListener | None:
        """Return how object events concern the dataset; None if they don't."""
        return None

    @abstractmethod
    def definitions(self) -> dg.Definitions:
        """Build the dataset's assets, checks, sensors, schedules and jobs."""


def newest_definitions(
    assets: dg.AssetsDefinition, name: str, cron: str | None, timezone: str
) -> dg.Definitions:
    """Build assets, job and schedule of a dataset that has only a newest state; its runs don't overlap."""
    job = dg.define_asset_job(f"{name}_job", dg.AssetSelection.assets(*assets.keys), tags={"tnt/lane": name})
    schedule = (
        dg.ScheduleDefinition(
            name=f"{name}_schedule",
            job=job,
            cron_schedule=cron,
            execution_timezone=timezone,
            default_status=schedule_status(),
        )
        if cron
        else None
    )
    return dg.Definitions(assets=[assets], jobs=[job], schedules=[schedule] if schedule else [])
