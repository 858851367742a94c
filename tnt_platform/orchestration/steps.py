"""What the steps of every kind of dataset have in common: their assets, checks and outcomes."""

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
class About:
    """What the YAML of any dataset says about its assets; `compute` are the launcher's tags for its runs."""

    description: str = ""
    owners: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    freshness: dg.FreshnessPolicy | None = None
    compute: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StepStory:
    """What the kind of a dataset says about its steps, beside what its YAML does."""

    descriptions: Mapping[str, str]
    kinds: Mapping[str, set[str]]
    about: About
    metadata: Mapping[str, str]

    def specs(
        self, dataset: str, tables: Mapping[str, str], *, partitions: dg.PartitionsDefinition | None = None
    ) -> list[dg.AssetSpec]:
        """The assets `<dataset>/<step>`, each built on the one before; `tables`: step -> dataset id in the lake."""
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
        """A decorator: the function materializes all steps, or those selected; of dates, ten at most in a run."""
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
    """The steps that this run is to materialize, in their order."""
    return [step for step in steps if dg.AssetKey([dataset, step]) in context.selected_asset_keys]


def retry_later() -> dg.RetryPolicy:
    """Two more tries of what may pass by itself, half a minute and a minute later."""
    return dg.RetryPolicy(
        max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
    )


def schedule_status() -> dg.DefaultScheduleStatus:
    """Schedules run by themselves, unless `TNT_SCHEDULES=stopped`, as in the demo: it asks nobody behind one's back."""
    runs = Settings.from_environment().schedules_run
    return dg.DefaultScheduleStatus.RUNNING if runs else dg.DefaultScheduleStatus.STOPPED
