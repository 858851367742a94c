"""Compare what two lakes publish: `python -m tnt_platform_tests.compat.compare_lakes LAKE_A LAKE_B`.

Used to show that two commits publish the same data from the same demo inputs.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tnt_platform.lake.snapshot import Snapshot, current_snapshot
from tnt_platform.storage.objects import Objects

# Columns that differ between two runs of the same code, and why.
LEFT_OUT = {
    "asked_at": "when the rate API was asked",
    "time_taken_ms": "latency of the rate API",
    "attempts": "depends on which requests shared a moment of throttling",
    "captured_at": "when the source was downloaded",
    "collection_date": "when the source was downloaded",
    "processed_at": "when the run read the capture",
    "first_seen_at": "when a row was first read",
    "generated_at": "when the report was written",
    "fetched_at": "when the source was asked",
    "last_modified": "modification time of the served file",
    "etag": "depends on the modification time",
    "object_key": "names the moment of the capture",
    "raw_s3_key": "names the moment of the capture",
    "capture": "names the moment of the capture",
    "url": "holds the free port of the sandbox",
    "run_id": "names the run",
    "timestamp": "when the rate API was asked",
    "latency_p50_ms": "latency of the rate API",
    "latency_p95_ms": "latency of the rate API",
    "latency_p99_ms": "latency of the rate API",
    "oldest": "when the source was downloaded",
    "newest": "when the source was downloaded",
}
# Inside the JSON of a daily report.
_GENERATED_AT = re.compile(r'"generated_at": ?"[^"]*"')
QUARANTINE = ("file_key", "line_no", "reason_code")


def datasets(lake: Path) -> set[str]:
    """Name every dataset that has a current version."""
    root = lake / "datasets"
    return {
        pointer.parent.parent.relative_to(root).as_posix()
        for pointer in root.rglob("index/current_version.txt")
    }


def rows(frame: pl.DataFrame, columns: Sequence[str]) -> Counter[str]:
    """Count each row by its values, so that the order of rows doesn't matter."""
    return Counter(_GENERATED_AT.sub("", repr(row)) for row in frame.select(columns).iter_rows())


def differences(a: Snapshot, b: Snapshot) -> list[str]:
    """Say what differs between two versions of a dataset; an empty list means nothing does."""
    found = []
    schema_a, schema_b = dict(a.schema), dict(b.schema)
    if schema_a != schema_b:
        changed = sorted(str(item) for item in set(schema_a.items()) ^ set(schema_b.items()))
        found.append(f"columns {changed}")
    columns = [name for name in schema_a if name in schema_b and name not in LEFT_OUT]
    data_a, data_b = a.scan().collect(), b.scan().collect()
    if rows(data_a, columns) != rows(data_b, columns):
        alone = [name for name in columns if rows(data_a, [name]) != rows(data_b, [name])]
        found.append(f"rows {data_a.height} and {data_b.height}, in columns {alone or 'combined'}")
    refused_a, refused_b = a.quarantine(), b.quarantine()
    marks = [name for name in QUARANTINE if name in refused_a.columns or name in refused_b.columns]
    if refused_a.height != refused_b.height or (
        refused_a.height and rows(refused_a, marks) != rows(refused_b, marks)
    ):
        found.append(f"quarantine {refused_a.height} and {refused_b.height}")
    return found


def main(arguments: Sequence[str]) -> int:
    """Print one line per dataset; return 1 when any differs."""
    if len(arguments) != 2:
        print("usage: python -m tnt_platform_tests.compat.compare_lakes LAKE_A LAKE_B", file=sys.stderr)
        return 2
    lakes = [Path(argument).resolve() for argument in arguments]
    stores = [Objects.open(lake.as_uri()) for lake in lakes]
    names = sorted(set().union(*(datasets(lake) for lake in lakes)))
    if not names:
        print("neither folder holds a dataset; give the folders that hold datasets/", file=sys.stderr)
        return 2
    differs = False
    for name in names:
        a, b = (current_snapshot(store, name) for store in stores)
        if a is None or b is None:
            print(f"differs  {name}: only in {lakes[0] if b is None else lakes[1]}")
            differs = True
            continue
        found = differences(a, b)
        differs = differs or bool(found)
        count = f"{a.scan().collect().height} rows, {a.quarantine().height} quarantined"
        print(f"{'differs' if found else 'OK':8} {name}: {count}{''.join('; ' + text for text in found)}")
    return int(differs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
