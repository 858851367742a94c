"""Dagster assets of a daily report: one op that publishes the files and the report of each date."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, timedelta
from functools import partial

import dagster as dg

from tnt_platform.discovery.listing import partitions_named_by
from tnt_platform.lake.guard_rails import REJECTED_SHARE, REMOVED_SHARE
from tnt_platform.lake.publishing import CheckOutcome
from tnt_platform.orchestration.component import DatasetComponent
from tnt_platform.orchestration.compute import TaskSize
from tnt_platform.orchestration.cost import Meter
from tnt_platform.orchestration.dated_run import DatedRun
from tnt_platform.orchestration.dated_sensor import LANE_TAG, dated_sensor, full_reconciliation_schedule
from tnt_platform.orchestration.event_sensor import EventListener
from tnt_platform.orchestration.failures import READER_PANIC, as_dagster_failure
from tnt_platform.orchestration.guard_rails import GUARD_RAIL_DESCRIPTIONS, OverrideConfig
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import StepChecks, dataset_op, schedule_status, selected_steps
from tnt_platform.report.chain import ReportChain
from tnt_platform.report.files import EmptyDay
from tnt_platform.report.reconcile import survey_reports
from tnt_platform.report.spec import FILES, REPORT, ReportSpec

HAS_FILES = "day_has_files"
CHECKS = StepChecks(
    blocking={
        FILES: ("rows_conserved", "records_conserved", "unique_keys", REJECTED_SHARE, REMOVED_SHARE),
        REPORT: ("rows_conserved", "unique_keys", "report_adds_up"),
    },
    warning={FILES: (HAS_FILES, "files_readable"), REPORT: ()},
    descriptions={
        "rows_conserved": "Rows in = published + quarantined + deduplicated + filtered.",
        "records_conserved": "Every record of a file is either counted or in quarantine.",
        "unique_keys": "No two rows of a date share a key.",
        **GUARD_RAIL_DESCRIPTIONS,
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
COLUMNS: Mapping[str, str] = {
    "problem": "Why the file cannot be read; empty if it can.",
    "bad_records": "Records that cannot be read; they are in quarantine with the reason.",
    "generated_at": "When this content of the report was made (UTC).",
    "report": "The report as JSON, as stored at object_key.",
}


class DailyReportDataset(DatasetComponent[ReportSpec]):
    """A daily report on the files that arrived."""

    spec_type = ReportSpec

    def event_listener(self) -> EventListener:
        """Return how object events concern the dataset."""
        spec = self.spec
        return EventListener(
            spec, lambda _, keys: partitions_named_by(keys, spec.source), partial(survey_reports, spec)
        )

    def definitions(self) -> dg.Definitions:
        """Build the assets, checks, sensor, schedules and job of the dataset."""
        spec = self.spec
        assets = report_assets(spec)
        selection = dg.AssetSelection.assets(*assets.keys)
        sensor = dated_sensor(
            spec,
            selection,
            partial(survey_reports, spec),
            description=f"Compares the files below {spec.source.prefix} with those that {spec.name} has read.",
        )
        full_reconciliation = full_reconciliation_schedule(
            spec,
            partial(survey_reports, spec),
            description=f"Full reconciliation of {spec.source.prefix}; also retries dates that the sensor gave up.",
            default_status=schedule_status(),
        )
        return dg.Definitions(
            assets=[assets],
            sensors=[sensor],
            schedules=[full_reconciliation, *([daily_schedule(spec, spec.cron)] if spec.cron else [])],
            jobs=[dg.define_asset_job(f"{spec.name}_job", selection=selection)],
        )


class ReportRun(OverrideConfig):
    """Options of one run. `isolate`: read each file in a process of its own."""

    isolate: bool = False


def report_assets(spec: ReportSpec) -> dg.AssetsDefinition:
    """Return the assets `<dataset>/files` and `<dataset>/report` with their checks and daily partitions."""
    source = {"source": f"{spec.source.prefix} {spec.source.whole_key.pattern}"}

    @dataset_op(
        spec,
        CHECKS.specs(spec.name),
        descriptions=DESCRIPTIONS,
        kinds=STEP_KINDS,
        metadata=source,
        partitions=dg.DailyPartitionsDefinition(start_date=spec.start_date.isoformat(), end_offset=1),
    )
    def materialize(
        context: dg.AssetExecutionContext, config: ReportRun, platform: Platform
    ) -> Iterator[dg.AssetCheckResult]:
        with as_dagster_failure(spec.name, context):
            run = DatedRun(context, spec.name, CHECKS, COLUMNS)
            selected = selected_steps(context, spec.name, spec.steps)
            workspace, settings = platform.workspace(), platform.settings()
            with ReportChain(
                spec, workspace, settings, context.run_id, config.overrides, config.isolate
            ) as chain:
                for date in sorted(context.partition_keys):
                    _materialize_date(run, chain, selected, date)
            yield from run.results(not_warnings=frozenset({HAS_FILES}))
            run.raise_failures()

    return materialize


def _materialize_date(run: DatedRun, chain: ReportChain, selected: Sequence[str], date: str) -> None:
    """Take one date through the selected steps, up to the first that fails."""
    for step in selected:
        meter = Meter.start(chain.workspace, TaskSize.of(run.context.run.tags, chain.settings))
        try:
            published = chain.publish(step, date)
        except EmptyDay as empty:
            run.add(FILES, date, [CheckOutcome(HAS_FILES, empty.is_normal, str(empty), blocking=False)])
            run.context.log.warning(str(empty))
            break
        except (Exception, READER_PANIC) as error:  # noqa: BLE001 - raised with all others at the end of the run
            run.fail(step, date, error)
            return
        run.publish(step, published, meter.cost(published), _counts(published.facts))
        if step == FILES:
            found = CheckOutcome(HAS_FILES, True, f"{published.facts['files']} files", blocking=False)
            run.add(step, date, [found])
    run.done += 1


def _counts(facts: Mapping[str, object]) -> str:
    names = ("files", "records", "file_count", "total_records", "bad_records")
    return ", ".join(f"{name} {facts[name]}" for name in names if name in facts)


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
