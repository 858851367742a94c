"""`<dataset>`: every observation ever published, versioned; only partitions that differ are written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake.publishing import (
    PREVIEW_ROWS,
    Check,
    CheckOutcome,
    Place,
    Published,
    as_ledger,
    publish_checked,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.series.history import Difference, difference, strategy_of
from tnt_platform.series.normalized import refused_cells
from tnt_platform.series.spec import NEWEST, OBSERVATION_KEY, OBSERVATIONS, SERIES, SOURCE, SeriesSpec
from tnt_platform.series.transforms.checks import jumps
from tnt_platform.services.lease import HeldLease

_KEY = list(OBSERVATION_KEY)
# The manifest stays a small file: what is beyond is in `tnt diff`.
CORRECTIONS_LISTED = 200


def publish_observations(
    spec: SeriesSpec,
    place: Place,
    run_id: str,
    *,
    accept_vanished: bool = False,
    by_hand: bool = False,
    lease: HeldLease | None = None,
) -> Published:
    """Merge the newest series into the history and publish what changed, in one step.

    A reading of an older capture than the one published last is left alone. `accept_vanished` lets
    observations go that the publisher withdrew; `by_hand` overrides the hold after a rollback.

    Raises:
        NotFound: the series step has not run.
        CheckFailed: the history would shrink.
    """
    series = place.store.current(spec.dataset(SERIES))
    if series is None:
        raise NotFound(f"{spec.name}: no series yet; materialize {spec.name}/{SERIES} first")
    base = place.store.current(spec.dataset(OBSERVATIONS))
    made_from = _made_from(series, lease.lease.token if lease else 0)
    if base is not None and (why := _at_rest(spec, base, made_from, by_hand=by_hand or accept_vanished)):
        return _unchanged(base, why)
    fresh = series.scan([NEWEST]).collect()
    found = difference(spec, base, fresh, refused_cells(series), accept_vanished=accept_vanished)
    if base is not None and found.changes_nothing and (accept_vanished or found.vanished.is_empty()):
        return _unchanged(base, "the newest capture says what is published already")
    counted = _counted(found)
    published = publish_checked(
        place,
        base=base,
        dataset=spec.dataset(OBSERVATIONS),
        change=_source_change(spec, made_from),
        also=found.partition_changes(),
        key=OBSERVATION_KEY,
        checks=_checks(spec, found, lease, accepted=accept_vanished),
        run_id=run_id,
        about=_about(spec, base, fresh, found, counted),
    )
    return _whole(published, found, counted)


def _whole(published: Published, found: Difference, counted: dict[str, int]) -> Published:
    """What was published, as one thing: the counts are those of the whole history."""
    rows = published.snapshot.manifest.rows
    whole = replace(published, partition=SOURCE, counts=RowCounts(rows_in=rows, published=rows))
    written = found.after["partition"].n_unique()
    return whole.with_facts({**counted, "vanished": found.vanished.height, "partitions_written": written})


def _checks(
    spec: SeriesSpec, found: Difference, lease: HeldLease | None, *, accepted: bool
) -> list[CheckOutcome | Check]:
    return [
        _unique(found),
        _not_shrinking(spec, found, accepted=accepted),
        _no_jumps(spec, found),
        _still_ours(lease),
    ]


def _made_from(series: Snapshot, fencing_token: int) -> dict[str, Any]:
    """The ledger entry of a version: which reading of which capture."""
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


def _at_rest(spec: SeriesSpec, base: Snapshot, made_from: dict[str, Any], *, by_hand: bool) -> str | None:
    """Why there is nothing to do, if there is not."""
    if base.manifest.held_because is not None and not by_hand:
        return (
            f"held after a rollback ({base.manifest.held_because}); materialize with `by_hand: true` to go on"
        )
    last = base.inputs(SOURCE)
    if last.is_empty() or by_hand or strategy_of(base) != spec.partition_strategy:
        return None
    if last["etag"][0] == made_from["etag"]:
        return "the newest reading is what is published"
    if last["last_modified"][0] > made_from["last_modified"]:
        return "a newer capture is published already"
    if last["fencing_token"][0] > made_from["fencing_token"] > 0:
        return "another run took over the lease and has published"
    return None


def _unchanged(base: Snapshot, why: str) -> Published:
    counts = RowCounts(rows_in=base.manifest.rows, published=base.manifest.rows)
    return Published(base.dataset, SOURCE, base, changed=False, counts=counts, facts={"nothing_to_do": why})


def _source_change(spec: SeriesSpec, made_from: dict[str, Any]) -> PartitionChange:
    types = {"last_modified": pl.Datetime("us", "UTC"), "fencing_token": pl.Int64()}
    return PartitionChange(
        partition=SOURCE,
        data=pl.DataFrame(),
        inputs=as_ledger(pl.DataFrame([made_from], schema_overrides=types)),
        quarantine=pl.DataFrame(),
        counts=RowCounts(),
        inputs_digest=f"{made_from['etag']}@{spec.partition_strategy}",
    )


def _still_ours(lease: HeldLease | None) -> Check:
    def check(draft: Snapshot) -> CheckOutcome:
        if lease is not None:
            lease.assert_held()
        return CheckOutcome("lease_held", passed=True, description="no other run took over")

    return check


def _unique(found: Difference) -> CheckOutcome:
    repeated = found.after.group_by(_KEY).len("rows").filter(pl.col("rows") > 1)
    said = (
        "internal_series_code + period is unique" if repeated.is_empty() else f"{repeated.height} keys repeat"
    )
    return CheckOutcome("unique_keys", repeated.is_empty(), said, repeated.head(PREVIEW_ROWS))


def _not_shrinking(spec: SeriesSpec, found: Difference, *, accepted: bool) -> CheckOutcome:
    lost = found.vanished
    if lost.is_empty():
        return CheckOutcome(
            "history_not_shrinking", passed=True, description="nothing published has vanished"
        )
    spans = lost.group_by("internal_series_code").agg(
        observations=pl.len(), first=pl.col("period").min(), last=pl.col("period").max()
    )
    worst = spans.sort("observations", descending=True).row(0, named=True)
    said = (
        f"{lost.height} published observations of {spans.height} series are not in the newest capture, or not "
        "available there, such as "
        f"{worst['observations']} of {worst['internal_series_code']} from {worst['first']} to {worst['last']}"
    )
    if accepted:
        return CheckOutcome(
            "history_not_shrinking", passed=True, description=f"{said}: accepted", sample=spans
        )
    said += (
        f". If the publisher withdrew them, run `tnt run {spec.name} --accept-vanished`, or materialize "
        f"{spec.name}/{OBSERVATIONS} with the config `accept_vanished: true`; if each file holds only the newest "
        "periods, set `history: window`"
    )
    return CheckOutcome(
        "history_not_shrinking", passed=False, description=said, sample=spans.head(PREVIEW_ROWS)
    )


def _no_jumps(spec: SeriesSpec, found: Difference) -> CheckOutcome:
    """A new value far from what its series usually does is worth a look; it may well be true."""
    if found.before.is_empty() or spec.jump_limit is None:
        return CheckOutcome("no_jumps", passed=True, description="no earlier values to compare with")
    fresh = found.after.join(found.before, on=[*_KEY, "value"], how="anti")
    odd = jumps(found.after, fresh.select(_KEY), spec.jump_limit)
    said = (
        "no new value jumps"
        if odd.is_empty()
        else f"{odd.height} new values jump more than their series usually does"
    )
    return CheckOutcome("no_jumps", odd.is_empty(), said, odd.head(PREVIEW_ROWS), blocking=False)


def _counted(found: Difference) -> dict[str, int]:
    """Observations added, updated and removed, by key."""
    added = found.after.join(found.before, on=_KEY, how="anti").height
    removed = found.before.join(found.after, on=_KEY, how="anti").height
    return {
        "data_points_added": added,
        "data_points_updated": _corrections(found).height,
        "data_points_removed": removed,
    }


def _corrections(found: Difference) -> pl.DataFrame:
    both = found.before.join(found.after, on=_KEY, suffix="_after")
    differs = pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(f"{name}_after")) for name in ("value", "unit", "frequency")
    )
    return both.filter(differs).select(*_KEY, before="value", after="value_after").sort(_KEY)


def _about(
    spec: SeriesSpec, base: Snapshot | None, fresh: pl.DataFrame, found: Difference, counted: dict[str, int]
) -> dict[str, Any]:
    """What the manifest says of a version beyond the store's own counts, in the old system's words."""
    before = set(base.manifest.about.get("series_codes", [])) if base else set()
    codes = sorted({*fresh["internal_series_code"].unique(), *before})
    touched = set(found.after["internal_series_code"].unique())
    corrections = _corrections(found).head(CORRECTIONS_LISTED)
    return {
        "provider": spec.provider,
        "collection_date": str(fresh["collection_date"].max()),
        "partition_strategy": spec.partition_strategy,
        "series_count": len(codes),
        "series_codes": codes,
        "previous_version": base.version if base else None,
        "changelog": {
            "new_series": sorted(touched - before),
            "updated_series": sorted(touched & before),
            **counted,
            "corrections": [
                {**row, "period": str(row["period"])} for row in corrections.iter_rows(named=True)
            ],
        },
    }
