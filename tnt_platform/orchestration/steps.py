"""The steps of a dataset as assets and checks, for every kind of dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, Protocol

import dagster as dg

from tnt_platform.lake.publishing import CheckOutcome
from tnt_platform.orchestration.compute import launcher_tags
from tnt_platform.orchestration.metadata import check_results
from tnt_platform.settings import Settings
from tnt_platform.specs.dataset import Compute


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
        *,
        unchanged: bool = False,
    ) -> Iterator[dg.AssetCheckResult]:
        """Yield the results of the checks of one step that ran.

        The others of an `unchanged` version passed when it was published; a check that found something then is among
        the outcomes again. Of a version that changed, they did not run, and have no result.
        """
        step = key.path[-1]
        found = {outcome.name: outcome for outcome in outcomes}
        for name in self.of(step):
            if dg.AssetCheckKey(key, name) in context.selected_asset_check_keys and (
                name in found or unchanged
            ):
                yield check_results(key, name, {"newest": found.get(name)}, warns=name in self.warning[step])


class SteppedDataset(Protocol):
    """What the assets of a dataset need to know of its spec."""

    @property
    def name(self) -> str: ...
    @property
    def steps(self) -> tuple[str, ...]: ...
    @property
    def description(self) -> str: ...
    @property
    def owners(self) -> tuple[str, ...]: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def compute(self) -> Compute | None: ...
    @property
    def stale_after_hours(self) -> float | None: ...
    def dataset(self, step: str) -> str: ...


def dataset_op(
    spec: SteppedDataset,
    checks: Sequence[dg.AssetCheckSpec],
    *,
    descriptions: Mapping[str, str],
    kinds: Mapping[str, set[str]],
    metadata: Mapping[str, str],
    partitions: dg.PartitionsDefinition | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Decorate the function that materializes the selected steps; a backfill runs at most ten dates at once.

    Each step is an asset `<dataset>/<step>` that depends on the one before; `descriptions` and `kinds` are by step,
    `metadata` is that of all of them.
    """
    return dg.multi_asset(
        name=spec.name,
        specs=[
            _asset_spec(spec, step, before, descriptions[step], kinds[step], metadata, partitions)
            for before, step in pairwise((None, *spec.steps))
            if step is not None
        ],
        can_subset=True,
        check_specs=checks,
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=10) if partitions else None,
        op_tags={"tnt/dataset": spec.name, **launcher_tags(spec.compute)},
    )


def _asset_spec(
    spec: SteppedDataset,
    step: str,
    before: str | None,
    description: str,
    kinds: set[str],
    metadata: Mapping[str, str],
    partitions: dg.PartitionsDefinition | None,
) -> dg.AssetSpec:
    freshness = (
        dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=spec.stale_after_hours))
        if spec.stale_after_hours
        else None
    )
    return dg.AssetSpec(
        key=[spec.name, step],
        deps=[[spec.name, before]] if before else [],
        description=f"{description}\n\n{spec.description}" if spec.description else description,
        group_name=spec.name,
        owners=list(spec.owners),
        tags=dict(spec.tags),
        kinds=kinds,
        partitions_def=partitions,
        skippable=True,
        freshness_policy=freshness,
        metadata={"dagster/table_name": spec.dataset(step), **metadata},
    )


def selected_steps(context: dg.AssetExecutionContext, dataset: str, steps: Sequence[str]) -> list[str]:
    """Return the steps that this run must materialize, in order."""
    return [step for step in steps if dg.AssetKey([dataset, step]) in context.selected_asset_keys]


def schedule_status() -> dg.DefaultScheduleStatus:
    """Schedules start automatically unless `TNT_SCHEDULES=stopped` (the demo sets it, so nothing calls out unasked)."""
    runs = Settings.from_environment().schedules_run
    return dg.DefaultScheduleStatus.RUNNING if runs else dg.DefaultScheduleStatus.STOPPED
