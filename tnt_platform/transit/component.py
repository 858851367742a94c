"""A transit dataset in Dagster: its assets and checks, and the sensor and schedule that request its runs.

One op takes each date through the steps: a run from raw to published costs one start instead of five, and a date
that fails at one step doesn't keep the other dates of a backfill from the next one.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import dagster as dg
import polars as pl

from tnt_platform.discovery.discovery import partitions_named_by
from tnt_platform.discovery.survey import Survey
from tnt_platform.lake.publishing import Place, Published
from tnt_platform.orchestration.component import DatasetComponent, about
from tnt_platform.orchestration.compute import TaskSize
from tnt_platform.orchestration.cost import Meter
from tnt_platform.orchestration.dated import DatedRun
from tnt_platform.orchestration.dated_sensor import (
    Attempts,
    busy_dates,
    content_of,
    run_history,
    run_requests,
)
from tnt_platform.orchestration.failures import as_dagster_failure
from tnt_platform.orchestration.metadata import materialization
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import StepChecks, StepStory, selected_steps
from tnt_platform.services.queue import EventQueue, ObjectEventMessage, sqs_client
from tnt_platform.settings import Settings
from tnt_platform.transit.chain import Chain
from tnt_platform.transit.files import undated_homes
from tnt_platform.transit.plots import summary_plot
from tnt_platform.transit.reconcile import survey
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
RETRY_SOON = dg.RetryPolicy(
    max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


class TransitDataset(DatasetComponent[TransitSpec]):
    """Files of expected transit times, compared with the actual ones."""

    spec_type = TransitSpec

    def definitions(self) -> dg.Definitions:
        """Build the dataset's assets and checks, its sensor, its schedule and its job."""
        assets = transit_assets(self.spec)
        selection = dg.AssetSelection.assets(*assets.keys)
        schedule = full_reconciliation_schedule(self.spec, selection)
        return dg.Definitions(
            assets=[assets],
            sensors=[reconciling_sensor(self.spec, selection)],
            schedules=[schedule],
            jobs=[schedule.job],
        )


class TransitRun(dg.Config):
    """Options of one run; the defaults are right for the sensor and for backfills."""

    isolate: bool = False
    force: bool = False
    ask_again: Literal["none", "quarantined", "all"] = "none"


def transit_assets(spec: TransitSpec) -> dg.AssetsDefinition:
    """Build the assets `<dataset>/<step>` with their blocking checks, daily partitions and backfill policy."""
    checks = transit_checks(spec)
    kinds = {**STEP_KINDS, RESULTS: {"parquet"} | ({"dynamodb"} if spec.dynamodb else set())}
    source = {"source": f"{spec.source.prefix} {spec.source.whole_key.pattern}"}

    @StepStory(DESCRIPTIONS, kinds, about(spec), source).one_op(
        spec.name,
        {step: spec.dataset(step) for step in spec.steps},
        [*checks.specs(spec.name), _crash_check(spec)],
        retry=RETRY_SOON,
        partitions=dg.DailyPartitionsDefinition(start_date=spec.start_date.isoformat(), end_offset=1),
    )
    def materialize(
        context: dg.AssetExecutionContext, config: TransitRun, platform: Platform
    ) -> Iterator[dg.AssetCheckResult]:
        with as_dagster_failure(spec.name):
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
    run = DatedRun(context, spec.name, checks)
    dates = sorted(context.partition_keys)
    crashed: dict[str, list[str]] = {}
    chain = Chain(
        spec,
        platform.place(),
        platform.settings(),
        run_id=context.run_id,
        isolate=config.isolate,
        force=config.force,
        ask_again=config.ask_again,
        progress=context.log.info,
    )
    with chain:
        for number, date in enumerate(dates, start=1):
            context.log.info(f"{spec.name} {date} ({number} of {len(dates)})")
            _materialize_date(run, chain, selected, date, crashed)
    yield from run.results()
    yield from _crash_results(context, spec, crashed)
    run.raise_failures()


def _materialize_date(
    run: DatedRun, chain: Chain, selected: Sequence[str], date: str, crashed: dict[str, list[str]]
) -> None:
    """Take one date through the selected steps, up to the first that fails."""
    for step in selected:
        meter = Meter.start(chain.place, TaskSize.of(run.context.run.tags, chain.settings))
        try:
            published = chain.publish(step, date)
        except Exception as error:  # noqa: BLE001 - raised with all others at the end of the run
            run.fail(step, date, error)
            return
        run.add(step, date, published.checks)
        key = dg.AssetKey([chain.spec.name, step])
        run.context.log_event(materialization(published, key, _metadata(chain, step, published, meter)))
        run.context.log.info(
            f"{date} {step}: {published.counts.rows_in} in, {published.counts.published} published, "
            f"{published.counts.quarantined} quarantined{'' if published.changed else ' (unchanged)'}"
        )
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
    snapshot = chain.place.store.current(chain.spec.dataset(FILES))
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
        blocking[SHIPMENTS] = blocking[SHIPMENTS][:2]
    descriptions = {
        name: CHECK_DESCRIPTIONS.get(name, IN_RANGE) for names in blocking.values() for name in names
    }
    return StepChecks(blocking, dict.fromkeys(blocking, ()), descriptions)


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


def reconciling_sensor(spec: TransitSpec, selection: dg.AssetSelection) -> dg.SensorDefinition:
    """Every `interval_s`, compare the bucket with the published data and request runs for the difference."""

    @dg.sensor(
        name=f"{spec.name}_files",
        asset_selection=selection,
        minimum_interval_seconds=spec.sensor.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compares the files below {spec.source.prefix} with what {spec.name} was published from.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        settings, place = platform.settings(), platform.place()
        queue = _queue(settings)
        visibility_s = int(max(60, 4 * spec.sensor.interval_s))
        messages = queue.receive(100, visibility_s=visibility_s) if queue else []
        homes = undated_homes(place.store.current(spec.dataset(FILES))) if messages else {}
        named = _named_dates(spec, place, homes, messages)
        now = datetime.now(UTC)
        window = timedelta(days=spec.sensor.window_days)
        since = None if queue is None else (now - window).date().isoformat()
        history = run_history(context.instance, spec.name)
        busy = busy_dates(context.instance, spec)
        unfinished = sorted({date for (date, _), attempts in history.items() if attempts.unfinished})
        found = survey(spec, place, since=since, named=[*named, *unfinished])
        requests = list(
            run_requests(spec, spec.sensor, found, history, busy, now.timestamp(), context.log.info)
        )
        if queue:
            _acknowledge(queue, spec, place, homes, messages, found, history)
        skip = None if requests else dg.SkipReason(_nothing_to_do(spec, found))
        return dg.SensorResult(run_requests=requests, skip_reason=skip)

    return sensor


def full_reconciliation_schedule(spec: TransitSpec, selection: dg.AssetSelection) -> dg.ScheduleDefinition:
    """At `sweep_cron`, compare everything, however old: what an event and the window both missed.

    Dates that the sensor gave up are retried too: the outage may be over, or the shipper reference fixed.
    """

    @dg.schedule(
        name=f"{spec.name}_sweep",
        cron_schedule=spec.sensor.sweep_cron,
        job=dg.define_asset_job(f"{spec.name}_job", selection=selection),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Compares every file below {spec.source.prefix} with what {spec.name} was published from.",
    )
    def schedule(
        context: dg.ScheduleEvaluationContext, platform: Platform
    ) -> list[dg.RunRequest] | dg.SkipReason:
        history = run_history(context.instance, spec.name)
        busy = busy_dates(context.instance, spec)
        found = survey(spec, platform.place())
        now = datetime.now(UTC).timestamp()
        requests = run_requests(
            spec, spec.sensor, found, history, busy, now, context.log.info, given_up_too=True
        )
        return list(requests) or dg.SkipReason(_nothing_to_do(spec, found))

    return schedule


def _nothing_to_do(spec: TransitSpec, found: Survey) -> str:
    if found.held_because:
        return f"paused after a rollback ({found.held_because}); materialize any date to go on"
    files = f"{found.files_seen} files on {found.dates_seen} dates"
    waiting = f"; {len(found.work)} dates are in flight, waiting or given up" if found.work else ""
    return f"nothing to do: {files} below {spec.source.prefix} are all in the published data{waiting}"


def _queue(settings: Settings) -> EventQueue | None:
    if not settings.event_queue_url:
        return None
    return EventQueue(settings.event_queue_url, sqs_client(settings.aws_options("sqs")))


def _named_dates(
    spec: TransitSpec, place: Place, homes: Mapping[str, str], messages: Sequence[ObjectEventMessage]
) -> list[str]:
    """The dates of the objects that the messages name."""
    root = f"{place.raw.url.rstrip('/')}/"
    urls = [f"s3://{event.bucket}/{event.key}" for message in messages for event in message.events]
    keys = [url.removeprefix(root) for url in urls if url.startswith(root)]
    return partitions_named_by(keys, spec.source, homes).partitions


def _acknowledge(
    queue: EventQueue,
    spec: TransitSpec,
    place: Place,
    homes: Mapping[str, str],
    messages: Sequence[ObjectEventMessage],
    found: Survey,
    history: Mapping[tuple[str, str], Attempts],
) -> None:
    """Delete the messages whose dates are up to date or have a run; the queue delivers the others again.

    So a tick that dies after it read a message has lost nothing. A malformed message stays, and the queue's redrive
    policy moves it to the dead-letter queue.
    """
    pending = {work.date for work in found.work if content_of(work) not in history}
    done = [
        message.receipt
        for message in messages
        if message.poison_reason is None and pending.isdisjoint(_named_dates(spec, place, homes, [message]))
    ]
    queue.delete(done)
