"""`<dataset>`: one report a date, as a row and as the object `reports/<date>.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import date as day
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tnt_platform.errors import CheckFailed, NotFound
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
from tnt_platform.report.spec import FILES, REPORT, REPORT_KEY, ReportSpec
from tnt_platform.report.transforms.totals import report_of

REPORTS: dict[str, pl.DataType] = {
    "date": pl.Date(),
    "file_count": pl.Int64(),
    "total_records": pl.Int64(),
    "bad_records": pl.Int64(),
    "size_bytes": pl.Int64(),
    "generated_at": pl.Datetime("us", "UTC"),
    "object_key": pl.String(),
    "report": pl.String(),
}
# The days a report is compared with: days before, by the name of the comparison.
COMPARED = {"day_before": 1, "same_weekday": 7}


def publish_report(spec: ReportSpec, date: str, workspace: Workspace, run_id: str) -> Published:
    """Write the report of a date, unless it says already what its files and those it is compared with say.

    The same content keeps its `generated_at`, and its object is not written again. The object is put before the row
    that names it, so that a crash between leaves a date that is behind, not one that looks finished.

    Raises:
        NotFound: the date's files were not published.
        CheckFailed: the report contradicts its files; neither row nor object is written.
    """
    files = workspace.store.current(spec.dataset(FILES))
    if files is None or files.partition(date) is None:
        raise NotFound(f"{spec.name} has no files of {date}: materialize {spec.name}/{FILES} for it first")
    base = workspace.store.current(spec.dataset(REPORT))
    own = files.scan([date]).collect()
    content = report_of(
        date, own, spec.totals, **{name: _other(files, date, n) for name, n in COMPARED.items()}
    )
    row = _row(spec, date, content, own, _before(base, date), workspace.clock)
    adds_up = _adds_up(content)
    _put_report(workspace, row, adds_up)
    change = PartitionChange(
        partition=date,
        data=pl.DataFrame([row], schema=REPORTS),
        inputs=_ledger(files, date),
        counts=RowCounts(rows_in=1, published=1),
        inputs_digest=digests_wanted(spec, files.partitions)[date],
    )
    published = publish_checked(
        workspace,
        spec.dataset(REPORT),
        change,
        base=base,
        key=REPORT_KEY,
        checks=[adds_up, unique_keys(REPORT_KEY, date)],
        run_id=run_id,
    )
    return published.with_facts(_facts(row, content))


def digests_wanted(spec: ReportSpec, files: pl.DataFrame) -> dict[str, str]:
    """A digest of what each date's report is to be made from: its files, those it is compared with, the recipe.

    `files` is partitions.parquet of `<dataset>/files`.
    """
    changed_by = dict(files.select("partition", "changed_by").iter_rows())
    made_from = {
        date: [version, *(changed_by.get(_days_before(date, n), "") for n in COMPARED.values()), spec.recipe]
        for date, version in changed_by.items()
    }
    return {date: hashlib.sha256("|".join(parts).encode()).hexdigest() for date, parts in made_from.items()}


def object_key(date: str) -> str:
    """Where the report of a date lies in the lake."""
    return f"reports/{date}.json"


def _days_before(date: str, days: int) -> str:
    return (day.fromisoformat(date) - timedelta(days=days)).isoformat()


def _other(files: Snapshot, date: str, days: int) -> tuple[str, pl.DataFrame | None]:
    other = _days_before(date, days)
    return other, files.scan([other]).collect() if files.partition(other) else None


def _before(base: Snapshot | None, date: str) -> dict[str, Any] | None:
    if base is None or base.partition(date) is None:
        return None
    return base.scan([date]).collect().row(0, named=True)


def _row(
    spec: ReportSpec,
    date: str,
    content: dict[str, Any],
    files: pl.DataFrame,
    before: dict[str, Any] | None,
    clock: Callable[[], datetime],
) -> dict[str, Any]:
    earlier = json.loads(before["report"]) if before else {}
    generated_at = earlier.pop("generated_at", None)
    if before is None or earlier != content:
        generated_at = f"{clock():%Y-%m-%dT%H:%M:%SZ}"
    # As in the seed: date, file_count and total_records, then when.
    report = {**dict(list(content.items())[:3]), "generated_at": generated_at, **content}
    return {
        "date": day.fromisoformat(date),
        "file_count": content["file_count"],
        "total_records": content["total_records"],
        "bad_records": content["bad_records"],
        "size_bytes": int(files["size_bytes"].sum()),
        "generated_at": datetime.fromisoformat(str(generated_at)),
        "object_key": object_key(date),
        "report": json.dumps(report, ensure_ascii=False, indent=2),
    }


def _put_report(workspace: Workspace, row: dict[str, Any], check: CheckOutcome) -> None:
    """Bring the object up to date with the row; one that is already is left alone."""
    if not check.passed:
        raise CheckFailed(f"{row['object_key']} was not written: {check.description}", (check,))
    body = f"{row['report']}\n".encode()
    try:
        if workspace.lake.get(row["object_key"]) == body:
            return
    except NotFound:
        pass
    workspace.lake.put(row["object_key"], body)


def _ledger(files: Snapshot, date: str) -> pl.DataFrame:
    """Which versions of the files of which days the report was made from."""
    days = [date, *(_days_before(date, n) for n in COMPARED.values())]
    rows = files.partitions.filter(pl.col("partition").is_in(days))
    return as_ledger(
        rows.select(pl.format(f"{files.dataset}@{{}}", "partition").alias("key"), etag="changed_by")
    )


def _adds_up(content: dict[str, Any]) -> CheckOutcome:
    files = content["files"]
    records = sum(one["records"] or 0 for one in files)
    passed = len(files) == content["file_count"] and records == content["total_records"]
    said = f"{content['total_records']} records in {content['file_count']} files; they sum to {records} in {len(files)}"
    return CheckOutcome("report_adds_up", passed, said)


def _facts(row: dict[str, Any], content: dict[str, Any]) -> dict[str, object]:
    facts: dict[str, object] = {
        "file_count": row["file_count"],
        "total_records": row["total_records"],
        "bad_records": row["bad_records"],
        "report_object": row["object_key"],
        "generated_at": str(row["generated_at"]),
    }
    facts |= {f"total_{name}": total for name, total in content["totals"].items() if total is not None}
    for name, other in content["compared"].items():
        if other is not None:
            facts[f"records_since_{name}"] = other["total_records_change"]
    return facts
