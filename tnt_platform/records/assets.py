"""The assets of a dataset of records: one op that takes the source through capture, records and summary."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from tnt_platform.lake.publishing import Published
from tnt_platform.orchestration.failures import as_dagster_failure
from tnt_platform.orchestration.newest import materialize_newest
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import About, StepChecks, StepStory
from tnt_platform.records.chain import RecordsChain
from tnt_platform.records.metadata import records_metadata
from tnt_platform.records.spec import CAPTURE, RECORDS, SUMMARY, RecordsSpec

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


def records_assets(spec: RecordsSpec, about: About) -> dg.AssetsDefinition:
    """The assets `<dataset>/<step>` with their checks; not partitioned in Dagster: a source has only a newest state."""
    kinds = STEP_KINDS | ({RECORDS: {"polars", "parquet", "dynamodb"}} if spec.table else {})
    story = StepStory(DESCRIPTIONS, kinds, about, {"source": spec.source.url})

    @story.one_op(spec.name, {step: spec.dataset(step) for step in spec.steps}, CHECKS.specs(spec.name))
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
            yield from materialize_newest(context, chain, CHECKS, records_metadata, _told)

    return materialize


def _told(published: Published) -> str:
    return f"{published.counts.deduplicated} repeated"
