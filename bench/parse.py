"""How fast dirty shipper files become typed Parquet the careful way, next to a bare polars scan of the same files.

    python -m bench.parse                 1,000 and 2,000 files of 20,000 rows; a few minutes, 2 GB of temp space
    python -m bench.parse --files 20      a smaller run for CI

Each measurement is a process of its own, so that its peak memory is its own. The bare scan keeps no line numbers, no
raw text and no counts, and turns a bad number into null; it is the ceiling, not an alternative. The careful way keeps
the raw text of every row; a transit dataset reads most rows without it, which `bench.shipments` measures.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from random import Random

import polars as pl

from tnt_platform.readers.column import Column
from tnt_platform.readers.columns import parse_columns
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, iter_batches, read_rows

ROWS_PER_FILE = 20_000
DIRTY_SHARE = 0.005
RESULTS = Path(__file__).parent / "results" / "parse.json"
# One more than the cores this is meant for: while one batch waits for the interpreter, the others compute.
WORKERS = 3
WANTED_RATIO = 0.7
WANTED_RSS_MB = 1_000

LAYOUT = DelimitedLayout(separator="|", header=False, min_columns=6, max_columns=8)
COLUMNS = (
    Column(name="origin", source=0, type="postal_code", required=True),
    Column(name="destination", source=1, type="postal_code", required=True),
    Column(name="state", source=2, required=True),
    Column(name="expected_ground_days", source=3, type="days", required=True),
    Column(name="second_days", source=4, type="days"),
    Column(name="zone", source=5),
    Column(name="flag_1", source=6, type="boolean"),
    Column(name="flag_2", source=7, type="boolean"),
)
DIRTY_ROWS = (
    "10022|00501|NY|abc|2|2|Y|Y",
    "10022|00501|NY|-1|2|2|Y|Y",
    "10022|00501|NY|3.0|2|2|Y|Y",
    "10022|501|NY|1|2|2|Y|Y",
    "1002A|00501|NY|1|2|2|Y|Y",
    "10022|00501|NY|1",
    "10022|00501|NY|1|2|2|Y|Y|Y|Y",
    '"10022|00501|NY|1|2|2|Y|Y',
    "",
)


def write_files(folder: Path, count: int) -> None:
    """Write `count` shipper files, a quarter of their rows with the ragged tail, 0.5% of them dirty."""
    random = Random(20261121)
    # Fifty contents, over and over: making rows up takes longer than parsing them.
    contents = ["\n".join(_rows(random)) + "\n" for _ in range(min(count, 50))]
    for number in range(count):
        (folder / f"{number:06d}.txt").write_text(contents[number % len(contents)])


def _rows(random: Random) -> Iterator[str]:
    origin = f"{random.randrange(501, 99_951):05d}"
    return (_row(random, origin) for _ in range(ROWS_PER_FILE))


def _row(random: Random, origin: str) -> str:
    if random.random() < DIRTY_SHARE:
        return random.choice(DIRTY_ROWS)
    bits = random.getrandbits(24)
    destination = 501 + random.getrandbits(16)
    row = f"{origin}|{destination:05d}|{('NY', 'PR', 'CA', 'TX')[bits & 3]}|{1 + (bits >> 2 & 3)}|{2 + (bits >> 4 & 3)}"
    tail = f"|{2 + (bits >> 6 & 3)}"
    return row + tail + ("|Y|Y", "|Y|N", "|N|Y", "")[bits >> 8 & 3]


def scan_bare(folder: Path, out: Path) -> int:
    """Turn the files into one typed Parquet file as fast as polars can."""
    types = {"days": pl.Int64, "integer": pl.Int64}
    schema = {column.name: types.get(column.type, pl.String) for column in COLUMNS}
    pl.scan_csv(
        folder / "*.txt",
        separator="|",
        has_header=False,
        schema=schema,
        quote_char=None,
        ignore_errors=True,
        truncate_ragged_lines=True,
        missing_columns="insert",
    ).sink_parquet(out / "all.parquet")
    return int(pl.scan_parquet(out / "all.parquet").select(pl.len()).collect().item())


def parse_and_write(folder: Path, out: Path) -> int:
    """Turn the files into good rows, bad rows and counts, a few batches at a time."""
    files = (RawFile(path.name, path.read_bytes()) for path in sorted(folder.glob("*.txt")))
    rows_in = 0
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        running: set[Future[int]] = set()
        for number, batch in enumerate(iter_batches(files)):
            if len(running) == WORKERS:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                rows_in += sum(future.result() for future in done)
            running.add(pool.submit(_write_batch, batch, number, out))
        return rows_in + sum(future.result() for future in running)


def _write_batch(batch: list[RawFile], number: int, out: Path) -> int:
    rows = read_rows(batch, LAYOUT)
    typed, refused = parse_columns(rows.good_cells, COLUMNS)
    bad = pl.concat([rows.bad, refused])
    rows_in = int(rows.files["rows_in"].sum())
    assert rows_in == typed.height + bad.height + int(rows.files["blank_lines"].sum())
    for name, frame in (("good", typed), ("bad", bad), ("files", rows.files)):
        # Level 1 packs these columns as small as the default level does, in less time.
        frame.write_parquet(out / f"{name}-{number:05d}.parquet", compression_level=1)
    return rows_in


TECHNIQUES = {"bare scan": scan_bare, "parse": parse_and_write}


def measure(technique: str, folder: Path) -> dict[str, float]:
    """Run one technique in this process and report its rows, seconds and peak memory."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        start, start_cpu = time.perf_counter(), time.process_time()
        rows = TECHNIQUES[technique](folder, Path(out))
        elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "rows": rows,
        "seconds": elapsed_s,
        "cpu_s": cpu_s,
        "rows_per_s": rows / elapsed_s,
        "peak_mb": peak_mb,
    }


def _measured_apart(technique: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.parse", "--measure", technique, "--folder", str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(answer)
    return result


def compare(files: int, repeats: int) -> list[dict[str, object]]:
    """Measure both techniques at `files` and twice as many, alternating; the median by rows/s counts."""
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as temp:
        for count in (files, 2 * files):
            folder = Path(temp) / f"{count}"
            folder.mkdir()
            write_files(folder, count)
            runs = [{name: _measured_apart(name, folder) for name in TECHNIQUES} for _ in range(repeats)]
            ratio = _median(run["parse"]["rows_per_s"] / run["bare scan"]["rows_per_s"] for run in runs)
            # On a machine that does other work too, seconds of CPU say more than seconds on the clock.
            cpu_ratio = _median(run["bare scan"]["cpu_s"] / run["parse"]["cpu_s"] for run in runs)
            for name in TECHNIQUES:
                middle = sorted((run[name] for run in runs), key=lambda r: r["rows_per_s"])[repeats // 2]
                peak_mb = max(run[name]["peak_mb"] for run in runs)
                row = {"technique": name, "files": count, **middle, "peak_mb": peak_mb}
                is_ours = name == "parse"
                table.append(
                    row | {"ratio": ratio if is_ours else 1.0, "cpu_ratio": cpu_ratio if is_ours else 1.0}
                )
    return table


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _lines(table: list[dict[str, object]]) -> Iterator[str]:
    columns = ("files", "rows", "seconds", "cpu_s", "rows_per_s", "ratio", "cpu_ratio", "peak_mb")
    digits = {"seconds": 2, "cpu_s": 2, "ratio": 2, "cpu_ratio": 2}
    yield f"{'technique':<12}" + "".join(f"{name:>13}" for name in columns)
    for row in table:
        yield f"{row['technique']:<12}" + "".join(
            f"{row[name]:>13,.{digits.get(name, 0)}f}" for name in columns
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=TECHNIQUES)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.folder)))
        return
    table = compare(options.files, options.repeats)
    print("\n".join(_lines(table)))
    RESULTS.parent.mkdir(exist_ok=True)
    report = {
        "wanted_ratio": WANTED_RATIO,
        "wanted_peak_mb": WANTED_RSS_MB,
        "polars": pl.__version__,
        "runs": table,
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
