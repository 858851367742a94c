"""The assets of a transit dataset: one op that takes each date through the links and logs what was published.

One op, because a run that covers raw to published costs one start instead of five, and because a date
that fails at one link must not keep the other dates of a backfill from the next link.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import dagster as dg
import polars as pl

from tnt_platform.lake.publishing import Published
from tnt_platform.orchestration.component import about
from tnt_platform.orchestration.compute import TaskSize
from tnt_platform.orchestration.cost import Meter
from tnt_platform.orchestration.dated import DatedRun
from tnt_platform.orchestration.failures import as_dagster_failure
from tnt_platform.orchestration.metadata import materialization
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import StepChecks, StepStory, selected_steps
from tnt_platform.transit.chain import Chain
from tnt_platform.transit.lineage import results_lineage
from tnt_platform.transit.plots import summary_plot
from tnt_platform.transit.shipments import crashed_files
from tnt_platform.transit.spec import ENRICHED, FILES, RESULTS, SHIPMENTS, SUMMARY, TransitSpec

BLOCKING_CHECKS: Mapping[str, tuple[str, ...]] = {
    FILES: ("rows_conserved", "unique_keys"),
    SHIPMENTS: ("rows_conserved", "unique_keys", "expected_transit_days_in_range"),
    ENRICHED: ("rows_conserved", "unique_keys", "actual_transit_days_in_range", "answer_coverage"),
    RESULTS: ("rows_conserved", "unique_keys", "lag_days_in_range"),
    SUMMARY: ("rows_conserved", "unique_keys", "summary_adds_up"),
}
DESCRIPTIONS: Mapping[str, str] = {
    FILES: "The files of each date as they lie in the bucket: key, etag, size, time.",
    SHIPMENTS: "Every row of those files, typed, with file and line; refused rows are in quarantine with the reason.",
    ENRICHED: "One row a case with the answer of the rate API: actual transit days, request, response, latency.",
    RESULTS: "Expected against actual: one row a case, with an id that never changes, early, on time or late.",
    SUMMARY: "Pass rate, counts and latency percentiles, over all and by group.",
}
CHECK_DESCRIPTIONS: Mapping[str, str] = {
    "rows_conserved": "Rows in = published + quarantined + deduplicated + filtered.",
    "unique_keys": "No two rows of a date share the key.",
    "answer_coverage": "The API had its say on at least `min_coverage` of the cases: an outage is no finished date.",
    "summary_adds_up": "Each grouping counts every result exactly once.",
}
IN_RANGE = "Every value is there and within the bounds that make sense."
CHECKED_BEFORE_PUBLISHING = (
    "checks look at a draft before it is published, so they can't be executed without it: "
    "materialize the asset for a date instead"
)
# One file alone made the reader crash: the rest went through, but somebody has to look.
CRASH_CHECK = "no_file_crashed_the_reader"
STEP_KINDS: Mapping[str, set[str]] = {
    FILES: {"s3"},
    SHIPMENTS: {"polars", "parquet"},
    ENRICHED: {"parquet"},
    RESULTS: {"parquet"},
    SUMMARY: {"polars", "parquet"},
}


RETRY_SOON = dg.RetryPolicy(
    max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


class TransitRun(dg.Config):
    """How a run goes about it; the defaults are right for the sensor and for backfills."""

    isolate: bool = False
    force: bool = False
    ask_again: Literal["none", "quarantined", "all"] = "none"


def transit_assets(spec: TransitSpec) -> dg.AssetsDefinition:
    """The assets `<dataset>/<step>` with their blocking checks, daily partitions and backfill policy."""
    checks = transit_checks(spec)
    partitions = dg.DailyPartitionsDefinition(start_date=spec.start_date.isoformat(), end_offset=1)

    @_story(spec).one_op(
        spec.name,
        {step: spec.dataset(step) for step in spec.steps},
        [*checks.specs(spec.name), _crash_check(spec)],
        retry=RETRY_SOON,
        partitions=partitions,
    )
    def materialize(
        context: dg.AssetExecutionContext, config: TransitRun, platform: Platform
    ) -> Iterator[dg.AssetCheckResult]:
        with as_dagster_failure(spec.name):
            selected = selected_steps(context, spec.name, spec.steps)
            if not selected:
                raise dg.Failure(f"{spec.name}: {CHECKED_BEFORE_PUBLISHING}", allow_retries=False)
            run = DatedRun(context, spec.name, checks)
            dates = sorted(context.partition_keys)
            crashed: dict[str, list[str]] = {}
            with _chain(spec, platform, config, context) as chain:
                for number, date in enumerate(dates, start=1):
                    context.log.info(f"{spec.name} {date} ({number} of {len(dates)})")
                    _materialize_date(run, chain, selected, date, crashed)
            yield from run.results()
            yield from _crash_results(context, spec, crashed)
            run.raise_failures()

    return materialize


def _story(spec: TransitSpec) -> StepStory:
    kinds = {**STEP_KINDS, RESULTS: {"parquet"} | ({"dynamodb"} if spec.dynamodb else set())}
    source = {"source": f"{spec.source.prefix} {spec.source.whole_key.pattern}"}
    return StepStory(DESCRIPTIONS, kinds, about(spec), source)


def transit_checks(spec: TransitSpec) -> StepChecks:
    """The blocking checks of each step; a dataset whose dates are columns has no expected days to check."""
    blocking = {step: BLOCKING_CHECKS[step] for step in spec.steps}
    if spec.rate_api is None:
        blocking[SHIPMENTS] = blocking[SHIPMENTS][:2]
    descriptions = {
        name: CHECK_DESCRIPTIONS.get(name, IN_RANGE) for names in blocking.values() for name in names
    }
    return StepChecks(blocking, dict.fromkeys(blocking, ()), descriptions)


def _chain(
    spec: TransitSpec, platform: Platform, config: TransitRun, context: dg.AssetExecutionContext
) -> Chain:
    return Chain(
        spec,
        platform.place(),
        platform.settings(),
        run_id=context.run_id,
        isolate=config.isolate,
        force=config.force,
        ask_again=config.ask_again,
        progress=context.log.info,
    )


def _materialize_date(
    run: DatedRun, chain: Chain, selected: Sequence[str], date: str, crashed: dict[str, list[str]]
) -> None:
    """Take one date through the selected links; a failure is noted and the next date goes on."""
    for step in selected:
        meter = Meter.start(chain.place, TaskSize.of(run.context.run.tags, chain.settings))
        try:
            published = chain.publish(step, date)
        except Exception as error:  # noqa: BLE001 - told and raised at the end of the run
            run.fail(step, date, error)
            return
        run.add(step, date, published.checks)
        key = dg.AssetKey([chain.spec.name, step])
        run.context.log_event(materialization(published, key, _extra(chain, step, published, meter)))
        run.context.log.info(
            f"{date} {step}: {published.counts.rows_in} in, {published.counts.published} published, "
            f"{published.counts.quarantined} quarantined{'' if published.changed else ' (unchanged)'}"
        )
        if step == SHIPMENTS:
            crashed[date] = crashed_files(published)
    run.done += 1


def _extra(chain: Chain, step: str, published: Published, meter: Meter) -> dict[str, object]:
    """What only this step shows: its cost, its lineage, the plot."""
    extra: dict[str, object] = {**meter.cost(published, files=_files(chain, published.partition))}
    if step == RESULTS:
        extra["dagster/column_lineage"] = results_lineage(chain.spec, published.snapshot.schema)
    if step == SUMMARY and published.counts.published:
        summary = published.snapshot.scan([published.partition]).collect()
        title = f"{chain.spec.name} {published.partition}"
        overall = summary.filter(pl.col("group_kind") == "all")
        if overall.height and overall["cases"][0]:
            extra["pass_rate"] = round(overall["pass_rate"][0], 4)
            passed, cases = overall.select("passed", "cases").row(0)
            title += f": {passed:,} of {cases:,} cases passed ({passed / cases:.1%})"
        extra["plot"] = dg.MetadataValue.md(summary_plot(summary, title))
    return extra


def _files(chain: Chain, date: str) -> int:
    """How many files the date was published from."""
    snapshot = chain.place.store.current(chain.spec.dataset(FILES))
    row = snapshot.partition(date) if snapshot else None
    return int(row["published"]) if row else 0


def _crash_check(spec: TransitSpec) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        CRASH_CHECK,
        asset=[spec.name, SHIPMENTS],
        description="Fails when a file made its reader crash and was quarantined whole after the last attempt.",
    )


def _crash_results(
    context: dg.AssetExecutionContext, spec: TransitSpec, crashed: Mapping[str, Sequence[str]]
) -> Iterator[dg.AssetCheckResult]:
    shipments = dg.AssetKey([spec.name, SHIPMENTS])
    if crashed and dg.AssetCheckKey(shipments, CRASH_CHECK) in context.selected_asset_check_keys:
        files = [file for of_date in crashed.values() for file in of_date]
        yield dg.AssetCheckResult(
            asset_key=shipments,
            check_name=CRASH_CHECK,
            passed=not files,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"{len(files)} files crashed the reader" if files else "every file could be read",
            metadata={"files": dg.MetadataValue.json(files)},
        )
