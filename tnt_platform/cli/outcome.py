"""What a run did, read from its events: for each step and date what became of the rows, and what was blocked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import dagster as dg
from dagster._core.events import RunFailureReason

from tnt_platform.cli.tables import Output
from tnt_platform.errors import NotFound
from tnt_platform.kinds import dataset_spec
from tnt_platform.lake.guard_rails import overridden
from tnt_platform.lake.manifest import Manifest, RowChanges, RowCounts
from tnt_platform.lake.versions import VersionedStore
from tnt_platform.orchestration.failures import BEYOND_LIMITS
from tnt_platform.orchestration.guard_rails import REJECTION_CHECKS
from tnt_platform.orchestration.metadata import REJECTED

FAILED, REJECTED_BEYOND_LIMITS, STOPPED = 1, 3, 130
REASONS_SHOWN = 3


@dataclass(frozen=True)
class StepOutcome:
    """What became of the rows of one step, and of one date if the dataset has dates.

    `asset` is what Dagster calls the step, `dataset` what the lake calls it. `changes` are those of this run alone;
    None if it changed nothing. `rejected`: reason_code, rows, first (file:line).
    """

    asset: str
    dataset: str
    date: str | None
    version: str
    counts: RowCounts
    changes: RowChanges | None
    rejected: Sequence[Mapping[str, Any]] = ()
    overrides: Sequence[str] = ()

    @property
    def line(self) -> str:
        """What happened, in one line."""
        counts = self.counts
        parts = [f"{counts.rows_in:,} in", f"{counts.published:,} published"]
        others = ("quarantined", "deduplicated", "filtered")
        parts += [f"{getattr(counts, name):,} {name}" for name in others if getattr(counts, name)]
        what = self.asset if self.date is None else f"{self.asset} {self.date}"
        return f"{what}: {', '.join(parts)}; {self._changed}"

    @property
    def _changed(self) -> str:
        if self.changes is None:
            return "unchanged"
        counted = ", ".join(f"{count:,} {name}" for name, count in asdict(self.changes).items() if count)
        noted = f" (accepted by a person: {', '.join(self.overrides)})" if self.overrides else ""
        return f"{counted or 'no row changed'}{noted}"

    @property
    def show_command(self) -> str:
        """The command that shows the rejected rows."""
        return f"tnt show {self.dataset} --quarantine --version {self.version}"

    @property
    def reasons(self) -> list[str]:
        """The most frequent reasons of rejected rows, one line each, with the first file and line."""
        named = [
            f"{reason['rows']:,} {reason['reason_code']}, first in {reason['first']}"
            for reason in self.rejected[:REASONS_SHOWN]
        ]
        more = len(self.rejected) - len(named)
        return [*named, *([f"and {more} more reasons"] if more > 0 else [])]


@dataclass(frozen=True)
class FailedCheck:
    """A check that failed; a `blocking` one kept a publish from happening."""

    dataset: str
    name: str
    description: str
    blocking: bool


@dataclass(frozen=True)
class RunOutcome:
    """What the runs of one command did; `beyond_limits` if nothing but guard rails made a run fail."""

    steps: tuple[StepOutcome, ...] = ()
    checks: tuple[FailedCheck, ...] = ()
    failures: tuple[str, ...] = ()
    succeeded: bool = True
    beyond_limits: bool = True
    run_ids: tuple[str, ...] = ()
    stopped: bool = False

    def __add__(self, other: RunOutcome) -> RunOutcome:
        return RunOutcome(
            self.steps + other.steps,
            self.checks + other.checks,
            self.failures + other.failures,
            self.succeeded and other.succeeded,
            self.beyond_limits and other.beyond_limits,
            self.run_ids + other.run_ids,
            self.stopped or other.stopped,
        )

    @property
    def exit_code(self) -> int:
        """0 if all is well, 3 if rows were rejected beyond the limits, 130 if stopped, 1 for any other failure."""
        if self.stopped:
            return STOPPED
        if not self.succeeded and not self.beyond_limits:
            return FAILED
        rejected = any(check.name in REJECTION_CHECKS for check in self.checks)
        return REJECTED_BEYOND_LIMITS if rejected or not self.succeeded else 0

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` prints."""
        steps = [
            {
                "asset": step.asset,
                "dataset": step.dataset,
                "date": step.date,
                "version": step.version,
                **asdict(step.counts),
                "changed": step.changes is not None,
                **asdict(step.changes or RowChanges()),
                "rejected": list(step.rejected),
                "overrides": list(step.overrides),
            }
            for step in self.steps
        ]
        return {
            "exit_code": self.exit_code,
            "run_ids": self.run_ids,
            "steps": steps,
            "failed_checks": [asdict(check) for check in self.checks],
            "failures": self.failures,
        }


def show_outcome(out: Output, found: RunOutcome) -> None:
    """Print a line for each step and date, the reasons of rejected rows, failed checks and failures."""
    for name, value in found.document.items():
        out.put(name, value)
    for step in found.steps:
        out.say(step.line)
        for reason in step.reasons:
            out.say(f"  {reason}")
        if step.rejected:
            out.say(f"  all of them: {step.show_command}")
    for failure in found.failures:
        out.warn(failure)
    for check in found.checks:
        # The failure of the run says what blocked it.
        if not check.blocking or found.succeeded:
            out.warn(f"{check.dataset}: the check {check.name} failed: {check.description}")


def read_outcome(instance: dg.DagsterInstance, run_id: str, store: VersionedStore) -> RunOutcome:
    """Read from the events of a finished run what it did."""
    events = [record.dagster_event for record in instance.all_logs(run_id) if record.dagster_event]
    failures = [event.step_failure_data for event in events if event.is_step_failure]
    run = instance.get_run_by_id(run_id)
    stopped = any(map(_was_stopped, events))
    what_was_stopped = f"run {run_id} was stopped; what it had published stays, and a new run does the rest"
    causes = [_first_cause(data.error_display_string) for data in failures]
    return RunOutcome(
        steps=_steps(events, store, run_id),
        checks=_failed_checks(events),
        failures=(what_was_stopped,) if stopped else tuple(causes),
        succeeded=run is not None and run.is_success,
        beyond_limits=all(map(_is_beyond_limits, failures)) and bool(failures or (run and run.is_success)),
        run_ids=(run_id,),
        stopped=stopped,
    )


def _was_stopped(event: dg.DagsterEvent) -> bool:
    """Return whether somebody stopped the run: with Ctrl-C, a signal, or in the web UI."""
    if event.event_type is dg.DagsterEventType.RUN_CANCELED:
        return True
    return (
        event.event_type is dg.DagsterEventType.RUN_FAILURE
        and event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION
    )


def _first_cause(message: str) -> str:
    """Return what the platform says of a failure; the stack trace is in the web UI."""
    text = message.split("\n\nStack Trace:")[0].split("\n\nThe above")[0]
    return text.removeprefix("dagster._core.definitions.events.Failure: ").strip()


def _is_beyond_limits(data: Any) -> bool:
    metadata = data.user_failure_data.metadata if data.user_failure_data else {}
    return BEYOND_LIMITS in metadata and bool(metadata[BEYOND_LIMITS].value)


def _steps(events: Sequence[dg.DagsterEvent], store: VersionedStore, run_id: str) -> tuple[StepOutcome, ...]:
    """Return one outcome for each step and date: what the last attempt found, with the changes of all attempts."""
    found: dict[tuple[str, str | None], StepOutcome] = {}
    manifests: dict[str, dict[str, Manifest]] = {}
    for event in events:
        if event.event_type != dg.DagsterEventType.ASSET_MATERIALIZATION:
            continue
        made = event.step_materialization_data.materialization
        step = _step(made)
        key = (step.dataset, step.date)
        if made.metadata["changed"].value:
            of_run = manifests.setdefault(step.dataset, {})
            _read_versions(store, step, run_id, of_run)
            step = replace(step, changes=_changes(of_run, step), overrides=_overrides(of_run, step.version))
        elif key in found:
            step = replace(step, changes=found[key].changes, overrides=found[key].overrides)
        found[key] = step
    return tuple(found.values())


def _step(made: dg.AssetMaterialization) -> StepOutcome:
    values: dict[str, Any] = {name: entry.value for name, entry in made.metadata.items()}
    counts = RowCounts(**{each.name: values[_metadata_name(each.name)] for each in fields(RowCounts)})
    (name, step), tags = made.asset_key.path, made.tags or {}
    rejected = tuple(values.get(REJECTED, ()))
    asset, dataset = f"{name}/{step}", dataset_spec(name).dataset(step)
    return StepOutcome(asset, dataset, made.partition, tags["tnt/version"], counts, None, rejected)


def _metadata_name(count: str) -> str:
    return count if count == "rows_in" else f"rows_{count}"


def _read_versions(store: VersionedStore, step: StepOutcome, run_id: str, known: dict[str, Manifest]) -> None:
    """Read the manifests of this version and of those before it that the same run published."""
    version: str | None = step.version
    while version is not None and version not in known:
        try:
            manifest = store.snapshot(step.dataset, version).manifest
        except NotFound:
            return  # expired meanwhile
        if manifest.run_id != run_id:
            return
        known[version] = manifest
        version = manifest.parent


def _changes(manifests: Mapping[str, Manifest], step: StepOutcome) -> RowChanges:
    logs = [manifest.changelog for manifest in manifests.values()]
    if step.date is None:
        return sum((RowChanges(log.added, log.updated, log.removed) for log in logs), RowChanges())
    return sum((log.by_partition.get(step.date, RowChanges()) for log in logs), RowChanges())


def _overrides(manifests: Mapping[str, Manifest], version: str) -> Sequence[str]:
    return overridden(manifests[version].about) if version in manifests else ()


def _failed_checks(events: Sequence[dg.DagsterEvent]) -> tuple[FailedCheck, ...]:
    """Return the checks whose last evaluation failed."""
    last: dict[tuple[str, str], FailedCheck | None] = {}
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            dataset = "/".join(found.asset_key.path)
            failed = FailedCheck(dataset, found.check_name, found.description or "", bool(found.blocking))
            last[dataset, found.check_name] = None if found.passed else failed
    return tuple(check for check in last.values() if check is not None)
