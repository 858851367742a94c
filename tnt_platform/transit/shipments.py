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
from tnt_platform.lake.guard_rails import NO_OVERRIDES, GuardRails, Overrides, top_reasons
from tnt_platform.lake.publishing import (
    PREVIEW_ROWS,
    Check,
    CheckOutcome,
    Published,
    Workspace,
    publish_checked,
    rows_in_file_order,
    values_in_range,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange
from tnt_platform.services.reader_process import READER_CRASHED
from tnt_platform.transit.batch import shipments_schema
from tnt_platform.transit.copies import CONTENT_REJECTED, Copies, counts_of
from tnt_platform.transit.files import as_compared
from tnt_platform.transit.parsing import (
    ParsedFiles,
    parse_files,
    with_unread_files,
)
from tnt_platform.transit.spec import FILES, MAX_TRANSIT_DAYS, SHIPMENTS, TransitSpec
from tnt_platform.transit.transforms.cases import QUARANTINE_SCHEMA, rejected_files

KEY = ("file_key", "line_no")
OVERWRITE_REJECTED = "overwrite_rejected"
NEW_CONTENT_ACCEPTED = "new_content_accepted"
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
    # Of a file whose present content is rejected: the etag of the content whose rows are published.
    "accepted_etag": pl.String(),
}


@dataclass(frozen=True)
class ReadPlan:
    """What a run does with a date's files.

    `to_read` are listing rows, `unread` ledger rows. `forget` are keys whose earlier rows leave the partition;
    `rejected` are quarantine rows of files whose new content is rejected, so that their earlier rows stay.
    """

    to_read: pl.DataFrame
    unread: pl.DataFrame
    forget: list[str]
    rejected: pl.DataFrame


def publish_shipments(
    spec: TransitSpec,
    date: str,
    workspace: Workspace,
    run_id: str,
    *,
    isolate: bool = False,
    force: bool = False,
    overrides: Overrides = NO_OVERRIDES,
) -> Published:
    """Read the date's new and changed files and publish the partition.

    A file whose new content is rejected whole does not take the place of its accepted content.
    Columns: file_key, line_no, the fields of the key pattern, the YAML's columns. Key: file_key, line_no.
    """
    files = workspace.store.current(spec.dataset(FILES))
    assert files is not None, "shipper_files is published before shipments"
    base = workspace.store.current(spec.dataset(SHIPMENTS))
    listing = files.scan([date]).collect()
    ledger = _ledger(base, date)
    copies = Copies.read(spec, base, date)
    plan = plan_reading(spec, listing, ledger, force=force, refused_again=overrides.accept_rejected)
    scratch = Path(tempfile.mkdtemp(prefix="shipments-", dir=workspace.scratch))
    try:
        reader = _FileReader(spec, workspace, copies, scratch, isolate)
        plan, parsed = reader.read_plan(plan, listing, ledger, keep=not overrides.accept_rejected)
        upstream = files.partition(date)
        assert upstream is not None, "the date was listed"
        change = _partition_change(spec, date, base, plan, parsed, scratch, upstream["inputs_digest"])
        rails = GuardRails.of(spec, overrides, date=date)
        withdrawn = rails.removed(base, date, withdrawn=_withdrawn_rows(plan, ledger))
        return publish_checked(
            workspace,
            spec.dataset(SHIPMENTS),
            change,
            base=base,
            key=KEY,
            checks=[_rejected_share(rails, change, parsed), withdrawn, *_row_checks(spec, date, change)],
            run_id=run_id,
            also=copies.released(change.inputs),
            about=overrides.about,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _row_checks(spec: TransitSpec, date: str, change: PartitionChange) -> list[Check | CheckOutcome]:
    checks: list[Check | CheckOutcome] = [rows_in_file_order(date), _new_content_accepted(change.inputs)]
    if "expected_transit_days" in shipments_schema(spec):
        checks.append(values_in_range(date, "expected_transit_days", 0, MAX_TRANSIT_DAYS))
    return checks


@dataclass(frozen=True)
class _FileReader:
    """Reads files of the bucket into parts below `scratch`; those that are misnamed or too large are not opened."""

    spec: TransitSpec
    workspace: Workspace
    copies: Copies
    scratch: Path
    isolate: bool

    def read_plan(
        self, plan: ReadPlan, listing: pl.DataFrame, ledger: pl.DataFrame, *, keep: bool
    ) -> tuple[ReadPlan, ParsedFiles]:
        """Read the files of a plan; return it as it is once their content is known.

        With `keep`, accepted content stays where the new one is rejected whole.
        """
        overwritten = plan.to_read.join(ledger.filter(pl.col("rows_out") > 0), on="key", how="semi")
        parsed = self.read(overwritten, plan)
        if keep:
            plan, parsed = keep_accepted_content(self.spec, plan, parsed, ledger, self.scratch)
        # Only now it is known which content is published, and so which copies of it are none.
        plan = _with_orphans(self.copies, listing, plan)
        return plan, parsed + self.read(plan.to_read.join(overwritten, on="key", how="anti"), plan)

    def read(self, files: pl.DataFrame, plan: ReadPlan) -> ParsedFiles:
        """Read these files of the plan; content whose rows are published already is a duplicate."""
        scratch = Path(tempfile.mkdtemp(dir=self.scratch))
        misnamed = files.filter(pl.col("problem").is_not_null())
        huge = _too_large(self.spec, files.join(misnamed, on="key", how="anti"))
        readable = files.join(pl.concat([misnamed, huge]), on="key", how="anti")
        contents = self.workspace.raw.get_many(readable["key"].to_list())
        known = self.copies.published(plan.unread)
        parsed = parse_files(self.spec, contents, scratch, isolate=self.isolate, known=known)
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


def plan_reading(
    spec: TransitSpec,
    listing: pl.DataFrame,
    ledger: pl.DataFrame,
    *,
    force: bool,
    refused_again: bool = False,
) -> ReadPlan:
    """Compare the published listing with the ledger: what to read, what stays, what goes.

    With `refused_again`, content that was rejected whole is read once more.
    """
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
    if refused_again:
        stale |= pl.col("status") == CONTENT_REJECTED
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
    unread = pl.concat([_marked_kept(untouched, present), _ledger_of_rejected(ledger, rejected, "rejected")])
    forgotten = forget.join(ledger, on="key", how="semi")["key"].to_list()
    return ReadPlan(to_read.sort("key"), unread, forgotten, _overwrites_rejected(rejected["key"].to_list()))


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


def _ledger_of_rejected(ledger: pl.DataFrame, overwritten: pl.DataFrame, status: str) -> pl.DataFrame:
    """Keep the earlier content, with its time; the rejected one is one more row in, quarantined at line 0."""
    was_accepted = ~pl.col("status").is_in(["rejected", CONTENT_REJECTED])
    first_time = was_accepted.cast(pl.Int64)
    return (
        ledger.join(
            overwritten.select("key", new_etag="etag", new_size_bytes="size_bytes"), on="key", how="inner"
        )
        .with_columns(
            accepted_etag=pl.when(was_accepted).then("etag").otherwise("accepted_etag"),
            rows_in=pl.col("rows_in") + first_time,
            rows_quarantined=pl.col("rows_quarantined") + first_time,
            status=pl.lit(status),
            etag="new_etag",
            size_bytes="new_size_bytes",
        )
        .select(ledger.columns)
    )


def _overwrites_rejected(keys: Sequence[str]) -> pl.DataFrame:
    reason = (
        "the file was overwritten after it was published, and the dataset has `on_overwrite: reject`; "
        "upload it under a new name"
    )
    return rejected_files(keys, OVERWRITE_REJECTED, reason)


def keep_accepted_content(
    spec: TransitSpec, plan: ReadPlan, parsed: ParsedFiles, ledger: pl.DataFrame, scratch: Path
) -> tuple[ReadPlan, ParsedFiles]:
    """Keep the rows of each file whose new content is rejected whole, and reject that content as one row.

    A web page, an export of another system or a changed spelling would otherwise empty what was published. The ledger
    holds the new etag, so that the sensor does not ask again, and that of the accepted content.
    """
    nothing_read = (pl.col("rows_out") == 0) & (pl.col("rows_quarantined") > 0)
    gave_rows = ledger.filter(pl.col("rows_out") > 0)
    refused = parsed.files.filter(nothing_read).join(
        gave_rows, left_on="file_key", right_on="key", how="semi"
    )
    if refused.is_empty():
        return plan, parsed
    keys = refused["file_key"].to_list()
    is_refused = pl.col("file_key").is_in(keys)
    quarantine = pl.concat([pl.read_parquet(path) for path in parsed.quarantine])
    path = scratch / "quarantine-read.parquet"
    quarantine.filter(~is_refused).write_parquet(path)
    overwritten = plan.to_read.filter(pl.col("key").is_in(keys))
    kept = _ledger_of_rejected(ledger, overwritten, CONTENT_REJECTED)
    kept = kept.with_columns(recipe=pl.lit(spec.parse_recipe))
    plan = replace(
        plan,
        to_read=plan.to_read.filter(~pl.col("key").is_in(keys)),
        unread=pl.concat([plan.unread.filter(~pl.col("key").is_in(keys)), kept.select(plan.unread.columns)]),
        forget=[key for key in plan.forget if key not in keys],
        rejected=pl.concat([plan.rejected, _contents_rejected(quarantine.filter(is_refused), refused)]),
    )
    return plan, replace(parsed, quarantine=[path], files=parsed.files.filter(~is_refused))


def _contents_rejected(quarantine: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    by_file = quarantine.partition_by("file_key", as_dict=True)
    rows = refused.sort("file_key").select("file_key", "rows_quarantined")
    reasons = [
        f"none of the {rows_in:,} rows of the new content can be published: {top_reasons(by_file[(key,)])}; the rows "
        "of the accepted content stay. Deliver the file again, or publish this content with --accept-rejected"
        for key, rows_in in rows.iter_rows()
    ]
    return rejected_files(rows["file_key"].to_list(), CONTENT_REJECTED, reasons)


def _new_content_accepted(ledger: pl.DataFrame) -> CheckOutcome:
    refused = ledger.filter(status=CONTENT_REJECTED)
    found = (
        f"the new content of {refused.height} files is rejected whole, so the rows of their accepted content stay"
        if refused.height
        else "no file was overwritten by content that is rejected whole"
    )
    sample = refused.select("key", "etag", "accepted_etag", "rows_out").head(PREVIEW_ROWS)
    return CheckOutcome(NEW_CONTENT_ACCEPTED, refused.is_empty(), found, sample, blocking=False)


def _withdrawn_rows(plan: ReadPlan, ledger: pl.DataFrame) -> int:
    """Count the rows of files that were deleted under `on_delete: remove`."""
    gone = ledger.filter(pl.col("key").is_in(plan.forget)).join(plan.to_read, on="key", how="anti")
    return int(gone["rows_out"].sum())


def _rejected_share(rails: GuardRails, change: PartitionChange, parsed: ParsedFiles) -> CheckOutcome:
    """Check the share of the date's rows that are rejected, provided that rows read now are among them."""
    counts = change.counts
    if not parsed.files["rows_quarantined"].sum():
        return rails.rejected(counts.rows_in, 0)
    rejected = pl.concat([pl.scan_parquet(path) for path in parsed.quarantine]).collect()
    rows_read = counts.rows_in - counts.filtered - counts.deduplicated
    return rails.rejected(rows_read, counts.quarantined, top_reasons(rejected))


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
    data: Sequence[Path] | pl.DataFrame = [*parts, *parsed.data]
    if not data and not keep:
        data = pl.DataFrame(schema=shipments_schema(spec))
    return PartitionChange(
        partition=date,
        data=data,
        keep=keep,
        inputs=ledger,
        quarantine=_quarantine_parts(date, base, plan, parsed, scratch),
        counts=counts_of(ledger),
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
    carried = base.intact([date]).scan([date]).filter(~pl.col("file_key").is_in(plan.forget))
    carried.sink_parquet(path, compression="zstd", row_group_size=500_000)
    return [path], []


def _ledger_of(spec: TransitSpec, plan: ReadPlan, parsed: ParsedFiles) -> pl.DataFrame:
    read = (
        plan.to_read.drop("status")
        .join(parsed.files, left_on="key", right_on="file_key", how="inner")
        .with_columns(recipe=pl.lit(spec.parse_recipe), accepted_etag=pl.lit(None, pl.String))
        .select(list(LEDGER_SCHEMA))
    )
    assert read.height == plan.to_read.height, "every file that was to be read is accounted for"
    return read


def _quarantine_parts(
    date: str, base: Snapshot | None, plan: ReadPlan, parsed: ParsedFiles, scratch: Path
) -> list[Path]:
    parts = list(parsed.quarantine)
    others = plan.rejected
    if base is not None:
        read_again = pl.col("file_key").is_in(plan.forget)
        rejected_again = pl.col("file_key").is_in(others["file_key"].to_list()) & (
            pl.col("reason_code").is_in([OVERWRITE_REJECTED, CONTENT_REJECTED])
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
