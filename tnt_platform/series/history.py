"""What a fresh reading of the source changes in the published history, and what it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.series.spec import OBSERVATION_KEY, SOURCE, SeriesSpec
from tnt_platform.series.transforms.history import (
    PARTITION_STRATEGIES,
    merge_observations,
    partition_digests,
    vanished,
)

_KEY = list(OBSERVATION_KEY)


@dataclass(frozen=True)
class Difference:
    """`before` and `after`: rows (with `partition`) of the partitions that change, as published and as they will be.

    `digests`: of the content of each partition in `after`; `gone`: partitions that end; `vanished`: keys that the
    source lacks although it should have them (they stay in `after` unless their loss was accepted).
    """

    before: pl.DataFrame
    after: pl.DataFrame
    digests: Mapping[str, str]
    gone: tuple[str, ...]
    vanished: pl.DataFrame

    @property
    def changes_nothing(self) -> bool:
        """Whether the published history is already what the source says."""
        return self.after.is_empty() and not self.gone

    def partition_changes(self) -> list[PartitionChange]:
        """The partitions to write and those that end."""
        parts = self.after.partition_by("partition", as_dict=True, include_key=False, maintain_order=True)
        written = [
            PartitionChange(
                partition=str(name),
                data=rows,
                inputs=pl.DataFrame(),
                quarantine=pl.DataFrame(),
                counts=RowCounts(rows_in=rows.height, published=rows.height),
                inputs_digest=self.digests[str(name)],
                watermarks=dict(zip(rows["internal_series_code"], rows["obs_time"], strict=True)),
            )
            for (name,), rows in parts.items()
        ]
        return [*written, *(PartitionChange.removal(name) for name in self.gone)]


def difference(
    spec: SeriesSpec,
    base: Snapshot | None,
    fresh: pl.DataFrame,
    refused: pl.DataFrame,
    *,
    accept_vanished: bool = False,
) -> Difference:
    """Compare `fresh` (published columns) with the current version, reading only what may differ.

    A partition whose digest is the fresh one's holds the same keys and values: it is not opened. `refused` are the
    quarantined cells of this reading: what was published for them before stays.
    """
    fresh = _placed(fresh, spec)
    if base is None:
        return Difference(fresh.clear(), fresh, _digests(fresh, spec), (), fresh.clear())
    renamed = strategy_of(base) != spec.partition_strategy
    live = base.partitions.filter(pl.col("partition") != SOURCE)
    digests = partition_digests(fresh, spec.partition_strategy).select("partition", "digest")
    same = digests.join(
        live, left_on=["partition", "digest"], right_on=["partition", "inputs_digest"], how="semi"
    )
    touched = fresh.join(same, on="partition", how="anti")
    absent = live.join(digests, on="partition", how="anti")
    if not renamed:
        absent = _suspicious(absent, fresh) if spec.history == "window" else absent
    names = sorted({*touched["partition"], *absent["partition"]} & {*live["partition"]})
    before = _placed(base.scan(names).collect(), spec) if names else fresh.clear()
    lost = _without_unreadable(vanished(before, fresh, _keys_of(refused), spec.history), refused)
    kept = before.join(lost, on=_KEY, how="anti") if accept_vanished else before
    merged = _placed(merge_observations(kept.drop("partition"), touched.drop("partition")), spec)
    return _changed_only(spec, before, merged, lost, live, _ending(names, merged))


def _keys_of(refused: pl.DataFrame) -> pl.DataFrame:
    """The keys of refused cells whose date could be read."""
    return refused.filter(pl.col("period").is_not_null()).select(
        internal_series_code=pl.col("series_code"), period=pl.col("period")
    )


def _without_unreadable(lost: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Leave out series that lack no more periods than they have cells with an unreadable date: those may be they."""
    dateless = (
        refused.filter(pl.col("period").is_null())
        .group_by(internal_series_code="series_code")
        .len("dateless")
    )
    counted = lost.join(dateless, on="internal_series_code", how="left").with_columns(
        pl.col("dateless").fill_null(0)
    )
    missing = pl.len().over("internal_series_code")
    return counted.filter(missing > pl.col("dateless")).drop("dateless")


def strategy_of(snapshot: Snapshot) -> str:
    """How the partitions of a published version are cut."""
    return str(snapshot.manifest.about.get("partition_strategy", ""))


def _placed(rows: pl.DataFrame, spec: SeriesSpec) -> pl.DataFrame:
    return rows.with_columns(PARTITION_STRATEGIES[spec.partition_strategy]().alias("partition"))


def _digests(rows: pl.DataFrame, spec: SeriesSpec) -> dict[str, str]:
    return dict(partition_digests(rows, spec.partition_strategy).select("partition", "digest").iter_rows())


def _suspicious(absent: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Of the partitions a window does not show, those that reach into the window: the others are just old."""
    starts = fresh.group_by(name="internal_series_code").agg(
        first=pl.col("obs_time").min().dt.convert_time_zone("UTC")
    )
    marks = absent.select("partition", pl.col("watermarks").explode()).unnest("watermarks")
    reaching = marks.join(starts, on="name").filter(pl.col("at") >= pl.col("first"))
    return absent.join(reaching, on="partition", how="semi")


def _ending(read: list[str], merged: pl.DataFrame) -> tuple[str, ...]:
    return tuple(sorted({*read} - {*merged["partition"]}))


def _changed_only(
    spec: SeriesSpec,
    before: pl.DataFrame,
    merged: pl.DataFrame,
    lost: pl.DataFrame,
    live: pl.DataFrame,
    gone: tuple[str, ...],
) -> Difference:
    """Leave out the partitions whose merged content is what is published."""
    digests = _digests(merged, spec)
    held = dict(live.select("partition", "inputs_digest").iter_rows())
    changed = pl.Series(
        [name for name, digest in digests.items() if held.get(name) != digest], dtype=pl.String
    )
    rows = pl.col("partition").is_in(changed.implode())
    return Difference(
        before=before.filter(rows | pl.col("partition").is_in(list(gone))),
        after=merged.filter(rows),
        digests=digests,
        gone=gone,
        vanished=lost,
    )
