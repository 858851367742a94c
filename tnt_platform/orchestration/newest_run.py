"""One run of a dataset that has only a newest state: each step with its checks and its cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import dagster as dg

from tnt_platform.errors import CheckFailed, InvalidInput
from tnt_platform.lake.blocked import BlockedPublish, note_blocked
from tnt_platform.lake.guard_rails import REJECTED_SHARE
from tnt_platform.lake.publishing import CheckOutcome, Published, Workspace
from tnt_platform.orchestration.compute import TaskSize
from tnt_platform.orchestration.cost import Meter
from tnt_platform.orchestration.metadata import in_reading_order
from tnt_platform.orchestration.steps import StepChecks, SteppedDataset, selected_steps
from tnt_platform.settings import Settings


class NewestChain(Protocol):
    """The steps of a dataset that has only a newest state, from its source to what is published."""

    @property
    def spec(self) -> SteppedDataset: ...
    @property
    def workspace(self) -> Workspace: ...
    @property
    def settings(self) -> Settings: ...
    def publish(self, step: str) -> Published: ...


def materialize_newest(
    context: dg.AssetExecutionContext,
    chain: NewestChain,
    checks: StepChecks,
    metadata: Callable[[str, Published], Mapping[str, Any]],
    summary: Callable[[Published], str] | None = None,
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Publish the selected steps; if a check fails, yield the outcomes of all checks before the run fails.

    `metadata` describes a step; `summary` adds to its log line, beside rows in, published and quarantined.

    Raises:
        CheckFailed: a check that blocks failed, even if it kept only a part from being published.
    """
    name = chain.spec.name
    failed: list[str] = []
    for step in selected_steps(context, name, chain.spec.steps):
        key = dg.AssetKey([name, step])
        meter = Meter.start(chain.workspace, TaskSize.of(context.run.tags, chain.settings))
        try:
            published = chain.publish(step)
        except CheckFailed as error:
            outcomes = [outcome for outcome in error.outcomes if isinstance(outcome, CheckOutcome)]
            yield from checks.results(context, key, outcomes)
            raise
        except InvalidInput as error:
            # All of the content is rejected. The other checks had nothing to look at, and have no result.
            yield from checks.results(context, key, [CheckOutcome(REJECTED_SHARE, False, str(error))])
            raise
        counts = published.counts
        line = f"{step}: {counts.rows_in} in, {counts.published} published, {counts.quarantined} quarantined"
        line += f", {summary(published)}" if summary else ""
        context.log.info(line if published.changed else f"{line} (unchanged)")
        yield dg.MaterializeResult(
            asset_key=key,
            metadata=in_reading_order({**metadata(step, published), **meter.cost(published)}),
            tags={"tnt/version": published.snapshot.version},
        )
        yield from checks.results(context, key, published.checks, unchanged=not published.changed)
        if reasons := _failures(published, checks.blocking[step]):
            failed.append(_note(chain.workspace, published, context.run_id, reasons).text)
    if failed:
        raise CheckFailed("; ".join(failed))


def _failures(published: Published, blocking: tuple[str, ...]) -> dict[str, str]:
    """Return what failed of the checks that are `blocking`, though the ledger and quarantine were published."""
    return {one.name: one.description for one in published.checks if not one.passed and one.name in blocking}


def _note(
    workspace: Workspace, published: Published, run_id: str, reasons: Mapping[str, str]
) -> BlockedPublish:
    blocked = BlockedPublish(
        published.dataset,
        published.partition,
        published.snapshot.version,
        workspace.clock(),
        run_id,
        reasons,
        is_draft=False,
    )
    note_blocked(workspace.lake, blocked)
    return blocked
