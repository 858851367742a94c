"""Run every benchmark, one after the other: `python -m bench [NAME ...]`."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "parse",
    "shipments",
    "publish",
    "sensor_tick",
    "enrichment",
    "series_publish",
    "series_run",
    "workbook",
    "directory_sync",
    "web",
    "cost",
)

for name in sys.argv[1:] or BENCHMARKS:
    print(f"\n== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)
