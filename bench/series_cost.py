"""What one measured step of a bench cost, and the median of many."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """One measured step."""

    who: str
    step: str
    seconds: float
    cpu_seconds: float
    mb_written: float
    files_written: int


def measured(who: str, step: str, folder: Path, call: Callable[[], object]) -> Cost:
    """Run it; what is new in `folder` afterwards is what was written."""
    before = _files(folder)
    cpu, start = cpu_s(), time.perf_counter()
    call()
    seconds, cpu_seconds = time.perf_counter() - start, cpu_s() - cpu
    after = _files(folder)
    new = {path: size for path, size in after.items() if before.get(path) != size}
    cost = Cost(
        who,
        step,
        round(seconds, 3),
        round(cpu_seconds, 3),
        round(sum(size for size, _ in new.values()) / 1e6, 3),
        len(new),
    )
    print(
        f"  {who}: {step}: {cost.seconds:.2f} s, {cost.cpu_seconds:.2f} CPU s, {cost.mb_written:.2f} MB",
        file=sys.stderr,
        flush=True,
    )
    return cost


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.stat(f"{parent}/{name}")  # noqa: PTH116 (a million of them)
            found[f"{parent}/{name}"] = (status.st_size, status.st_mtime_ns)
    return found


def median_ms(call: Callable[[], object], repeats: int = 9) -> float:
    call()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e3)
    return round(statistics.median(taken), 2)


def shares(first: Cost, second: Cost) -> dict[str, float]:
    return {
        "change_time_share": second.seconds / first.seconds,
        "change_bytes_share": second.mb_written / first.mb_written,
    }
