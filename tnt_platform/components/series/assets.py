"""The assets of a series dataset: one op that takes the source through capture, series and observations."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from tnt_platform.components.cost import Meter
from tnt_platform.components.failures import as_dagster_failure
from tnt_platform.components.platform import Platform
from tnt_platform.components.series.metadata import series_metadata
from tnt_platform.components.steps import StepChecks, StepStory, retry_later
from tnt_platform.errors import CheckFailed
from tnt_platform.flows.publishing import CheckOutcome, Published
from tnt_platform.flows.series.chain import SeriesChain
from tnt_platform.flows.series.spec import CAPTURE, OBSERVATIONS, SERIES, SeriesSpec

CHECKS = StepChecks(
    blocking={
        CAPTURE: ("rows_conserved", "unique_keys"),
        SERIES: ("rows_conserved", "unique_keys"),
        OBSERVATIONS: ("rows_conserved", "unique_keys", "history_not_shrinking"),
    },
    warning={
        CAPTURE: (),
        SERIES: ("series_have_observations", "no_gaps"),
        OBSERVATIONS: ("no_jumps",),
    },
    descriptions={
        "rows_conserved": "Cells in = observations + quarantined + repeated + not available.",
        "unique_keys": "No two observations of a series belong to one period.",
        "history_not_shrinking": "What was published is still there: a publisher that drops ten years is not followed.",
        "series_have_observations": "Every series that the file should hold has a value.",
        "no_gaps": "No period is missing inside a series, by the calendar of its frequency.",
        "no_jumps": "No new value is far from what its series usually does.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    CAPTURE: "The publisher's file as it came, kept once per content.",
    SERIES: "The newest capture, read and normalized: one row an observation; what can't be read is in quarantine.",
    OBSERVATIONS: "Every observation ever published, with corrections, versioned and partitioned.",
}
STEP_KINDS: Mapping[str, set[str]] = {
    CAPTURE: {"file"},
    SERIES: {"polars", "parquet"},
    OBSERVATIONS: {"parquet"},
}


class SeriesRun(dg.Config):
    """How a run goes about it; the defaults are right for the schedule.

    `file`: capture this local file instead of the source. `accept_vanished`: let observations go that the
    publisher withdrew. `by_hand`: go on although the dataset was rolled back.
    """

    file: str | None = None
    accept_vanished: bool = False
    by_hand: bool = False


def series_assets(
    spec: SeriesSpec,
    *,
    owners: Sequence[str],
    tags: Mapping[str, str],
    description: str,
    freshness: dg.FreshnessPolicy | None,
) -> dg.AssetsDefinition:
    """The assets `<dataset>/<step>` with their checks; not partitioned in Dagster: a source has only a newest state."""
    story = StepStory(
        DESCRIPTIONS,
        STEP_KINDS,
        owners,
        tags,
        description,
        freshness,
        {"source": spec.source.url, "provider": spec.provider},
    )
    tables = {step: spec.dataset(step) for step in spec.steps}

    @dg.multi_asset(
        name=spec.name,
        specs=story.specs(spec.name, tables),
        can_subset=True,
        check_specs=CHECKS.specs(spec.name),
        retry_policy=retry_later(),
        op_tags={"tnt/dataset": spec.name},
    )
    def materialize(
        context: dg.AssetExecutionContext, config: SeriesRun, platform: Platform
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with as_dagster_failure(spec.name):
            chain = SeriesChain(
                spec,
                platform.place(),
                platform.settings(),
                run_id=context.run_id,
                file=Path(config.file) if config.file else None,
                accept_vanished=config.accept_vanished,
                by_hand=config.by_hand,
                progress=context.log.info,
            )
            with chain:
                for step in spec.steps:
                    if dg.AssetKey([spec.name, step]) in context.selected_asset_keys:
                        yield from _materialize(context, chain, step)
                if told := chain.send_notice():
                    context.log.info(f"subscribers know of version {told}")

    return materialize


def _materialize(
    context: dg.AssetExecutionContext, chain: SeriesChain, step: str
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Take one step; the checks of a refused draft reach the UI before the run fails."""
    key = dg.AssetKey([chain.spec.name, step])
    meter = Meter.start(chain.place)
    try:
        published = chain.publish(step)
    except CheckFailed as error:
        yield from CHECKS.results(context, key, [o for o in error.outcomes if isinstance(o, CheckOutcome)])
        raise
    context.log.info(_told(step, published))
    yield dg.MaterializeResult(
        asset_key=key,
        metadata=series_metadata(chain.spec, step, published)
        | meter.step_cost(chain.place, chain.settings, published),
        tags={"tnt/version": published.snapshot.version},
    )
    yield from CHECKS.results(context, key, published.checks)


def _told(step: str, published: Published) -> str:
    counts = published.counts
    return (
        f"{step}: {counts.rows_in} in, {counts.published} published, {counts.quarantined} quarantined, "
        f"{counts.filtered} not available" + ("" if published.changed else " (unchanged)")
    )
