"""What a run of a series dataset costs in CPU: a first publish, then a run with nothing new, against a stand-in for S3.

    python -m bench.series_run              4 sheets x 30 columns x 5,000 days, 13 series, 65,000 observations
    python -m bench.series_run --small      300 days, for CI

The chain itself is measured, as `tnt run` and the schedule drive it, without Dagster; the tests' S3 server and the web
server that the workbook comes from are other processes, and their CPU is not counted. The old system took 106 CPU
seconds and 17 for the same work. Each measurement is a process of its own; CPU is that of the whole process after its
imports, all threads, user and system.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import xlsxwriter

from bench.series_cost import cpu_s
from tnt_platform.lake.publishing import Workspace
from tnt_platform.lake.versions import VersionedStore
from tnt_platform.series.chain import SeriesChain
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects

RESULTS = Path(__file__).parent / "results" / "series_run.json"
WANTED = {"first publish": 5.0, "nothing new": 1.0}
OLD_SYSTEM_CPU_S = {"first publish": 106.0, "nothing new": 17.0}
SHEETS = ("RESERVAS", "BASE MONETARIA", "DEPOSITOS", "TASAS DE MERCADO")
COLUMNS = 30
HEADER_ROW, SKIPPED = 8, 2
PLACES = [
    ("RESERVAS", "C"), ("RESERVAS", "P"), ("RESERVAS", "Q"), ("BASE MONETARIA", "AD"), ("BASE MONETARIA", "B"),
    ("BASE MONETARIA", "C"), ("DEPOSITOS", "X"), ("DEPOSITOS", "Z"), ("DEPOSITOS", "AA"), ("DEPOSITOS", "B"),
    ("TASAS DE MERCADO", "T"), ("TASAS DE MERCADO", "B"), ("TASAS DE MERCADO", "C"),
]  # fmt: skip
REPEATS = 5
FIRST_DAY = datetime.combine(date(2012, 9, 3), clock_time())


def write_workbook(path: Path, days: int) -> None:
    """Four sheets of 30 columns as the central bank lays them out; every day has a value in every column."""
    random = Random(20261121)
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    as_day = book.add_format({"num_format": "dd/mm/yyyy"})
    for name in SHEETS:
        sheet = book.add_worksheet(name)
        sheet.write_row(HEADER_ROW - 1, 0, ["Fecha", *(f"Serie {number}" for number in range(1, COLUMNS))])
        for number in range(days):
            row = HEADER_ROW + SKIPPED + number
            sheet.write_datetime(row, 0, FIRST_DAY + timedelta(days=number), as_day)
            for column in range(1, COLUMNS):
                sheet.write_number(row, column, round(random.uniform(1, 1e6), 4))
    book.close()


def dataset(url: str) -> SeriesSpec:
    series = [
        {
            "code": f"BENCH_{sheet.replace(' ', '_')}_{column}_D",
            "sheet": sheet,
            "header_row": HEADER_ROW,
            "skip_rows_after_header": SKIPPED,
            "date_column": "A",
            "value_column": column,
            "unit": "ARS",
        }
        for sheet, column in PLACES
    ]
    yaml: Mapping[str, Any] = {
        "provider": "bench",
        "timezone": "America/Argentina/Buenos_Aires",
        "frequency": "D",
        "source": {"url": url},
        "reader": "date_column",
        "series": series,
    }
    return SeriesSpec.model_validate(yaml).placed_in(Path("bench_infomondia"))


def measure(environment: Mapping[str, str], url: str) -> dict[str, float]:
    """One whole run in this process: settings, lake, lease, all steps, notice."""
    spec = dataset(url)
    used, start = cpu_s(), time.perf_counter()
    settings = Settings.from_environment(environment)
    lake = Objects.open(settings.lake_url, options=settings.s3_options())
    store = VersionedStore(
        lake,
        clock=lambda: datetime.now(UTC),
        entropy=secrets.token_bytes,
        code_version="bench",
        scratch=settings.scratch,
    )
    workspace = Workspace(Objects.open(settings.raw_url), lake, store, settings.scratch)
    steps: dict[str, float] = {}
    with SeriesChain(spec, workspace, settings, run_id="bench") as chain:
        for step in spec.steps:
            before = cpu_s()
            published = chain.publish(step)
            steps[f"cpu_s {step}"] = round(cpu_s() - before, 3)
        chain.send_notice()
    return {
        "cpu_s": round(cpu_s() - used, 3),
        "seconds": round(time.perf_counter() - start, 3),
        **steps,
        "observations": published.snapshot.manifest.rows,
        "partitions": published.snapshot.manifest.partitions - 1,  # one is the ledger of the source
        "reads": lake.requests.reads,
        "writes": lake.requests.writes,
        "lists": lake.requests.lists,
        "changed": float(published.changed),
    }


@contextmanager
def servers(folder: Path) -> Iterator[tuple[str, str]]:
    """The endpoint of an S3 and the URL of a site that serves `folder`, each in a process of its own."""
    site = (
        "import sys, time; from pathlib import Path; from tnt_platform.sandbox.downloads import running_downloads\n"
        "with running_downloads(Path(sys.argv[1])) as site:\n    print(site.url, flush=True); time.sleep(36_000)"
    )
    commands = [
        [sys.executable, "-m", "tnt_platform_tests.s3_server", "--port", "0", "--bucket", "lake"],
        [sys.executable, "-c", site, str(folder)],
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    try:
        addresses = [process.stdout.readline().strip() for process in running if process.stdout]
        yield addresses[0], addresses[1]
    finally:
        for process in running:
            process.kill()
            process.wait()


def _apart(environment: Mapping[str, str], url: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.series_run", "--measure", url]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def compare(days: int, repeats: int) -> list[dict[str, object]]:
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temp:
        folder = Path(temp)
        (folder / "site").mkdir()
        write_workbook(folder / "site" / "series.xlsx", days)
        with servers(folder / "site") as (s3, site):
            for again in range(repeats):
                environment = {
                    "TNT_HOME": str(folder / f"home {again}"),
                    "TNT_LAKE_URL": f"s3://lake/{again}",
                    "AWS_ENDPOINT_URL_S3": s3,
                    "AWS_REGION": "us-east-1",
                    "AWS_ACCESS_KEY_ID": "test",
                    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
                }
                for step in ("first publish", "nothing new"):
                    cost = _apart(environment, f"{site}/series.xlsx")
                    assert bool(cost["changed"]) is (step == "first publish")
                    assert cost["writes"] > 0 or step == "nothing new"
                    table.append({"run": step, "repeat": again + 1, **cost})
    return table


def show(table: list[dict[str, object]]) -> None:
    shown = {
        "run": "run",
        "cpu_s": "CPU s",
        "seconds": "seconds",
        "cpu_s capture": "capture",
        "cpu_s series": "series",
        "cpu_s observations": "observ.",
        "reads": "reads",
        "writes": "writes",
        "observations": "rows",
        "partitions": "parts",
    }
    for row in [shown, *table]:
        cells = (f"{row[name]:,}" if isinstance(row[name], int | float) else str(row[name]) for name in shown)
        print("".join(f"{cell:>15}" if at == 0 else f"{cell:>9}" for at, cell in enumerate(cells)))


def summed_up(table: list[dict[str, object]]) -> dict[str, dict[str, float]]:
    """The median and the slowest of each kind of run, printed too."""
    summary: dict[str, dict[str, float]] = {}
    for run, wanted in WANTED.items():
        taken = sorted(float(str(row["cpu_s"])) for row in table if row["run"] == run)
        summary[run] = {
            "median_cpu_s": taken[len(taken) // 2],
            "slowest_cpu_s": taken[-1],
            "wanted_cpu_s": wanted,
        }
        print(
            f"{run}: median {taken[len(taken) // 2]:.2f} CPU s, slowest {taken[-1]:.2f} (wanted {wanted:g}, "
            f"the old system {OLD_SYSTEM_CPU_S[run]:g})"
        )
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="300 days")
    parser.add_argument("--measure", metavar="URL", help="one run in this process, printed as JSON")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(os.environ, options.measure)))
        return
    days = 300 if options.small else 5_000
    table = compare(days, 1 if options.small else REPEATS)
    show(table)
    summary = summed_up(table)
    if options.small:
        return
    about = {"cpus": os.cpu_count(), "python": platform.python_version(), "polars": pl.__version__}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": about, "old_system_cpu_s": OLD_SYSTEM_CPU_S, "summary": summary, "runs": table}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
