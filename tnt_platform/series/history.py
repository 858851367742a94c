"""Compare the newest series with the published history: what they change, and what they lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange
from tnt_platform.series.spec import OBSERVATION_KEY, SOURCE, SeriesSpec
from tnt_platform.series.transforms.history import (
    PARTITION_STRATEGIES,
    merge_observations,
    partition_digests,
    vanished,
)

_KEY = list(OBSERVATION_KEY)


@dataclass(frozen=True)
class HistoryChanges:
    """What the newest series change in the published history.

    before, after: rows, with `partition`, of the partitions that change, as published and as they will be.
    digests: of the content of each partition in `after`.
    removed: partitions that are no longer there.
    vanished: keys that the source lacks although it should have them; they stay in `after` unless accepted.
    """

    before: pl.DataFrame
    after: pl.DataFrame
    digests: Mapping[str, str]
    removed: tuple[str, ...]
    vanished: pl.DataFrame

    @property
    def is_empty(self) -> bool:
        """Whether the published history is up to date."""
        return self.after.is_empty() and not self.removed

    def partition_changes(self) -> list[PartitionChange]:
        """Return the partitions to write and to remove."""
        parts = self.after.partition_by("partition", as_dict=True, include_key=False, maintain_order=True)
        written = [
            PartitionChange.of_rows(
                str(name),
                rows,
                inputs_digest=self.digests[str(name)],
                watermarks=dict(zip(rows["internal_series_code"], rows["obs_time"], strict=True)),
            )
            for (name,), rows in parts.items()
        ]
        return [*written, *(PartitionChange.removal(name) for name in self.removed)]


def history_changes(
    spec: SeriesSpec,
    base: Snapshot | None,
    fresh: pl.DataFrame,
    rejected: pl.DataFrame,
    *,
    accept_vanished: bool = False,
) -> HistoryChanges:
    """Compare `fresh` (published columns) with the current version, reading only partitions that may differ.

    A partition with the digest of the fresh one has the same keys and values and is not opened. `rejected` are the
    quarantined cells of the same capture: what was published for them stays.
    """
    fresh = _placed(fresh, spec)
    if base is None:
        return HistoryChanges(fresh.clear(), fresh, _digests(fresh, spec), (), fresh.clear())
    repartitioned = strategy_of(base) != spec.partition_strategy
    live = base.partitions.filter(pl.col("partition") != SOURCE)
    digests = partition_digests(fresh, spec.partition_strategy).select("partition", "digest")
    same = digests.join(
        live, left_on=["partition", "digest"], right_on=["partition", "inputs_digest"], how="semi"
    )
    touched = fresh.join(same, on="partition", how="anti")
    absent = live.join(digests, on="partition", how="anti")
    if spec.history == "window" and not repartitioned:
        absent = _reaching_into_window(absent, fresh)
    names = sorted({*touched["partition"], *absent["partition"]} & {*live["partition"]})
    before = _placed(base.intact(names).scan(names).collect(), spec) if names else fresh.clear()
    lost = _without_unreadable(vanished(before, fresh, _keys_of(rejected), spec.history), rejected)
    retained = before.join(lost, on=_KEY, how="anti") if accept_vanished else before
    merged = _placed(merge_observations(retained.drop("partition"), touched.drop("partition")), spec)
    removed = tuple(sorted({*names} - {*merged["partition"]}))
    return _changed_only(spec, before, merged, lost, live, removed)


def _keys_of(rejected: pl.DataFrame) -> pl.DataFrame:
    """Return the keys of rejected cells whose date can be read."""
    return rejected.filter(pl.col("period").is_not_null()).select(
        internal_series_code=pl.col("series_code"), period=pl.col("period")
    )


def _without_unreadable(lost: pl.DataFrame, rejected: pl.DataFrame) -> pl.DataFrame:
    """Leave out series that lack no more periods than they have unreadable dates, which may be just these periods."""
    dateless = (
        rejected.filter(pl.col("period").is_null())
        .group_by(internal_series_code="series_code")
        .len("dateless")
    )
    counted = lost.join(dateless, on="internal_series_code", how="left").with_columns(
        pl.col("dateless").fill_null(0)
    )
    missing = pl.len().over("internal_series_code")
    return counted.filter(missing > pl.col("dateless")).drop("dateless")


def strategy_of(snapshot: Snapshot) -> str:
    """Return the partition strategy of a published version."""
    return str(snapshot.manifest.about.get("partition_strategy", ""))


def _placed(rows: pl.DataFrame, spec: SeriesSpec) -> pl.DataFrame:
    return rows.with_columns(PARTITION_STRATEGIES[spec.partition_strategy]().alias("partition"))


def _digests(rows: pl.DataFrame, spec: SeriesSpec) -> dict[str, str]:
    return dict(partition_digests(rows, spec.partition_strategy).select("partition", "digest").iter_rows())


def _reaching_into_window(absent: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Keep the absent partitions that reach into the window of fresh periods; the others are just older."""
    starts = fresh.group_by(name="internal_series_code").agg(
        first=pl.col("obs_time").min().dt.convert_time_zone("UTC")
    )
    marks = absent.select("partition", pl.col("watermarks").explode()).unnest("watermarks")
    reaching = marks.join(starts, on="name").filter(pl.col("at") >= pl.col("first"))
    return absent.join(reaching, on="partition", how="semi")


def _changed_only(
    spec: SeriesSpec,
    before: pl.DataFrame,
    merged: pl.DataFrame,
    lost: pl.DataFrame,
    live: pl.DataFrame,
    removed: tuple[str, ...],
) -> HistoryChanges:
    """Leave out the partitions whose merged content is the published one."""
    digests = _digests(merged, spec)
    published = dict(live.select("partition", "inputs_digest").iter_rows())
    changed = pl.Series(
        [name for name, digest in digests.items() if published.get(name) != digest], dtype=pl.String
    )
    rows = pl.col("partition").is_in(changed.implode())
    return HistoryChanges(
        before=before.filter(rows | pl.col("partition").is_in(list(removed))),
        after=merged.filter(rows),
        digests=digests,
        removed=removed,
        vanished=lost,
    )
