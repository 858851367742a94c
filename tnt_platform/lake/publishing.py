"""Write, audit, publish: every step of every dataset is published here."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import polars as pl

from tnt_platform.errors import CheckFailed, PublishConflict
from tnt_platform.lake.blocked import BlockedPublish, note_blocked
from tnt_platform.lake.formats import LEDGER
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts, VersionedStore
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects

PREVIEW_ROWS = 10
CONFLICT_RETRIES = 8
LEFTOVER_AGE = timedelta(days=2)
# Of the folders that drafts and reads of shipper files make for themselves.
SCRATCH_PREFIXES = ("draft-", "shipments-")


@dataclass(frozen=True)
class Workspace:
    """Where a step reads and writes: raw files, the lake with its published versions, a local scratch folder."""

    raw: Objects
    lake: Objects
    store: VersionedStore
    scratch: Path

    @property
    def clock(self) -> Callable[[], datetime]:
        """The clock (UTC) of everything that happens here, so that a test sets one clock only."""
        return self.store.clock


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def open_workspace(settings: Settings, *, clock: Callable[[], datetime] = utc_now) -> Workspace:
    """Open the raw files and the lake that `settings` name."""
    options = settings.s3_options()
    settings.scratch.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(settings.scratch)
    lake = Objects.open(settings.lake_url, options=options)
    store = VersionedStore(
        lake,
        clock=clock,
        entropy=secrets.token_bytes,
        code_version=version("tnt_platform"),
        scratch=settings.scratch,
    )
    return Workspace(Objects.open(settings.raw_url, options=options), lake, store, settings.scratch)


def _remove_leftovers(scratch: Path) -> None:
    """Delete the folders that killed runs left; no run lasts for days."""
    oldest = time.time() - LEFTOVER_AGE.total_seconds()
    for entry in os.scandir(scratch):
        # Scratch may be a folder that others use too.
        if entry.name.startswith(SCRATCH_PREFIXES) and entry.is_dir(follow_symlinks=False):
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < oldest:
                    shutil.rmtree(entry.path, ignore_errors=True)


@dataclass(frozen=True)
class CheckOutcome:
    """What a check found; `sample` has the first offending rows. A check that is not `blocking` only warns."""

    name: str
    passed: bool
    description: str
    sample: pl.DataFrame | None = None
    blocking: bool = True


Check = Callable[[Snapshot], CheckOutcome]
_WARNINGS = "warnings"


def recorded_warnings(outcomes: Sequence[Check | CheckOutcome]) -> dict[str, object]:
    """Return what the manifest of a version records of failed checks that only warn; see `standing_warnings`."""
    failed = {
        one.name: one.description
        for one in outcomes
        if isinstance(one, CheckOutcome) and not one.blocking and not one.passed
    }
    return {_WARNINGS: failed} if failed else {}


def standing_warnings(snapshot: Snapshot) -> tuple[CheckOutcome, ...]:
    """Return the warnings of a version, which hold as long as it is the current one, though nothing is checked anew."""
    recorded = snapshot.manifest.about.get(_WARNINGS, {})
    return tuple(
        CheckOutcome(str(name), False, str(description), blocking=False)
        for name, description in recorded.items()
    )


@dataclass(frozen=True)
class Published:
    """One partition of one step, as published or found unchanged; `facts` go into its metadata."""

    dataset: str
    partition: str
    snapshot: Snapshot
    changed: bool
    counts: RowCounts
    checks: tuple[CheckOutcome, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    duration_s: float = 0.0

    @classmethod
    def unchanged(
        cls,
        base: Snapshot,
        partition: str,
        *,
        whole: bool = False,
        facts: Mapping[str, object] | None = None,
    ) -> Published:
        """Describe what is published already; `whole` counts all rows of the version, not those of the partition."""
        row = None if whole else base.partition(partition)
        counts = (
            RowCounts.of(row) if row else RowCounts(rows_in=base.manifest.rows, published=base.manifest.rows)
        )
        return cls(base.dataset, partition, base, changed=False, counts=counts, facts=facts or {})

    def with_facts(self, facts: Mapping[str, object]) -> Published:
        """Return a copy with further facts."""
        return replace(self, facts={**self.facts, **facts})

    def preview(self) -> pl.DataFrame:
        """Return the first rows of the partition."""
        return self.snapshot.scan([self.partition]).head(PREVIEW_ROWS).collect()

    def reasons(self) -> pl.DataFrame:
        """Count the quarantined rows: reason_code, rows (UInt32), first (file:line), example (first raw), reason."""
        place = pl.format("{}:{}", "file_key", "line_no")
        example = pl.format("{} {}", place, pl.col("raw").fill_null("").str.slice(0, 80))
        return (
            self.snapshot.quarantine([self.partition])
            .group_by("reason_code")
            .agg(rows=pl.len(), first=place.first(), example=example.first(), reason=pl.col("reason").first())
            .sort("rows", "reason_code", descending=[True, False])
        )


def publish_checked(
    workspace: Workspace,
    dataset: str,
    change: PartitionChange,
    *,
    base: Snapshot | None,
    key: Sequence[str],
    checks: Sequence[Check | CheckOutcome],
    run_id: str,
    also: Sequence[PartitionChange] = (),
    about: Mapping[str, object] | None = None,
) -> Published:
    """Write a draft, run the checks on what was written, and commit it only if they pass.

    Args:
        also: changes of other partitions that become visible together with `change`.
        checks: run on the draft; one that ran on the frames already is given as its outcome.
        about: JSON values for the manifest.

    Raises:
        CheckFailed: a blocking check failed; the draft stays readable by its version id, unpublished.
        PublishConflict: a partition changed since `base`.
    """
    changes = [change, *also]
    draft = workspace.store.draft(dataset, base=base, changes=changes, key=key, run_id=run_id, about=about)
    results = (check if isinstance(check, CheckOutcome) else check(draft) for check in checks)
    outcomes = (_rows_conserved(changes), *results)
    failed = [outcome for outcome in outcomes if outcome.blocking and not outcome.passed]
    if failed:
        blocked = BlockedPublish(
            dataset,
            change.partition,
            draft.version,
            workspace.clock(),
            run_id,
            {outcome.name: outcome.description for outcome in failed},
        )
        note_blocked(workspace.lake, blocked)
        raise CheckFailed(blocked.text, outcomes)
    snapshot = workspace.store.commit(draft)
    return Published(dataset, change.partition, snapshot, not draft.unchanged, change.counts, outcomes)


def retry_conflicts(step: Callable[[], Published]) -> Published:
    """Publish a step; after a conflict with another run, compute it again from the current snapshot."""
    started = time.monotonic()
    for _ in range(CONFLICT_RETRIES - 1):
        try:
            return replace(step(), duration_s=time.monotonic() - started)
        except PublishConflict:
            continue
    return replace(step(), duration_s=time.monotonic() - started)


def as_ledger(inputs: pl.DataFrame) -> pl.DataFrame:
    """Return `inputs` with all columns of a ledger; a column that the step does not record is null."""
    return pl.concat([pl.DataFrame(schema=LEDGER), inputs], how="diagonal_relaxed")


def _rows_conserved(changes: Sequence[PartitionChange]) -> CheckOutcome:
    counts = sum((change.counts for change in changes), RowCounts())
    description = (
        f"{counts.rows_in} in = {counts.published} published + {counts.quarantined} quarantined "
        f"+ {counts.deduplicated} deduplicated + {counts.filtered} filtered"
    )
    balanced = all(change.counts.balanced for change in changes)
    return CheckOutcome("rows_conserved", balanced, description)


def unique_keys(dataset_key: Sequence[str], partition: str) -> Check:
    """Check that no two rows of the partition share the dataset's key."""

    def check(draft: Snapshot) -> CheckOutcome:
        rows = draft.scan([partition], columns=list(dataset_key))
        repeated = (
            rows.group_by(dataset_key).len("rows").filter(pl.col("rows") > 1).collect(engine="streaming")
        )
        name = " + ".join(dataset_key)
        description = (
            f"{repeated.height} values of {name} occur more than once"
            if repeated.height
            else f"{name} is unique"
        )
        return CheckOutcome("unique_keys", repeated.is_empty(), description, repeated.head(PREVIEW_ROWS))

    return check


def rows_in_file_order(partition: str) -> Check:
    """Check that (file_key, line_no) is unique, by order: 20 million rows then need no hash table."""

    def check(draft: Snapshot) -> CheckOutcome:
        found = _file_starts_and_repeats(draft.scan([partition], columns=["file_key", "line_no"]))
        file_starts = found.filter("starts")
        out_of_order = found.height - file_starts.height
        # The rows of a file are contiguous, so each file starts once.
        split_files = file_starts.height - file_starts["file_key"].n_unique()
        passed = out_of_order == 0 and split_files == 0
        description = (
            "file_key + line_no is unique"
            if passed
            else f"{out_of_order} lines repeat, {split_files} files are split"
        )
        return CheckOutcome("unique_keys", passed, description)

    return check


def _file_starts_and_repeats(rows: pl.LazyFrame) -> pl.DataFrame:
    """Return the rows that start another file (`starts`), and those whose line_no does not rise within a file."""
    found = [pl.DataFrame(schema={"file_key": pl.String(), "starts": pl.Boolean()})]
    last_key: str | None = None
    last_line: int | None = None
    # In batches: in one streaming query, the memory of `shift` grows with the rows.
    for batch in rows.collect_batches(maintain_order=True, engine="streaming"):
        same_file = (pl.col("file_key") == pl.col("file_key").shift(fill_value=last_key)).fill_null(
            value=False
        )
        repeats = pl.col("line_no") <= pl.col("line_no").shift(fill_value=last_line)
        marked = batch.select("file_key", starts=~same_file, repeats=repeats)
        found.append(marked.filter(pl.col("starts") | pl.col("repeats")).drop("repeats"))
        if batch.height:
            last_key, last_line = batch.row(-1)
    return pl.concat(found)


def values_in_range(partition: str, column: str, lowest: object, highest: object) -> Check:
    """Check that every value of `column` is in [lowest, highest] and none is null."""

    def check(draft: Snapshot) -> CheckOutcome:
        outside = ~pl.col(column).is_between(pl.lit(lowest), pl.lit(highest)) | pl.col(column).is_null()
        offending = draft.scan([partition]).filter(outside).head(PREVIEW_ROWS).collect(engine="streaming")
        description = (
            f"{column} within {lowest}..{highest}"
            if offending.is_empty()
            else f"{column} outside {lowest}..{highest}"
        )
        return CheckOutcome(f"{column}_in_range", offending.is_empty(), description, offending)

    return check
