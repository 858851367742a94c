"""Second link: the rows of the date's files, typed, each traceable to its file and line.

Only files that the ledger lacks are read; rows of the others stay where they are.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tnt_platform.discovery.discovery import FilePlan, plan_files
from tnt_platform.lake.publishing import (
    Place,
    Published,
    publish_checked,
    rows_in_file_order,
    values_in_range,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.transit.batch import shipments_schema
from tnt_platform.transit.copies import Copies
from tnt_platform.transit.files import as_compared
from tnt_platform.transit.parsing import (
    READER_CRASHED,
    ParsedFiles,
    parse_files,
    with_unread_files,
)
from tnt_platform.transit.spec import FILES, MAX_TRANSIT_DAYS, SHIPMENTS, TransitSpec
from tnt_platform.transit.transforms.transit import QUARANTINE_SCHEMA, refused_files

KEY = ("file_key", "line_no")
OVERWRITE_REJECTED = "overwrite_rejected"
# Appending keeps the parts of earlier runs untouched; beyond this many, reading them all costs more than one rewrite.
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
class Reading:
    """What a run will do with a date's files."""

    to_read: pl.DataFrame  # listing rows
    stay: pl.DataFrame  # ledger rows of files that are not read
    forget: list[str]  # keys whose earlier rows leave the partition
    rejected: list[str]  # keys whose overwriting is refused; their earlier rows stay


def publish_shipments(
    spec: TransitSpec, date: str, place: Place, run_id: str, *, isolate: bool = False, force: bool = False
) -> Published:
    """Read the date's new and changed files and publish the partition.

    Columns: file_key, line_no, the fields of the key pattern, the YAML's columns. Key: file_key, line_no.
    """
    files = place.store.current(spec.dataset(FILES))
    assert files is not None, "shipper_files is published before shipments"
    base = place.store.current(spec.dataset(SHIPMENTS))
    listing = files.scan([date]).collect()
    ledger = _ledger(base, date)
    copies = Copies.read(spec, base, date)
    reading = _with_orphans(copies, listing, plan_reading(spec, listing, ledger, force=force))
    scratch = Path(tempfile.mkdtemp(prefix="shipments-", dir=place.scratch))
    try:
        known = copies.published(reading.stay)
        parsed = _parsed(spec, place, reading.to_read, known, scratch, isolate=isolate)
        upstream = files.partition(date)
        assert upstream is not None, "the date was listed"
        change = _partition_change(spec, date, base, reading, parsed, scratch, upstream["inputs_digest"])
        checks = [rows_in_file_order(date)]
        if "expected_transit_days" in shipments_schema(spec):
            checks.append(values_in_range(date, "expected_transit_days", 0, MAX_TRANSIT_DAYS))
        return publish_checked(
            place,
            base=base,
            dataset=spec.dataset(SHIPMENTS),
            change=change,
            key=KEY,
            checks=checks,
            run_id=run_id,
            also=copies.released(change.inputs),
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _parsed(
    spec: TransitSpec,
    place: Place,
    to_read: pl.DataFrame,
    known: frozenset[str],
    scratch: Path,
    *,
    isolate: bool,
) -> ParsedFiles:
    odd = to_read.filter(pl.col("problem").is_not_null())
    huge = _too_large(spec, to_read.join(odd, on="key", how="anti"))
    readable = to_read.join(pl.concat([odd, huge]), on="key", how="anti")
    contents = place.raw.get_many(readable["key"].to_list())
    parsed = parse_files(spec, contents, scratch, isolate=isolate, known=known)
    parsed = with_unread_files(parsed, odd, "unrecognised_name", scratch)
    return with_unread_files(parsed, huge, "too_large", scratch)


def _too_large(spec: TransitSpec, files: pl.DataFrame) -> pl.DataFrame:
    """Files that are not fetched, since they alone would fill the memory; `problem` says so."""
    said = f"the file is larger than {spec.max_file_bytes:,} bytes; deliver it in smaller pieces"
    return files.filter(pl.col("size_bytes") > spec.max_file_bytes).with_columns(problem=pl.lit(said))


def _ledger(base: Snapshot | None, date: str) -> pl.DataFrame:
    empty = pl.DataFrame(schema=LEDGER_SCHEMA)
    if base is None:
        return empty
    return pl.concat([empty, base.inputs(date)], how="diagonal_relaxed").select(list(LEDGER_SCHEMA))


def plan_reading(spec: TransitSpec, listing: pl.DataFrame, ledger: pl.DataFrame, *, force: bool) -> Reading:
    """Compare the published listing with the ledger: what to read, what stays, what leaves."""
    present = listing.filter(pl.col("status") == "present").rename({"file_key": "key"})
    plan: FilePlan = plan_files(
        as_compared(spec, present),
        as_compared(spec, ledger),
        on_overwrite=spec.source.on_overwrite,
        on_delete=spec.source.on_delete,
    )
    reject = spec.source.on_overwrite == "reject"
    # What is in the bucket under a rejected name counts only once the YAML says `latest`.
    was_rejected = pl.col("status") == "rejected"
    stale = pl.lit(value=True) if force else pl.col("recipe").ne_missing(spec.parse_recipe)
    wanted = (stale & ~was_rejected) if reject else (stale | was_rejected)
    # A file that left the bucket can't be read again, whatever changed in the YAML.
    reread = ledger.filter(wanted).join(plan.unchanged, on="key", how="semi")
    again = present.join(reread, on="key", how="semi")
    overwritten = present.join(plan.changed, on="key", how="semi")
    rejected = overwritten if reject else overwritten.clear()
    to_read = pl.concat(
        [present.join(plan.new, on="key", how="semi"), again, overwritten.clear() if reject else overwritten]
    ).unique("key")
    removed = plan.vanished if spec.source.on_delete == "remove" else plan.vanished.clear()
    forget = pl.concat([to_read.select("key"), removed.select("key")])
    untouched = ledger.join(pl.concat([forget, rejected.select("key")]), on="key", how="anti")
    stay = pl.concat([_marked_kept(untouched, present), _ledger_of_rejected(ledger, rejected)])
    forgotten = forget.join(ledger, on="key", how="semi")["key"].to_list()
    return Reading(to_read.sort("key"), stay, forgotten, rejected["key"].to_list())


def _with_orphans(copies: Copies, listing: pl.DataFrame, reading: Reading) -> Reading:
    """`reading` that also reads the copies of this date whose original goes with this very run."""
    present = listing.filter(status="present").rename({"file_key": "key"})
    orphans = present.filter(pl.col("key").is_in(copies.orphaned(reading.stay)))
    if orphans.is_empty():
        return reading
    to_read = pl.concat([reading.to_read, orphans.select(reading.to_read.columns)]).sort("key")
    return replace(reading, to_read=to_read, stay=reading.stay.join(orphans, on="key", how="anti"))


def _marked_kept(stay: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """A file that left the bucket is `kept`; one that came back unchanged is `accepted` again."""
    gone = ~pl.col("key").is_in(present["key"].to_list())
    status = pl.col("status")
    left = pl.when(gone & (status == "accepted")).then(pl.lit("kept"))
    return stay.with_columns(
        status=left.when(~gone & (status == "kept")).then(pl.lit("accepted")).otherwise(status)
    )


def _ledger_of_rejected(ledger: pl.DataFrame, overwritten: pl.DataFrame) -> pl.DataFrame:
    """The earlier content stays, with its time; the refused one is one more row in, quarantined at line 0."""
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


def _refusals(keys: Sequence[str]) -> pl.DataFrame:
    said = (
        "this file was overwritten after it was published and the dataset says `on_overwrite: reject`; "
        "put it under a new name"
    )
    return refused_files(keys, OVERWRITE_REJECTED, said)


def _partition_change(
    spec: TransitSpec,
    date: str,
    base: Snapshot | None,
    reading: Reading,
    parsed: ParsedFiles,
    scratch: Path,
    inputs_digest: str,
) -> PartitionChange:
    parts, keep = _carried_rows(date, base, reading, scratch)
    ledger = pl.concat([reading.stay.select(list(LEDGER_SCHEMA)), _ledger_of(spec, reading, parsed)]).sort(
        "key"
    )
    sums = ledger.select(pl.col("^rows_.*$").sum()).row(0, named=True)
    data: Sequence[Path] | pl.DataFrame = [*parts, *parsed.data]
    if not data and not keep:
        data = pl.DataFrame(schema=shipments_schema(spec))
    return PartitionChange(
        partition=date,
        data=data,
        keep=keep,
        inputs=ledger,
        quarantine=_quarantine_parts(date, base, reading, parsed, scratch),
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
    date: str, base: Snapshot | None, reading: Reading, scratch: Path
) -> tuple[list[Path], list[str]]:
    """Rows of files that were not read again: by reference if possible, else rewritten without the forgotten."""
    if base is None:
        return [], []
    live = base.files.filter(pl.col("partition") == date)["path"].to_list()
    if not reading.forget and len(live) < MAX_PARTS:
        return [], live
    path = scratch / "carried.parquet"
    carried = base.scan([date]).filter(~pl.col("file_key").is_in(reading.forget))
    carried.sink_parquet(path, compression="zstd", row_group_size=500_000)
    return [path], []


def _ledger_of(spec: TransitSpec, reading: Reading, parsed: ParsedFiles) -> pl.DataFrame:
    read = (
        reading.to_read.drop("status")
        .join(parsed.files, left_on="key", right_on="file_key", how="inner")
        .with_columns(recipe=pl.lit(spec.parse_recipe))
        .select(list(LEDGER_SCHEMA))
    )
    assert read.height == reading.to_read.height, "every file that was to be read is accounted for"
    return read


def _quarantine_parts(
    date: str, base: Snapshot | None, reading: Reading, parsed: ParsedFiles, scratch: Path
) -> list[Path]:
    parts = list(parsed.quarantine)
    others = _refusals(reading.rejected)
    if base is not None:
        read_again = pl.col("file_key").is_in(reading.forget)
        refused_again = pl.col("file_key").is_in(reading.rejected) & (
            pl.col("reason_code") == OVERWRITE_REJECTED
        )
        earlier = base.quarantine([date]).filter(~read_again & ~refused_again)
        others = pl.concat([earlier.select(list(QUARANTINE_SCHEMA)), others])
    if not others.is_empty():
        path = scratch / "quarantine-others.parquet"
        others.write_parquet(path)
        parts.append(path)
    return parts


def crashed_files(published: Published) -> list[str]:
    """Files of the date that are quarantined whole because reading them alone broke the reader."""
    refused = published.snapshot.quarantine([published.partition])
    return refused.filter(pl.col("reason_code") == READER_CRASHED)["file_key"].to_list()
