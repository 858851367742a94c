"""The bench of published series, by this platform."""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

import tnt_platform
from bench.series_cost import Cost, measured, median_ms
from bench.series_rows import SCHEMA_ZONE, corrected
from tnt_platform.lake.publishing import Published, Workspace, as_ledger
from tnt_platform.lake.read import snapshot_of
from tnt_platform.lake.versions import PartitionChange, RowCounts, VersionedStore
from tnt_platform.series.observations import publish_observations
from tnt_platform.series.spec import NEWEST, OBSERVATION_KEY, SERIES, SeriesSpec, Strategy
from tnt_platform.storage.objects import Objects

REPEATS = 5


def ours(home: Path, rows: pl.DataFrame, changed: int) -> tuple[list[Cost], dict[str, float]]:
    workspace = open_home(home)
    lake = home / "lake"
    month, year = spec_of("by_month", "series_year_month"), spec_of("by_year", "year")
    put_series(month, workspace, rows)
    first = measured("ours", "first publish, by month", lake, lambda: _published(month, workspace))
    costs = [first]
    # Its manifest names 48,000 changed partitions, which each reader of the version parses.
    after_first_ms = _reads(home, rows, ("by_month",))["read_ms"]
    latest = rows
    for again in range(REPEATS):
        latest = corrected(latest, changed)
        put_series(month, workspace, latest)
        costs.append(
            measured(
                "ours",
                f"{changed} partitions changed ({again + 1})",
                lake,
                lambda: _published(month, workspace, changed),
            )
        )
    put_series(month, workspace, latest.with_columns(capture=pl.lit("fedcba9876543210")))
    costs.append(
        measured("ours", "another capture, nothing changed", lake, lambda: _published(month, workspace))
    )
    put_series(year, workspace, latest)
    costs.append(measured("ours", "first publish, by year", lake, lambda: _published(year, workspace)))
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


def _published(spec: SeriesSpec, workspace: Workspace, changed: int | None = None) -> Published:
    done = publish_observations(spec, workspace, "bench")
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


def spec_of(name: str, strategy: Strategy) -> SeriesSpec:
    yaml = {
        "provider": "bench",
        "timezone": SCHEMA_ZONE,
        "frequency": "D",
        "source": {"url": "x.csv"},
        "reader": "wide",
        "table": {"date_column": "date", "code": "{column}", "unit": "ARS"},
    }
    return SeriesSpec.model_validate({**yaml, "partition_strategy": strategy}).placed_in(Path(name))


def open_home(home: Path) -> Workspace:
    lake = Objects.open((home / "lake").as_uri())
    store = VersionedStore(
        lake,
        clock=lambda: datetime.now(UTC),
        entropy=secrets.token_bytes,
        code_version="bench",
        scratch=home / "scratch",
    )
    return Workspace(lake, lake, store, home / "scratch")


def put_series(spec: SeriesSpec, workspace: Workspace, rows: pl.DataFrame) -> None:
    """What the step before leaves behind: the newest reading."""
    base = workspace.store.current(spec.dataset(SERIES))
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
    workspace.store.publish(spec.dataset(SERIES), base=base, changes=[change], key=OBSERVATION_KEY)
