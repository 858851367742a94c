"""A transit dataset in Dagster: its assets and checks, and the sensor and schedule that request its runs.

One op takes each date through the steps: a run from raw to published costs one start instead of five, and a date
that fails at one step doesn't keep the other dates of a backfill from the next one.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Literal

import dagster as dg
import polars as pl

from tnt_platform.discovery.listing import partitions_named_by
from tnt_platform.lake.guard_rails import REJECTED_SHARE, REMOVED_SHARE
from tnt_platform.lake.publishing import Published, Workspace
from tnt_platform.orchestration.component import DatasetComponent
from tnt_platform.orchestration.compute import TaskSize
from tnt_platform.orchestration.cost import Meter
from tnt_platform.orchestration.dated_run import DatedRun
from tnt_platform.orchestration.dated_sensor import dated_sensor, full_reconciliation_schedule
from tnt_platform.orchestration.event_sensor import EventListener
from tnt_platform.orchestration.failures import READER_PANIC, RETRY_SOON, as_dagster_failure
from tnt_platform.orchestration.guard_rails import GUARD_RAIL_DESCRIPTIONS, OverrideConfig
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import StepChecks, dataset_op, selected_steps
from tnt_platform.transit.chain import Chain
from tnt_platform.transit.files import undated_homes
from tnt_platform.transit.plots import summary_plot
from tnt_platform.transit.reconcile import survey
from tnt_platform.transit.shipments import NEW_CONTENT_ACCEPTED, crashed_files
from tnt_platform.transit.spec import ENRICHED, FILES, RESULTS, SHIPMENTS, SUMMARY, TransitSpec

BLOCKING_CHECKS: Mapping[str, tuple[str, ...]] = {
    FILES: ("rows_conserved", "unique_keys"),
    SHIPMENTS: (
        "rows_conserved",
        "unique_keys",
        REJECTED_SHARE,
        REMOVED_SHARE,
        "expected_transit_days_in_range",
    ),
    ENRICHED: ("rows_conserved", "unique_keys", "actual_transit_days_in_range", "answer_coverage"),
    RESULTS: ("rows_conserved", "unique_keys", "lag_days_in_range"),
    SUMMARY: ("rows_conserved", "unique_keys", "summary_adds_up"),
}
DESCRIPTIONS: Mapping[str, str] = {
    FILES: "The files of each date as they are in the bucket: key, etag, size, time.",
    SHIPMENTS: "Every row of those files, typed, with its file and line; rejected rows are in quarantine with the "
    "reason.",
    ENRICHED: "One row per case with the answer of the rate API: actual transit days, request, response, latency.",
    RESULTS: "Expected against actual: one row per case, with an id that never changes: early, on time or late.",
    SUMMARY: "Pass rate, counts and latency percentiles, in total and by group.",
}
CHECK_DESCRIPTIONS: Mapping[str, str] = {
    "rows_conserved": "Rows in = published + quarantined + deduplicated + filtered.",
    "unique_keys": "No two rows of a date share the key.",
    "answer_coverage": "The API answered at least `min_coverage` of the cases; after an outage a date is not finished.",
    **GUARD_RAIL_DESCRIPTIONS,
    NEW_CONTENT_ACCEPTED: "No file was overwritten by content that is rejected whole; the rows of its accepted content "
    "stay published.",
    "summary_adds_up": "Each grouping counts every result exactly once.",
}
IN_RANGE = "No value is missing or outside the bounds that make sense."
NEEDS_A_DRAFT = (
    "checks look at a draft before it is published, so they can't be executed without it: "
    "materialize the asset for a date instead"
)
# A file that crashed the reader: the others went through, but somebody has to look at it.
CRASH_CHECK = "no_file_crashed_the_reader"
STEP_KINDS: Mapping[str, set[str]] = {
    FILES: {"s3"},
    SHIPMENTS: {"polars", "parquet"},
    ENRICHED: {"parquet"},
    RESULTS: {"parquet"},
    SUMMARY: {"polars", "parquet"},
}
COMPUTED_FROM: Mapping[str, tuple[str, ...]] = {
    "timestamp": ("asked_at",),
    "lag_days": ("expected_transit_days", "actual_transit_days", "expected_date", "actual_date"),
    "status": ("expected_transit_days", "actual_transit_days", "expected_date", "actual_date"),
    "success": ("expected_transit_days", "actual_transit_days", "expected_date", "actual_date"),
}
COLUMNS: Mapping[str, str] = {
    "problem": "Why the file cannot be read as one of this dataset; empty if it can.",
    "ship_profile": "Fingerprint of ship date and shipper's package: part of what makes a case.",
    "request_id": "Fingerprint of the request; identical requests are sent once.",
    "request_payload": "Body sent to the API.",
    "response_payload": "Body of the response.",
    "actual_transit_days": "Transit days the API returned.",
    "time_taken_ms": "Time until the response, in milliseconds.",
    "attempts": "Number of attempts until the API answered.",
    "asked_at": "When the API was asked (UTC).",
    "test_id": "Id of the case, made of its identity alone: the same in every replay.",
    "timestamp": "When the API was asked (UTC).",
    "expected_transit_days": "Transit days the file promises.",
    "expected_date": "Date the file promises.",
    "actual_date": "Date the file records.",
    "lag_days": "Actual minus expected, in days: negative is early, positive late.",
    "success": "Whether the case passes the dataset's rule.",
    "group_kind": "What the row sums up: all cases, or those with one value of a column.",
    "group_value": "That value.",
    "cases": "Cases in the group.",
    "passed": "Cases that pass the dataset's rule.",
    "failed": "Cases that don't.",
    "early": "Cases with a negative lag.",
    "on_time": "Cases without lag.",
    "late": "Cases with a positive lag.",
    "pass_rate": "Passed cases as a share of all, 0 to 1.",
    "mean_lag_days": "Mean of the lag, in days.",
    "latency_p50_ms": "Median time until a response, in milliseconds.",
    "latency_p95_ms": "95th percentile of the time until a response, in milliseconds.",
    "latency_p99_ms": "99th percentile of the time until a response, in milliseconds.",
    "shipper_files.status": "present, or kept: deleted from the bucket, but its rows stay.",
    "results.status": "early, on_time or late.",
}


class TransitDataset(DatasetComponent[TransitSpec]):
    """Files of expected transit times, compared with the actual ones."""

    spec_type = TransitSpec

    def event_listener(self) -> EventListener:
        """Return how object events concern the dataset."""
        return event_listener(self.spec)

    def definitions(self) -> dg.Definitions:
        """Build the dataset's assets and checks, its sensor, its schedule and its job."""
        assets = transit_assets(self.spec)
        selection = dg.AssetSelection.assets(*assets.keys)
        name, prefix = self.spec.name, self.spec.source.prefix
        sensor = dated_sensor(
            self.spec,
            selection,
            partial(survey, self.spec),
            description=f"Compares the files below {prefix} with what {name} was published from.",
        )
        schedule = full_reconciliation_schedule(
            self.spec,
            partial(survey, self.spec),
            description=f"Compares every file below {prefix} with what {name} was published from.",
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
        return dg.Definitions(
            assets=[assets],
            sensors=[sensor],
            schedules=[schedule],
            jobs=[dg.define_asset_job(f"{name}_job", selection=selection)],
        )


class TransitRun(OverrideConfig):
    """Options of one run; the defaults are right for the sensor and for backfills."""

    isolate: bool = False
    force: bool = False
    ask_again: Literal["none", "quarantined", "all"] = "none"


def transit_assets(spec: TransitSpec) -> dg.AssetsDefinition:
    """Build the assets `<dataset>/<step>` with their blocking checks, daily partitions and backfill policy."""
    checks = transit_checks(spec)
    kinds = {**STEP_KINDS, RESULTS: {"parquet"} | ({"dynamodb"} if spec.dynamodb else set())}
    source = {"source": f"{spec.source.prefix} {spec.source.whole_key.pattern}"}

    @dataset_op(
        spec,
        [*checks.specs(spec.name), _crash_check(spec)],
        descriptions=DESCRIPTIONS,
        kinds=kinds,
        metadata=source,
        partitions=dg.DailyPartitionsDefinition(start_date=spec.start_date.isoformat(), end_offset=1),
    )
    def materialize(
        context: dg.AssetExecutionContext, config: TransitRun, platform: Platform
    ) -> Iterator[dg.AssetCheckResult]:
        with as_dagster_failure(spec.name, context, RETRY_SOON):
            yield from _materialize_dates(spec, checks, context, config, platform)

    return materialize


def _materialize_dates(
    spec: TransitSpec,
    checks: StepChecks,
    context: dg.AssetExecutionContext,
    config: TransitRun,
    platform: Platform,
) -> Iterator[dg.AssetCheckResult]:
    """Run every date; record each failure, carry on, and raise all failures together at the end."""
    selected = selected_steps(context, spec.name, spec.steps)
    if not selected:
        raise dg.Failure(f"{spec.name}: {NEEDS_A_DRAFT}", allow_retries=False)
    run = DatedRun(context, spec.name, checks, COLUMNS)
    dates = sorted(context.partition_keys)
    crashed: dict[str, list[str]] = {}
    chain = Chain(
        spec,
        platform.workspace(),
        platform.settings(),
        run_id=context.run_id,
        isolate=config.isolate,
        force=config.force,
        ask_again=config.ask_again,
        overrides=config.overrides,
        progress=context.log.info,
    )
    with chain:
        for number, date in enumerate(dates, start=1):
            context.log.info(f"{spec.name} {date} ({number} of {len(dates)})")
            _materialize_date(run, chain, selected, date, crashed)
    yield from run.results(not_warnings=frozenset({NEW_CONTENT_ACCEPTED}))
    yield from _crash_results(context, spec, crashed)
    run.raise_failures()


def _materialize_date(
    run: DatedRun, chain: Chain, selected: Sequence[str], date: str, crashed: dict[str, list[str]]
) -> None:
    """Take one date through the selected steps, up to the first that fails."""
    for step in selected:
        meter = Meter.start(chain.workspace, TaskSize.of(run.context.run.tags, chain.settings))
        try:
            published = chain.publish(step, date)
        except (Exception, READER_PANIC) as error:  # noqa: BLE001 - raised with all others at the end of the run
            run.fail(step, date, error)
            return
        run.publish(step, published, _metadata(chain, step, published, meter))
        if step == SHIPMENTS:
            crashed[date] = crashed_files(published)
    run.done += 1


def _metadata(chain: Chain, step: str, published: Published, meter: Meter) -> dict[str, object]:
    """The metadata that every step has (its cost) and that only one has (lineage, plot)."""
    metadata: dict[str, object] = {**meter.cost(published, files=_file_count(chain, published.partition))}
    if step == RESULTS:
        metadata["dagster/column_lineage"] = results_lineage(chain.spec, published.snapshot.schema)
    if step == SUMMARY and published.counts.published:
        summary = published.snapshot.scan([published.partition]).collect()
        title = f"{chain.spec.name} {published.partition}"
        total = summary.filter(pl.col("group_kind") == "all")
        if total.height and total["cases"][0]:
            metadata["pass_rate"] = round(total["pass_rate"][0], 4)
            passed, cases = total.select("passed", "cases").row(0)
            title += f": {passed:,} of {cases:,} cases passed ({passed / cases:.1%})"
        metadata["plot"] = dg.MetadataValue.md(summary_plot(summary, title))
    return metadata


def _file_count(chain: Chain, date: str) -> int:
    """The number of files that the date was published from."""
    snapshot = chain.workspace.store.current(chain.spec.dataset(FILES))
    row = snapshot.partition(date) if snapshot else None
    return int(row["published"]) if row else 0


def results_lineage(spec: TransitSpec, columns: Mapping[str, object]) -> dg.TableColumnLineage:
    """Say which columns of the step before each column of `<dataset>/results` is made from."""
    upstream = dg.AssetKey([spec.name, ENRICHED if spec.rate_api else SHIPMENTS])

    def sources(name: str) -> list[str]:
        if name == "test_id":
            return list(spec.identity)
        # The results have `asked_at` under another name.
        return [c for c in COMPUTED_FROM.get(name, (name,)) if c in columns or c == "asked_at"]

    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(upstream, column) for column in sources(name)] for name in columns}
    )


def transit_checks(spec: TransitSpec) -> StepChecks:
    """The blocking checks of each step; without an API there are no expected days to check."""
    blocking = {step: BLOCKING_CHECKS[step] for step in spec.steps}
    if spec.rate_api is None:
        blocking[SHIPMENTS] = blocking[SHIPMENTS][:-1]
    warning = {step: (NEW_CONTENT_ACCEPTED,) if step == SHIPMENTS else () for step in blocking}
    names = (name for checks in (*blocking.values(), *warning.values()) for name in checks)
    return StepChecks(blocking, warning, {name: CHECK_DESCRIPTIONS.get(name, IN_RANGE) for name in names})


def _crash_check(spec: TransitSpec) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        CRASH_CHECK,
        asset=[spec.name, SHIPMENTS],
        description="Fails when a file made its reader crash and is in quarantine as a whole after the last attempt.",
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


def event_listener(spec: TransitSpec) -> EventListener:
    """Say which dates of the dataset an event names, and how to compare them."""

    def dates_of(workspace: Workspace, keys: Sequence[str]) -> list[str]:
        homes = undated_homes(workspace.store.current(spec.dataset(FILES)))
        today = workspace.clock().date()
        # The event of a file that came before midnight may be read after it.
        first_seen = [today.isoformat(), (today - timedelta(days=1)).isoformat()]
        return partitions_named_by(keys, spec.source, homes, first_seen)

    return EventListener(spec, dates_of, partial(survey, spec))
