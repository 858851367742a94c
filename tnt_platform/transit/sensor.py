"""The sensor: one reconciliation, one run request for each date that differs, and patience with failures."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from tnt_platform.discovery.discovery import partitions_named_by
from tnt_platform.discovery.survey import Survey
from tnt_platform.lake.publishing import Place
from tnt_platform.orchestration.dated_sensor import (
    Attempts,
    busy_dates,
    content_of,
    run_history,
    run_requests,
)
from tnt_platform.orchestration.platform import Platform
from tnt_platform.services.queue import EventQueue, ObjectEventMessage, sqs_client
from tnt_platform.settings import Settings
from tnt_platform.transit.files import undated_homes
from tnt_platform.transit.reconcile import survey
from tnt_platform.transit.spec import FILES, TransitSpec


def reconciling_sensor(spec: TransitSpec, selection: dg.AssetSelection) -> dg.SensorDefinition:
    """Runs by default: every `interval_s` it compares the bucket with the published data."""

    @dg.sensor(
        name=f"{spec.name}_files",
        asset_selection=selection,
        minimum_interval_seconds=spec.sensor.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compares the files below {spec.source.prefix} with what {spec.name} was published from.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        settings = platform.settings()
        place = platform.place()
        queue = _queue(settings)
        messages = queue.receive(100, visibility_s=int(max(60, 4 * spec.sensor.interval_s))) if queue else []
        homes = undated_homes(place.store.current(spec.dataset(FILES))) if messages else {}
        named = _named_dates(spec, place, homes, messages)
        now = datetime.now(UTC)
        since = None if queue is None else (now - timedelta(days=spec.sensor.window_days)).date().isoformat()
        history = run_history(context.instance, spec.name)
        busy = busy_dates(context.instance, spec)
        again = sorted({date for (date, _), attempts in history.items() if attempts.unfinished})
        found = survey(spec, place, since=since, named=[*named, *again])
        requests = list(
            run_requests(spec, spec.sensor, found, history, busy, now.timestamp(), context.log.info)
        )
        if queue:
            _acknowledge(queue, spec, place, homes, messages, found, history)
        skip = None if requests else dg.SkipReason(_nothing_to_do(spec, found, named))
        return dg.SensorResult(run_requests=requests, skip_reason=skip)

    return sensor


def sweep_schedule(spec: TransitSpec, selection: dg.AssetSelection) -> dg.ScheduleDefinition:
    """Compares everything once in a while, however old: what an event and the window both missed.

    It also tries once more what the sensor gave up: an outage, or a reference that somebody mended, is over.
    """

    job = dg.define_asset_job(f"{spec.name}_job", selection=selection)

    @dg.schedule(
        name=f"{spec.name}_sweep",
        cron_schedule=spec.sensor.sweep_cron,
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Compares every file below {spec.source.prefix} with what {spec.name} was published from.",
    )
    def sweep(
        context: dg.ScheduleEvaluationContext, platform: Platform
    ) -> list[dg.RunRequest] | dg.SkipReason:
        history = run_history(context.instance, spec.name)
        busy = busy_dates(context.instance, spec)
        found = survey(spec, platform.place())
        now = datetime.now(UTC).timestamp()
        requests = list(
            run_requests(spec, spec.sensor, found, history, busy, now, context.log.info, given_up_too=True)
        )
        return requests or dg.SkipReason(_nothing_to_do(spec, found, []))

    return sweep


def _nothing_to_do(spec: TransitSpec, found: Survey, named: Sequence[str]) -> str:
    if found.held_because:
        return f"held after a rollback ({found.held_because}); materialize any date to go on"
    seen = f"{found.files_seen} files on {found.dates_seen} dates"
    waiting = f"; {len(found.work)} dates are under way, waiting or given up" if found.work else ""
    return f"nothing to do: {seen} below {spec.source.prefix} are all in the published data{waiting}"


def _queue(settings: Settings) -> EventQueue | None:
    if not settings.event_queue_url:
        return None
    return EventQueue(settings.event_queue_url, sqs_client(settings.aws_options("sqs")))


def _named_dates(
    spec: TransitSpec, place: Place, homes: Mapping[str, str], messages: Sequence[ObjectEventMessage]
) -> list[str]:
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
    history: dict[tuple[str, str], Attempts],
) -> None:
    """Delete the messages whose dates are at rest or already have a run; the others come back by themselves.

    So a tick that dies after reading a message has lost nothing. A message nobody understands stays,
    and the queue's redrive policy takes it to the dead-letter queue.
    """
    pending = {work.date for work in found.work if content_of(work) not in history}
    done = [
        message.receipt
        for message in messages
        if message.poison_reason is None and pending.isdisjoint(_named_dates(spec, place, homes, [message]))
    ]
    queue.delete(done)
