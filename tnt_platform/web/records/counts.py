"""Count records by source and day, from the published summary of a version if there is one."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.problems import Problem
from tnt_platform.web.rows import read_version

SUMMARY = "summary"
_COLUMNS = frozenset({"group_kind", "group_value", "records", "oldest", "newest"})
_NO_SOURCE = "(none)"
_UTC = pl.Datetime("us", "UTC")
_KEPT = 64
# A summary follows its records; several captures that are curated in one run share one.
_SUMMARIES_TRIED = 3


@dataclass(frozen=True)
class Counts:
    """Record counts of one version by source and UTC day of capture; `summary` is the version used, if any."""

    by_source: Mapping[str, int]
    by_day: Mapping[str, int]
    oldest: datetime | None
    newest: datetime | None
    summary: str | None = None


class RecordCounts:
    """Caches the counts of the last requested versions."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        # Each with the latest summary at that time: the one it lacked may be published later.
        self._held: OrderedDict[tuple[str, str, str | None], tuple[Counts, Snapshot | None]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, snapshot: Snapshot, source: str | None = None) -> Counts:
        """Count the records of a version, or of one source in it.

        Raises:
            Problem: 410, the version expired in the meantime.
        """
        key = (snapshot.dataset, snapshot.version, source)
        with self._lock:
            held, seen = self._held.get(key, (None, None))
        if held is not None and held.summary is not None:
            return held
        newest = self._latest_summary(snapshot)
        if held is not None and seen is newest:
            return held
        counts = self._from_summary(snapshot, newest, source) or held or self._count_records(snapshot, source)
        with self._lock:
            self._held[key] = (counts, newest)
            while len(self._held) > _KEPT:
                self._held.popitem(last=False)
        return counts

    def _latest_summary(self, snapshot: Snapshot) -> Snapshot | None:
        # The cached list of datasets saves reading a pointer that does not exist.
        if _id(snapshot) not in self._catalog.datasets():
            return None
        newest = self._catalog.current(_id(snapshot))
        return newest if set(newest.manifest.schema) >= _COLUMNS else None

    def _from_summary(self, snapshot: Snapshot, newest: Snapshot | None, source: str | None) -> Counts | None:
        found = self._summary(snapshot, newest) if newest is not None else None
        if found is None:
            return None
        try:
            counts = read_version(self._catalog, found, lambda: _read(found))
        except Problem:
            return None  # it expired in the meantime
        if source is None or list(counts.by_source) == [source]:
            return counts
        # With several sources in one dataset, the summary does not have the days of each.
        return None if source in counts.by_source else Counts({}, {}, None, None, found.version)

    def _count_records(self, snapshot: Snapshot, source: str | None) -> Counts:
        return read_version(self._catalog, snapshot, lambda: _count(snapshot, source))

    def _summary(self, snapshot: Snapshot, newest: Snapshot) -> Snapshot | None:
        """Find the version of `<dataset>/summary` made from the same files."""
        if _is_of(newest, snapshot):
            return newest
        return next((found for found in self._around(snapshot) if _is_of(found, snapshot)), None)

    def _around(self, snapshot: Snapshot) -> list[Snapshot]:
        """Return the summaries published next to a version; a version that changed no record shares the one before."""
        table = self._catalog.versions(_id(snapshot)).sort("created_at")
        moment = snapshot.manifest.created_at
        after = table.filter(pl.col("created_at") >= moment).head(_SUMMARIES_TRIED)
        before = table.filter(pl.col("created_at") < moment).tail(1)
        found = []
        for version in (*after["version"], *before["version"]):
            try:
                found.append(self._catalog.snapshot(_id(snapshot), version))
            except Problem:
                continue  # it expired in the meantime
        return found


def _id(snapshot: Snapshot) -> str:
    return f"{snapshot.dataset}/{SUMMARY}"


def _is_of(summary: Snapshot, records: Snapshot) -> bool:
    about = summary.manifest.about
    return bool(about.get("records_files_sha256") == records.manifest.files_sha256)


def _read(summary: Snapshot) -> Counts:
    rows = summary.scan().collect()
    groups = {
        kind: rows.filter(group_kind=kind).select("group_value", "records").sort("group_value")
        for kind in ("source", "date")
    }
    everything = rows.filter(group_kind="all")
    oldest, newest = everything.select("oldest", "newest").row(0) if everything.height else (None, None)
    return Counts(
        by_source=dict(
            groups["source"].with_columns(pl.col("group_value").fill_null(_NO_SOURCE)).iter_rows()
        ),
        by_day=dict(groups["date"].drop_nulls("group_value").iter_rows()),
        oldest=oldest,
        newest=newest,
        summary=summary.version,
    )


def _count(snapshot: Snapshot, source: str | None) -> Counts:
    """Count from two columns of the published files."""
    rows = snapshot.scan(columns=["source", "captured_at"]).with_columns(
        pl.col("source").cast(pl.String).fill_null(_NO_SOURCE), pl.col("captured_at").cast(_UTC)
    )
    if source is not None:
        rows = rows.filter(pl.col("source") == source)
    day = pl.col("captured_at").dt.strftime("%Y-%m-%d").alias("day")
    sources, days, ends = pl.collect_all(
        [
            rows.group_by("source").agg(pl.len().cast(pl.Int64)).sort("source"),
            rows.select(day).drop_nulls().group_by("day").agg(pl.len().cast(pl.Int64)).sort("day"),
            rows.select(
                pl.col("captured_at").min().alias("oldest"), pl.col("captured_at").max().alias("newest")
            ),
        ],
        engine="streaming",
    )
    oldest, newest = ends.row(0)
    return Counts(dict(sources.iter_rows()), dict(days.iter_rows()), oldest, newest)


def analytics(counts: Sequence[Counts]) -> dict[str, Any]:
    """Combine the counts of several datasets to the body of `/analytics`."""
    sources: Counter[str] = Counter()
    days: Counter[str] = Counter()
    for count in counts:
        sources.update(count.by_source)
        days.update(count.by_day)
    by_date = dict(sorted(days.items()))
    oldest = min((count.oldest for count in counts if count.oldest is not None), default=None)
    newest = max((count.newest for count in counts if count.newest is not None), default=None)
    return {
        "summary": {
            "total_records": sources.total(),
            "total_sources": len(sources),
            "oldest_record": oldest.isoformat() if oldest is not None else None,
            "newest_record": newest.isoformat() if newest is not None else None,
        },
        "by_source": dict(sorted(sources.items())),
        "by_date": by_date,
        "timeline": [{"date": day, "count": records} for day, records in by_date.items()],
    }
