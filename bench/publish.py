"""What a publish costs: 48,000 partitions at first, then 200 of them changed.

    python -m bench.publish [--partitions 48000] [--changed 200] [--rows 20] [--lake file:///...]

Prints a table and writes bench/results/publish.json.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from tnt_platform.lake.versions import PartitionChange, RowCounts, Snapshot, VersionedStore
from tnt_platform.storage.objects import Objects

RESULTS = Path(__file__).parent / "results" / "publish.json"
# A small change takes a second, in which other work on the machine shows: every repeat is reported.
REPEATS = 5
DATASET = "bench/observations"
KEY = ["series", "obs_time"]


@dataclass(frozen=True)
class Cost:
    """One measured step."""

    step: str
    seconds: float
    cpu_seconds: float
    load_average: float
    reads: int
    writes: int
    bytes_read: int
    bytes_written: int


def partition_change(number: int, rows: int, revision: int) -> PartitionChange:
    """One month of one series; `revision` decides the values."""
    first = date(1990, 1, 1) + timedelta(days=number)
    name = f"S{number // 480:03d}/year={1985 + number % 480 // 12}/month={number % 12 + 1:02d}"
    data = pl.DataFrame(
        {
            "series": [name] * rows,
            "obs_time": [first + timedelta(days=day) for day in range(rows)],
            "value": [number + day / 7 + revision for day in range(rows)],
        }
    )
    ledger = pl.DataFrame(
        {
            "key": [f"raw/{name}.csv"],
            "etag": [f"{number}-{revision}"],
            "size_bytes": [rows * 30],
            "last_modified": [datetime(2026, 11, 20, tzinfo=UTC)],
            "sha256": ["0" * 64],
            "status": ["accepted"],
            "rows_in": [rows],
            "rows_out": [rows],
            "rows_quarantined": [0],
        }
    )
    counts = RowCounts(rows_in=rows, published=rows)
    return PartitionChange(name, data, ledger, pl.DataFrame(), counts, f"{number}-{revision}")


def measured(objects: Objects, step: str, call: Callable[[], object]) -> Cost:
    before, start, cpu = asdict(objects.requests), time.perf_counter(), time.process_time()
    call()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    used = {name: value - before[name] for name, value in asdict(objects.requests).items()}
    return Cost(
        step,
        round(seconds, 3),
        round(cpu_seconds, 3),
        round(os.getloadavg()[0], 1),
        used["reads"],
        used["writes"],
        used["bytes_read"],
        used["bytes_written"],
    )


def current(store: VersionedStore) -> Snapshot:
    snapshot = store.current(DATASET)
    if snapshot is None:
        raise LookupError(f"{DATASET} was not published")
    return snapshot


def run(url: str, scratch: Path, partitions: int, changed: int, rows: int) -> list[Cost]:
    objects = Objects.open(url)
    store = VersionedStore(
        objects,
        clock=lambda: datetime.now(UTC),
        entropy=os.urandom,
        code_version="bench",
        scratch=scratch,
    )
    everything = [partition_change(number, rows, 0) for number in range(partitions)]
    chosen = range(0, partitions, max(1, partitions // changed))[:changed]
    revisions = [[partition_change(number, rows, 1 + again) for number in chosen] for again in range(REPEATS)]
    last = revisions[-1]
    return [
        measured(
            objects,
            f"first publish of {partitions:,} partitions",
            lambda: store.publish(DATASET, base=None, changes=everything, key=KEY),
        ),
        *(
            measured(
                objects,
                f"{changed} partitions changed, {again + 1} of {REPEATS}",
                lambda some=some: store.publish(DATASET, base=current(store), changes=some, key=KEY),
            )
            for again, some in enumerate(revisions)
        ),
        measured(
            objects,
            "the same change again",
            lambda: store.publish(DATASET, base=current(store), changes=last, key=KEY),
        ),
        measured(objects, "look at the current version", lambda: store.current(DATASET)),
    ]


def show(costs: list[Cost], summary: dict[str, float]) -> None:
    table = Table(
        "step", "seconds", "CPU s", "load", "reads", "writes", "MB read", "MB written", title="publish"
    )
    for cost in costs:
        table.add_row(
            cost.step,
            f"{cost.seconds:.3f}",
            f"{cost.cpu_seconds:.3f}",
            f"{cost.load_average:.1f}",
            f"{cost.reads:,}",
            f"{cost.writes:,}",
            f"{cost.bytes_read / 1e6:.2f}",
            f"{cost.bytes_written / 1e6:.2f}",
        )
    console = Console()
    console.print(table)
    for name, value in summary.items():
        console.print(f"{name}: {value:,.1f}")


@click.command()
@click.option("--partitions", default=48_000, show_default=True)
@click.option("--changed", default=200, show_default=True)
@click.option("--rows", default=20, show_default=True, help="Rows a partition.")
@click.option("--lake", default=None, help="A lake URL; default is a temporary folder.")
def main(partitions: int, changed: int, rows: int, lake: str | None) -> None:
    """Measure a first publish, a small change on top of it, and a change that changes nothing."""
    folder = Path(tempfile.mkdtemp(prefix="bench-publish-"))
    try:
        costs = run(lake or (folder / "lake").as_uri(), folder / "scratch", partitions, changed, rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    full, small = costs[0], costs[1 : 1 + REPEATS]
    walls, cpus = [cost.seconds for cost in small], [cost.cpu_seconds for cost in small]
    summary = {
        "times faster than writing everything (wall, median)": full.seconds / statistics.median(walls),
        "times faster than writing everything (wall, slowest)": full.seconds / max(walls),
        "times less CPU (median)": full.cpu_seconds / statistics.median(cpus),
        "times fewer bytes written": full.bytes_written / small[0].bytes_written,
        "ms a partition at first": full.seconds / partitions * 1e3,
        "peak memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    show(costs, summary)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    about = {"cpus": os.cpu_count(), "python": platform.python_version(), "polars": pl.__version__}
    result = {"machine": about, "costs": [asdict(cost) for cost in costs], "summary": summary}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
