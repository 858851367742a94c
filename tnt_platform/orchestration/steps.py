"""The steps of a dataset as assets and checks, for every kind of dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from tnt_platform.lake.publishing import CheckOutcome
from tnt_platform.orchestration.metadata import check_results
from tnt_platform.settings import Settings


@dataclass(frozen=True)
class StepChecks:
    """The names of each step's checks: those that block a publish and those that only warn."""

    blocking: Mapping[str, tuple[str, ...]]
    warning: Mapping[str, tuple[str, ...]]
    descriptions: Mapping[str, str]

    def of(self, step: str) -> tuple[str, ...]:
        """Return the names of all checks of a step."""
        return (*self.blocking[step], *self.warning[step])

    def specs(self, dataset: str) -> list[dg.AssetCheckSpec]:
        """Make the check specs of all steps of a dataset."""
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
        """Yield the results of one step; no outcomes means an unchanged version, which passed when it was published."""
        step = key.path[-1]
        found = {outcome.name: outcome for outcome in outcomes}
        for name in self.of(step):
            if dg.AssetCheckKey(key, name) in context.selected_asset_check_keys and (
                name in found or not outcomes
            ):
                yield check_results(key, name, {"newest": found.get(name)}, warns=name in self.warning[step])


@dataclass(frozen=True)
class About:
    """What a dataset's YAML declares for all its assets; `compute` are the launcher's tags for its runs."""

    description: str = ""
    owners: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    freshness: dg.FreshnessPolicy | None = None
    compute: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StepStory:
    """How a kind of dataset describes its steps, and what the dataset's YAML declares for all of them."""

    descriptions: Mapping[str, str]
    kinds: Mapping[str, set[str]]
    about: About
    metadata: Mapping[str, str]

    def specs(
        self, dataset: str, tables: Mapping[str, str], *, partitions: dg.PartitionsDefinition | None = None
    ) -> list[dg.AssetSpec]:
        """Make the assets `<dataset>/<step>`, each built on the one before; `tables`: step -> dataset in the lake."""
        steps, about = list(tables), self.about
        return [
            dg.AssetSpec(
                key=[dataset, step],
                deps=[[dataset, steps[i - 1]]] if i else [],
                description=self.descriptions[step]
                + (f"\n\n{about.description}" if about.description else ""),
                group_name=dataset,
                owners=list(about.owners),
                tags=dict(about.tags),
                kinds=self.kinds[step],
                partitions_def=partitions,
                skippable=True,
                freshness_policy=about.freshness,
                metadata={"dagster/table_name": tables[step], **self.metadata},
            )
            for i, step in enumerate(steps)
        ]

    def one_op(
        self,
        dataset: str,
        tables: Mapping[str, str],
        checks: Sequence[dg.AssetCheckSpec],
        *,
        retry: dg.RetryPolicy | None = None,
        partitions: dg.PartitionsDefinition | None = None,
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """Decorate the function that materializes the selected steps; a backfill runs at most ten dates at a time."""
        return dg.multi_asset(
            name=dataset,
            specs=self.specs(dataset, tables, partitions=partitions),
            can_subset=True,
            check_specs=checks,
            backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=10) if partitions else None,
            retry_policy=retry or retry_later(),
            op_tags={"tnt/dataset": dataset, **self.about.compute},
        )


def selected_steps(context: dg.AssetExecutionContext, dataset: str, steps: Sequence[str]) -> list[str]:
    """Return the steps that this run must materialize, in order."""
    return [step for step in steps if dg.AssetKey([dataset, step]) in context.selected_asset_keys]


def retry_later() -> dg.RetryPolicy:
    """Retry twice, half a minute and a minute later."""
    return dg.RetryPolicy(
        max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
    )


def schedule_status() -> dg.DefaultScheduleStatus:
    """Schedules start automatically unless `TNT_SCHEDULES=stopped` (the demo sets it, so nothing calls out unasked)."""
    runs = Settings.from_environment().schedules_run
    return dg.DefaultScheduleStatus.RUNNING if runs else dg.DefaultScheduleStatus.STOPPED
