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
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import polars as pl

import tnt_platform
from tnt_platform.components.series.dataset import SeriesDataset
from tnt_platform.flows.publishing import Place, Published, as_ledger
from tnt_platform.flows.series.observations import publish_observations
from tnt_platform.flows.series.spec import NEWEST, OBSERVATION_KEY, SERIES, SeriesSpec, Strategy
from tnt_platform.lake.objects import Objects
from tnt_platform.lake.versions import PartitionChange, RowCounts, VersionedStore
from tnt_platform.reading import snapshot_of

RESULTS = Path(__file__).parent / "results" / "series_publish.json"
FIRST_YEAR = 2005
SCHEMA_ZONE = "America/Argentina/Buenos_Aires"
WANTED = {"change_time_share": 0.05, "change_bytes_share": 0.10, "read_ms": 50.0, "year_scan_times": 10.0}
REPEATS = 5
# Series, months, partitions to change, observations a series.
WHOLE = (200, 240, 200, 5_000)
SMALL = (10, 24, 10, 500)


@dataclass(frozen=True)
class Cost:
    """One measured step."""

    who: str
    step: str
    seconds: float
    cpu_seconds: float
    mb_written: float
    files_written: int


def observations(series: int, months: int, a_series: int) -> pl.DataFrame:
    """`a_series` working days for each series, spread over `months`; the columns of a published series."""
    last = date(FIRST_YEAR + months // 12, 1, 1)
    days = pl.date_range(date(FIRST_YEAR, 1, 1), last, "1d", closed="left", eager=True)
    days = days.filter(days.dt.weekday() <= 5)
    kept = np.linspace(0, len(days) - 1, min(a_series, len(days))).round().astype(int)
    chosen = days.gather(kept)
    codes = [f"BENCH_SERIES_{number:03d}_D" for number in range(series)]
    values = np.random.default_rng(7).normal(100, 15, (series, len(chosen))).cumsum(axis=1).round(4)
    frame = pl.DataFrame(
        {
            "internal_series_code": pl.Series(codes).repeat_by(len(chosen)).explode(),
            "period": pl.concat([chosen] * series),
            "value": values.ravel(),
        }
    )
    zone = (
        pl.col("period")
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone(SCHEMA_ZONE, non_existent="null", ambiguous="earliest")
    )
    line = (pl.int_range(pl.len()) % len(chosen)) + 11
    return frame.select(
        "internal_series_code",
        "period",
        obs_time=zone,
        value="value",
        unit=pl.lit("ARS"),
        frequency=pl.lit("D"),
        printed_date=pl.col("period").cast(pl.String),
        place=pl.format("RESERVAS!P{}", line),
        line_no=line.cast(pl.Int64),
        collection_date=pl.lit(date(2026, 11, 21)),
        capture=pl.lit("0123456789abcdef"),
    )


def corrected(rows: pl.DataFrame, partitions: int) -> pl.DataFrame:
    """One value changed in each of `partitions` months, spread over all series and months."""
    firsts = (
        rows.with_row_index("at")
        .group_by("internal_series_code", pl.col("period").dt.truncate("1mo"))
        .agg(pl.col("at").min())
    )
    at = firsts["at"].sort()
    step = max(1, len(at) // partitions)
    # A step that doesn't divide the months of a series, so that the changes are not all in one January.
    chosen = at.gather([(number * step + number % 7) % len(at) for number in range(min(partitions, len(at)))])
    hit = pl.int_range(pl.len()).is_in(chosen.implode())
    return rows.with_columns(value=pl.when(hit).then(pl.col("value") + 1).otherwise("value"))


def spec_of(name: str, strategy: Strategy) -> SeriesSpec:
    yaml = {
        "provider": "bench",
        "timezone": SCHEMA_ZONE,
        "frequency": "D",
        "source": {"url": "x.csv"},
        "reader": "wide",
        "table": {"date_column": "date", "code": "{column}", "unit": "ARS"},
    }
    return replace(SeriesDataset.resolve_from_dict(yaml).spec(Path(name)), strategy=strategy)


def open_home(home: Path) -> Place:
    lake = Objects.open((home / "lake").as_uri())
    store = VersionedStore(
        lake,
        clock=lambda: datetime.now(UTC),
        entropy=secrets.token_bytes,
        code_version="bench",
        scratch=home / "scratch",
    )
    return Place(lake, lake, store, home / "scratch")


def put_series(spec: SeriesSpec, place: Place, rows: pl.DataFrame) -> None:
    """What the step before leaves behind: the newest reading."""
    base = place.store.current(spec.dataset(SERIES))
    entry = {
        "key": "captures/x",
        "etag": secrets.token_hex(8),
        "size_bytes": 1,
        "last_modified": datetime.now(UTC),
        "sha256": secrets.token_hex(32),
        "status": "accepted",
    }
    change = PartitionChange(
        partition=NEWEST,
        data=rows,
        inputs=as_ledger(pl.DataFrame([entry], schema_overrides={"last_modified": pl.Datetime("us", "UTC")})),
        quarantine=pl.DataFrame(),
        counts=RowCounts(rows_in=rows.height, published=rows.height),
        inputs_digest=entry["etag"],
    )
    place.store.publish(spec.dataset(SERIES), base=base, changes=[change], key=OBSERVATION_KEY)


def measured(who: str, step: str, folder: Path, call: Callable[[], object]) -> Cost:
    """Run it; what is new in `folder` afterwards is what was written."""
    before = _files(folder)
    cpu, start = _cpu_s(), time.perf_counter()
    call()
    seconds, cpu_seconds = time.perf_counter() - start, _cpu_s() - cpu
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


def _cpu_s() -> float:
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


# --- ours --------------------------------------------------------------------------------------------


def ours(home: Path, rows: pl.DataFrame, changed: int) -> tuple[list[Cost], dict[str, float]]:
    place = open_home(home)
    lake = home / "lake"
    month, year = spec_of("by_month", "series_year_month"), spec_of("by_year", "year")
    put_series(month, place, rows)
    first = measured("ours", "first publish, by month", lake, lambda: _published(month, place))
    costs = [first]
    # Its manifest names 48,000 changed partitions, which each reader of the version parses.
    after_first_ms = _reads(home, rows, ("by_month",))["read_ms"]
    latest = rows
    for again in range(REPEATS):
        latest = corrected(latest, changed)
        put_series(month, place, latest)
        costs.append(
            measured(
                "ours",
                f"{changed} partitions changed ({again + 1})",
                lake,
                lambda: _published(month, place, changed),
            )
        )
    put_series(month, place, latest.with_columns(capture=pl.lit("fedcba9876543210")))
    costs.append(measured("ours", "another capture, nothing changed", lake, lambda: _published(month, place)))
    put_series(year, place, latest)
    costs.append(measured("ours", "first publish, by year", lake, lambda: _published(year, place)))
    changes = [cost for cost in costs if "partitions changed" in cost.step]
    summary = {
        "change_time_share": statistics.median(cost.seconds for cost in changes) / first.seconds,
        "change_time_share_slowest": max(cost.seconds for cost in changes) / first.seconds,
        "change_cpu_share": statistics.median(cost.cpu_seconds for cost in changes) / first.cpu_seconds,
        "change_bytes_share": changes[0].mb_written / first.mb_written,
        **_reads(home, rows, ("by_month", "by_year")),
        "read_after_first_publish_ms": after_first_ms,
    }
    return costs, summary


def _published(spec: SeriesSpec, place: Place, changed: int | None = None) -> Published:
    done = publish_observations(spec, place, "bench")
    assert all(check.passed for check in done.checks if check.blocking)
    if changed is not None:
        assert done.facts["data_points_updated"] == done.facts["partitions_written"] == changed, done.facts
    return done


def _reads(home: Path, rows: pl.DataFrame, datasets: tuple[str, ...]) -> dict[str, float]:
    environment = {"TNT_HOME": str(home)}
    code = rows["internal_series_code"][rows.height // 2]
    start = rows["period"].max() - timedelta(days=3 * 365)  # type: ignore[operator] # dates
    wanted = rows.filter((pl.col("internal_series_code") == code) & (pl.col("period") >= start)).height

    def by(dataset: str) -> Callable[[], None]:
        def read() -> None:
            found = tnt_platform.read(dataset, series=code, start=start, environment=environment).collect()
            assert found.height == wanted

        return read

    if datasets == ("by_month",):
        return {"read_ms": median_ms(by("by_month"))}
    snapshot = snapshot_of("by_month", environment=environment)
    names = (
        snapshot.files.filter(pl.col("partition").str.starts_with(f"{code}/"))["partition"]
        .sort()
        .tail(37)
        .to_list()
    )

    def in_hand() -> None:
        found = snapshot.scan(names).filter(pl.col("period") >= start).collect()
        assert found.height == wanted

    def scan(dataset: str) -> Callable[[], None]:
        total = snapshot_of(dataset, environment=environment)
        return lambda: _all(total.scan(), rows.height)

    month_ms, year_ms = median_ms(scan("by_month"), 3), median_ms(scan("by_year"), 5)
    return {
        "read_ms": median_ms(by("by_month")),
        "read_with_snapshot_in_hand_ms": median_ms(in_hand),
        "read_by_year_ms": median_ms(by("by_year")),
        "full_scan_month_ms": month_ms,
        "full_scan_year_ms": year_ms,
        "year_scan_times": month_ms / year_ms,
    }


def _all(frame: pl.LazyFrame, height: int) -> None:
    assert frame.collect().height == height


# --- the others --------------------------------------------------------------------------------------


def with_month(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the partition columns of a table format, and no time zone that it does not know."""
    plain = rows.with_columns(pl.col("obs_time").dt.convert_time_zone("UTC"))
    return plain.with_columns(month=pl.col("period").dt.to_string("%Y-%m"))


def changed_months(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    moved = after.join(before, on=["internal_series_code", "period", "value"], how="anti")
    keys = with_month(moved).select("internal_series_code", "month").unique()
    return with_month(after).join(keys, on=["internal_series_code", "month"], how="semi")


def delta(folder: Path, rows: pl.DataFrame, changed: int) -> tuple[list[Cost], dict[str, float]]:
    from deltalake import DeltaTable, QueryBuilder, write_deltalake

    table = str(folder / "delta")
    by = ["internal_series_code", "month"]
    whole = with_month(rows).to_arrow()
    who = "deltalake"
    first = measured(
        who, "first publish, by month", folder, lambda: write_deltalake(table, whole, partition_by=by)
    )
    part = changed_months(rows, corrected(rows, changed))
    keys = part.select(by).unique().rows()
    predicate = " OR ".join(
        f"(internal_series_code = '{code}' AND month = '{month}')" for code, month in keys
    )
    change = part.to_arrow()
    second = measured(
        who,
        f"{changed} partitions replaced",
        folder,
        lambda: write_deltalake(table, change, mode="overwrite", predicate=predicate),
    )
    code, months, wanted = _question(rows)
    # Its own SQL engine: pyarrow makes a fragment of each of the 48,000 files first, which takes many seconds.
    query = f"SELECT * FROM t WHERE internal_series_code = '{code}' AND month >= '{months[0]}'"

    def ask(opened: DeltaTable) -> None:
        answer = QueryBuilder().register("t", opened).execute(query).read_all()
        assert answer.num_rows == wanted

    opened = DeltaTable(table)
    facts = {
        "read_ms": median_ms(lambda: ask(DeltaTable(table)), 3),
        "read_with_table_in_hand_ms": median_ms(lambda: ask(opened), 3),
    }
    return [first, second], {**facts, **_shares(first, second)}


def iceberg(folder: Path, rows: pl.DataFrame, changed: int) -> tuple[list[Cost], dict[str, float]]:
    return _iceberg(folder, rows, changed, by_month=True)


def iceberg_by_series(folder: Path, rows: pl.DataFrame, changed: int) -> tuple[list[Cost], dict[str, float]]:
    """A layout that its writer is meant for: a file a series, so that each change rewrites a series."""
    return _iceberg(folder, rows, changed, by_month=False)


def _iceberg(
    folder: Path, rows: pl.DataFrame, changed: int, *, by_month: bool
) -> tuple[list[Cost], dict[str, float]]:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual
    from pyiceberg.transforms import IdentityTransform

    home = folder / "iceberg"
    home.mkdir(parents=True)
    catalog = SqlCatalog("bench", uri=f"sqlite:///{home}/catalog.db", warehouse=home.as_uri())
    catalog.create_namespace("bench")
    whole = with_month(rows).to_arrow()
    table = catalog.create_table("bench.observations", schema=whole.schema)
    with table.update_spec() as update:
        update.add_field("internal_series_code", IdentityTransform(), "code")
        if by_month:
            update.add_field("month", IdentityTransform(), "month_of")
    who, layout = ("pyiceberg", "by month") if by_month else ("pyiceberg by series", "by series")
    first = measured(who, f"first publish, {layout}", folder, lambda: table.append(whole))
    after = corrected(rows, changed)
    part = changed_months(rows, after)
    if not by_month:
        codes = part.select("internal_series_code").unique()
        part = with_month(after).join(codes, on="internal_series_code", how="semi")
    change = part.to_arrow()
    second = measured(
        who, f"{changed} values changed", folder, lambda: table.dynamic_partition_overwrite(change)
    )
    code, months, wanted = _question(rows)
    where = And(EqualTo("internal_series_code", code), GreaterThanOrEqual("month", months[0]))

    def read() -> None:
        found = catalog.load_table("bench.observations").scan(row_filter=where).to_arrow()
        assert found.num_rows == wanted

    opened = catalog.load_table("bench.observations")

    def read_opened() -> None:
        assert opened.scan(row_filter=where).to_arrow().num_rows == wanted

    facts = {"read_ms": median_ms(read, 3), "read_with_table_in_hand_ms": median_ms(read_opened, 3)}
    return [first, second], {**facts, **_shares(first, second)}


def _question(rows: pl.DataFrame) -> tuple[str, list[str], int]:
    """One series in the last three years: its code, the 36 months, and how many rows that are."""
    code = str(rows["internal_series_code"][rows.height // 2])
    found = with_month(rows.filter(internal_series_code=code))
    months = found["month"].unique().sort().tail(36).to_list()
    return code, months, found.filter(pl.col("month").is_in(months)).height


def _shares(first: Cost, second: Cost) -> dict[str, float]:
    return {
        "change_time_share": second.seconds / first.seconds,
        "change_bytes_share": second.mb_written / first.mb_written,
    }


# --- report ------------------------------------------------------------------------------------------


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
