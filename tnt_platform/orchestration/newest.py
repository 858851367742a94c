"""One run of a dataset that has only a newest state: step by step, each with its checks and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import dagster as dg

from tnt_platform.errors import CheckFailed
from tnt_platform.lake.publishing import CheckOutcome, Place, Published
from tnt_platform.orchestration.compute import TaskSize
from tnt_platform.orchestration.cost import Meter
from tnt_platform.orchestration.metadata import in_reading_order
from tnt_platform.orchestration.steps import StepChecks, selected_steps
from tnt_platform.settings import Settings


class NewestDataset(Protocol):
    """Its name and its steps in order."""

    @property
    def name(self) -> str: ...
    @property
    def steps(self) -> tuple[str, ...]: ...


class NewestChain(Protocol):
    """What takes such a dataset from its source to what is published."""

    @property
    def spec(self) -> NewestDataset: ...
    @property
    def place(self) -> Place: ...
    @property
    def settings(self) -> Settings: ...
    def publish(self, step: str) -> Published: ...


def materialize_newest(
    context: dg.AssetExecutionContext,
    chain: NewestChain,
    checks: StepChecks,
    facts: Callable[[str, Published], Mapping[str, Any]],
    told: Callable[[Published], str] | None = None,
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Take the selected steps; the checks of a refused draft reach the UI before the run fails.

    `facts` is the metadata of a step, `told` what the run's log says of it besides rows in, published and quarantined.
    """
    name = chain.spec.name
    for step in selected_steps(context, name, chain.spec.steps):
        key = dg.AssetKey([name, step])
        meter = Meter.start(chain.place, TaskSize.of(context.run.tags, chain.settings))
        try:
            published = chain.publish(step)
        except CheckFailed as error:
            yield from checks.results(
                context, key, [o for o in error.outcomes if isinstance(o, CheckOutcome)]
            )
            raise
        context.log.info(_line(step, published, told(published) if told else ""))
        yield dg.MaterializeResult(
            asset_key=key,
            metadata=in_reading_order({**facts(step, published), **meter.cost(published)}),
            tags={"tnt/version": published.snapshot.version},
        )
        yield from checks.results(context, key, published.checks)


def _line(step: str, published: Published, told: str) -> str:
    counts = published.counts
    parts = [
        f"{counts.rows_in} in",
        f"{counts.published} published",
        f"{counts.quarantined} quarantined",
        *([told] if told else []),
    ]
    return f"{step}: {', '.join(parts)}" + ("" if published.changed else " (unchanged)")
