"""What 1,000 small files cost on AWS: every request counted, every second measured, priced by services/prices.yaml.

    python -m bench.cost [--files 1000]

`tnt demo`'s files in moto's S3 over HTTP, with events in SQS and results in DynamoDB: a tick of the sensor, a process
for each date as ECS would start a task for it, then a tick that deletes messages, counted as often as all of them
need. Waiting for the carrier's API is priced apart: it is as long as the carrier makes it. moto answers more slowly
than S3, so that the seconds are a ceiling.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.counted_aws import CountedAws, counted_aws
from tnt_platform.sandbox.generator import SamplePlan, made_files, reference_data
from tnt_platform.sandbox.running import rate_api_process
from tnt_platform.services.cost import CostBreakdown, Hardware, Prices, cost_usd

RESULTS = Path(__file__).parent / "results" / "cost.json"
DATES = 4
ROWS_PER_FILE = 24
LATENCY_MS = 20
MESSAGES_PER_TICK = 100
# A task has its processor to itself. Where others share it, no more than so many seconds count for one of processor.
MOST_PER_CPU = 2
VCPU, MEMORY_GB = 1.0, 2.0
TARGET_USD = 0.02
# One task a file, as the system did that this one replaces; see tnt_platform_tests/services/test_cost.py.
OLD_USD = 2.05
WRITES, READS, LISTS = {"PutObject", "PostObject"}, {"GetObject", "HeadObject"}, {"ListObjects"}


@dataclass
class Measured:
    """One pass: requests by service and operation, and what each task took."""

    files: int
    rows: int
    requests: Counter[str] = field(default_factory=Counter)
    task_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    api_wait_s: list[float] = field(default_factory=list)
    write_units: int = 0
    read_units: int = 0
    idle_tick: Counter[str] = field(default_factory=Counter)

    def of(self, service: str, operations: set[str] | None = None) -> int:
        """How many requests a service got, or some operations of it."""
        named = [(kind.split(" ", 1), count) for kind, count in self.requests.items()]
        return sum(n for (who, what), n in named if who == service and (not operations or what in operations))

    def cost(self, hardware: Hardware, *, waiting: bool) -> CostBreakdown:
        """Dollars of all tasks and requests, with or without the seconds that went into waiting for the carrier."""
        prices = Prices.load()
        worked_s = [
            min(took - waited, cpu * MOST_PER_CPU)
            for took, waited, cpu in zip(self.task_s, self.api_wait_s, self.cpu_s, strict=True)
        ]
        wait_s = self.api_wait_s if waiting else [0.0] * len(worked_s)
        billed = [
            max(prices.fargate.minimum_billed_s, prices.fargate.start_s + worked + waited)
            for worked, waited in zip(worked_s, wait_s, strict=True)
        ]
        return cost_usd(
            task_seconds=sum(billed),
            tasks=len(billed),
            vcpu=VCPU,
            memory_gb=MEMORY_GB,
            hardware=hardware,
            s3_writes=self.of("s3", WRITES),
            s3_reads=self.of("s3", READS),
            s3_lists=self.of("s3", LISTS),
            dynamodb_writes=self.write_units,
            dynamodb_reads=self.read_units,
            sqs_requests=self.of("sqs"),
            prices=prices,
        )

    def per_1000(self, hardware: Hardware) -> float:
        """Compute and requests for 1,000 files, in dollars; the carrier's time is not in it."""
        return self.cost(hardware, waiting=False).total / self.files * 1000


def measure(files: int = 1000) -> Measured:
    """Publish `files` shipper files of the last four days from one stand-in of AWS to the same."""
    today = dt.datetime.now(dt.UTC).date()
    plan = SamplePlan(
        dates=[today - dt.timedelta(days=back) for back in range(1, DATES + 1)],
        files=files // DATES,
        rows_per_file=ROWS_PER_FILE,
        special_files=False,
        seed=7,
        prefix="landing/transit",
        reference_key="landing/config/dest.csv",
    )
    made = list(made_files(plan))
    with (
        counted_aws() as aws,
        rate_api_process("--latency-ms", str(LATENCY_MS)) as api,
        tempfile.TemporaryDirectory(prefix="bench-cost-") as home,
    ):
        aws.drop([(plan.reference_key, reference_data(plan)), *((one.key, one.data) for one in made)])
        environment = {**os.environ, **aws.environment(), "TNT_HOME": home, "TNT_RATE_API_URL": api.url}
        found = Measured(files=len(made), rows=sum(one.rows.total() for one in made))
        _publish(aws, environment, found, [one.key for one in made])
    return found


def _publish(aws: CountedAws, environment: dict[str, str], found: Measured, keys: Sequence[str]) -> None:
    """A tick, the runs it asks for, and what it takes to be rid of the messages."""
    aws.tell(keys)
    before = aws.counts()
    for date in _worker(environment, "tick", "1")["dates"]:
        started = time.perf_counter()
        took = _worker(environment, "run", date)
        found.task_s.append(time.perf_counter() - started)
        found.cpu_s.append(took["cpu_s"])
        found.api_wait_s.append(took["api_wait_s"])
        found.write_units += took["dynamodb_write_units"]
        found.read_units += took["dynamodb_read_units"]
    found.requests += aws.counts() - before
    # One tick takes the messages, and the next one deletes them: so many pairs are needed for all.
    ticks = math.ceil(found.files / MESSAGES_PER_TICK)
    aws.purge()
    aws.tell(keys[:MESSAGES_PER_TICK])
    before = aws.counts()
    left = _worker(environment, "tick", "2")["dates"]
    assert not left, f"not published: {left}"
    assert not aws.waiting()
    for kind, count in (aws.counts() - before).items():
        found.requests[kind] += count * ticks
    # S3 pays for telling the queue about each file.
    found.requests["sqs SendMessage (by S3)"] = found.files
    before = aws.counts()
    _worker(environment, "tick", "1")
    found.idle_tick = aws.counts() - before


def _worker(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.cost_worker", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def markdown(figures: Mapping[str, Any]) -> str:
    """The table of docs/operations.md, from the JSON of a measurement."""
    on_demand, spot = figures["usd_per_1000_files"].values()
    lines = ["| US dollars for 1,000 files | on demand | Spot |", "|---|---:|---:|"]
    names = {
        "compute": f"{figures['tasks']} tasks of 1 vCPU and 2 GB",
        "s3_requests": "S3 requests",
        "sqs": "SQS requests, those of S3 included",
        "dynamodb": f"DynamoDB, {figures['rows']:,} rows for live dashboards",
        "compute_and_requests": f"**together (wanted: {figures['target_usd']})**",
        "without_live_table": "the same without the rows for dashboards",
        "waiting_for_the_carrier": "waiting for the carrier (20 ms an answer)",
    }
    for name, said in names.items():
        lines.append(f"| {said} | {on_demand[name]:.4f} | {spot[name]:.4f} |")
    counted = ", ".join(f"{count:,} {kind}" for kind, count in figures["requests"].items())
    return "\n".join(lines) + f"\n\nRequests: {counted}."


def report(found: Measured) -> dict[str, Any]:
    """The figures as JSON, dollars for 1,000 files."""
    scale = 1000 / found.files
    by_hardware = {}
    for hardware in ("x86", "x86_spot"):
        alone = found.cost(hardware, waiting=False)  # type: ignore[arg-type]
        whole = found.cost(hardware, waiting=True)  # type: ignore[arg-type]
        by_hardware[hardware] = {
            **{name: round(usd * scale, 6) for name, usd in asdict(alone).items()},
            "compute_and_requests": round(alone.total * scale, 6),
            "without_live_table": round((alone.total - alone.dynamodb) * scale, 6),
            "waiting_for_the_carrier": round((whole.total - alone.total) * scale, 6),
        }
    return {
        "files": found.files,
        "rows": found.rows,
        "tasks": len(found.task_s),
        "task_s": [round(s, 1) for s in found.task_s],
        "cpu_s": [round(s, 1) for s in found.cpu_s],
        "api_wait_s": [round(s, 1) for s in found.api_wait_s],
        "requests": dict(sorted(found.requests.items())),
        "dynamodb_write_units": found.write_units,
        "dynamodb_read_units": found.read_units,
        "requests_of_an_idle_tick": dict(sorted(found.idle_tick.items())),
        "usd_per_1000_files": by_hardware,
        "target_usd": TARGET_USD,
        "old_usd": OLD_USD,
        "meets_target": all(found.per_1000(h) <= TARGET_USD for h in ("x86", "x86_spot")),
    }


def main() -> None:
    """Measure, print tables, write bench/results/cost.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    figures = report(measure(parser.parse_args().files))
    requests = Table("request", "count", title=f"requests for {figures['files']:,} files on {DATES} dates")
    for kind, count in figures["requests"].items():
        requests.add_row(kind, f"{count:,}")
    dollars = Table(
        "US dollars for 1,000 files",
        "on demand",
        "Spot",
        title=f"wanted at most ${TARGET_USD}; one task a file cost ${OLD_USD}",
    )
    on_demand, spot = figures["usd_per_1000_files"].values()
    for name in on_demand:
        dollars.add_row(name.replace("_", " "), f"{on_demand[name]:.5f}", f"{spot[name]:.5f}")
    console = Console()
    console.print(requests)
    console.print(dollars)
    print(
        f"task seconds {figures['task_s']}, of them processor {figures['cpu_s']}, carrier {figures['api_wait_s']}"
    )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
