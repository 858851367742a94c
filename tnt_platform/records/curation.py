"""`<dataset>`: publish every record the API ever returned, and update it when a capture shows other content.

The published ledger says which captures were curated; the others are curated oldest first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from tnt_platform.errors import InvalidInput, NotFound
from tnt_platform.lake.captures import newest_capture
from tnt_platform.lake.guard_rails import (
    NO_OVERRIDES,
    REJECTED_SHARE,
    GuardRails,
    Overrides,
    top_reasons,
)
from tnt_platform.lake.publishing import (
    PREVIEW_ROWS,
    CheckOutcome,
    Published,
    Workspace,
    as_ledger,
    publish_checked,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.records.capture import (
    ParsedCapture,
    captures_digest,
    parse_capture,
    rejected_whole,
    to_curate,
)
from tnt_platform.records.spec import CAPTURE, CAPTURED_DAY, RECORD_KEY, RECORDS, RecordsSpec
from tnt_platform.records.transforms.records import UTC_TIME, bucket_of, changed_records, content_digest

_KNOWN = {
    "id": pl.String(),
    "fingerprint": pl.String(),
    "first_seen_at": UTC_TIME,
    "captured_at": UTC_TIME,
}


@dataclass(frozen=True)
class _Curated:
    """The outcome of one capture."""

    published: Published
    parsed: ParsedCapture
    added: int
    updated: int


def publish_records(
    spec: RecordsSpec,
    workspace: Workspace,
    *,
    run_id: str,
    overrides: Overrides = NO_OVERRIDES,
    by_hand: bool = False,
) -> Published:
    """Curate the captures that were not curated yet, one version per capture.

    A record is inserted when its id is new and updated when its fingerprint differs; one that the API no longer
    returns stays. If too many items are invalid, the capture is rejected: all its items are in quarantine with the
    reason. The override `accept_rejected` takes the valid ones all the same, of the latest capture even if it was
    rejected before.
    When the mapping in the YAML changes, the latest capture is curated again. After a rollback the dataset is paused
    unless `by_hand`.

    Raises:
        NotFound: nothing was captured yet.
        CheckFailed, PublishConflict: see `publish_checked`.
    """
    captures = workspace.store.current(spec.dataset(CAPTURE))
    if captures is None:
        raise NotFound(f"{spec.name}: nothing was captured yet; materialize {spec.name}/{CAPTURE} first")
    base = workspace.store.current(spec.dataset(RECORDS))
    if base is not None and base.manifest.paused_because is not None and not by_hand:
        reason = f"paused after a rollback ({base.manifest.paused_because}); materialize with `by_hand: true` to resume"
        return _unchanged(base, reason)
    curated: list[_Curated] = []
    pending = _pending(spec, captures, base) or _rejected_before(captures, base, overrides)
    for row in pending:
        curated.append(_curate(spec, workspace, base, row, workspace.clock(), run_id, overrides))
        base = curated[-1].published.snapshot
    if not curated:
        assert base is not None, "there is a capture, and it was curated"
        return _unchanged(base, "every capture is curated")
    return _combined(curated)


def curated_keys(base: Snapshot | None, day: str) -> set[str]:
    """Return the objects of one day's captures that were curated or rejected."""
    return set(base.inputs(f"{CAPTURED_DAY}{day}")["key"]) if base is not None else set()


def _pending(spec: RecordsSpec, captures: Snapshot, base: Snapshot | None) -> list[dict[str, Any]]:
    """Return the captures to curate, oldest first; the digest of a day alone tells if all of it was curated."""
    days = captures.partitions.filter(pl.col("inputs_digest") != "").select("partition", "inputs_digest")
    if base is not None:
        ledgers = base.partitions.filter(pl.col("partition").str.starts_with(CAPTURED_DAY))
        curated = ledgers.select(pl.col("partition").str.strip_prefix(CAPTURED_DAY), "inputs_digest")
        days = days.join(curated, on=["partition", "inputs_digest"], how="anti")
    behind = days["partition"].to_list()
    if behind:
        keys = {key for day in behind for key in curated_keys(base, day)}
        rows = to_curate(captures.scan(behind).collect())
        if pending := rows.filter(~pl.col("object_key").is_in(list(keys))).to_dicts():
            return pending
    if base is not None and base.manifest.about.get("recipe") != spec.recipe:
        latest = newest_capture(captures)
        return [latest] if latest else []
    return []


def _rejected_before(captures: Snapshot, base: Snapshot | None, overrides: Overrides) -> list[dict[str, Any]]:
    """Return the latest capture if it was rejected and its valid items are now accepted."""
    latest = newest_capture(captures)
    if latest is None or base is None or not overrides.accept_rejected:
        return []
    days = base.partitions.filter(pl.col("partition").str.starts_with(CAPTURED_DAY))["partition"]
    entries = (
        pl.concat([base.inputs(day) for day in days[-2:]], how="diagonal_relaxed") if len(days) else None
    )
    if entries is None or entries.filter(key=latest["object_key"], status="rejected").is_empty():
        return []
    return [latest]


def _curate(
    spec: RecordsSpec,
    workspace: Workspace,
    base: Snapshot | None,
    row: dict[str, Any],
    now: datetime,
    run_id: str,
    overrides: Overrides,
) -> _Curated:
    parsed = _parse_stored(spec, workspace, str(row["object_key"]), overrides)
    known = _known_records(base, parsed.mapped.records["id"])
    captured = {
        "captured_at": pl.lit(row["captured_at"]).cast(UTC_TIME),
        "processed_at": pl.lit(now).cast(UTC_TIME),
        "raw_s3_key": pl.lit(row["object_key"]),
    }
    changed = changed_records(parsed.mapped.records, known, captured)
    buckets = _bucket_changes(base, changed)
    updated = changed.join(known, on="id", how="semi").height
    published = publish_checked(
        workspace,
        spec.dataset(RECORDS),
        _day_change(base, row, parsed),
        base=base,
        also=buckets,
        key=RECORD_KEY,
        checks=[
            _items_conserved(parsed),
            _unique_ids(buckets),
            _rejected_share(spec, row, parsed, overrides),
            _accepted(row, parsed),
        ],
        run_id=run_id,
        about={"recipe": spec.recipe, "capture": row["object_key"], **overrides.about},
    )
    return _Curated(published, parsed, changed.height - updated, updated)


def _parse_stored(spec: RecordsSpec, workspace: Workspace, key: str, overrides: Overrides) -> ParsedCapture:
    try:
        return parse_capture(spec, workspace.raw.get(key), overrides)
    except NotFound:
        deleted = InvalidInput(
            "capture_gone",
            "the raw object was deleted before it was curated; the next poll captures it again",
        )
        return rejected_whole(spec, deleted, key)


def _known_records(base: Snapshot | None, ids: pl.Series) -> pl.DataFrame:
    """Return the published state of these records (and of others in their buckets)."""
    if base is None or not base.manifest.rows:
        return pl.DataFrame(schema=_KNOWN)
    return base.scan(sorted({bucket_of(record_id) for record_id in ids}), columns=list(_KNOWN)).collect()


def _bucket_changes(base: Snapshot | None, changed: pl.DataFrame) -> list[PartitionChange]:
    """Return the new content of each bucket with a changed record."""
    names = pl.Series("bucket", [bucket_of(record_id) for record_id in changed["id"]], dtype=pl.String)
    parts = changed.with_columns(names).partition_by("bucket", as_dict=True, include_key=False)
    return [_bucket_change(base, str(name), rows) for (name,), rows in sorted(parts.items())]


def _bucket_change(base: Snapshot | None, name: str, changed: pl.DataFrame) -> PartitionChange:
    published = (
        base.intact([name]).scan([name]).collect() if base and base.partition(name) else changed.clear()
    )
    unchanged = published.join(changed, on="id", how="anti")
    # The current fields come first; fields that the YAML no longer declares stay on the records that have them.
    rows = pl.concat([changed, unchanged], how="diagonal_relaxed").sort("id")
    return PartitionChange.of_rows(name, rows, inputs_digest=content_digest(rows))


def _day_change(base: Snapshot | None, row: dict[str, Any], parsed: ParsedCapture) -> PartitionChange:
    """Add this capture to the ledger and quarantine of its day; the records themselves are in the buckets."""
    name = f"{CAPTURED_DAY}{row['captured_at']:%Y-%m-%d}"
    key = str(row["object_key"])
    ledger = _ledger_entry(row, parsed)
    quarantine = parsed.mapped.rejected.select(
        pl.lit(key).alias("file_key"), pl.all(), first_seen_at=pl.lit(None, UTC_TIME)
    )
    if base is not None:
        other_entries = base.inputs(name).filter(pl.col("key") != key)
        other_rejected = base.quarantine([name]).drop("partition").filter(pl.col("file_key") != key)
        ledger = pl.concat([other_entries, ledger], how="diagonal_relaxed")
        quarantine = pl.concat([other_rejected, quarantine], how="diagonal_relaxed")
    repeated = int(ledger["rows_deduplicated"].sum())
    return PartitionChange(
        partition=name,
        data=pl.DataFrame(),
        inputs=ledger,
        quarantine=quarantine,
        counts=RowCounts(
            rows_in=quarantine.height + repeated, quarantined=quarantine.height, deduplicated=repeated
        ),
        inputs_digest=captures_digest(ledger["key"]),
    )


def _ledger_entry(row: dict[str, Any], parsed: ParsedCapture) -> pl.DataFrame:
    counts = parsed.counts
    entry = {
        "key": row["object_key"],
        "etag": row["sha256"],
        "size_bytes": row["size_bytes"],
        "last_modified": row["captured_at"],
        "sha256": row["sha256"],
        "status": "accepted" if parsed.accepted else "rejected",
        "rows_in": counts.rows_in,
        "rows_out": counts.published,
        "rows_quarantined": counts.quarantined,
        "rows_deduplicated": counts.deduplicated,
    }
    return as_ledger(pl.DataFrame([entry], schema_overrides={"last_modified": UTC_TIME}))


def _items_conserved(parsed: ParsedCapture) -> CheckOutcome:
    counts = parsed.counts
    description = (
        f"{counts.rows_in} items in = {counts.published} records + {counts.quarantined} quarantined "
        f"+ {counts.deduplicated} repeated"
    )
    return CheckOutcome("items_conserved", counts.balanced, description)


def _unique_ids(buckets: list[PartitionChange]) -> CheckOutcome:
    """Check the ids of each bucket; an id decides its bucket, so ids unique there are unique in the dataset."""
    frames = [change.data.select("id") for change in buckets if isinstance(change.data, pl.DataFrame)]
    ids = pl.concat([pl.DataFrame(schema={"id": pl.String()}), *frames])
    repeated = ids.filter(ids["id"].is_duplicated()).unique()
    description = "id is unique" if repeated.is_empty() else f"{repeated.height} ids occur more than once"
    return CheckOutcome("unique_keys", repeated.is_empty(), description, repeated.head(PREVIEW_ROWS))


def _rejected_share(
    spec: RecordsSpec, row: dict[str, Any], parsed: ParsedCapture, overrides: Overrides
) -> CheckOutcome:
    """Check the share of the items that are rejected.

    If it fails, the run does, but the draft is committed: it holds the ledger and quarantine of the capture, so that
    it is not curated again, and the records as they were.
    """
    rejected = parsed.mapped.rejected
    causes = rejected.filter(pl.col("reason_code") != "capture_refused")
    reasons = top_reasons(causes.with_columns(file_key=pl.lit(str(row["object_key"]))))
    rails = GuardRails.of(spec, overrides, rows="items")
    outcome = rails.rejected(parsed.item_count, rejected.height, reasons)
    if outcome.passed and not parsed.accepted:
        # Nothing can be accepted, such as an error page.
        return CheckOutcome(REJECTED_SHARE, False, f"{causes['reason'][0]}", blocking=False)
    return replace(outcome, blocking=False, sample=causes.drop("raw").head(PREVIEW_ROWS))


def _accepted(row: dict[str, Any], parsed: ParsedCapture) -> CheckOutcome:
    """Warn of a rejected capture: it changes nothing that is published, but its source needs a look."""
    rejected = parsed.mapped.rejected
    if parsed.accepted:
        return CheckOutcome("captures_accepted", True, "every capture was accepted", blocking=False)
    causes = rejected.filter(pl.col("reason_code") != "capture_refused")
    description = f"{row['object_key']} was rejected: {causes['reason_code'][0]}: {causes['reason'][0]}"
    sample = causes.drop("raw").head(PREVIEW_ROWS)
    return CheckOutcome("captures_accepted", False, description, sample, blocking=False)


def _unchanged(base: Snapshot, reason: str) -> Published:
    days = base.partitions.filter(pl.col("partition").str.starts_with(CAPTURED_DAY))["partition"]
    latest = str(days.max()) if len(days) else CAPTURED_DAY
    published = Published.unchanged(base, latest, whole=True, facts={"nothing_to_do": reason})
    return replace(published, checks=_still_rejected(base, latest))


def _still_rejected(base: Snapshot, partition: str) -> tuple[CheckOutcome, ...]:
    """Fail as long as the latest capture is a rejected one, though there is nothing to do."""
    last = base.inputs(partition).sort("last_modified").tail(1)
    if last.is_empty() or last["status"][0] != "rejected":
        return ()
    description = f"{last['key'][0]} was rejected, and nothing was accepted since"
    return (
        CheckOutcome(REJECTED_SHARE, False, description, blocking=False),
        CheckOutcome("captures_accepted", False, description, blocking=False),
    )


def _combined(curated: list[_Curated]) -> Published:
    """Combine the captures of this run; of each check, keep the failed outcome, else the last."""
    last = curated[-1].published
    outcomes = [outcome for one in curated for outcome in one.published.checks]
    checks = {outcome.name: outcome for outcome in outcomes}
    checks |= {outcome.name: outcome for outcome in outcomes if not outcome.passed}
    accepted = sum(one.parsed.accepted for one in curated)
    counts = sum((one.parsed.counts for one in curated), RowCounts())
    added, updated = sum(one.added for one in curated), sum(one.updated for one in curated)
    return replace(
        last,
        changed=any(one.published.changed for one in curated),
        counts=counts,
        checks=tuple(checks.values()),
        facts={
            "captures_curated": accepted,
            "captures_refused": len(curated) - accepted,
            "records_added": added,
            "records_updated": updated,
            "records_unchanged": counts.published - added - updated,
            "records": last.snapshot.manifest.rows,
        },
    )
