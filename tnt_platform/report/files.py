"""`<dataset>/files`: read and count each file of a date; rejected records are in quarantine with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tnt_platform.discovery.comparison import inputs_digest
from tnt_platform.discovery.listing import list_partition
from tnt_platform.discovery.unread import sidecars_left_out
from tnt_platform.errors import InvalidInput, NotFound
from tnt_platform.lake.guard_rails import NO_OVERRIDES, GuardRails, Overrides, top_reasons
from tnt_platform.lake.publishing import (
    CheckOutcome,
    Published,
    Workspace,
    as_ledger,
    publish_checked,
    unique_keys,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.report.readers.files import read_report_file
from tnt_platform.report.readers.records import BAD
from tnt_platform.report.spec import FILES, FILES_KEY, ReportSpec
from tnt_platform.report.transforms.totals import FILES as COLUMNS
from tnt_platform.report.transforms.totals import exact_text, totals_of
from tnt_platform.services.reader_process import ReaderProcess
from tnt_platform.storage.objects import Objects

# The status in the ledger of a file whose present content can't be read, though an earlier one could.
CONTENT_REJECTED = "content_rejected"


class EmptyDay(NotFound):
    """No file arrived on a date; `is_normal` if the YAML declares that days may be empty."""

    def __init__(self, message: str, *, is_normal: bool) -> None:
        super().__init__(message)
        self.is_normal = is_normal

    def __reduce__(self) -> Any:
        return _empty_day, (str(self), self.is_normal)


def _empty_day(message: str, is_normal: bool) -> EmptyDay:
    return EmptyDay(message, is_normal=is_normal)


@dataclass(frozen=True)
class _ReadFiles:
    """The files read in this run: rows of COLUMNS, quarantine rows, and the number of rows in the files."""

    files: pl.DataFrame
    quarantine: pl.DataFrame
    rows_in: int


def publish_files(
    spec: ReportSpec,
    date: str,
    workspace: Workspace,
    run_id: str,
    overrides: Overrides = NO_OVERRIDES,
    *,
    isolate: bool = False,
) -> Published:
    """Publish the files of a date; a file that was read before with the same recipe is not opened again.

    A file whose new content can't be read keeps the figures of its accepted content, and its `problem` says so.

    Raises:
        EmptyDay: no file has that date; what was published for it stays.
    """
    everything = list_partition(workspace.raw, spec.source, date)
    is_misplaced = pl.col("problem").is_not_null()
    present, misplaced = everything.files.filter(~is_misplaced), everything.files.filter(is_misplaced)
    if present.is_empty():
        raise _empty_day(_empty_day_message(spec, date, misplaced.height), spec.empty_days == "normal")
    base = workspace.store.current(spec.dataset(FILES))
    known = _known_files(spec, base, date, present, overrides)["key"].to_list()
    to_read = present.filter(~pl.col("key").is_in(known))
    with ReaderProcess() as reader:
        read = _read_files(spec, workspace, to_read, reader if isolate else None)
    accepted = _accepted_before(base, date, read, overrides)
    change = _change(spec, date, base, present, misplaced, known, read, accepted)
    assert isinstance(change.data, pl.DataFrame)
    rails = GuardRails.of(spec, overrides, date=date)
    published = publish_checked(
        workspace,
        spec.dataset(FILES),
        change,
        base=base,
        key=FILES_KEY,
        checks=[
            *(unique_keys(FILES_KEY, date), _records_conserved(read), _readable(change.data)),
            *(_rejected_share(rails, change, read, accepted), rails.removed(base, date)),
        ],
        run_id=run_id,
        about=overrides.about,
    )
    return published.with_facts(_facts(change.data, read) | sidecars_left_out(everything))


def _empty_day_message(spec: ReportSpec, date: str, misplaced: int) -> str:
    message = f"no file for {date} below {spec.source.prefix}, so it has no report"
    if misplaced:
        message += f" ({misplaced} objects there have no date in their key)"
    return f"{message}; ask who delivers the files, or set `empty_days: normal` if days may be empty"


def _known_files(
    spec: ReportSpec, base: Snapshot | None, date: str, present: pl.DataFrame, overrides: Overrides
) -> pl.DataFrame:
    """Return the ledger rows of files that are unchanged since they were read with the current recipe."""
    ledger = base.inputs(date) if base is not None else pl.DataFrame()
    if ledger.is_empty() or "recipe" not in ledger.columns:
        return pl.DataFrame(schema={"key": pl.String()})
    unchanged = ledger.join(present, on=["key", "etag", "size_bytes"], how="semi", nulls_equal=True)
    if overrides.accept_rejected:
        unchanged = unchanged.filter(pl.col("status") != CONTENT_REJECTED)
    return unchanged.filter(pl.col("recipe") == spec.recipe)


def _read_files(
    spec: ReportSpec, workspace: Workspace, files: pl.DataFrame, reader: ReaderProcess | None
) -> _ReadFiles:
    rows, quarantines, rows_in = [], [pl.DataFrame(schema={"file_key": pl.String(), **BAD})], 0
    for key, size_bytes in files.select("key", "size_bytes").iter_rows():
        row, bad, count = _read_one(spec, key, size_bytes, workspace.raw, reader)
        rows.append(row)
        quarantines.append(bad.select(pl.lit(key).alias("file_key"), *BAD))
        rows_in += count
    return _ReadFiles(pl.DataFrame(rows, schema=dict(COLUMNS)), pl.concat(quarantines), rows_in)


def _read_one(
    spec: ReportSpec, key: str, size_bytes: int, raw: Objects, reader: ReaderProcess | None
) -> tuple[dict[str, Any], pl.DataFrame, int]:
    """Return a row of COLUMNS, the bad records, and the number of records; an unreadable file is one bad row."""
    row: dict[str, Any] = {**dict.fromkeys(COLUMNS), "file_key": key, "size_bytes": size_bytes}
    try:
        if size_bytes > spec.max_file_mb * 1_000_000:
            message = f"the file has {size_bytes:,} bytes, more than max_file_mb: {spec.max_file_mb:g} allows"
            raise InvalidInput("too_large", f"{message}; deliver it in smaller files, or raise the limit")
        of_file = (key.rsplit("/", 1)[-1], raw.get(key), spec.totals, spec.text)
        file = reader.call(read_report_file, *of_file) if reader else read_report_file(*of_file)
    except InvalidInput as error:
        bad = pl.DataFrame([(0, "", error.reason_code, str(error))], schema=BAD, orient="row")
        return {**row, "problem": f"{error.reason_code}: {error}"}, bad, 1
    totals = totals_of(file.records, spec.totals)
    bad = pl.concat([file.bad, totals.bad]).sort("line_no", maintain_order=True)
    row |= {
        "format": file.format,
        "compression": file.compression,
        "records": file.records.height - totals.bad.height,
        "bad_records": bad.height,
        "columns": list(file.columns),
        "totals": [{"column": name, "total": exact_text(total)} for name, total in totals.sums.items()],
    }
    return row, bad, file.rows_in


def _change(
    spec: ReportSpec,
    date: str,
    base: Snapshot | None,
    present: pl.DataFrame,
    misplaced: pl.DataFrame,
    known: Sequence[str],
    read: _ReadFiles,
    accepted: pl.DataFrame,
) -> PartitionChange:
    """Combine what was read now, but for files of `accepted` content, with what was published of the `known` ones."""
    files = [read.files.join(accepted, on="file_key", how="anti"), accepted]
    quarantine = [read.quarantine, _misplaced_rows(misplaced)]
    if base is not None and known:
        before = base.intact([date]).scan([date]).filter(pl.col("file_key").is_in(known))
        files.append(before.select(list(COLUMNS)).collect())
        earlier = base.quarantine([date]).filter(pl.col("file_key").is_in(known))
        quarantine.append(earlier.select("file_key", *BAD))
    rows = pl.concat(files).sort("file_key")
    rejected = pl.concat(quarantine).with_columns(first_seen_at=pl.lit(None, pl.Datetime("us", "UTC")))
    return PartitionChange(
        partition=date,
        data=rows,
        inputs=_ledger(spec, present, rows),
        quarantine=rejected,
        counts=RowCounts(
            rows_in=rows.height + rejected.height, published=rows.height, quarantined=rejected.height
        ),
        inputs_digest=inputs_digest(present),
    )


def _accepted_before(
    base: Snapshot | None, date: str, read: _ReadFiles, overrides: Overrides
) -> pl.DataFrame:
    """Return the published rows of files whose new content can't be read, with a `problem` that says so."""
    unreadable = read.files.filter(pl.col("problem").is_not_null()).select("file_key", why="problem")
    if base is None or unreadable.is_empty() or overrides.accept_rejected:
        return pl.DataFrame(schema=dict(COLUMNS))
    before = base.intact([date]).scan([date]).filter(pl.col("records").is_not_null()).collect()
    kept = before.join(unreadable, on="file_key", how="inner")
    problem = pl.format(
        "content_rejected: the new content can't be read ({}); the figures are those of the content accepted before. "
        "Deliver the file again, or publish this content with --accept-rejected",
        pl.col("why").str.slice(0, 300),
    )
    return kept.with_columns(problem=problem).select(list(COLUMNS))


def _rejected_share(
    rails: GuardRails, change: PartitionChange, read: _ReadFiles, accepted: pl.DataFrame
) -> CheckOutcome:
    """Check the share of the date's records that are rejected, provided that records read now are among them."""
    assert isinstance(change.data, pl.DataFrame)
    assert isinstance(change.quarantine, pl.DataFrame)
    now = read.quarantine.join(accepted, on="file_key", how="anti")
    rows = int(change.data["records"].sum()) + change.quarantine.height
    if now.is_empty():
        return rails.rejected(rows, 0)
    return rails.rejected(rows, change.quarantine.height, top_reasons(now))


def _misplaced_rows(listing: pl.DataFrame) -> pl.DataFrame:
    """Return quarantine rows for objects without a date in their key, which belong to no report."""
    return listing.select(
        file_key="key",
        line_no=pl.lit(0, pl.Int64),
        raw=pl.lit(""),
        reason_code=pl.lit("misplaced_key"),
        reason="problem",
    )


def _ledger(spec: ReportSpec, present: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    counted = rows.select(
        key="file_key",
        status=pl.when(pl.col("problem").is_null())
        .then(pl.lit("accepted"))
        .when(pl.col("records").is_null())
        .then(pl.lit("rejected"))
        .otherwise(pl.lit(CONTENT_REJECTED)),
        rows_in=pl.col("records") + pl.col("bad_records"),
        rows_out="records",
        rows_quarantined=pl.col("bad_records").fill_null(1),
    )
    listed = present.select("key", "etag", "size_bytes", "last_modified").join(counted, on="key")
    return as_ledger(listed.with_columns(recipe=pl.lit(spec.recipe)))


def _records_conserved(read: _ReadFiles) -> CheckOutcome:
    records = int(read.files["records"].sum())
    passed = read.rows_in == records + read.quarantine.height
    description = f"{read.rows_in} rows read = {records} records + {read.quarantine.height} quarantined"
    return CheckOutcome("records_conserved", passed, description)


def _readable(rows: pl.DataFrame) -> CheckOutcome:
    unreadable = rows.filter(pl.col("problem").is_not_null()).select("file_key", "problem")
    passed = unreadable.is_empty()
    description = "every file could be read" if passed else f"{unreadable.height} files can't be read"
    return CheckOutcome("files_readable", passed, description, unreadable.head(10), blocking=False)


def _facts(rows: pl.DataFrame, read: _ReadFiles) -> dict[str, object]:
    formats: Sequence[tuple[str | None, int]] = rows.group_by("format").len().sort("format").rows()
    return {
        "files": rows.height,
        "files_read": read.files.height,
        "records": int(rows["records"].sum()),
        "bad_records": int(rows["bad_records"].sum()),
        "formats": ", ".join(f"{count} {name or 'unreadable'}" for name, count in formats),
    }
