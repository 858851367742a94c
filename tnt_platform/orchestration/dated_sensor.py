"""Request runs for the dates whose published data differs from the bucket; for datasets partitioned by date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import Protocol

import dagster as dg

from tnt_platform.discovery.comparison import PartitionDifference, Reconciliation
from tnt_platform.discovery.unread import summary
from tnt_platform.lake.publishing import Workspace
from tnt_platform.orchestration.local_launcher import PROCESS_TAG
from tnt_platform.orchestration.platform import Platform
from tnt_platform.specs.dataset import SensorSpec

DATASET_TAG, DIGEST_TAG, ATTEMPT_TAG = "tnt/dataset", "tnt/digest", "tnt/attempt"
# Dagster's queue runs one at a time of the runs that share a value of this tag.
LANE_TAG = "tnt/lane"
PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# For so long a run that succeeded and left a difference counts as an attempt; requesting it for ever would not help.
SUCCESS_COUNTS = timedelta(days=1)
WINDOW_EVERY = timedelta(hours=1)
RUNS_AT_ONCE = 500
DATES_AT_ONCE = 200
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
IN_FLIGHT = "in flight, waiting or given up"


class RawFiles(Protocol):
    """Where the raw files of a dataset are."""

    @property
    def prefix(self) -> str: ...


class DatedDataset(Protocol):
    """What a sensor needs to know of a dataset that is partitioned by date."""

    @property
    def name(self) -> str: ...
    @property
    def start_date(self) -> date: ...
    @property
    def steps(self) -> Sequence[str]: ...
    @property
    def sensor(self) -> SensorSpec: ...
    @property
    def source(self) -> RawFiles: ...


@dataclass(frozen=True)
class Attempts:
    """The earlier runs for one date and one content of its files.

    Attributes:
        runs: all of them, so that the next one has a number that no run has had.
        failed: the newest ones that left the date different from its files, since another content or a success.
        last_ended: when the newest one ended (Unix time).
    """

    runs: int = 0
    failed: int = 0
    last_ended: float = 0.0


@dataclass(frozen=True)
class SensorTick:
    """One tick of a sensor or schedule: what it needs to know of other runs to request new ones.

    Attributes:
        instance: where the earlier runs are.
        busy: dates that an unfinished run covers.
    """

    spec: DatedDataset
    instance: dg.DagsterInstance
    busy: Set[str]
    now: datetime
    log: Callable[[str], None]

    @classmethod
    def start(
        cls,
        spec: DatedDataset,
        context: dg.SensorEvaluationContext | dg.ScheduleEvaluationContext,
    ) -> SensorTick:
        """Read the unfinished runs of the instance."""
        instance = context.instance
        return cls(spec, instance, busy_dates(instance, spec), datetime.now(UTC), context.log.info)

    def requests(self, found: Reconciliation, *, given_up_too: bool = False) -> Iterator[dg.RunRequest]:
        """Yield one request per date that differs, newest first, unless it is in flight, waiting or given up.

        `given_up_too` retries dates whose attempts are used up: the outage may be over.
        """
        requested = 0
        if found.unread.height:
            self.log(f"objects below {self.spec.source.prefix} that no run reads: {summary(found.unread)}")
        earlier = earlier_attempts(self.instance, self.spec.name, found.differences, self.now)
        for difference in sorted(found.differences, key=lambda each: each.partition, reverse=True):
            attempts = earlier[difference.partition]
            if not self._may_run(difference.partition):
                self.log(
                    f"{difference.partition} is before {self.spec.start_date} or in the future, so its files wait "
                    f"({difference.reason}); check start_date in the YAML"
                )
            elif difference.partition in self.busy:
                continue
            elif reason := self._why_it_waits(difference, attempts, given_up_too=given_up_too):
                self.log(reason)
            elif requested == self.spec.sensor.max_requests:
                return
            else:
                requested += 1
                yield self._request(difference, attempts)

    def not_at_rest(self, found: Reconciliation) -> list[str]:
        """Return the dates that differ and that a run is doing, or may still be requested for."""
        earlier = earlier_attempts(self.instance, self.spec.name, found.differences, self.now)
        return [
            date
            for date, attempts in earlier.items()
            if date in self.busy or (self._may_run(date) and attempts.failed < self.spec.sensor.max_attempts)
        ]

    def _may_run(self, date: str) -> bool:
        partitions = dg.DailyPartitionsDefinition(start_date=self.spec.start_date.isoformat(), end_offset=1)
        return partitions.has_partition_key(date)

    def nothing_to_do(self, found: Reconciliation) -> dg.SkipReason:
        """Explain why there is no request."""
        if found.paused_because:
            return dg.SkipReason(
                f"paused after a rollback ({found.paused_because}); materialize any date to resume"
            )
        pending = f"; {len(found.differences)} dates are {IN_FLIGHT}" if found.differences else ""
        left_out = (
            f"; not read: {summary(found.unread)} (`tnt scan` lists them)" if found.unread.height else ""
        )
        return dg.SkipReason(
            f"nothing to do: {found.files_seen} files on {found.dates_seen} dates below {self.spec.source.prefix} "
            f"are all in the published data{pending}{left_out}"
        )

    def _why_it_waits(
        self, difference: PartitionDifference, attempts: Attempts, *, given_up_too: bool
    ) -> str | None:
        """Return why earlier failures keep a date from running now; None if it may run."""
        sensor, failed = self.spec.sensor, attempts.failed
        if failed >= sensor.max_attempts and not given_up_too:
            return (
                f"{difference.partition} was given up after {failed} runs; fix what the last one reports and "
                f"materialize the date, or wait for the full reconciliation ({sensor.sweep_cron} UTC)"
            )
        wait_s = sensor.backoff_s * 2 ** (failed - 1) if failed else 0.0
        remaining_s = attempts.last_ended + wait_s - self.now.timestamp()
        if remaining_s > 0:
            return f"{difference.partition} failed {failed} times; next attempt in {remaining_s:.0f} s"
        return None

    def _request(self, difference: PartitionDifference, earlier: Attempts) -> dg.RunRequest:
        """Make a request whose run_key has the number of the run, because Dagster never launches a used one again.

        The last attempt reads each file alone, so that one that crashes the reader is quarantined and the rest is
        published.
        """
        name, sensor, attempt = self.spec.name, self.spec.sensor, earlier.failed + 1
        is_last = attempt >= sensor.max_attempts and attempt > 1
        return dg.RunRequest(
            run_key=f"{name}|{difference.partition}|{difference.digest}|{earlier.runs + 1}",
            partition_key=difference.partition,
            run_config=dg.RunConfig(ops={name: {"config": {"isolate": is_last}}}),
            tags={
                DATASET_TAG: name,
                DIGEST_TAG: short_digest(difference),
                ATTEMPT_TAG: str(attempt),
                LANE_TAG: f"{name}|{difference.partition}",
                "tnt/reason": difference.reason,
            },
        )


class Survey(Protocol):
    """Compares the raw files with the published data; with `since`, dates from then on, with `named`, those dates."""

    def __call__(
        self, workspace: Workspace, *, since: str | None = None, named: Sequence[str] = ()
    ) -> Reconciliation: ...


def dated_sensor(
    spec: DatedDataset, selection: dg.AssetSelection, survey: Survey, *, description: str
) -> dg.SensorDefinition:
    """Build the sensor that compares every `interval_s` and requests runs for the difference.

    Where events name the dates that changed (`event_sensor`), it compares the newest dates only, and hourly: an event
    may be lost.
    """

    @dg.sensor(
        name=f"{spec.name}_files",
        asset_selection=selection,
        minimum_interval_seconds=spec.sensor.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
        tick, since = SensorTick.start(spec, context), None
        if platform.settings().event_queue_url:
            if tick.now < (due := _next_window(context.cursor)):
                return dg.SkipReason(
                    f"events name the dates that changed; the next comparison is at {due:%H:%M} UTC"
                )
            since = (tick.now - timedelta(days=spec.sensor.window_days)).date().isoformat()
        found = survey(platform.workspace(), since=since)
        requests = list(tick.requests(found))
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else tick.nothing_to_do(found),
            cursor=tick.now.isoformat(),
        )

    return sensor


def _next_window(cursor: str | None) -> datetime:
    """Return when the newest dates are to be compared again, given when they were (the cursor)."""
    try:
        return datetime.fromisoformat(cursor or "") + WINDOW_EVERY
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def full_reconciliation_schedule(
    spec: DatedDataset,
    survey: Survey,
    *,
    description: str,
    default_status: dg.DefaultScheduleStatus,
) -> dg.ScheduleDefinition:
    """Build the schedule that compares everything at `sweep_cron`, also dates that the sensor gave up."""

    @dg.schedule(
        name=f"{spec.name}_sweep",
        cron_schedule=spec.sensor.sweep_cron,
        job_name=f"{spec.name}_job",
        default_status=default_status,
        description=description,
    )
    def schedule(
        context: dg.ScheduleEvaluationContext, platform: Platform
    ) -> list[dg.RunRequest] | dg.SkipReason:
        tick = SensorTick.start(spec, context)
        found = survey(platform.workspace())
        return list(tick.requests(found, given_up_too=True)) or tick.nothing_to_do(found)

    return schedule


def earlier_attempts(
    instance: dg.DagsterInstance, dataset: str, differences: Sequence[PartitionDifference], now: datetime
) -> dict[str, Attempts]:
    """Return the attempts at each date that differs, among all runs that a sensor or schedule ever requested for it."""
    wanted = {difference.partition: short_digest(difference) for difference in differences}
    runs: dict[str, list[dg.RunRecord]] = {date: [] for date in wanted}
    dates = sorted(wanted)
    for at in range(0, len(dates), DATES_AT_ONCE):
        filters = dg.RunsFilter(tags={DATASET_TAG: dataset, PARTITION: dates[at : at + DATES_AT_ONCE]})
        for record in _records(instance, filters):
            runs[record.dagster_run.tags[PARTITION]].append(record)
    return {date: _attempts(runs[date], digest, now) for date, digest in wanted.items()}


def _attempts(newest_first: Sequence[dg.RunRecord], digest: str, now: datetime) -> Attempts:
    """Count the runs of one content; a date may go back to a content that it had before."""
    ended = [record for record in newest_first if record.dagster_run.is_finished]
    same = [record for record in newest_first if record.dagster_run.tags.get(DIGEST_TAG) == digest]
    newest = takewhile(lambda record: record.dagster_run.tags.get(DIGEST_TAG) == digest, ended)
    failed, before = 0, None
    for record in newest:
        succeeded = record.dagster_run.is_success
        recent = now.timestamp() - (record.end_time or 0.0) < SUCCESS_COUNTS.total_seconds()
        if before not in (None, succeeded) or (succeeded and not recent):
            break
        failed, before = failed + 1, succeeded
    last_ended = max((record.end_time or 0.0 for record in same), default=0.0)
    return Attempts(len(same), failed, last_ended)


def _records(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[dg.RunRecord]:
    """Page through the records of runs, newest first."""
    cursor = None
    while records := instance.get_run_records(filters, limit=RUNS_AT_ONCE, cursor=cursor):
        yield from records
        cursor = records[-1].dagster_run.run_id


def busy_dates(instance: dg.DagsterInstance, spec: DatedDataset) -> set[str]:
    """Return the dates that an unfinished run covers, whether a sensor, a backfill or a person launched it."""
    assets = {dg.AssetKey([spec.name, step]) for step in spec.steps}
    dates: set[str] = set()
    for record in _records(instance, dg.RunsFilter(statuses=list(UNFINISHED))):
        run = record.dagster_run
        if run.job_name != f"{spec.name}_job" and assets.isdisjoint(run.asset_selection or ()):
            continue
        # Nothing can tell whether a run without launcher and process is dead, so it must not block its date.
        if run.remote_job_origin is None and PROCESS_TAG not in run.tags:
            continue
        if PARTITION in run.tags:
            dates.add(run.tags[PARTITION])
        elif RANGE_START in run.tags and RANGE_END in run.tags:
            first, last = (date.fromisoformat(run.tags[tag]) for tag in (RANGE_START, RANGE_END))
            dates |= {(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)}
    return dates


def short_digest(difference: PartitionDifference) -> str:
    """Return the start of the digest of the date's files: what attempts are counted by, short enough for a tag."""
    return difference.digest[:12]
