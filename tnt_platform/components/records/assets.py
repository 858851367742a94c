"""The assets of a dataset of records: one op that takes the source through capture, records and summary."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from tnt_platform.components.cost import Meter
from tnt_platform.components.failures import as_dagster_failure
from tnt_platform.components.platform import Platform
from tnt_platform.components.records.metadata import records_metadata
from tnt_platform.components.steps import StepChecks, StepStory, retry_later
from tnt_platform.errors import CheckFailed
from tnt_platform.flows.publishing import CheckOutcome, Published
from tnt_platform.flows.records.chain import RecordsChain
from tnt_platform.flows.records.spec import CAPTURE, RECORDS, SUMMARY, RecordsSpec

CHECKS = StepChecks(
    blocking={
        CAPTURE: ("rows_conserved", "unique_keys"),
        RECORDS: ("rows_conserved", "items_conserved", "unique_keys"),
        SUMMARY: ("rows_conserved", "unique_keys", "summary_adds_up"),
    },
    warning={CAPTURE: (), RECORDS: ("captures_accepted",), SUMMARY: ()},
    descriptions={
        "rows_conserved": "Rows in = published + quarantined + deduplicated + filtered.",
        "items_conserved": "Every item of a capture is a record, in quarantine, or the repetition of another one.",
        "unique_keys": "No two rows share the key.",
        "captures_accepted": "Every capture was taken whole; one that can't be is in quarantine whole.",
        "summary_adds_up": "Each grouping counts every record exactly once.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    CAPTURE: "Each look at the source: when, what it answered, and where the bytes lie; kept once per content.",
    RECORDS: "Every item the source ever showed, typed, with its fingerprint; changed only when its content is.",
    SUMMARY: "How many records by source and by day of their last change, the oldest and the newest.",
}
STEP_KINDS: dict[str, set[str]] = {
    CAPTURE: {"file"},
    RECORDS: {"polars", "parquet"},
    SUMMARY: {"parquet"},
}


class RecordsRun(dg.Config):
    """How a run goes about it. `by_hand`: go on although the dataset was rolled back."""

    by_hand: bool = False


def records_assets(
    spec: RecordsSpec,
    *,
    owners: Sequence[str],
    tags: Mapping[str, str],
    description: str,
    freshness: dg.FreshnessPolicy | None,
) -> dg.AssetsDefinition:
    """The assets `<dataset>/<step>` with their checks; not partitioned in Dagster: a source has only a newest state."""
    story = StepStory(
        descriptions=DESCRIPTIONS,
        kinds=STEP_KINDS | ({RECORDS: {"polars", "parquet", "dynamodb"}} if spec.table else {}),
        owners=owners,
        tags=tags,
        description=description,
        freshness=freshness,
        metadata={"source": spec.source.url},
    )

    @dg.multi_asset(
        name=spec.name,
        specs=story.specs(spec.name, {step: spec.dataset(step) for step in spec.steps}),
        can_subset=True,
        check_specs=CHECKS.specs(spec.name),
        retry_policy=retry_later(),
        op_tags={"tnt/dataset": spec.name},
    )
    def materialize(
        context: dg.AssetExecutionContext, config: RecordsRun, platform: Platform
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with (
            as_dagster_failure(spec.name),
            RecordsChain(
                spec,
                platform.place(),
                platform.settings(),
                run_id=context.run_id,
                by_hand=config.by_hand,
            ) as chain,
        ):
            for step in spec.steps:
                if dg.AssetKey([spec.name, step]) in context.selected_asset_keys:
                    yield from _materialize(context, chain, step)

    return materialize


def _materialize(
    context: dg.AssetExecutionContext, chain: RecordsChain, step: str
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
        metadata=records_metadata(step, published) | meter.step_cost(chain.place, chain.settings, published),
        tags={"tnt/version": published.snapshot.version},
    )
    yield from CHECKS.results(context, key, published.checks)


def _told(step: str, published: Published) -> str:
    counts = published.counts
    return (
        f"{step}: {counts.rows_in} in, {counts.published} published, {counts.quarantined} quarantined, "
        f"{counts.deduplicated} repeated" + ("" if published.changed else " (unchanged)")
    )
