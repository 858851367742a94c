"""A million observations in 200 series, published by month, then 200 of 48,000 month partitions changed.

    python -m bench.series_publish              200 series x 240 months; several minutes, 2 GB of temp space
    python -m bench.series_publish --small      10 series x 24 months, for CI

Ours is the whole step of a dataset (read the newest series, compare with what is published, write, check, swap). Beside
it are deltalake and pyiceberg with the same rows in the same month partitions; those are given only the rows of the 200
partitions to replace, ours finds them out of the million. Reads are the median of several, from warm page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import polars as pl

from bench.series_cost import Cost
from bench.series_others import delta, iceberg, iceberg_by_series
from bench.series_ours import ours
from bench.series_rows import observations

RESULTS = Path(__file__).parent / "results" / "series_publish.json"
WANTED = {"change_time_share": 0.05, "change_bytes_share": 0.10, "read_ms": 50.0, "year_scan_times": 10.0}
# Series, months, partitions to change, observations a series.
WHOLE = (200, 240, 200, 5_000)
SMALL = (10, 24, 10, 500)


def show(costs: list[Cost], summaries: dict[str, dict[str, float]]) -> None:
    print(f"{'who':<20}{'step':<36}{'seconds':>10}{'CPU s':>10}{'MB written':>12}{'files':>9}")
    for cost in costs:
        print(
            f"{cost.who:<20}{cost.step:<36}{cost.seconds:>10.2f}{cost.cpu_seconds:>10.2f}{cost.mb_written:>12.2f}"
            f"{cost.files_written:>9,}"
        )
    for who, summary in summaries.items():
        for name, value in summary.items():
            wanted = f"  (wanted {WANTED[name]:g})" if who == "ours" and name in WANTED else ""
            print(f"{who:<20}{name:<36}{value:>12.4f}{wanted}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


TECHNIQUES: dict[str, Callable[[Path, pl.DataFrame, int], tuple[list[Cost], dict[str, float]]]] = {
    "ours": ours,
    "deltalake": delta,
    "pyiceberg by series": iceberg_by_series,
    "pyiceberg": iceberg,
}


def measure(who: str, *, small: bool) -> None:
    """One technique in this process; its figures are printed as JSON."""
    series, months, changed, a_series = SMALL if small else WHOLE
    rows = observations(series, months, a_series)
    folder = Path(tempfile.mkdtemp(prefix="bench-series-", dir=os.environ.get("TMPDIR")))
    try:
        costs, summary = TECHNIQUES[who](folder, rows, changed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"costs": [asdict(cost) for cost in costs], "summary": summary}))


def apart(who: str, *, small: bool, patience_s: float) -> tuple[list[Cost], dict[str, float]]:
    """The technique in a process of its own; others than ours are given up after a while."""
    command = [
        sys.executable,
        "-m",
        "bench.series_publish",
        "--measure",
        who,
        *(["--small"] if small else []),
    ]
    timeout_s = None if who == "ours" else patience_s
    try:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return [], {"given_up_after_s": patience_s}
    found = json.loads(done.stdout)
    return [Cost(**cost) for cost in found["costs"]], found["summary"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="10 series x 24 months")
    parser.add_argument("--only", choices=[*TECHNIQUES])
    parser.add_argument("--patience-s", type=float, default=1_800.0, help="for each of the others")
    parser.add_argument("--measure", choices=[*TECHNIQUES])
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, small=options.small)
        return
    costs: list[Cost] = []
    summaries: dict[str, dict[str, float]] = {}
    for who in TECHNIQUES:
        if options.only not in (None, who) or (who != "ours" and _version(who.split()[0]) is None):
            continue
        found, summaries[who] = apart(who, small=options.small, patience_s=options.patience_s)
        costs += found
    show(costs, summaries)
    if options.only is None and not options.small:
        about: dict[str, object] = {"cpus": os.cpu_count(), "python": platform.python_version()}
        about |= {name: _version(name) for name in ("polars", "deltalake", "pyiceberg")}
        series, months, changed, a_series = WHOLE
        work = {
            "series": series,
            "observations": series * a_series,
            "partitions": series * months,
            "changed": changed,
        }
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        result = {
            "machine": about,
            "work": work,
            "wanted": WANTED,
            "costs": [asdict(c) for c in costs],
            "summary": summaries,
        }
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
