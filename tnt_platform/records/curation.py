"""`<dataset>`: every record the source ever showed, changed only by a capture that shows it otherwise.

Which captures were curated is what the published ledger says: captures that it lacks are the work, in order of time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from tnt_platform.errors import InvalidInput, NotFound
from tnt_platform.lake.captures import newest_capture
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
from tnt_platform.records.capture import captures_digest, to_curate
from tnt_platform.records.reading import Reading, read_capture, refused_whole
from tnt_platform.records.spec import CAPTURE, CAPTURED, RECORD_KEY, RECORDS, RecordsSpec
from tnt_platform.records.transforms.records import bucket_of, changed_records, content_digest

_KNOWN = {
    "id": pl.String(),
    "fingerprint": pl.String(),
    "first_seen_at": pl.Datetime("us", "UTC"),
    "captured_at": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True)
class _Done:
    """What one capture did to the published records."""

    published: Published
    reading: Reading
    added: int
    updated: int


def publish_records(
    spec: RecordsSpec, workspace: Workspace, *, run_id: str, by_hand: bool = False
) -> Published:
    """Curate the captures that were not curated yet, each in a version of its own; none costs a few small reads.

    A record is inserted when its id is new and updated when its fingerprint differs; one that the source no longer
    shows stays. A capture that can't be taken whole is refused whole: its items are in quarantine with the reason.
    After a change of the YAML's mapping the newest capture is read once more. After a rollback nothing is done
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
        why = f"held after a rollback ({base.manifest.paused_because}); materialize with `by_hand: true` to go on"
        return _unchanged(base, why)
    done: list[_Done] = []
    for row in _work(spec, captures, base):
        done.append(_curate(spec, workspace, base, row, workspace.clock(), run_id))
        base = done[-1].published.snapshot
    if not done:
        assert base is not None, "there is a capture, and it was curated"
        return _unchanged(base, "every capture is curated")
    return _summed(done)


def curated_keys(base: Snapshot | None, day: str) -> set[str]:
    """The objects of one day's captures that the published records were made from, or that were refused."""
    return set(base.inputs(f"{CAPTURED}{day}")["key"]) if base is not None else set()


def _work(spec: RecordsSpec, captures: Snapshot, base: Snapshot | None) -> list[dict[str, Any]]:
    """The captures to read, oldest first; days without news are told by their digest alone."""
    days = captures.partitions.filter(pl.col("inputs_digest") != "").select("partition", "inputs_digest")
    if base is not None:
        curated = base.partitions.filter(pl.col("partition").str.starts_with(CAPTURED))
        known = curated.select(pl.col("partition").str.strip_prefix(CAPTURED), "inputs_digest")
        days = days.join(known, on=["partition", "inputs_digest"], how="anti")
    behind = days["partition"].to_list()
    keys = {key for day in behind for key in curated_keys(base, day)}
    rows = to_curate(captures.scan(behind).collect()) if behind else pl.DataFrame({"object_key": []})
    work = rows.filter(~pl.col("object_key").is_in(list(keys))).to_dicts()
    if not work and base is not None and base.manifest.about.get("recipe") != spec.recipe:
        newest = newest_capture(captures)
        return [newest] if newest else []
    return work


def _curate(
    spec: RecordsSpec,
    workspace: Workspace,
    base: Snapshot | None,
    row: dict[str, Any],
    now: datetime,
    run_id: str,
) -> _Done:
    reading = _read(spec, workspace, str(row["object_key"]))
    known = _known(base, reading.mapped.records["id"])
    captured = {
        "captured_at": pl.lit(row["captured_at"]).cast(pl.Datetime("us", "UTC")),
        "processed_at": pl.lit(now).cast(pl.Datetime("us", "UTC")),
        "raw_s3_key": pl.lit(row["object_key"]),
    }
    changed = changed_records(reading.mapped.records, known, captured)
    buckets = _bucket_changes(base, changed)
    updated = changed.join(known, on="id", how="semi").height
    published = publish_checked(
        workspace,
        spec.dataset(RECORDS),
        _captured_change(base, row, reading),
        base=base,
        also=buckets,
        key=RECORD_KEY,
        checks=[_items_conserved(reading), _unique_ids(buckets), _accepted(row, reading)],
        run_id=run_id,
        about={"recipe": spec.recipe, "capture": row["object_key"]},
    )
    return _Done(published, reading, changed.height - updated, updated)


def _read(spec: RecordsSpec, workspace: Workspace, key: str) -> Reading:
    try:
        return read_capture(spec, workspace.raw.get(key))
    except NotFound:
        gone = InvalidInput(
            "capture_gone", "the raw object was deleted before it was curated; the next capture goes on"
        )
        return refused_whole(spec, gone, key)


def _known(base: Snapshot | None, ids: pl.Series) -> pl.DataFrame:
    """What is published of these records, and of others in their buckets."""
    if base is None or not base.manifest.rows:
        return pl.DataFrame(schema=_KNOWN)
    return base.scan(sorted({bucket_of(one) for one in ids}), columns=list(_KNOWN)).collect()


def _bucket_changes(base: Snapshot | None, changed: pl.DataFrame) -> list[PartitionChange]:
    """The buckets with a changed record, each whole as it will be; the others are not touched."""
    names = pl.Series("bucket", [bucket_of(one) for one in changed["id"]], dtype=pl.String)
    parts = changed.with_columns(names).partition_by("bucket", as_dict=True, include_key=False)
    return [_bucket_change(base, str(name), rows) for (name,), rows in sorted(parts.items())]


def _bucket_change(base: Snapshot | None, name: str, changed: pl.DataFrame) -> PartitionChange:
    held = base is not None and base.partition(name) is not None
    before = base.scan([name]).collect() if base is not None and held else changed.clear()
    kept = before.join(changed, on="id", how="anti")
    # The fields of today's YAML come first; those it had before stay with the records that have them.
    rows = pl.concat([changed, kept], how="diagonal_relaxed").sort("id")
    return PartitionChange.of_rows(name, rows, inputs_digest=content_digest(rows))


def _captured_change(base: Snapshot | None, row: dict[str, Any], reading: Reading) -> PartitionChange:
    """The day's ledger with this capture, and its quarantine; the records themselves are in the buckets."""
    name = f"{CAPTURED}{row['captured_at']:%Y-%m-%d}"
    key = str(row["object_key"])
    ledger = _ledger_entry(row, reading)
    quarantine = reading.mapped.refused.select(
        pl.lit(key).alias("file_key"), pl.all(), first_seen_at=pl.lit(None, pl.Datetime("us", "UTC"))
    )
    if base is not None:
        earlier = base.quarantine([name]).drop("partition").filter(pl.col("file_key") != key)
        before = base.inputs(name).filter(pl.col("key") != key)
        ledger = pl.concat([before, ledger], how="diagonal_relaxed")
        quarantine = pl.concat([earlier, quarantine], how="diagonal_relaxed")
    repeated = int(ledger["rows_deduplicated"].sum())
    return PartitionChange(
        partition=name,
        data=pl.DataFrame(),
        inputs=ledger,
        quarantine=quarantine,
        counts=RowCounts(
            rows_in=quarantine.height + repeated, quarantined=quarantine.height, deduplicated=repeated
        ),
        inputs_digest=captures_digest(ledger["key"].to_list()),
    )


def _ledger_entry(row: dict[str, Any], reading: Reading) -> pl.DataFrame:
    counts = reading.counts
    entry = {
        "key": row["object_key"],
        "etag": row["sha256"],
        "size_bytes": row["size_bytes"],
        "last_modified": row["captured_at"],
        "sha256": row["sha256"],
        "status": "accepted" if reading.accepted else "rejected",
        "rows_in": counts.rows_in,
        "rows_out": counts.published,
        "rows_quarantined": counts.quarantined,
        "rows_deduplicated": counts.deduplicated,
    }
    return as_ledger(pl.DataFrame([entry], schema_overrides={"last_modified": pl.Datetime("us", "UTC")}))


def _items_conserved(reading: Reading) -> CheckOutcome:
    counts = reading.counts
    said = (
        f"{counts.rows_in} items in = {counts.published} records + {counts.quarantined} quarantined "
        f"+ {counts.deduplicated} repeated"
    )
    return CheckOutcome("items_conserved", counts.balanced, said)


def _unique_ids(buckets: list[PartitionChange]) -> CheckOutcome:
    """An id decides its bucket, so that ids unique in each bucket are unique."""
    frames = [change.data.select("id") for change in buckets if isinstance(change.data, pl.DataFrame)]
    ids = pl.concat([pl.DataFrame(schema={"id": pl.String()}), *frames])
    repeated = ids.filter(ids["id"].is_duplicated()).unique()
    said = "id is unique" if repeated.is_empty() else f"{repeated.height} ids occur more than once"
    return CheckOutcome("unique_keys", repeated.is_empty(), said, repeated.head(PREVIEW_ROWS))


def _accepted(row: dict[str, Any], reading: Reading) -> CheckOutcome:
    """A refused capture changes nothing that is published, but somebody should look at the source."""
    refused = reading.mapped.refused
    if refused.is_empty():
        return CheckOutcome("captures_accepted", True, "every capture was taken whole", blocking=False)
    own = refused.filter(pl.col("reason_code") != "capture_refused")
    said = f"{row['object_key']} was refused whole: {own['reason_code'][0]}: {own['reason'][0]}"
    return CheckOutcome("captures_accepted", False, said, own.drop("raw").head(PREVIEW_ROWS), blocking=False)


def _unchanged(base: Snapshot, why: str) -> Published:
    days = base.partitions.filter(pl.col("partition").str.starts_with(CAPTURED))["partition"]
    newest = str(days.max()) if len(days) else CAPTURED
    published = Published.unchanged(base, newest, whole=True, facts={"nothing_to_do": why})
    return replace(published, checks=_still_refused(base, newest))


def _still_refused(base: Snapshot, partition: str) -> tuple[CheckOutcome, ...]:
    """A source that still answers what was refused is still in trouble, though nothing is to be done."""
    last = base.inputs(partition).sort("last_modified").tail(1)
    if last.is_empty() or last["status"][0] != "rejected":
        return ()
    said = f"{last['key'][0]} was refused whole, and nothing was accepted since"
    checked = "unchanged since it was checked"
    return (
        *(CheckOutcome(name, True, checked) for name in ("rows_conserved", "items_conserved", "unique_keys")),
        CheckOutcome("captures_accepted", False, said, blocking=False),
    )


def _summed(done: list[_Done]) -> Published:
    """All captures of this run as one result; of each check, the outcome that failed, else the last."""
    last = done[-1].published
    checks = {o.name: o for one in done for o in one.published.checks}
    checks |= {o.name: o for one in done for o in one.published.checks if not o.passed}
    accepted = sum(one.reading.accepted for one in done)
    return replace(
        last,
        changed=any(one.published.changed for one in done),
        counts=sum((one.reading.counts for one in done), RowCounts()),
        checks=tuple(checks.values()),
        facts={
            "captures_curated": accepted,
            "captures_refused": len(done) - accepted,
            "records_added": sum(one.added for one in done),
            "records_updated": sum(one.updated for one in done),
            "records_unchanged": sum(one.reading.counts.published - one.added - one.updated for one in done),
            "records": last.snapshot.manifest.rows,
        },
    )
