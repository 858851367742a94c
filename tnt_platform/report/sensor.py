"""When a report is made: as soon as a day's files are others than it was made from, and daily for the day before."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg

from tnt_platform.orchestration.dated_sensor import LANE_TAG, busy_dates, run_history, run_requests
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import schedule_status
from tnt_platform.report.reconcile import survey_reports
from tnt_platform.report.spec import ReportSpec
from tnt_platform.specs.fields import SensorModel


def report_sensor(spec: ReportSpec, model: SensorModel, selection: dg.AssetSelection) -> dg.SensorDefinition:
    """Runs by default: every `interval_s` it compares the bucket with the published reports."""

    @dg.sensor(
        name=f"{spec.name}_files",
        asset_selection=selection,
        minimum_interval_seconds=model.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compares the files below {spec.source.prefix} with what {spec.name} was made from.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        requests, said = _requests(spec, model, platform, context.instance, context.log.info)
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else dg.SkipReason(said))

    return sensor


def sweep_schedule(spec: ReportSpec, model: SensorModel) -> dg.ScheduleDefinition:
    """The same once a day, trying once more what the sensor gave up."""

    @dg.schedule(
        name=f"{spec.name}_sweep",
        cron_schedule=model.sweep_cron,
        job_name=f"{spec.name}_job",
        default_status=schedule_status(),
        description=f"Compares every file below {spec.source.prefix}, also of dates that were given up.",
    )
    def sweep(
        context: dg.ScheduleEvaluationContext, platform: Platform
    ) -> list[dg.RunRequest] | dg.SkipReason:
        requests, said = _requests(
            spec, model, platform, context.instance, context.log.info, given_up_too=True
        )
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
    model: SensorModel,
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
        run_requests(spec, model, found, history, busy, now, say, given_up_too=given_up_too, isolates=False)
    )
    waiting = f"; {len(found.work)} dates are under way, waiting or given up" if found.work else ""
    return requests, (
        f"nothing to do: {found.files_seen} files on {found.dates_seen} dates below {spec.source.prefix} are all in "
        f"the reports{waiting}"
    )
