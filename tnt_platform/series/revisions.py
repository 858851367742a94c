"""Find the published values that a capture changes, and block a publish that changes most of a series."""

from __future__ import annotations

from typing import Final

import polars as pl

from tnt_platform.lake.guard_rails import MIN_ROWS, REVISED_SHARE, Overrides, exceeds
from tnt_platform.lake.publishing import PREVIEW_ROWS, CheckOutcome
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.series.history import HistoryChanges
from tnt_platform.series.spec import OBSERVATION_KEY, SOURCE, SeriesSpec

_CODE: Final = "internal_series_code"
_KEY: Final = list(OBSERVATION_KEY)
# A series that has just begun may well be revised as a whole.
_MIN_REVISED: Final = 5
# A rebased series has values that differ by one factor, but for the digits that the publisher rounds to.
_SAME_FACTOR: Final = 0.02


def revisions(changes: HistoryChanges) -> pl.DataFrame:
    """Return the observations whose value, unit or frequency changes: the key, before and after."""
    both = changes.before.join(changes.after, on=_KEY, suffix="_after")
    differs = pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(f"{name}_after")) for name in ("value", "unit", "frequency")
    )
    return both.filter(differs).select(*_KEY, before="value", after="value_after").sort(_KEY)


def changed_series(changes: HistoryChanges) -> set[str]:
    """Return the codes of series with an observation that is added, updated or removed."""
    added = changes.after.join(changes.before, on=_KEY, how="anti")
    removed = changes.before.join(changes.after, on=_KEY, how="anti")
    return {code for rows in (added, removed, revisions(changes)) for code in rows[_CODE].unique()}


def check_revisions(
    spec: SeriesSpec,
    base: Snapshot | None,
    fresh: pl.DataFrame,
    changes: HistoryChanges,
    overrides: Overrides,
    command: str,
) -> CheckOutcome:
    """Check, series by series, the share of the published values that change.

    `command` publishes the newest capture; the advice adds the override to it.
    """
    revised = revisions(changes).filter(pl.col("before").ne_missing(pl.col("after")))
    found = f"{revised.height:,} published values of {revised[_CODE].n_unique():,} series change"
    if base is None or revised.is_empty():
        return CheckOutcome(REVISED_SHARE, True, found)
    by_series = _by_series(revised, _published(spec, base, fresh, changes, revised))
    pairs = by_series.select("revised", "published").iter_rows()
    beyond = [n >= _MIN_REVISED and exceeds(n, of, spec.max_revised_share) for n, of in pairs]
    blocked = by_series.filter(pl.Series(beyond, dtype=pl.Boolean))
    if blocked.is_empty():
        return CheckOutcome(REVISED_SHARE, True, found)
    worst = blocked.row(0, named=True)
    found += (
        f"; of {worst[_CODE]} {worst['revised']:,} of {worst['published']:,}, as {worst['before']:g} to "
        f"{worst['after']:g} in {worst['period']}{_factor(worst)}"
    )
    found += f", and of {blocked.height - 1:,} more series" if blocked.height > 1 else ""
    sample = blocked.head(PREVIEW_ROWS)
    if overrides.accept_revised:
        return CheckOutcome(REVISED_SHARE, True, f"{found}; accepted by --accept-revised", sample)
    found += (
        f"; more than max_revised_share ({spec.max_revised_share:.0%}), or all of fewer than {MIN_ROWS}. Look for "
        "another base year, unit or column in the file and correct the YAML, or, if the publisher revised the series, "
        f"publish it with `{command} --accept-revised`"
    )
    return CheckOutcome(REVISED_SHARE, False, found, sample)


def _by_series(revised: pl.DataFrame, published: pl.DataFrame) -> pl.DataFrame:
    ratio = pl.when(pl.col("before") != 0).then(pl.col("after") / pl.col("before"))
    return (
        revised.with_columns(ratio=ratio)
        .group_by(_CODE)
        .agg(
            pl.col("period", "before", "after").first(),
            revised=pl.len(),
            factor=pl.col("ratio").median(),
            lowest=pl.col("ratio").min(),
            highest=pl.col("ratio").max(),
        )
        .join(published, on=_CODE)
        .select(_CODE, "revised", "published", "period", "before", "after", "factor", "lowest", "highest")
        .sort("revised", _CODE, descending=[True, False])
    )


def _factor(row: dict[str, float | None]) -> str:
    factor, lowest, highest = row["factor"], row["lowest"], row["highest"]
    if factor is None or lowest is None or highest is None or factor == 0:
        return ""
    same = abs(highest - lowest) <= _SAME_FACTOR * abs(factor)
    return f" (each by the factor {factor:.4g})" if same else ""


def _published(
    spec: SeriesSpec, base: Snapshot, fresh: pl.DataFrame, changes: HistoryChanges, revised: pl.DataFrame
) -> pl.DataFrame:
    """Count the published observations of each revised series that the capture has, too.

    A window holds few of them: one of fewer than MIN_ROWS is compared with the whole series.
    """
    added = changes.after.join(changes.before, on=_KEY, how="anti")
    known = fresh.join(added, on=_KEY, how="anti").join(revised, on=_CODE, how="semi")
    counted = known.group_by(_CODE).agg(published=pl.len())
    if spec.history == "complete":
        return counted
    whole = (
        base.scan([name for name in base.partitions["partition"] if name != SOURCE], columns=[_CODE])
        .filter(pl.col(_CODE).is_in(revised[_CODE].unique().implode()))
        .group_by(_CODE)
        .agg(whole=pl.len())
        .collect()
    )
    few = pl.col("published") < MIN_ROWS
    return counted.join(whole, on=_CODE).select(
        _CODE, published=pl.when(few).then("whole").otherwise("published")
    )
