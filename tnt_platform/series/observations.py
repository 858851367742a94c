"""`<dataset>`: merge the newest series into the history of all observations; only changed partitions are written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake.guard_rails import NO_OVERRIDES, GuardRails, Overrides
from tnt_platform.lake.publishing import (
    PREVIEW_ROWS,
    Check,
    CheckOutcome,
    Published,
    Workspace,
    as_ledger,
    publish_checked,
    recorded_warnings,
    standing_warnings,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.series.capture import local_path
from tnt_platform.series.history import HistoryChanges, history_changes, strategy_of
from tnt_platform.series.normalized import rejected_cells
from tnt_platform.series.revisions import changed_series, check_revisions, revisions
from tnt_platform.series.spec import NEWEST, OBSERVATION_KEY, OBSERVATIONS, SERIES, SOURCE, SeriesSpec
from tnt_platform.series.transforms.checks import jumps
from tnt_platform.services.lease import HeldLease

_KEY = list(OBSERVATION_KEY)
# The manifest stays a small file; `tnt diff` shows all revisions.
REVISIONS_LISTED = 200


def publish_observations(
    spec: SeriesSpec,
    workspace: Workspace,
    run_id: str,
    *,
    overrides: Overrides = NO_OVERRIDES,
    by_hand: bool = False,
    lease: HeldLease | None = None,
) -> Published:
    """Merge the newest series into the history, and publish what changed in one commit.

    Series of an older capture than the published one are skipped. `by_hand` publishes although a rollback has paused
    the dataset.

    Raises:
        NotFound: the series step has not run.
        CheckFailed: the history would shrink, or most of a series would change.
    """
    series = workspace.store.current(spec.dataset(SERIES))
    if series is None:
        raise NotFound(f"{spec.name}: no series yet; materialize {spec.name}/{SERIES} first")
    base = workspace.store.current(spec.dataset(OBSERVATIONS))
    made_from = _made_from(series, lease.lease.token if lease else 0)
    by_hand = by_hand or overrides != NO_OVERRIDES
    if base is not None and (reason := _reason_to_skip(spec, base, made_from, override=by_hand)):
        return _unchanged(base, reason)
    fresh = series.scan([NEWEST]).collect()
    accepted = overrides.accept_vanished
    changes = history_changes(spec, base, fresh, rejected_cells(series), accept_vanished=accepted)
    if base is not None and changes.is_empty and (accepted or changes.vanished.is_empty()):
        return _unchanged(base, "the newest capture has only what is published")
    counts = _count(changes)
    checks = _checks(spec, series, base, fresh, changes, lease, overrides)
    about = _about(spec, base, made_from, fresh, changes, counts)
    published = _publish_history(
        spec,
        workspace,
        base,
        made_from,
        changes,
        checks=checks,
        about=about | overrides.about | recorded_warnings(checks),
        run_id=run_id,
    )
    return published.with_facts({**counts, **_facts(changes)})


def _facts(changes: HistoryChanges) -> dict[str, int]:
    return {
        "vanished": changes.vanished.height,
        "partitions_written": changes.after["partition"].n_unique(),
    }


def _publish_history(
    spec: SeriesSpec,
    workspace: Workspace,
    base: Snapshot | None,
    made_from: dict[str, Any],
    changes: HistoryChanges,
    *,
    checks: list[CheckOutcome | Check],
    about: dict[str, Any],
    run_id: str,
) -> Published:
    """Commit the changed partitions together with that of the source, whose ledger names the capture."""
    published = publish_checked(
        workspace,
        spec.dataset(OBSERVATIONS),
        _source_change(spec, made_from),
        base=base,
        also=changes.partition_changes(),
        key=OBSERVATION_KEY,
        checks=checks,
        run_id=run_id,
        about=about,
    )
    # The partition of the source has no rows: report those of the whole history.
    rows = published.snapshot.manifest.rows
    return replace(published, partition=SOURCE, counts=RowCounts(rows_in=rows, published=rows))


def _made_from(series: Snapshot, fencing_token: int) -> dict[str, Any]:
    """Return the ledger entry of a version: the capture and the recipe that it was made from."""
    capture = series.inputs(NEWEST).row(0, named=True)
    row = series.partition(NEWEST) or {}
    return {
        "key": capture["key"],
        "etag": row["changed_by"],
        "size_bytes": capture["size_bytes"],
        "last_modified": capture["last_modified"],
        "sha256": capture["sha256"],
        "status": "accepted",
        "fencing_token": fencing_token,
    }


def _reason_to_skip(
    spec: SeriesSpec, base: Snapshot, made_from: dict[str, Any], *, override: bool
) -> str | None:
    if override:
        return None
    if base.manifest.paused_because is not None:
        return f"paused after a rollback ({base.manifest.paused_because}); materialize with `by_hand: true` to resume"
    last = base.inputs(SOURCE)
    if last.is_empty() or strategy_of(base) != spec.partition_strategy:
        return None
    if last["etag"][0] == made_from["etag"]:
        return "the newest series are already published"
    if last["last_modified"][0] > made_from["last_modified"]:
        return "a newer capture is already published"
    if last["fencing_token"][0] > made_from["fencing_token"] > 0:
        return "another run took over the lease and has published"
    return None


def _unchanged(base: Snapshot, reason: str) -> Published:
    published = Published.unchanged(base, SOURCE, whole=True, facts={"nothing_to_do": reason})
    return replace(published, checks=standing_warnings(base))


def _source_change(spec: SeriesSpec, made_from: dict[str, Any]) -> PartitionChange:
    types = {"last_modified": pl.Datetime("us", "UTC"), "fencing_token": pl.Int64()}
    return PartitionChange(
        partition=SOURCE,
        data=pl.DataFrame(),
        inputs=as_ledger(pl.DataFrame([made_from], schema_overrides=types)),
        inputs_digest=f"{made_from['etag']}@{spec.partition_strategy}",
    )


def _checks(
    spec: SeriesSpec,
    series: Snapshot,
    base: Snapshot | None,
    fresh: pl.DataFrame,
    changes: HistoryChanges,
    lease: HeldLease | None,
    overrides: Overrides,
) -> list[CheckOutcome | Check]:
    command = _command(spec, series)
    return [
        _check_unique_keys(changes),
        _check_not_shrinking(changes, overrides, command),
        check_revisions(spec, base, fresh, changes, overrides, command),
        _check_jumps(spec, changes),
        _lease_check(lease),
    ]


def _command(spec: SeriesSpec, series: Snapshot) -> str:
    """Return the command that publishes the newest capture again, to which an override is added."""
    capture = series.inputs(NEWEST).row(0, named=True)
    return GuardRails.of(spec, NO_OVERRIDES, file=local_path(capture.get("url"))).command


def _lease_check(lease: HeldLease | None) -> Check:
    def check(draft: Snapshot) -> CheckOutcome:
        if lease is not None:
            lease.assert_held()
        return CheckOutcome("lease_held", passed=True, description="no other run took over")

    return check


def _check_unique_keys(changes: HistoryChanges) -> CheckOutcome:
    repeated = changes.after.group_by(_KEY).len("rows").filter(pl.col("rows") > 1)
    description = (
        "internal_series_code + period is unique" if repeated.is_empty() else f"{repeated.height} keys repeat"
    )
    return CheckOutcome("unique_keys", repeated.is_empty(), description, repeated.head(PREVIEW_ROWS))


def _check_not_shrinking(changes: HistoryChanges, overrides: Overrides, command: str) -> CheckOutcome:
    name, lost = "history_not_shrinking", changes.vanished
    if lost.is_empty():
        return CheckOutcome(name, passed=True, description="no published observation has vanished")
    spans = lost.group_by("internal_series_code").agg(
        observations=pl.len(), first=pl.col("period").min(), last=pl.col("period").max()
    )
    worst = spans.sort("observations", descending=True).row(0, named=True)
    description = (
        f"{lost.height} published observations of {spans.height} series are missing or not available in the newest "
        f"capture, such as {worst['observations']} of {worst['internal_series_code']} from {worst['first']} to "
        f"{worst['last']}"
    )
    if overrides.accept_vanished:
        description += "; accepted by --accept-vanished"
        return CheckOutcome(name, passed=True, description=description, sample=spans.head(PREVIEW_ROWS))
    description += (
        f". If the publisher withdrew them, run `{command} --accept-vanished`, or materialize {OBSERVATIONS} with the "
        "config `accept_vanished: true`; if each file holds only the newest periods, set `history: window`"
    )
    return CheckOutcome(name, passed=False, description=description, sample=spans.head(PREVIEW_ROWS))


def _check_jumps(spec: SeriesSpec, changes: HistoryChanges) -> CheckOutcome:
    # Only a warning: a value far from what its series usually does may well be right.
    if changes.before.is_empty() or spec.jump_limit is None:
        return CheckOutcome("no_jumps", passed=True, description="no earlier values to compare with")
    fresh = changes.after.join(changes.before, on=[*_KEY, "value"], how="anti")
    found = jumps(changes.after, fresh.select(_KEY), spec.jump_limit)
    description = (
        "no new value jumps"
        if found.is_empty()
        else f"{found.height} new values change by far more than usual in their series"
    )
    return CheckOutcome("no_jumps", found.is_empty(), description, found.head(PREVIEW_ROWS), blocking=False)


def _count(changes: HistoryChanges) -> dict[str, int]:
    """Count the keys that are added, updated and removed."""
    return {
        "data_points_added": changes.after.join(changes.before, on=_KEY, how="anti").height,
        "data_points_updated": revisions(changes).height,
        "data_points_removed": changes.before.join(changes.after, on=_KEY, how="anti").height,
    }


def _about(
    spec: SeriesSpec,
    base: Snapshot | None,
    made_from: dict[str, Any],
    fresh: pl.DataFrame,
    changes: HistoryChanges,
    counts: dict[str, int],
) -> dict[str, Any]:
    """Return what the manifest holds besides the store's own counts, under the names of the old system."""
    before = set(base.manifest.about.get("series_codes", [])) if base else set()
    codes = sorted({*fresh["internal_series_code"].unique(), *before})
    changed = changed_series(changes)
    corrections = revisions(changes).head(REVISIONS_LISTED).iter_rows(named=True)
    return {
        "provider": spec.provider,
        "collection_date": f"{made_from['last_modified']:%Y-%m-%d}",
        "partition_strategy": spec.partition_strategy,
        "series_count": len(codes),
        "series_codes": codes,
        "previous_version": base.version if base else None,
        "changelog": {
            "new_series": sorted(changed - before),
            "updated_series": sorted(changed & before),
            **counts,
            "corrections": [{**row, "period": str(row["period"])} for row in corrections],
        },
    }
