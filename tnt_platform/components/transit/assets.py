"""The assets of a transit dataset: one op that takes each date through the links and logs what was published.

One op, because a run that covers raw to published costs one start instead of five, and because a date
that fails at one link must not keep the other dates of a backfill from the next link.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import dagster as dg
import polars as pl

from tnt_platform.components.cost import Meter
from tnt_platform.components.failures import as_dagster_failure, describe_error, failed_dates
from tnt_platform.components.metadata import check_results, materialization
from tnt_platform.components.platform import Platform
from tnt_platform.components.transit.lineage import results_lineage
from tnt_platform.components.transit.plots import summary_plot
from tnt_platform.errors import CheckFailed, TntError
from tnt_platform.flows.publishing import CheckOutcome, Published
from tnt_platform.flows.transit.chain import Chain
from tnt_platform.flows.transit.shipments import crashed_files
from tnt_platform.flows.transit.spec import ENRICHED, FILES, RESULTS, SHIPMENTS, SUMMARY, TransitSpec

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
    SUMMARY: {"polars", "parquet"},
}


class TransitRun(dg.Config):
    """How a run goes about it; the defaults are right for the sensor and for backfills."""

    isolate: bool = False
    force: bool = False
    ask_again: Literal["none", "quarantined", "all"] = "none"


@dataclass
class _Tally:
    """What the run has seen so far."""

    spec: TransitSpec
    outcomes: dict[tuple[str, str], dict[str, CheckOutcome | None]] = field(default_factory=dict)
    crashed: dict[str, list[str]] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    done: int = 0

    def add(self, step: str, date: str, outcomes: Sequence[CheckOutcome]) -> None:
        found = {outcome.name: outcome for outcome in outcomes}
        for name in checks_of(self.spec, step):
            if name in found or not outcomes:
                self.outcomes.setdefault((step, name), {})[date] = found.get(name)


def transit_assets(
    spec: TransitSpec,
    *,
    owners: Sequence[str],
    tags: Mapping[str, str],
    description: str,
    freshness: dg.FreshnessPolicy | None,
) -> dg.AssetsDefinition:
    """The assets `<dataset>/<step>` with their blocking checks, daily partitions and backfill policy."""
    partitions = dg.DailyPartitionsDefinition(start_date=spec.start_date.isoformat(), end_offset=1)
    specs = [
        dg.AssetSpec(
            key=[spec.name, step],
            deps=[[spec.name, spec.steps[i - 1]]] if i else [],
            description=DESCRIPTIONS[step] + (f"\n\n{description}" if description else ""),
            group_name=spec.name,
            owners=list(owners),
            tags=dict(tags),
            kinds=STEP_KINDS.get(step, {"parquet"})
            | ({"dynamodb"} if step == RESULTS and spec.results_table else set()),
            partitions_def=partitions,
            skippable=True,
            freshness_policy=freshness,
            metadata={
                "dagster/table_name": spec.dataset(step),
                "source": f"{spec.source.prefix} {spec.source.key_pattern.pattern}",
            },
        )
        for i, step in enumerate(spec.steps)
    ]

    @dg.multi_asset(
        name=spec.name,
        specs=specs,
        can_subset=True,
        check_specs=_check_specs(spec),
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=10),
        retry_policy=dg.RetryPolicy(
            max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
        ),
        op_tags={"tnt/dataset": spec.name},
    )
    def materialize(
        context: dg.AssetExecutionContext, config: TransitRun, platform: Platform
    ) -> Iterator[dg.AssetCheckResult]:
        with as_dagster_failure(spec.name):
            settings = platform.settings()
            selected = [
                step for step in spec.steps if dg.AssetKey([spec.name, step]) in context.selected_asset_keys
            ]
            if not selected:
                raise dg.Failure(f"{spec.name}: {CHECKED_BEFORE_PUBLISHING}", allow_retries=False)
            tally = _Tally(spec)
            dates = sorted(context.partition_keys)
            with Chain(
                spec,
                platform.place(),
                settings,
                run_id=context.run_id,
                isolate=config.isolate,
                force=config.force,
                ask_again=config.ask_again,
                progress=context.log.info,
            ) as chain:
                for number, date in enumerate(dates, start=1):
                    context.log.info(f"{spec.name} {date} ({number} of {len(dates)})")
                    _materialize_date(context, chain, selected, date, tally)
            yield from _results(context, spec, tally)
            if tally.failures:
                raise failed_dates(spec.name, tally.failures, tally.done)

    return materialize


def _check_specs(spec: TransitSpec) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            name, asset=[spec.name, step], blocking=True, description=CHECK_DESCRIPTIONS.get(name, IN_RANGE)
        )
        for step in spec.steps
        for name in checks_of(spec, step)
    ] + [
        dg.AssetCheckSpec(
            CRASH_CHECK,
            asset=[spec.name, SHIPMENTS],
            description="Fails when a file made its reader crash and was quarantined whole after the last attempt.",
        )
    ]


def checks_of(spec: TransitSpec, step: str) -> tuple[str, ...]:
    """The blocking checks of a step; a dataset whose dates are columns has no expected days to check."""
    names = BLOCKING_CHECKS[step]
    return names if spec.api or step != SHIPMENTS else names[:2]


def _materialize_date(
    context: dg.AssetExecutionContext, chain: Chain, selected: Sequence[str], date: str, tally: _Tally
) -> None:
    """Take one date through the selected links; a failure is noted and the next date goes on."""
    for step in selected:
        meter = Meter.start(chain.place)
        try:
            published = chain.publish(step, date)
        except CheckFailed as error:
            tally.failures[date] = error
            tally.add(step, date, [o for o in error.outcomes if isinstance(o, CheckOutcome)])
            context.log.error(f"{date} {step}: {describe_error(error)}")
            return
        except Exception as error:
            tally.failures[date] = error
            known = isinstance(error, TntError)
            context.log.error(f"{date} {step}: {describe_error(error)}", exc_info=not known)
            return
        tally.add(step, date, published.checks)
        key = dg.AssetKey([chain.spec.name, step])
        context.log_event(materialization(published, key, _extra(chain, step, published, meter)))
        context.log.info(
            f"{date} {step}: {published.counts.rows_in} in, {published.counts.published} published, "
            f"{published.counts.quarantined} quarantined{'' if published.changed else ' (unchanged)'}"
        )
        if step == SHIPMENTS:
            tally.crashed[date] = crashed_files(published)
    tally.done += 1


def _extra(chain: Chain, step: str, published: Published, meter: Meter) -> dict[str, object]:
    """What only this step shows: its cost, its lineage, the plot."""
    extra: dict[str, object] = {**meter.cost(chain, published)}
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


def _results(
    context: dg.AssetExecutionContext, spec: TransitSpec, tally: _Tally
) -> Iterator[dg.AssetCheckResult]:
    for (step, name), outcomes in tally.outcomes.items():
        key = dg.AssetKey([spec.name, step])
        if dg.AssetCheckKey(key, name) in context.selected_asset_check_keys:
            yield check_results(key, name, outcomes)
    shipments = dg.AssetKey([spec.name, SHIPMENTS])
    if tally.crashed and dg.AssetCheckKey(shipments, CRASH_CHECK) in context.selected_asset_check_keys:
        files = [file for crashed in tally.crashed.values() for file in crashed]
        yield dg.AssetCheckResult(
            asset_key=shipments,
            check_name=CRASH_CHECK,
            passed=not files,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"{len(files)} files crashed the reader" if files else "every file could be read",
            metadata={"files": dg.MetadataValue.json(files)},
        )
