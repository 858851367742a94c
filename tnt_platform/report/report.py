"""`<dataset>`: one report per date, as a row and as the object `reports/<date>.json`."""

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
# Comparisons of a report by name, with the number of days before its date.
COMPARISONS = {"day_before": 1, "same_weekday": 7}


def publish_report(spec: ReportSpec, date: str, workspace: Workspace, run_id: str) -> Published:
    """Publish the report of a date, unless its content is unchanged.

    Unchanged content keeps its `generated_at`, and its object is not rewritten. The object is written before the row
    that names it, so that a crash in between leaves a date that is visibly behind.

    Raises:
        NotFound: the files of the date were not published.
        CheckFailed: the report contradicts its files; neither row nor object is written.
    """
    files = workspace.store.current(spec.dataset(FILES))
    if files is None or files.partition(date) is None:
        raise NotFound(
            f"{spec.name} has no files for {date}; materialize {spec.name}/{FILES} for that date first"
        )
    base = workspace.store.current(spec.dataset(REPORT))
    own = files.scan([date]).collect()
    content = report_of(
        date, own, spec.totals, **{name: _files_before(files, date, n) for name, n in COMPARISONS.items()}
    )
    row = _row(spec, date, content, own, _published_row(base, date), workspace.clock)
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
    """Return the digest of each date's report: of its files, the files it is compared with, and the recipe.

    `files` is the partitions.parquet of `<dataset>/files`.
    """
    changed_by = dict(files.select("partition", "changed_by").iter_rows())
    inputs = {
        date: [
            version,
            *(changed_by.get(other, "") for other in compared_dates(date)),
            spec.recipe,
        ]
        for date, version in changed_by.items()
    }
    return {date: hashlib.sha256("|".join(parts).encode()).hexdigest() for date, parts in inputs.items()}


def object_key(date: str) -> str:
    """Return the key of a date's report in the lake."""
    return f"reports/{date}.json"


def compared_dates(date: str) -> list[str]:
    """Return the dates that the report of a date is compared with."""
    return [_days_before(date, n) for n in COMPARISONS.values()]


def _days_before(date: str, days: int) -> str:
    return (day.fromisoformat(date) - timedelta(days=days)).isoformat()


def _files_before(files: Snapshot, date: str, days: int) -> tuple[str, pl.DataFrame | None]:
    other = _days_before(date, days)
    return other, files.scan([other]).collect() if files.partition(other) else None


def _published_row(base: Snapshot | None, date: str) -> dict[str, Any] | None:
    if base is None or base.partition(date) is None:
        return None
    return base.scan([date]).collect().row(0, named=True)


def _row(
    spec: ReportSpec,
    date: str,
    content: dict[str, Any],
    files: pl.DataFrame,
    published: dict[str, Any] | None,
    clock: Callable[[], datetime],
) -> dict[str, Any]:
    earlier = json.loads(published["report"]) if published else {}
    generated_at = earlier.pop("generated_at", None)
    if published is None or earlier != content:
        generated_at = f"{clock():%Y-%m-%dT%H:%M:%SZ}"
    # Consumers expect date, file_count and total_records first, then generated_at.
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
    """Write the object unless it already holds the report."""
    if not check.passed:
        raise CheckFailed(
            f"{row['object_key']} was not written: {check.description}; compare it with the files' rows",
            (check,),
        )
    body = f"{row['report']}\n".encode()
    try:
        if workspace.lake.get(row["object_key"]) == body:
            return
    except NotFound:
        pass
    workspace.lake.put(row["object_key"], body)


def _ledger(files: Snapshot, date: str) -> pl.DataFrame:
    """Return the version of each day's files that the report is made from."""
    days = [date, *compared_dates(date)]
    rows = files.partitions.filter(pl.col("partition").is_in(days))
    return as_ledger(
        rows.select(pl.format(f"{files.dataset}@{{}}", "partition").alias("key"), etag="changed_by")
    )


def _adds_up(content: dict[str, Any]) -> CheckOutcome:
    files = content["files"]
    records = sum(one["records"] or 0 for one in files)
    passed = len(files) == content["file_count"] and records == content["total_records"]
    description = (
        f"reported {content['total_records']} records in {content['file_count']} files; "
        f"counted {records} in {len(files)}"
    )
    return CheckOutcome("report_adds_up", passed, description)


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
