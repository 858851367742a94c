"""Request runs for the dates whose published data differs from the bucket; for datasets partitioned by date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import dagster as dg

from tnt_platform.discovery.comparison import PartitionDifference, Reconciliation
from tnt_platform.discovery.unread import summary
from tnt_platform.orchestration.local_launcher import PROCESS_TAG
from tnt_platform.orchestration.platform import Platform
from tnt_platform.specs.dataset import SensorSpec

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
    """The earlier runs for one date and one content of its files."""

    failed: int = 0
    last_ended: float = 0.0
    unfinished: bool = False


@dataclass(frozen=True)
class SensorTick:
    """One tick of a sensor or schedule: what it needs to know of earlier runs to request new ones.

    Attributes:
        history: attempts by (date, digest).
        busy: dates that an unfinished run covers.
    """

    spec: DatedDataset
    history: Mapping[tuple[str, str], Attempts]
    busy: Set[str]
    now: datetime
    log: Callable[[str], None]

    @classmethod
    def start(
        cls,
        spec: DatedDataset,
        context: dg.SensorEvaluationContext | dg.ScheduleEvaluationContext,
    ) -> SensorTick:
        """Read the runs of the instance."""
        history, busy = run_history(context.instance, spec.name), busy_dates(context.instance, spec)
        return cls(spec, history, busy, datetime.now(UTC), context.log.info)

    @property
    def unfinished_dates(self) -> list[str]:
        """The dates whose last run did not succeed, sorted."""
        return sorted({date for (date, _), attempts in self.history.items() if attempts.unfinished})

    def requests(self, found: Reconciliation, *, given_up_too: bool = False) -> Iterator[dg.RunRequest]:
        """Yield one request per date that differs, newest first, unless it is in flight, waiting or given up.

        `given_up_too` retries dates whose attempts are used up: the outage may be over.
        """
        partitions = dg.DailyPartitionsDefinition(start_date=self.spec.start_date.isoformat(), end_offset=1)
        requested = 0
        if found.unread.height:
            self.log(f"objects below {self.spec.source.prefix} that no run reads: {summary(found.unread)}")
        for difference in sorted(found.differences, key=lambda each: each.partition, reverse=True):
            attempts = self.history.get(content_of(difference), Attempts())
            if not partitions.has_partition_key(difference.partition):
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
                yield self._request(difference, attempts.failed + 1)

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

    def _request(self, difference: PartitionDifference, attempt: int) -> dg.RunRequest:
        """Make a request whose run_key has the attempt, because Dagster never launches a used run_key again.

        The last attempt reads each file alone, so that one that crashes the reader is quarantined and the rest is
        published.
        """
        name, sensor = self.spec.name, self.spec.sensor
        is_last = attempt >= sensor.max_attempts and attempt > 1
        return dg.RunRequest(
            run_key=f"{name}|{difference.partition}|{difference.digest}|{attempt}",
            partition_key=difference.partition,
            run_config=dg.RunConfig(ops={name: {"config": {"isolate": is_last}}}),
            tags={
                DATASET_TAG: name,
                DIGEST_TAG: content_of(difference)[1],
                ATTEMPT_TAG: str(attempt),
                LANE_TAG: f"{name}|{difference.partition}",
                "tnt/reason": difference.reason,
            },
        )


def dated_sensor(
    spec: DatedDataset,
    selection: dg.AssetSelection,
    reconcile: Callable[[SensorTick, Platform], Reconciliation],
    *,
    description: str,
) -> dg.SensorDefinition:
    """Build the sensor that compares every `interval_s` and requests runs for the difference."""

    @dg.sensor(
        name=f"{spec.name}_files",
        asset_selection=selection,
        minimum_interval_seconds=spec.sensor.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        tick = SensorTick.start(spec, context)
        found = reconcile(tick, platform)
        requests = list(tick.requests(found))
        return dg.SensorResult(
            run_requests=requests, skip_reason=None if requests else tick.nothing_to_do(found)
        )

    return sensor


def full_reconciliation_schedule(
    spec: DatedDataset,
    reconcile: Callable[[Platform], Reconciliation],
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
        found = reconcile(platform)
        return list(tick.requests(found, given_up_too=True)) or tick.nothing_to_do(found)

    return schedule


def run_history(instance: dg.DagsterInstance, dataset: str) -> dict[tuple[str, str], Attempts]:
    """Return attempts by (date, digest) among the recent runs that a sensor or schedule requested."""
    since = datetime.now(UTC) - REMEMBERED
    filters = dg.RunsFilter(tags={DATASET_TAG: dataset}, created_after=since)
    history: dict[tuple[str, str], Attempts] = {}
    for record in instance.get_run_records(filters, limit=RUNS_REMEMBERED):
        run = record.dagster_run
        key = (run.tags.get(PARTITION, ""), run.tags.get(DIGEST_TAG, ""))
        before = history.get(key, Attempts())
        history[key] = Attempts(
            # A run that succeeded and left a difference counts too: requesting it forever would not help.
            failed=before.failed + run.is_finished,
            last_ended=max(before.last_ended, record.end_time or 0.0),
            # Newest first, so the first record says how the last run ended.
            unfinished=before.unfinished if key in history else not run.is_success,
        )
    return history


def busy_dates(instance: dg.DagsterInstance, spec: DatedDataset) -> set[str]:
    """Return the dates that an unfinished run covers, whether a sensor, a backfill or a person launched it."""
    assets = {dg.AssetKey([spec.name, step]) for step in spec.steps}
    dates: set[str] = set()
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(UNFINISHED)), limit=RUNS_REMEMBERED):
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


def content_of(difference: PartitionDifference) -> tuple[str, str]:
    """Return what attempts are counted by: the date and the start of its digest, short enough for the runs page."""
    return difference.partition, difference.digest[:12]
