"""Read published data from Python: `tnt_platform.read(...)`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import polars as pl

from tnt_platform.errors import ConfigError, NotFound
from tnt_platform.lake import history
from tnt_platform.lake.snapshot import Snapshot, current_snapshot
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects

__all__ = ["read", "snapshot_of"]


def read(
    dataset: str,
    version: str | None = None,
    as_of: datetime | None = None,
    series: str | Sequence[str] | None = None,
    start: date | None = None,
    *,
    verify: bool = False,
    environment: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """Return the published rows, lazily, as in `read("indec_ipc", series="INDEC_IPC_VARIACION_MENSUAL_PCT_M")`.

    Args:
        dataset: a dataset of series, or `<dataset>/<step>` of any kind.
        version: a version id or tag; the current one by default.
        as_of: instead, the version that was current at that time (UTC).
        series: one code or several; where the partitions are by series, only their files are opened.
        start: only observations of periods from this day on.
        verify: hash the files first, so that a damaged one is an error and not another value; it reads them twice.
        environment: has `TNT_LAKE_URL` and the AWS variables; that of the process by default.

    Raises:
        NotFound: there is no such dataset or version, or none that old; the message lists those that exist.
        PermanentError: with `verify`, a file is not what was published.
        ConfigError: both `version` and `as_of` are given, or `series` or `start` for a dataset without series.
    """
    snapshot = snapshot_of(dataset, version=version, as_of=as_of, environment=environment)
    codes = [series] if isinstance(series, str) else series
    if codes is None and start is None:
        return (snapshot.intact() if verify else snapshot).scan()
    if "internal_series_code" not in snapshot.schema:
        raise ConfigError(
            f"{dataset} has no series: omit `series` and `start`, and filter its columns instead"
        )
    chosen = _partitions(snapshot, codes, start)
    rows = (snapshot.intact(chosen) if verify else snapshot).scan(chosen)
    if codes is not None:
        rows = rows.filter(pl.col("internal_series_code").is_in(codes))
    return rows if start is None else rows.filter(pl.col("period") >= start)


def snapshot_of(
    dataset: str,
    *,
    version: str | None = None,
    as_of: datetime | None = None,
    environment: Mapping[str, str] | None = None,
) -> Snapshot:
    """Open the version that `read` reads, with its manifest, counts, ledger and quarantine."""
    if version is not None and as_of is not None:
        raise ConfigError("give either version or as_of, not both")
    settings = Settings.from_environment(os.environ if environment is None else environment)
    objects = Objects.open(settings.lake_url, options=settings.s3_options())
    if version is not None:
        return Snapshot(objects, history.find_manifest(objects, dataset, version))
    current = current_snapshot(objects, dataset)
    if current is None:
        known = ", ".join(history.dataset_ids(objects)) or "nothing yet"
        raise NotFound(f"nothing is published as {dataset!r} in {settings.lake_url}; published: {known}")
    if as_of is None:
        return current
    return _as_of(objects, current, as_of.astimezone(UTC))


def _as_of(objects: Objects, current: Snapshot, moment: datetime) -> Snapshot:
    if current.manifest.created_at <= moment:
        return current
    table = history.versions_table(objects, current.dataset, current)
    before = table.filter(pl.col("created_at") <= moment)
    if before.is_empty():
        oldest = str(table["created_at"].min())
        raise NotFound(
            f"{current.dataset} has no version as old as {moment}; the oldest that is kept was published at {oldest}"
        )
    return Snapshot(objects, history.find_manifest(objects, current.dataset, before["version"][0]))


def _partitions(snapshot: Snapshot, codes: Sequence[str] | None, start: date | None) -> list[str]:
    """Return the partitions that may hold the series from `start` on, judging by their names."""
    name = pl.col("partition")
    year = name.str.extract(r"year=(\d{4})").cast(pl.Int32)
    month = name.str.extract(r"month=(\d{2})").cast(pl.Int32)
    day = name.str.extract(r"^(\d{4}-\d{2}-\d{2})$")
    chosen = snapshot.files.select("partition")
    if codes is not None:
        # Compare before matching patterns: a dataset by month has tens of thousands of partitions.
        shared = ~name.str.contains("/year=", literal=True)
        chosen = chosen.filter(
            pl.any_horizontal(shared, *(name.str.starts_with(f"{c}/year=") for c in codes))
        )
    if start is not None:
        early = (
            (year < start.year) | ((year == start.year) & (month < start.month)) | (day < start.isoformat())
        )
        chosen = chosen.filter(~early.fill_null(value=False))
    return chosen["partition"].unique().sort().to_list()
