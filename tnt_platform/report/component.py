"""The assets of a daily report: one op that takes each date through its files to the report."""

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
        "records_conserved": "Every record of a file is counted as read or is in quarantine.",
        "unique_keys": "No two rows of a date share the key.",
        "report_adds_up": "The report's totals are those of its files.",
        HAS_FILES: "Files arrived for the date; without any there is no report.",
        "files_readable": "Every file could be read as what it is.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    FILES: "Each file of a date: what it is, its columns, its records and those that can't be read.",
    REPORT: "The report of each date, as a row and as reports/<date>.json; the same content is written once.",
}
STEP_KINDS: Mapping[str, set[str]] = {FILES: {"s3", "polars"}, REPORT: {"json", "parquet"}}


class DailyReportDataset(DatasetComponent[ReportSpec]):
    """A report per date on the files that arrived."""

    spec_type = ReportSpec

    def definitions(self) -> dg.Definitions:
        """Build assets, checks, sensor, schedules and job of the dataset."""
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
    """The assets `<dataset>/files` and `<dataset>/report` with their checks and daily partitions."""
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
    """Take one date through the selected links; a failure is noted and the next date goes on."""
    for step in selected:
        meter = Meter.start(chain.place, TaskSize.of(run.context.run.tags, chain.settings))
        try:
            published = chain.publish(step, date)
        except EmptyDay as empty:
            run.add(FILES, date, [CheckOutcome(HAS_FILES, empty.is_normal, str(empty), blocking=False)])
            run.context.log.warning(str(empty))
            break
        except Exception as error:  # noqa: BLE001 - told and raised at the end of the run
            run.fail(step, date, error)
            return
        _tell(run, chain.spec.name, step, published, meter)
    run.done += 1


def _tell(run: DatedRun, dataset: str, step: str, published: Published, meter: Meter) -> None:
    run.add(step, published.partition, published.checks)
    if step == FILES:
        said = f"{published.facts['files']} files"
        run.add(step, published.partition, [CheckOutcome(HAS_FILES, True, said, blocking=False)])
    key = dg.AssetKey([dataset, step])
    run.context.log_event(materialization(published, key, meter.cost(published)))
    unchanged = "" if published.changed else " (unchanged)"
    run.context.log.info(f"{published.partition} {step}: {_told(published.facts)}{unchanged}")


def _told(facts: Mapping[str, object]) -> str:
    names = ("files", "records", "file_count", "total_records", "bad_records")
    return ", ".join(f"{name} {facts[name]}" for name in names if name in facts)


def report_sensor(spec: ReportSpec, selection: dg.AssetSelection) -> dg.SensorDefinition:
    """Runs by default: every `interval_s` it compares the bucket with the published reports."""

    @dg.sensor(
        name=f"{spec.name}_files",
        asset_selection=selection,
        minimum_interval_seconds=spec.sensor.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compares the files below {spec.source.prefix} with what {spec.name} was made from.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        requests, said = _requests(spec, platform, context.instance, context.log.info)
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else dg.SkipReason(said))

    return sensor


def sweep_schedule(spec: ReportSpec) -> dg.ScheduleDefinition:
    """The same once a day, trying once more what the sensor gave up."""

    @dg.schedule(
        name=f"{spec.name}_sweep",
        cron_schedule=spec.sensor.sweep_cron,
        job_name=f"{spec.name}_job",
        default_status=schedule_status(),
        description=f"Compares every file below {spec.source.prefix}, also of dates that were given up.",
    )
    def sweep(
        context: dg.ScheduleEvaluationContext, platform: Platform
    ) -> list[dg.RunRequest] | dg.SkipReason:
        requests, said = _requests(spec, platform, context.instance, context.log.info, given_up_too=True)
        return requests or dg.SkipReason(said)

    return sweep


def daily_schedule(spec: ReportSpec, cron: str) -> dg.ScheduleDefinition:
    """A run for the day before, also if it has no file: its check says so."""

    @dg.schedule(
        name=f"{spec.name}_schedule",
        cron_schedule=cron,
        job_name=f"{spec.name}_job",
        default_status=schedule_status(),
        description="Reports the day before; a day without files fails its check.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        date = (context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)).isoformat()
        if date < spec.start_date.isoformat():
            return dg.SkipReason(f"{date} is before {spec.start_date}, where the reports start")
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
    say: Callable[[str], None],
    *,
    given_up_too: bool = False,
) -> tuple[list[dg.RunRequest], str]:
    """A run for each date that differs, and what to say if there is none."""
    found = survey_reports(spec, platform.place())
    if found.held_because:
        return [], f"held after a rollback ({found.held_because}); materialize any date to go on"
    history, busy = run_history(instance, spec.name), busy_dates(instance, spec)
    now = datetime.now(UTC).timestamp()
    requests = list(
        run_requests(
            spec, spec.sensor, found, history, busy, now, say, given_up_too=given_up_too, isolates=False
        )
    )
    waiting = f"; {len(found.work)} dates are under way, waiting or given up" if found.work else ""
    return requests, (
        f"nothing to do: {found.files_seen} files on {found.dates_seen} dates below {spec.source.prefix} are all in "
        f"the reports{waiting}"
    )
