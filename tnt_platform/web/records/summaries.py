"""How many records there are, from the published summary of a version; counted only where there is none."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.problems import Problem
from tnt_platform.web.rows import reading

SUMMARY = "summary"
_COLUMNS = frozenset({"group_kind", "group_value", "records", "oldest", "newest"})
_NO_SOURCE = "(none)"
_UTC = pl.Datetime("us", "UTC")
_KEPT = 64
# A summary follows its records at once; those of several captures that were curated in one go share one.
_LOOKED_AT = 3


@dataclass(frozen=True)
class Counts:
    """Records of one version by source and by UTC day of capture; `summary` is the version that told, if one did."""

    by_source: Mapping[str, int]
    by_day: Mapping[str, int]
    oldest: datetime | None
    newest: datetime | None
    summary: str | None = None


class RecordCounts:
    """Counts of the versions that were asked for last."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        # With the newest summary there was: one that was missing may have come since.
        self._held: OrderedDict[tuple[str, str, str | None], tuple[Counts, Snapshot | None]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, snapshot: Snapshot, source: str | None = None) -> Counts:
        """The counts of a version, or of its records of one source.

        Raises:
            Problem: 410, the version expired meanwhile.
        """
        key = (snapshot.dataset, snapshot.version, source)
        with self._lock:
            held, seen = self._held.get(key, (None, None))
        if held is not None and held.summary is not None:
            return held
        newest = self._newest_summary(snapshot)
        if held is not None and seen is newest:
            return held
        counts = self._told(snapshot, newest, source) or held or self._counted(snapshot, source)
        with self._lock:
            self._held[key] = (counts, newest)
            while len(self._held) > _KEPT:
                self._held.popitem(last=False)
        return counts

    def _newest_summary(self, snapshot: Snapshot) -> Snapshot | None:
        # The list of datasets is at hand; a pointer that is not there would be asked for each time.
        if _id(snapshot) not in self._catalog.datasets():
            return None
        newest = self._catalog.current(_id(snapshot))
        return newest if set(newest.manifest.schema) >= _COLUMNS else None

    def _told(self, snapshot: Snapshot, newest: Snapshot | None, source: str | None) -> Counts | None:
        found = self._summary(snapshot, newest) if newest is not None else None
        if found is None:
            return None
        try:
            counts = reading(self._catalog, found, lambda: _read(found))
        except Problem:
            return None  # it expired meanwhile
        if source is None or list(counts.by_source) == [source]:
            return counts
        # Of several sources in one dataset the summary does not tell the days of each.
        return None if source in counts.by_source else Counts({}, {}, None, None, found.version)

    def _counted(self, snapshot: Snapshot, source: str | None) -> Counts:
        return reading(self._catalog, snapshot, lambda: _count(snapshot, source))

    def _summary(self, snapshot: Snapshot, newest: Snapshot) -> Snapshot | None:
        """The version of `<dataset>/summary` that was made from the same files."""
        if _is_of(newest, snapshot):
            return newest
        return next((found for found in self._around(snapshot) if _is_of(found, snapshot)), None)

    def _around(self, snapshot: Snapshot) -> list[Snapshot]:
        """The summaries next to a version in time; a version that changed no record has that of the one before."""
        table = self._catalog.versions(_id(snapshot)).sort("created_at")
        moment = snapshot.manifest.created_at
        after = table.filter(pl.col("created_at") >= moment).head(_LOOKED_AT)
        before = table.filter(pl.col("created_at") < moment).tail(1)
        found = []
        for version in (*after["version"], *before["version"]):
            try:
                found.append(self._catalog.snapshot(_id(snapshot), version))
            except Problem:
                continue  # it expired meanwhile
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
    """The same from two columns of the published files."""
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
