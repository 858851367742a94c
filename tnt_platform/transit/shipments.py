"""Second step: the rows of the date's files, typed, each traceable to its file and line.

Only files that the ledger lacks are read; the rows of the others stay where they are.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tnt_platform.discovery.comparison import FilePlan, plan_files
from tnt_platform.lake.publishing import (
    Published,
    Workspace,
    publish_checked,
    rows_in_file_order,
    values_in_range,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.transit.batch import shipments_schema
from tnt_platform.transit.files import as_compared
from tnt_platform.transit.parsing import (
    READER_CRASHED,
    ParsedFiles,
    parse_files,
    with_unread_files,
)
from tnt_platform.transit.spec import FILES, MAX_TRANSIT_DAYS, SHIPMENTS, TransitSpec
from tnt_platform.transit.transforms.cases import QUARANTINE_SCHEMA, rejected_files

KEY = ("file_key", "line_no")
OVERWRITE_REJECTED = "overwrite_rejected"
# Appending leaves the parts of earlier runs as they are; with more parts than this, one rewrite costs less than
# reading them all.
MAX_PARTS = 100

LEDGER_SCHEMA: dict[str, pl.DataType] = {
    "key": pl.String(),
    "etag": pl.String(),
    "size_bytes": pl.Int64(),
    "last_modified": pl.Datetime("us", "UTC"),
    "sha256": pl.String(),
    "status": pl.String(),
    "rows_in": pl.Int64(),
    "rows_out": pl.Int64(),
    "rows_quarantined": pl.Int64(),
    "rows_filtered": pl.Int64(),
    "rows_deduplicated": pl.Int64(),
    "encoding": pl.String(),
    "recipe": pl.String(),
}


@dataclass(frozen=True)
class ReadPlan:
    """What a run does with a date's files.

    `to_read` are listing rows, `unread` ledger rows. `forget` are keys whose earlier rows leave the partition;
    `rejected` are keys whose new content is rejected, so that their earlier rows stay.
    """

    to_read: pl.DataFrame
    unread: pl.DataFrame
    forget: list[str]
    rejected: list[str]


def publish_shipments(
    spec: TransitSpec,
    date: str,
    workspace: Workspace,
    run_id: str,
    *,
    isolate: bool = False,
    force: bool = False,
) -> Published:
    """Read the date's new and changed files and publish the partition.

    Columns: file_key, line_no, the fields of the key pattern, the YAML's columns. Key: file_key, line_no.
    """
    files = workspace.store.current(spec.dataset(FILES))
    assert files is not None, "shipper_files is published before shipments"
    base = workspace.store.current(spec.dataset(SHIPMENTS))
    listing = files.scan([date]).collect()
    ledger = _ledger(base, date)
    copies = Copies.read(spec, base, date)
    plan = _with_orphans(copies, listing, plan_reading(spec, listing, ledger, force=force))
    scratch = Path(tempfile.mkdtemp(prefix="shipments-", dir=workspace.scratch))
    try:
        known = copies.published(plan.unread)
        parsed = _parsed(spec, workspace, plan.to_read, known, scratch, isolate=isolate)
        upstream = files.partition(date)
        assert upstream is not None, "the date was listed"
        change = _partition_change(spec, date, base, plan, parsed, scratch, upstream["inputs_digest"])
        checks = [rows_in_file_order(date)]
        if "expected_transit_days" in shipments_schema(spec):
            checks.append(values_in_range(date, "expected_transit_days", 0, MAX_TRANSIT_DAYS))
        return publish_checked(
            workspace,
            spec.dataset(SHIPMENTS),
            change,
            base=base,
            key=KEY,
            checks=checks,
            run_id=run_id,
            also=copies.released(change.inputs),
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _parsed(
    spec: TransitSpec,
    workspace: Workspace,
    to_read: pl.DataFrame,
    known: frozenset[str],
    scratch: Path,
    *,
    isolate: bool,
) -> ParsedFiles:
    misnamed = to_read.filter(pl.col("problem").is_not_null())
    huge = _too_large(spec, to_read.join(misnamed, on="key", how="anti"))
    readable = to_read.join(pl.concat([misnamed, huge]), on="key", how="anti")
    contents = workspace.raw.get_many(readable["key"].to_list())
    parsed = parse_files(spec, contents, scratch, isolate=isolate, known=known)
    parsed = with_unread_files(parsed, misnamed, "unrecognised_name", scratch)
    return with_unread_files(parsed, huge, "too_large", scratch)


def _too_large(spec: TransitSpec, files: pl.DataFrame) -> pl.DataFrame:
    """Find files that are not fetched because one alone would fill the memory; `problem` says so."""
    problem = f"the file is larger than {spec.max_file_bytes:,} bytes; deliver it in smaller pieces"
    return files.filter(pl.col("size_bytes") > spec.max_file_bytes).with_columns(problem=pl.lit(problem))


def _ledger(base: Snapshot | None, date: str) -> pl.DataFrame:
    empty = pl.DataFrame(schema=LEDGER_SCHEMA)
    if base is None:
        return empty
    return pl.concat([empty, base.inputs(date)], how="diagonal_relaxed").select(list(LEDGER_SCHEMA))


def plan_reading(spec: TransitSpec, listing: pl.DataFrame, ledger: pl.DataFrame, *, force: bool) -> ReadPlan:
    """Compare the published listing with the ledger: what to read, what stays, what goes."""
    present = listing.filter(pl.col("status") == "present").rename({"file_key": "key"})
    found: FilePlan = plan_files(
        as_compared(spec, present),
        as_compared(spec, ledger),
        on_overwrite=spec.source.on_overwrite,
        on_delete=spec.source.on_delete,
    )
    reject = spec.source.on_overwrite == "reject"
    # The new content of a rejected name counts only once the YAML says `latest`.
    was_rejected = pl.col("status") == "rejected"
    stale = pl.lit(value=True) if force else pl.col("recipe").ne_missing(spec.parse_recipe)
    wanted = (stale & ~was_rejected) if reject else (stale | was_rejected)
    # A file that was deleted can't be read again, whatever changed in the YAML.
    reread = ledger.filter(wanted).join(found.unchanged, on="key", how="semi")
    again = present.join(reread, on="key", how="semi")
    overwritten = present.join(found.changed, on="key", how="semi")
    rejected = overwritten if reject else overwritten.clear()
    to_read = pl.concat(
        [present.join(found.new, on="key", how="semi"), again, overwritten.clear() if reject else overwritten]
    ).unique("key")
    removed = found.vanished if spec.source.on_delete == "remove" else found.vanished.clear()
    forget = pl.concat([to_read.select("key"), removed.select("key")])
    untouched = ledger.join(pl.concat([forget, rejected.select("key")]), on="key", how="anti")
    unread = pl.concat([_marked_kept(untouched, present), _ledger_of_rejected(ledger, rejected)])
    forgotten = forget.join(ledger, on="key", how="semi")["key"].to_list()
    return ReadPlan(to_read.sort("key"), unread, forgotten, rejected["key"].to_list())


def _with_orphans(copies: Copies, listing: pl.DataFrame, plan: ReadPlan) -> ReadPlan:
    """Also read those copies of this date whose original goes with this very run."""
    present = listing.filter(status="present").rename({"file_key": "key"})
    orphans = present.filter(pl.col("key").is_in(copies.orphaned(plan.unread)))
    if orphans.is_empty():
        return plan
    to_read = pl.concat([plan.to_read, orphans.select(plan.to_read.columns)]).sort("key")
    return replace(plan, to_read=to_read, unread=plan.unread.join(orphans, on="key", how="anti"))


def _marked_kept(unread: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """Mark a file that was deleted as `kept`, and one that is back unchanged as `accepted` again."""
    gone = ~pl.col("key").is_in(present["key"].to_list())
    status = pl.col("status")
    left = pl.when(gone & (status == "accepted")).then(pl.lit("kept"))
    return unread.with_columns(
        status=left.when(~gone & (status == "kept")).then(pl.lit("accepted")).otherwise(status)
    )


def _ledger_of_rejected(ledger: pl.DataFrame, overwritten: pl.DataFrame) -> pl.DataFrame:
    """Keep the earlier content, with its time; the rejected one is one more row in, quarantined at line 0."""
    first_time = (pl.col("status") != "rejected").cast(pl.Int64)
    return (
        ledger.drop("etag", "size_bytes")
        .join(overwritten.select("key", "etag", "size_bytes"), on="key", how="inner")
        .with_columns(
            rows_in=pl.col("rows_in") + first_time,
            rows_quarantined=pl.col("rows_quarantined") + first_time,
            status=pl.lit("rejected"),
        )
        .select(ledger.columns)
    )


def _overwrites_rejected(keys: Sequence[str]) -> pl.DataFrame:
    reason = (
        "the file was overwritten after it was published, and the dataset has `on_overwrite: reject`; "
        "upload it under a new name"
    )
    return rejected_files(keys, OVERWRITE_REJECTED, reason)


def _partition_change(
    spec: TransitSpec,
    date: str,
    base: Snapshot | None,
    plan: ReadPlan,
    parsed: ParsedFiles,
    scratch: Path,
    inputs_digest: str,
) -> PartitionChange:
    parts, keep = _carried_rows(date, base, plan, scratch)
    unread = plan.unread.select(list(LEDGER_SCHEMA))
    ledger = pl.concat([unread, _ledger_of(spec, plan, parsed)]).sort("key")
    sums = ledger.select(pl.col("^rows_.*$").sum()).row(0, named=True)
    data: Sequence[Path] | pl.DataFrame = [*parts, *parsed.data]
    if not data and not keep:
        data = pl.DataFrame(schema=shipments_schema(spec))
    return PartitionChange(
        partition=date,
        data=data,
        keep=keep,
        inputs=ledger,
        quarantine=_quarantine_parts(date, base, plan, parsed, scratch),
        counts=RowCounts(
            rows_in=sums["rows_in"],
            published=sums["rows_out"],
            quarantined=sums["rows_quarantined"],
            deduplicated=sums["rows_deduplicated"],
            filtered=sums["rows_filtered"],
        ),
        inputs_digest=inputs_digest,
    )


def _carried_rows(
    date: str, base: Snapshot | None, plan: ReadPlan, scratch: Path
) -> tuple[list[Path], list[str]]:
    """Carry the rows of files that were not read: by reference if possible, else rewritten without the forgotten."""
    if base is None:
        return [], []
    live = base.files.filter(pl.col("partition") == date)["path"].to_list()
    if not plan.forget and len(live) < MAX_PARTS:
        return [], live
    path = scratch / "carried.parquet"
    carried = base.scan([date]).filter(~pl.col("file_key").is_in(plan.forget))
    carried.sink_parquet(path, compression="zstd", row_group_size=500_000)
    return [path], []


def _ledger_of(spec: TransitSpec, plan: ReadPlan, parsed: ParsedFiles) -> pl.DataFrame:
    read = (
        plan.to_read.drop("status")
        .join(parsed.files, left_on="key", right_on="file_key", how="inner")
        .with_columns(recipe=pl.lit(spec.parse_recipe))
        .select(list(LEDGER_SCHEMA))
    )
    assert read.height == plan.to_read.height, "every file that was to be read is accounted for"
    return read


def _quarantine_parts(
    date: str, base: Snapshot | None, plan: ReadPlan, parsed: ParsedFiles, scratch: Path
) -> list[Path]:
    parts = list(parsed.quarantine)
    others = _overwrites_rejected(plan.rejected)
    if base is not None:
        read_again = pl.col("file_key").is_in(plan.forget)
        rejected_again = pl.col("file_key").is_in(plan.rejected) & (
            pl.col("reason_code") == OVERWRITE_REJECTED
        )
        earlier = base.quarantine([date]).filter(~read_again & ~rejected_again)
        others = pl.concat([earlier.select(list(QUARANTINE_SCHEMA)), others])
    if not others.is_empty():
        path = scratch / "quarantine-others.parquet"
        others.write_parquet(path)
        parts.append(path)
    return parts


def crashed_files(published: Published) -> list[str]:
    """Return the date's files that are quarantined whole because reading them alone crashed the reader."""
    quarantine = published.snapshot.quarantine([published.partition])
    return quarantine.filter(pl.col("reason_code") == READER_CRASHED)["file_key"].to_list()


@dataclass(frozen=True)
class Copies:
    """The same export dropped twice (`same_file_again: skip`): whose rows are published, and which copy takes over.

    `others` are the ledgers of the dataset's other dates; None where every file counts on its own.
    """

    base: Snapshot | None
    others: pl.DataFrame | None

    @classmethod
    def read(cls, spec: TransitSpec, base: Snapshot | None, date: str) -> Copies:
        """Read the ledgers, if the dataset skips copies."""
        if base is None or spec.source.same_file_again == "read":
            return cls(base, None)
        return cls(base, base.all_inputs().filter(pl.col("partition") != date))

    def published(self, ledger: pl.DataFrame) -> frozenset[str]:
        """Return the hashes of files whose rows are published, on other dates or, by `ledger`, on this one."""
        if self.others is None:
            return frozenset()
        # The copy of a file without a good row is rejected for the same reason, not counted as a duplicate.
        gave_rows = pl.col("status").is_in(["accepted", "kept"]) & (pl.col("rows_out") > 0)
        every = pl.concat([self.others, ledger], how="diagonal_relaxed")
        return frozenset(every.filter(gave_rows)["sha256"].to_list())

    def orphaned(self, ledger: pl.DataFrame) -> list[str]:
        """Return the keys of this date's copies whose original is not published any more."""
        return _orphans(ledger, self.published(ledger))["key"].to_list()

    def released(self, ledger: pl.DataFrame) -> list[PartitionChange]:
        """Return changes of other dates that forget copies whose original is gone with `ledger`.

        They are published together with the change of this date; the next tick finds the copies as new files.
        """
        if self.base is None or self.others is None:
            return []
        orphans = _orphans(self.others, self.published(ledger))
        by_date = orphans.group_by("partition", maintain_order=True)
        return [_without(self.base, str(name), rows["key"].to_list()) for (name,), rows in by_date]


def _orphans(ledger: pl.DataFrame, published: frozenset[str]) -> pl.DataFrame:
    return ledger.filter((pl.col("status") == "duplicate") & ~pl.col("sha256").is_in(list(published)))


def _without(base: Snapshot, partition: str, keys: list[str]) -> PartitionChange:
    ledger = base.inputs(partition).filter(~pl.col("key").is_in(keys))
    live = base.files.filter(pl.col("partition") == partition)["path"].to_list()
    sums = ledger.select(pl.col("^rows_.*$").sum()).row(0, named=True)
    return PartitionChange(
        partition=partition,
        data=[] if live else base.scan([partition]).collect(),
        keep=live,
        inputs=ledger,
        quarantine=base.quarantine([partition]).drop("partition"),
        counts=RowCounts(
            rows_in=sums["rows_in"],
            published=sums["rows_out"],
            quarantined=sums["rows_quarantined"],
            deduplicated=sums["rows_deduplicated"],
            filtered=sums["rows_filtered"],
        ),
        inputs_digest="",
    )
