"""How long one look at a bucket takes: 100,000 keys in 365 dates, of which 3 files changed.

    python bench/sensor_tick.py [--keys 100000] [--rounds 3]

Everything runs against the tests' S3 server in a process of its own; each contender runs in a fresh
process, so that its peak memory is its own. Times leave out imports. The peers only list: they find no
overwritten or late file, and compare nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "sensor_tick.json"
PATTERN = r"(?P<date>\d{4}-\d{2}-\d{2})/(?P<shipper_id>[^/]+)\.txt"
FIRST_DAY = date(2026, 1, 1)
DAYS = 365
WINDOW_DAYS = 7
TARGET_S = 5.0
TARGET_MB = 300.0


def keys_of(count: int) -> list[str]:
    days = [(FIRST_DAY + timedelta(days=number)).isoformat() for number in range(DAYS)]
    return [f"raw/{days[number % DAYS]}/shipper-{number:06}.txt" for number in range(count)]


def changed_keys(keys: Sequence[str]) -> list[str]:
    """Two of the last dates, and one of the first."""
    newest = max(keys)
    return [newest, next(key for key in keys if "/2026-12-30/" in key), keys[0]]


# The contenders: each returns how many files it found to be new or changed, or how many it listed.


def sweep(endpoint: str, folder: Path) -> tuple[Callable[[], int], str]:
    """list_all + differing_partitions, as the scheduled sweep does it."""
    from tnt_platform.discovery.listing import list_all

    return _ours(endpoint, folder, list_all, ""), "files found changed"


def tick(endpoint: str, folder: Path) -> tuple[Callable[[], int], str]:
    """list_since + differing_partitions, as each tick does it."""
    from tnt_platform.discovery.listing import list_since

    since = (FIRST_DAY + timedelta(days=DAYS - WINDOW_DAYS)).isoformat()
    listing = _ours(endpoint, folder, lambda objects, source: list_since(objects, source, since), since)
    return listing, "files found changed"


def _ours(
    endpoint: str, folder: Path, listing: Callable[[Any, Any], Any], complete_since: str
) -> Callable[[], int]:
    import polars as pl

    from tnt_platform.discovery.comparison import differing_partitions
    from tnt_platform.discovery.raw_source import RawSource
    from tnt_platform.storage.objects import Objects

    source = RawSource(prefix="raw/", key_pattern=PATTERN)

    def ledgers(partitions: Sequence[str]) -> pl.DataFrame:
        return pl.concat([pl.read_parquet(folder / f"{name}.parquet") for name in partitions])

    def run() -> int:
        objects = Objects.open("s3://lake", options=s3_options(endpoint))
        published = pl.read_parquet(folder / "partitions.parquet")
        found = differing_partitions(
            listing(objects, source).files, published, ledgers, complete_since=complete_since
        )
        return sum(each.new + each.changed for each in found)

    return run


def dagster_objects(endpoint: str, folder: Path) -> tuple[Callable[[], int], str]:
    """dagster_aws.s3.sensor.get_objects, with the last time it saw."""
    from dagster_aws.s3.sensor import get_objects

    client = boto3_client(endpoint)
    since = datetime(2025, 1, 1, tzinfo=UTC)
    return lambda: len(get_objects("lake", "raw/", since_last_modified=since, client=client)), "keys listed"


def dagster_keys(endpoint: str, folder: Path) -> tuple[Callable[[], int], str]:
    """dagster_aws.s3.sensor.get_s3_keys."""
    from dagster_aws.s3.sensor import get_s3_keys

    client = boto3_client(endpoint)
    return lambda: len(get_s3_keys("lake", "raw/", s3_session=client)), "keys listed"


def boto3_pages(endpoint: str, folder: Path) -> tuple[Callable[[], int], str]:
    """A boto3 paginator into a dict of key and etag."""
    client = boto3_client(endpoint)

    def run() -> int:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="lake", Prefix="raw/")
        return len({found["Key"]: found["ETag"] for page in pages for found in page["Contents"]})

    return run, "keys listed"


CONTENDERS = {
    "tnt sweep (list_all + compare)": sweep,
    f"tnt tick ({WINDOW_DAYS} days + compare)": tick,
    "boto3 paginator (list only)": boto3_pages,
    "dagster_aws get_objects (list only)": dagster_objects,
    "dagster_aws get_s3_keys (list only)": dagster_keys,
}


def s3_options(endpoint: str) -> dict[str, str]:
    return {"endpoint": endpoint, "region": "us-east-1", "access_key_id": "test", "secret_access_key": "test"}


def boto3_client(endpoint: str) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def run_contender(name: str, endpoint: str, folder: Path) -> dict[str, Any]:
    """In a fresh process: prepare, run once, and tell time and peak memory."""
    run, meaning = CONTENDERS[name](endpoint, folder)
    started, cpu = time.perf_counter(), time.process_time()
    found = run()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    # ru_maxrss would carry over the parent's memory through exec.
    status = Path("/proc/self/status").read_text()
    peak_kb = int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_rss_mb": peak_kb / 1024,
        "found": found,
        "meaning": meaning,
    }


def prepare(endpoint: str, folder: Path, keys: Sequence[str]) -> None:
    """Fill the server, and write partitions and ledgers of a state in which 3 files were different."""
    import polars as pl

    from tnt_platform.discovery.comparison import inputs_digest
    from tnt_platform.discovery.listing import list_all
    from tnt_platform.discovery.raw_source import RawSource
    from tnt_platform.storage.objects import Objects

    modified = "2026-12-31T12:00:00+00:00"
    objects = {key: ["rows", f"etag{number:032}", modified] for number, key in enumerate(keys)}
    post(endpoint, "fill", {"bucket": "lake", "objects": objects})
    listing = list_all(
        Objects.open("s3://lake", options=s3_options(endpoint)), RawSource(prefix="raw/", key_pattern=PATTERN)
    ).files
    earlier = pl.when(pl.col("key").is_in(changed_keys(keys))).then(pl.lit("earlier")).otherwise("etag")
    listing = listing.with_columns(etag=earlier, status=pl.lit("accepted"))
    digests = []
    for (day,), files in listing.group_by("partition"):
        files.write_parquet(folder / f"{day}.parquet")
        digests.append((day, inputs_digest(files)))
    pl.DataFrame(digests, schema=["partition", "inputs_digest"], orient="row").write_parquet(
        folder / "partitions.parquet"
    )


def post(endpoint: str, what: str, body: object) -> None:
    request = urllib.request.Request(f"{endpoint}/-/{what}", data=json.dumps(body).encode(), method="POST")
    urllib.request.urlopen(request).close()


def measure(keys: int, rounds: int) -> dict[str, Any]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tnt_platform_tests.s3_server", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        endpoint = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder:
            prepare(endpoint, Path(folder), keys_of(keys))
            rows = {name: _median_of(name, endpoint, folder, rounds) for name in CONTENDERS}
    finally:
        server.terminate()
        server.wait()
    return {"keys": keys, "dates": DAYS, "changed": 3, "rounds": rounds, "contenders": rows}


def _median_of(name: str, endpoint: str, folder: str, rounds: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--contender", name, "--endpoint", endpoint, "--folder", folder]
    runs = [
        json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
        for _ in range(rounds)
    ]
    middle = {
        field: round(statistics.median(run[field] for run in runs), 3)
        for field in ("seconds", "cpu_seconds", "peak_rss_mb")
    }
    return {**runs[0], **middle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contender")
    parser.add_argument("--endpoint")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.contender:
        print(json.dumps(run_contender(arguments.contender, arguments.endpoint, arguments.folder)))
        return
    result = measure(arguments.keys, arguments.rounds)
    ours = result["contenders"]["tnt sweep (list_all + compare)"]
    met = ours["seconds"] < TARGET_S and ours["peak_rss_mb"] < TARGET_MB
    result["target"] = {"seconds": TARGET_S, "peak_rss_mb": TARGET_MB, "met": met}
    # CPU is the ratio to trust: on a busy machine, wall time measures the neighbours.
    print(f"{'':38}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'x wall':>8}{'x CPU':>8}  found")
    for name, row in result["contenders"].items():
        wall = row["wall_ratio_to_sweep"] = round(row["seconds"] / ours["seconds"], 2)
        cpu = row["cpu_ratio_to_sweep"] = round(row["cpu_seconds"] / ours["cpu_seconds"], 2)
        cells = (
            f"{row['seconds']:8.2f}{row['cpu_seconds']:8.2f}{row['peak_rss_mb']:9.0f}{wall:8.2f}{cpu:8.2f}"
        )
        print(f"{name:38}{cells}  {row['found']} {row['meaning']}")
    print(f"target: under {TARGET_S:.0f} s and {TARGET_MB:.0f} MB: {'met' if met else 'MISSED'}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
