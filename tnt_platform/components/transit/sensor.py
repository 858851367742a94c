"""The sensor: one reconciliation, one run request for each date that differs, and patience with failures."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import dagster as dg

from tnt_platform.components.local_launcher import PROCESS_TAG
from tnt_platform.components.platform import Platform
from tnt_platform.components.transit.model import SensorModel
from tnt_platform.flows.publishing import Place
from tnt_platform.flows.transit.files import undated_homes
from tnt_platform.flows.transit.reconcile import Survey, Work, survey
from tnt_platform.flows.transit.spec import FILES, TransitSpec
from tnt_platform.lake.discovery import partitions_named_by
from tnt_platform.services.queue import EventQueue, ObjectEventMessage, sqs_client
from tnt_platform.settings import Settings

DATASET_TAG, DIGEST_TAG, ATTEMPT_TAG = "tnt/dataset", "tnt/digest", "tnt/attempt"
# Dagster's queue runs one at a time of the runs that share a value of this tag.
LANE_TAG = "tnt/lane"
PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
REMEMBERED = timedelta(days=7)
RUNS_REMEMBERED = 2_000
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


class DatedDataset(Protocol):
    """What the sensors of any kind of dataset with a partition a day need to know of it."""

    @property
    def name(self) -> str: ...
    @property
    def start_date(self) -> date: ...
    @property
    def steps(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Attempts:
    """What became of earlier runs for one date and one content of its files."""

    failed: int = 0
    last_ended: float = 0.0
    unfinished: bool = False


def reconciling_sensor(
    spec: TransitSpec, model: SensorModel, selection: dg.AssetSelection
) -> dg.SensorDefinition:
    """Runs by default: every `interval_s` it compares the bucket with the published data."""

    @dg.sensor(
        name=f"{spec.name}_files",
        asset_selection=selection,
        minimum_interval_seconds=model.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compares the files below {spec.source.prefix} with what {spec.name} was published from.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        settings = platform.settings()
        place = platform.place()
        queue = _queue(settings)
        messages = queue.receive(100, visibility_s=int(max(60, 4 * model.interval_s))) if queue else []
        homes = undated_homes(place.store.current(spec.dataset(FILES))) if messages else {}
        named = _named_dates(spec, place, homes, messages)
        now = datetime.now(UTC)
        since = None if queue is None else (now - timedelta(days=model.window_days)).date().isoformat()
        history = run_history(context.instance, spec.name)
        busy = busy_dates(context.instance, spec)
        again = sorted({date for (date, _), attempts in history.items() if attempts.unfinished})
        found = survey(spec, place, since=since, named=[*named, *again])
        requests = list(run_requests(spec, model, found, history, busy, now.timestamp(), context.log.info))
        if queue:
            _acknowledge(queue, spec, place, homes, messages, found, history)
        skip = None if requests else dg.SkipReason(_nothing_to_do(spec, found, named))
        return dg.SensorResult(run_requests=requests, skip_reason=skip)

    return sensor


def sweep_schedule(
    spec: TransitSpec, model: SensorModel, selection: dg.AssetSelection
) -> dg.ScheduleDefinition:
    """Compares everything once in a while, however old: what an event and the window both missed.

    It also tries once more what the sensor gave up: an outage, or a reference that somebody mended, is over.
    """

    job = dg.define_asset_job(f"{spec.name}_job", selection=selection)

    @dg.schedule(
        name=f"{spec.name}_sweep",
        cron_schedule=model.sweep_cron,
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
            run_requests(spec, model, found, history, busy, now, context.log.info, given_up_too=True)
        )
        return requests or dg.SkipReason(_nothing_to_do(spec, found, []))

    return sweep


def run_history(instance: dg.DagsterInstance, dataset: str) -> dict[tuple[str, str], Attempts]:
    """Attempts by (date, digest) among the runs that the sensor or the sweep asked for lately."""
    since = datetime.now(UTC) - REMEMBERED
    filters = dg.RunsFilter(tags={DATASET_TAG: dataset}, created_after=since)
    history: dict[tuple[str, str], Attempts] = {}
    for record in instance.get_run_records(filters, limit=RUNS_REMEMBERED):
        run = record.dagster_run
        key = (run.tags.get(PARTITION, ""), run.tags.get(DIGEST_TAG, ""))
        before = history.get(key, Attempts())
        history[key] = Attempts(
            # A run that succeeded and left a difference counts too: asking again forever would not help.
            failed=before.failed + run.is_finished,
            last_ended=max(before.last_ended, record.end_time or 0.0),
            # Newest first: what the last run left is what counts.
            unfinished=before.unfinished if key in history else not run.is_success,
        )
    return history


def busy_dates(instance: dg.DagsterInstance, spec: DatedDataset) -> set[str]:
    """Dates that an unfinished run covers, whoever launched it: the sensor, a backfill or a person."""
    assets = {dg.AssetKey([spec.name, step]) for step in spec.steps}
    dates: set[str] = set()
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(UNFINISHED)), limit=RUNS_REMEMBERED):
        run = record.dagster_run
        if run.job_name != f"{spec.name}_job" and assets.isdisjoint(run.asset_selection or ()):
            continue
        # A run that nothing launched and that names no process can't be known to be dead: it must not block its date.
        if run.remote_job_origin is None and PROCESS_TAG not in run.tags:
            continue
        if PARTITION in run.tags:
            dates.add(run.tags[PARTITION])
        elif RANGE_START in run.tags and RANGE_END in run.tags:
            first, last = (date.fromisoformat(run.tags[tag]) for tag in (RANGE_START, RANGE_END))
            dates |= {(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)}
    return dates


def run_requests(
    spec: DatedDataset,
    model: SensorModel,
    found: Survey,
    history: dict[tuple[str, str], Attempts],
    busy: Set[str],
    now: float,
    say: Callable[[str], None],
    *,
    given_up_too: bool = False,
    isolates: bool = True,
) -> Iterator[dg.RunRequest]:
    """One request for each date that differs, unless it is under way, waiting to be retried or given up.

    A used run_key is never launched again even if its run failed, so the attempt is part of it. The last
    attempt reads each file alone, so that one that breaks the reader is quarantined and the rest goes through;
    `isolates` is false for a kind of dataset that can't.
    """
    partitions = dg.DailyPartitionsDefinition(start_date=spec.start_date.isoformat(), end_offset=1)
    asked = 0
    for work in sorted(found.work, key=lambda work: work.date, reverse=True):
        attempts = history.get(_content(work), Attempts())
        if not partitions.has_partition_key(work.date):
            say(
                f"{work.date} is before {spec.start_date} or in the future: {work.reason} wait; "
                "see start_date in the YAML"
            )
        elif work.date in busy:
            continue
        elif why := _why_it_waits(model, work, attempts, now, given_up_too=given_up_too):
            say(why)
        elif asked == model.max_requests:
            return
        else:
            asked += 1
            yield _request(spec, model, work, attempts.failed + 1, isolates=isolates)


def _why_it_waits(
    model: SensorModel, work: Work, attempts: Attempts, now: float, *, given_up_too: bool
) -> str | None:
    """What earlier failures mean for a date; None if it may be tried."""
    wait_s = model.backoff_s * 2 ** (attempts.failed - 1) if attempts.failed else 0.0
    if attempts.failed >= model.max_attempts and not given_up_too:
        return (
            f"{work.date} was given up after {attempts.failed} runs; look at the last one and run the date by "
            f"hand, or wait for the sweep ({model.sweep_cron} UTC)"
        )
    if now < attempts.last_ended + wait_s:
        return f"{work.date} failed {attempts.failed} times; next try in {attempts.last_ended + wait_s - now:.0f} s"
    return None


def _request(
    spec: DatedDataset, model: SensorModel, work: Work, attempt: int, *, isolates: bool
) -> dg.RunRequest:
    last_chance = attempt >= model.max_attempts and attempt > 1
    return dg.RunRequest(
        run_key=f"{spec.name}|{work.date}|{work.digest}|{attempt}",
        partition_key=work.date,
        run_config=dg.RunConfig(ops={spec.name: {"config": {"isolate": last_chance}}} if isolates else {}),
        tags={
            DATASET_TAG: spec.name,
            DIGEST_TAG: _content(work)[1],
            ATTEMPT_TAG: str(attempt),
            LANE_TAG: f"{spec.name}|{work.date}",
            "tnt/reason": work.reason,
        },
    )


def _content(work: Work) -> tuple[str, str]:
    """What attempts are counted by: the date, and the start of its files' digest, short enough for the runs page."""
    return work.date, work.digest[:12]


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
    pending = {work.date for work in found.work if _content(work) not in history}
    done = [
        message.receipt
        for message in messages
        if message.poison_reason is None and pending.isdisjoint(_named_dates(spec, place, homes, [message]))
    ]
    queue.delete(done)
