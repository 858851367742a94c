"""Dagster assets of a daily report: one op that publishes the files and the report of each date."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from tnt_platform.lake.publishing import CheckOutcome, Published
from tnt_platform.orchestration.component import DatasetComponent, about
from tnt_platform.orchestration.compute import TaskSize
from tnt_platform.orchestration.cost import Meter
from tnt_platform.orchestration.dated import DatedRun
from tnt_platform.orchestration.dated_sensor import LANE_TAG, busy_dates, run_history, run_requests
from tnt_platform.orchestration.failures import as_dagster_failure
from tnt_platform.orchestration.metadata import materialization
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import StepChecks, StepStory, schedule_status, selected_steps
from tnt_platform.report.chain import ReportChain
from tnt_platform.report.files import EmptyDay
from tnt_platform.report.reconcile import survey_reports
from tnt_platform.report.spec import FILES, REPORT, ReportSpec

HAS_FILES = "day_has_files"
CHECKS = StepChecks(
    blocking={
        FILES: ("rows_conserved", "records_conserved", "unique_keys"),
        REPORT: ("rows_conserved", "unique_keys", "report_adds_up"),
    },
    warning={FILES: (HAS_FILES, "files_readable"), REPORT: ()},
    descriptions={
        "rows_conserved": "Rows in = published + quarantined + deduplicated + filtered.",
        "records_conserved": "Every record of a file is either counted or in quarantine.",
        "unique_keys": "No two rows of a date share a key.",
        "report_adds_up": "The report's totals equal the sums of its files.",
        HAS_FILES: "At least one file arrived for the date; otherwise there is no report.",
        "files_readable": "Every file could be read.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    FILES: "One row per file of a date: format, columns, records, and rejected records.",
    REPORT: "The report of each date, as a row and as reports/<date>.json, rewritten only when its content changes.",
}
STEP_KINDS: Mapping[str, set[str]] = {FILES: {"s3", "polars"}, REPORT: {"json", "parquet"}}


class DailyReportDataset(DatasetComponent[ReportSpec]):
    """A daily report on the files that arrived."""

    spec_type = ReportSpec

    def definitions(self) -> dg.Definitions:
        """Build the assets, checks, sensor, schedules and job of the dataset."""
        spec = self.spec
        assets = report_assets(spec)
        selection = dg.AssetSelection.assets(*assets.keys)
        schedules = [sweep_schedule(spec), *([daily_schedule(spec, spec.cron)] if spec.cron else [])]
        return dg.Definitions(
            assets=[assets],
            sensors=[report_sensor(spec, selection)],
            schedules=schedules,
            jobs=[dg.define_asset_job(f"{spec.name}_job", selection=selection)],
        )


def report_assets(spec: ReportSpec) -> dg.AssetsDefinition:
    """Return the assets `<dataset>/files` and `<dataset>/report` with their checks and daily partitions."""
    source = {"source": f"{spec.source.prefix} {spec.source.whole_key.pattern}"}
    story = StepStory(DESCRIPTIONS, STEP_KINDS, about(spec), source)
    tables = {step: spec.dataset(step) for step in spec.steps}
    partitions = dg.DailyPartitionsDefinition(start_date=spec.start_date.isoformat(), end_offset=1)

    @story.one_op(spec.name, tables, CHECKS.specs(spec.name), partitions=partitions)
    def materialize(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[dg.AssetCheckResult]:
        with as_dagster_failure(spec.name):
            run = DatedRun(context, spec.name, CHECKS)
            selected = selected_steps(context, spec.name, spec.steps)
            with ReportChain(spec, platform.place(), platform.settings(), run_id=context.run_id) as chain:
                for date in sorted(context.partition_keys):
                    _materialize_date(run, chain, selected, date)
            yield from run.results(not_warnings=frozenset({HAS_FILES}))
            run.raise_failures()

    return materialize


def _materialize_date(run: DatedRun, chain: ReportChain, selected: Sequence[str], date: str) -> None:
    """Publish the selected steps of one date; record a failure instead of raising it, so that other dates continue."""
    for step in selected:
        meter = Meter.start(chain.place, TaskSize.of(run.context.run.tags, chain.settings))
        try:
            published = chain.publish(step, date)
        except EmptyDay as empty:
            run.add(FILES, date, [CheckOutcome(HAS_FILES, empty.is_normal, str(empty), blocking=False)])
            run.context.log.warning(str(empty))
            break
        except Exception as error:  # noqa: BLE001 - raised at the end of the run
            run.fail(step, date, error)
            return
        _log_published(run, chain.spec.name, step, published, meter)
    run.done += 1


def _log_published(run: DatedRun, dataset: str, step: str, published: Published, meter: Meter) -> None:
    run.add(step, published.partition, published.checks)
    if step == FILES:
        found = f"{published.facts['files']} files"
        run.add(step, published.partition, [CheckOutcome(HAS_FILES, True, found, blocking=False)])
    key = dg.AssetKey([dataset, step])
    run.context.log_event(materialization(published, key, meter.cost(published)))
    unchanged = "" if published.changed else " (unchanged)"
    run.context.log.info(f"{published.partition} {step}: {_counts(published.facts)}{unchanged}")


def _counts(facts: Mapping[str, object]) -> str:
    names = ("files", "records", "file_count", "total_records", "bad_records")
    return ", ".join(f"{name} {facts[name]}" for name in names if name in facts)


def report_sensor(spec: ReportSpec, selection: dg.AssetSelection) -> dg.SensorDefinition:
    """Return the sensor that compares the bucket with the published reports; it runs by default."""

    @dg.sensor(
        name=f"{spec.name}_files",
        asset_selection=selection,
        minimum_interval_seconds=spec.sensor.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compares the files below {spec.source.prefix} with those that {spec.name} has read.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        requests, reason = _requests(spec, platform, context.instance, context.log.info)
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else dg.SkipReason(reason))

    return sensor


def sweep_schedule(spec: ReportSpec) -> dg.ScheduleDefinition:
    """Return the schedule of the full reconciliation, which also retries dates that the sensor gave up."""

    @dg.schedule(
        name=f"{spec.name}_sweep",
        cron_schedule=spec.sensor.sweep_cron,
        job_name=f"{spec.name}_job",
        default_status=schedule_status(),
        description=f"Full reconciliation of {spec.source.prefix}; also retries dates that the sensor gave up.",
    )
    def sweep(
        context: dg.ScheduleEvaluationContext, platform: Platform
    ) -> list[dg.RunRequest] | dg.SkipReason:
        requests, reason = _requests(spec, platform, context.instance, context.log.info, given_up_too=True)
        return requests or dg.SkipReason(reason)

    return sweep


def daily_schedule(spec: ReportSpec, cron: str) -> dg.ScheduleDefinition:
    """Return the schedule that reports the day before, so that the check of a day without files fails."""

    @dg.schedule(
        name=f"{spec.name}_schedule",
        cron_schedule=cron,
        job_name=f"{spec.name}_job",
        default_status=schedule_status(),
        description="Reports the day before; the check of a day without files fails.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        date = (context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)).isoformat()
        if date < spec.start_date.isoformat():
            return dg.SkipReason(f"{date} is before the start_date {spec.start_date}")
        return dg.RunRequest(
            run_key=f"{spec.name}|{date}|daily",
            partition_key=date,
            tags={LANE_TAG: f"{spec.name}|{date}"},
        )

    return daily


def _requests(
    spec: ReportSpec,
    platform: Platform,
    instance: dg.DagsterInstance,
    log: Callable[[str], None],
    *,
    given_up_too: bool = False,
) -> tuple[list[dg.RunRequest], str]:
    """Return a run request per date that differs, and the skip reason if there is none."""
    found = survey_reports(spec, platform.place())
    if found.held_because:
        return [], f"paused after a rollback ({found.held_because}); materialize any date to resume"
    history, busy = run_history(instance, spec.name), busy_dates(instance, spec)
    now = datetime.now(UTC).timestamp()
    requests = list(
        run_requests(
            spec, spec.sensor, found, history, busy, now, log, given_up_too=given_up_too, isolates=False
        )
    )
    waiting = f"; {len(found.work)} dates are in flight, waiting or given up" if found.work else ""
    return requests, (
        f"nothing to do: the reports cover all {found.files_seen} files of {found.dates_seen} dates below "
        f"{spec.source.prefix}{waiting}"
    )
