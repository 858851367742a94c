"""1,000 shipper files of 20,000 rows to a published version, beside a bare polars scan -> sink of the same files.

    python -m bench.shipments                1,000 and 2,000 files; a few minutes, 3 GB of temp space
    python -m bench.shipments --files 20     smaller

Unlike `bench.parse`, this is the whole step as the platform runs it: listing, reading, hashing, line numbers, raw text
of rejected rows, ledger, checks on the written draft, and the pointer swap. Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.parse import scan_bare, write_files
from tnt_platform.kinds import transit_spec
from tnt_platform.lake.publishing import open_workspace
from tnt_platform.settings import Settings
from tnt_platform.transit.files import publish_files
from tnt_platform.transit.shipments import publish_shipments
from tnt_platform.transit.spec import TransitSpec

RESULTS = Path(__file__).parent / "results" / "shipments.json"
DATE = "2026-01-12"
WANTED_RATIO = 0.7
WANTED_RSS_MB = 1_000


def publish(spec: TransitSpec, folder: Path, home: Path) -> int:
    """List, parse, check and publish one date."""
    settings = Settings.from_environment(
        {"TNT_HOME": str(home), "TNT_RAW_URL": (folder.parent.parent).as_uri()}
    )
    workspace = open_workspace(settings)
    publish_files(spec, DATE, workspace, "bench")
    published = publish_shipments(spec, DATE, workspace, "bench")
    assert published.counts.balanced
    assert all(check.passed for check in published.checks)
    return published.counts.rows_in


def measure(technique: str, folder: Path) -> dict[str, float]:
    """Run one technique in this process; only its own work is timed, not imports and reading the YAML."""
    spec = transit_spec("transit")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as out:
        start = time.perf_counter()
        rows = publish(spec, folder, Path(out)) if technique == "publish" else scan_bare(folder, Path(out))
        elapsed_s = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rows": rows,
        "seconds": elapsed_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "rows_per_s": rows / elapsed_s,
        "peak_mb": used.ru_maxrss / 1024,
    }


def _apart(technique: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.shipments", "--measure", technique, "--folder", str(folder)]
    result: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return result


def compare(files: int, repeats: int) -> list[dict[str, object]]:
    """Both techniques at `files` and twice as many, alternating; the median ratio counts."""
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as temp:
        for count in (files, 2 * files):
            folder = Path(temp) / str(count) / "transit" / DATE
            folder.mkdir(parents=True)
            write_files(folder, count)
            runs = [(_apart("bare scan", folder), _apart("publish", folder)) for _ in range(repeats)]
            ratios = sorted(ours["rows_per_s"] / bare["rows_per_s"] for bare, ours in runs)
            bare, ours = runs[repeats // 2]
            table.append({"technique": "bare scan", "files": count, **bare, "ratio": 1.0})
            table.append({"technique": "publish", "files": count, **ours, "ratio": ratios[repeats // 2]})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.folder)))
        return
    table = compare(options.files, options.repeats)
    print(
        f"{'technique':<12}{'files':>8}{'rows':>14}{'seconds':>10}{'rows/s':>14}{'ratio':>8}{'peak MB':>10}"
    )
    for row in table:
        print(
            f"{row['technique']:<12}{row['files']:>8,}{row['rows']:>14,}{row['seconds']:>10.2f}"
            f"{row['rows_per_s']:>14,.0f}{row['ratio']:>8.2f}{row['peak_mb']:>10.0f}"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    report = {"wanted_ratio": WANTED_RATIO, "wanted_peak_mb": WANTED_RSS_MB, "runs": table}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
