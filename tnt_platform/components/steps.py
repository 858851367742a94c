"""What the steps of every dataset without date partitions have in common: specs, checks and their outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from tnt_platform.components.metadata import check_results
from tnt_platform.flows.publishing import CheckOutcome
from tnt_platform.settings import Settings


@dataclass(frozen=True)
class StepChecks:
    """The checks of each step by name: those that block a publish and those that only warn."""

    blocking: Mapping[str, tuple[str, ...]]
    warning: Mapping[str, tuple[str, ...]]
    descriptions: Mapping[str, str]

    def of(self, step: str) -> tuple[str, ...]:
        """All checks of a step."""
        return (*self.blocking[step], *self.warning[step])

    def specs(self, dataset: str) -> list[dg.AssetCheckSpec]:
        """The check specs of all steps of a dataset."""
        return [
            dg.AssetCheckSpec(
                name,
                asset=[dataset, step],
                blocking=name in self.blocking[step],
                description=self.descriptions[name],
            )
            for step in self.blocking
            for name in self.of(step)
        ]

    def results(
        self,
        context: dg.AssetExecutionContext,
        key: dg.AssetKey,
        outcomes: Sequence[CheckOutcome],
    ) -> Iterator[dg.AssetCheckResult]:
        """The outcomes of one step; without any, the version was found unchanged: it was checked when published."""
        step = key.path[-1]
        found = {outcome.name: outcome for outcome in outcomes}
        for name in self.of(step):
            if dg.AssetCheckKey(key, name) in context.selected_asset_check_keys and (
                name in found or not outcomes
            ):
                yield check_results(key, name, {"newest": found.get(name)}, warns=name in self.warning[step])


@dataclass(frozen=True)
class StepStory:
    """What the YAML and the kind say about the assets of a dataset."""

    descriptions: Mapping[str, str]
    kinds: Mapping[str, set[str]]
    owners: Sequence[str]
    tags: Mapping[str, str]
    description: str
    freshness: dg.FreshnessPolicy | None
    metadata: Mapping[str, str]

    def specs(
        self, dataset: str, tables: Mapping[str, str], *, partitions: dg.PartitionsDefinition | None = None
    ) -> list[dg.AssetSpec]:
        """The assets `<dataset>/<step>`, each built on the one before; `tables`: step -> dataset id in the lake."""
        steps = list(tables)
        return [
            dg.AssetSpec(
                key=[dataset, step],
                deps=[[dataset, steps[i - 1]]] if i else [],
                description=self.descriptions[step] + (f"\n\n{self.description}" if self.description else ""),
                group_name=dataset,
                owners=list(self.owners),
                tags=dict(self.tags),
                kinds=self.kinds[step],
                partitions_def=partitions,
                skippable=True,
                freshness_policy=self.freshness,
                metadata={"dagster/table_name": tables[step], **self.metadata},
            )
            for i, step in enumerate(steps)
        ]


def retry_later() -> dg.RetryPolicy:
    """Two more tries of what may pass by itself, half a minute and a minute later."""
    return dg.RetryPolicy(
        max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
    )


def schedule_status() -> dg.DefaultScheduleStatus:
    """Schedules run by themselves, unless `TNT_SCHEDULES=stopped`, as in the demo: it asks nobody behind one's back."""
    runs = Settings.from_environment().schedules_run
    return dg.DefaultScheduleStatus.RUNNING if runs else dg.DefaultScheduleStatus.STOPPED
