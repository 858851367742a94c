"""`<dataset>/files`: each file of a date, read and counted; what can't be read is in quarantine with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tnt_platform.discovery.comparison import inputs_digest
from tnt_platform.discovery.listing import list_partition
from tnt_platform.errors import InvalidInput, NotFound
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
from tnt_platform.report.readers.files import BAD, read_report_file
from tnt_platform.report.spec import FILES, FILES_KEY, ReportSpec
from tnt_platform.report.transforms.totals import FILES as COLUMNS
from tnt_platform.report.transforms.totals import exact_text, totals_of
from tnt_platform.storage.objects import Objects


class EmptyDay(NotFound):
    """A date has no file; `is_normal` if the YAML says that this happens."""

    def __init__(self, message: str, *, is_normal: bool) -> None:
        super().__init__(message)
        self.is_normal = is_normal

    def __reduce__(self) -> Any:
        return _empty_day, (str(self), self.is_normal)


def _empty_day(message: str, is_normal: bool) -> EmptyDay:
    return EmptyDay(message, is_normal=is_normal)


@dataclass(frozen=True)
class _Read:
    """Rows of COLUMNS, quarantine rows with their file_key, and how many rows the files have in all."""

    files: pl.DataFrame
    bad: pl.DataFrame
    rows_in: int


def publish_files(spec: ReportSpec, date: str, workspace: Workspace, run_id: str) -> Published:
    """Read the files that lie below the date now; one that was read before by the same recipe is not opened again.

    Raises:
        EmptyDay: there is none; what was published for the date before stays.
    """
    listing = list_partition(workspace.raw, spec.source, date)
    odd = pl.col("problem").is_not_null()
    present = listing.filter(~odd)
    if present.is_empty():
        raise EmptyDay(_nothing_there(spec, date, listing.height), is_normal=spec.empty_days == "normal")
    base = workspace.store.current(spec.dataset(FILES))
    kept = _known(spec, base, date, present)["key"].to_list()
    read = _read_files(spec, workspace, present.filter(~pl.col("key").is_in(kept)))
    change = _change(spec, date, base, present, listing.filter(odd), kept, read)
    assert isinstance(change.data, pl.DataFrame)
    published = publish_checked(
        workspace,
        spec.dataset(FILES),
        change,
        base=base,
        key=FILES_KEY,
        checks=[unique_keys(FILES_KEY, date), _records_conserved(read), _readable(change.data)],
        run_id=run_id,
    )
    return published.with_facts(_facts(change.data, read))


def _nothing_there(spec: ReportSpec, date: str, misplaced: int) -> str:
    said = f"no file for {date} below {spec.source.prefix}"
    if misplaced:
        said += f" ({misplaced} objects there have a key that says no date)"
    return f"{said}: no report; look at who delivers, or set `empty_days: normal` if such days are"


def _known(spec: ReportSpec, base: Snapshot | None, date: str, present: pl.DataFrame) -> pl.DataFrame:
    """The ledger rows of files that are as they were read, by the recipe of today."""
    ledger = base.inputs(date) if base is not None else pl.DataFrame()
    if ledger.is_empty() or "recipe" not in ledger.columns:
        return pl.DataFrame(schema={"key": pl.String()})
    same = ledger.join(present, on=["key", "etag", "size_bytes"], how="semi", nulls_equal=True)
    return same.filter(pl.col("recipe") == spec.recipe)


def _read_files(spec: ReportSpec, workspace: Workspace, files: pl.DataFrame) -> _Read:
    rows, quarantines, rows_in = [], [pl.DataFrame(schema={"file_key": pl.String(), **BAD})], 0
    for key, size_bytes in files.select("key", "size_bytes").iter_rows():
        row, bad, count = _read_one(spec, key, size_bytes, workspace.raw)
        rows.append(row)
        quarantines.append(bad.select(pl.lit(key).alias("file_key"), *BAD))
        rows_in += count
    return _Read(pl.DataFrame(rows, schema=dict(COLUMNS)), pl.concat(quarantines), rows_in)


def _read_one(
    spec: ReportSpec, key: str, size_bytes: int, raw: Objects
) -> tuple[dict[str, Any], pl.DataFrame, int]:
    """A row of COLUMNS, the bad records, and how many there are in all; a file that can't be read is one bad row."""
    row: dict[str, Any] = {**dict.fromkeys(COLUMNS), "file_key": key, "size_bytes": size_bytes}
    try:
        if size_bytes > spec.max_file_mb * 1_000_000:
            message = f"the file has {size_bytes:,} bytes, more than max_file_mb: {spec.max_file_mb:g}"
            raise InvalidInput("too_large", f"{message}; deliver it in smaller files, or raise the limit")
        found = read_report_file(key.rsplit("/", 1)[-1], raw.get(key), spec.totals)
    except InvalidInput as fault:
        bad = pl.DataFrame([(0, "", fault.reason_code, str(fault))], schema=BAD, orient="row")
        return {**row, "problem": f"{fault.reason_code}: {fault}"}, bad, 1
    totals = totals_of(found.records, spec.totals)
    bad = pl.concat([found.bad, totals.bad]).sort("line_no", maintain_order=True)
    row |= {
        "format": found.format,
        "compression": found.compression,
        "records": found.records.height - totals.bad.height,
        "bad_records": bad.height,
        "columns": list(found.columns),
        "totals": [{"column": name, "total": exact_text(total)} for name, total in totals.sums.items()],
    }
    return row, bad, found.rows_in


def _change(
    spec: ReportSpec,
    date: str,
    base: Snapshot | None,
    present: pl.DataFrame,
    misplaced: pl.DataFrame,
    kept: Sequence[str],
    read: _Read,
) -> PartitionChange:
    """The date as it will be: what was read now, and of the `kept` files what was read before."""
    files, quarantine = [read.files], [read.bad, _misplaced_rows(misplaced)]
    if base is not None and kept:
        before = base.scan([date]).filter(pl.col("file_key").is_in(kept))
        files.append(before.select(list(COLUMNS)).collect())
        earlier = base.quarantine([date]).filter(pl.col("file_key").is_in(kept))
        quarantine.append(earlier.select("file_key", *BAD))
    rows = pl.concat(files).sort("file_key")
    refused = pl.concat(quarantine).with_columns(first_seen_at=pl.lit(None, pl.Datetime("us", "UTC")))
    return PartitionChange(
        partition=date,
        data=rows,
        inputs=_ledger(spec, present, rows),
        quarantine=refused,
        counts=RowCounts(
            rows_in=rows.height + refused.height, published=rows.height, quarantined=refused.height
        ),
        inputs_digest=inputs_digest(present),
    )


def _misplaced_rows(listing: pl.DataFrame) -> pl.DataFrame:
    """Objects below the prefix whose key says no date: they belong to no report, and somebody should know."""
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
        status=pl.when(pl.col("problem").is_null()).then(pl.lit("accepted")).otherwise(pl.lit("rejected")),
        rows_in=pl.col("records") + pl.col("bad_records"),
        rows_out="records",
        rows_quarantined=pl.col("bad_records").fill_null(1),
    )
    listed = present.select("key", "etag", "size_bytes", "last_modified").join(counted, on="key")
    return as_ledger(listed.with_columns(recipe=pl.lit(spec.recipe)))


def _records_conserved(read: _Read) -> CheckOutcome:
    """What the readers counted as rows is what became of them."""
    records = int(read.files["records"].sum())
    passed = read.rows_in == records + read.bad.height
    said = f"{read.rows_in} rows read = {records} records + {read.bad.height} quarantined"
    return CheckOutcome("records_conserved", passed, said)


def _readable(rows: pl.DataFrame) -> CheckOutcome:
    odd = rows.filter(pl.col("problem").is_not_null()).select("file_key", "problem")
    said = "every file could be read" if odd.is_empty() else f"{odd.height} files can't be read"
    return CheckOutcome("files_readable", odd.is_empty(), said, odd.head(10), blocking=False)


def _facts(rows: pl.DataFrame, read: _Read) -> dict[str, object]:
    formats: Sequence[tuple[str | None, int]] = rows.group_by("format").len().sort("format").rows()
    return {
        "files": rows.height,
        "files_read": read.files.height,
        "records": int(rows["records"].sum()),
        "bad_records": int(rows["bad_records"].sum()),
        "formats": ", ".join(f"{count} {name or 'unreadable'}" for name, count in formats),
    }
