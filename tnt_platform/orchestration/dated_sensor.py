"""What the sensors of datasets with a partition per day share: which dates to run, and how often to retry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import dagster as dg

from tnt_platform.discovery.survey import Survey, Work
from tnt_platform.orchestration.local_launcher import PROCESS_TAG
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
    model: SensorSpec,
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
        attempts = history.get(content_of(work), Attempts())
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
    model: SensorSpec, work: Work, attempts: Attempts, now: float, *, given_up_too: bool
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
    spec: DatedDataset, model: SensorSpec, work: Work, attempt: int, *, isolates: bool
) -> dg.RunRequest:
    last_chance = attempt >= model.max_attempts and attempt > 1
    return dg.RunRequest(
        run_key=f"{spec.name}|{work.date}|{work.digest}|{attempt}",
        partition_key=work.date,
        run_config=dg.RunConfig(ops={spec.name: {"config": {"isolate": last_chance}}} if isolates else {}),
        tags={
            DATASET_TAG: spec.name,
            DIGEST_TAG: content_of(work)[1],
            ATTEMPT_TAG: str(attempt),
            LANE_TAG: f"{spec.name}|{work.date}",
            "tnt/reason": work.reason,
        },
    )


def content_of(work: Work) -> tuple[str, str]:
    """What attempts are counted by: the date, and the start of its files' digest, short enough for the runs page."""
    return work.date, work.digest[:12]
