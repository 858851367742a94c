"""Tell a directory that changed from an API that answers wrongly, by how much changes at once.

An API without its floors, its categories or half of its tenants answers in full and with status 200. What gives it
away is that so many tenants are withdrawn, moved, renamed or lose a value in one sync, or over a day of syncs that each
lose a little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from tnt_platform.directory.spec import NEWEST, DirectorySpec
from tnt_platform.directory.transforms.tenants import TENANTS as COLUMNS
from tnt_platform.errors import NotFound
from tnt_platform.lake.guard_rails import Overrides, exceeds
from tnt_platform.lake.publishing import PREVIEW_ROWS, CheckOutcome
from tnt_platform.lake.snapshot import Snapshot

WINDOW: Final = timedelta(days=1)
# Columns whose change means that a tenant was renamed, or that it moved.
TITLE_COLUMNS: Final = ("title_en", "title_th", "title_zh")
PLACE_COLUMNS: Final = ("floor", "zone", "unit")
# What says where a value comes from, and not what it is.
_NOT_VALUES: Final = frozenset({"unique_id", "page", "position", "fingerprint", "attributes"})


@dataclass(frozen=True)
class Baseline:
    """The version that withdrawals are counted against: the one that was current when the day began."""

    version: str
    at: datetime
    tenants: pl.DataFrame

    @property
    def about(self) -> dict[str, object]:
        """Return what the manifest keeps, so that the next sync of the day counts against the same version."""
        return {"baseline": {"version": self.version, "at": self.at.isoformat()}}


def baseline_of(
    base: Snapshot | None, now: datetime, open_version: Callable[[str], Snapshot]
) -> Baseline | None:
    """Return the baseline that `base` names while its day lasts; then `base` begins a day of its own."""
    if base is None:
        return None
    named = base.manifest.about.get("baseline")
    if isinstance(named, Mapping):
        at = datetime.fromisoformat(str(named["at"]))
        if now - at < WINDOW:
            try:
                snapshot = open_version(str(named["version"]))
            except NotFound:
                pass  # it expired: then there is nothing older to count against
            else:
                return Baseline(snapshot.version, at, snapshot.scan([NEWEST]).collect())
    return Baseline(base.version, now, base.scan([NEWEST]).collect())


def directory_differences(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """List tenants that opened, closed, moved (floor, zone, unit, or between shop and dining) or were renamed.

    before, after: tenants. Returns unique_id, change (opened | closed | moved | renamed), title, was, now (String),
    sorted by change and unique_id; a tenant that was renamed and also moved has two rows.
    """
    title = pl.coalesce(*TITLE_COLUMNS)
    place = pl.concat_str(pl.col("kind", *PLACE_COLUMNS).fill_null("-"), separator=" / ")
    old = before.select("unique_id", title=title, place=place)
    new = after.select("unique_id", title=title, place=place)
    opened = new.join(old, on="unique_id", how="anti").select(
        "unique_id", "title", change=pl.lit("opened"), was=pl.lit(None, pl.String), now=pl.col("place")
    )
    closed = old.join(new, on="unique_id", how="anti").select(
        "unique_id", "title", change=pl.lit("closed"), was=pl.col("place"), now=pl.lit(None, pl.String)
    )
    both = old.join(new, on="unique_id", suffix="_now")
    moved = both.filter(pl.col("place") != pl.col("place_now")).select(
        "unique_id", title="title_now", change=pl.lit("moved"), was="place", now="place_now"
    )
    renamed = both.filter(pl.col("title") != pl.col("title_now")).select(
        "unique_id", title="title_now", change=pl.lit("renamed"), was="title", now="title_now"
    )
    columns = ["unique_id", "change", "title", "was", "now"]
    parts = [frame.select(columns) for frame in (opened, closed, moved, renamed)]
    return pl.concat(parts).sort("change", "unique_id")


def plausible(
    spec: DirectorySpec,
    baseline: Baseline | None,
    before: pl.DataFrame,
    after: pl.DataFrame,
    differences: pl.DataFrame,
    overrides: Overrides,
) -> list[CheckOutcome]:
    """Check the shares of published tenants that this sync withdraws, moves, renames or empties.

    Returns:
        directory_not_emptied (against the last sync and the beginning of the day), few_tenants_moved,
        few_tenants_renamed, few_values_emptied; each with the first tenants concerned.
    """
    limits = _Limits(spec, overrides)
    closed = differences.filter(change="closed")
    of_day = before if baseline is None else baseline.tenants
    closed_today = directory_differences(of_day, after).filter(change="closed")
    if closed_today.height * max(before.height, 1) > closed.height * max(of_day.height, 1):
        since = f" since {baseline.at:%Y-%m-%d %H:%M} UTC" if baseline else ""
        withdrawn = limits.withdrawn(closed_today, of_day.height, since)
    else:
        withdrawn = limits.withdrawn(closed, before.height, "")
    shared = before.height - closed.height
    return [
        withdrawn,
        limits.moved(before, after, differences.filter(change="moved"), shared),
        limits.changed(
            "few_tenants_renamed", differences.filter(change="renamed"), shared, "max_renamed_share"
        ),
        limits.emptied(before, after),
    ]


@dataclass(frozen=True)
class _Limits:
    spec: DirectorySpec
    overrides: Overrides

    def withdrawn(self, closed: pl.DataFrame, of: int, since: str) -> CheckOutcome:
        found = f"{closed.height} of {of} tenants are gone{since}"
        accepted = self.overrides.accept_vanished
        return self._outcome(
            "directory_not_emptied", closed, of, "max_withdrawn_share", found, accepted, "--accept-vanished"
        )

    def changed(self, name: str, changed: pl.DataFrame, of: int, limit: str) -> CheckOutcome:
        what = changed["change"][0] if changed.height else name.rpartition("_")[2]
        found = f"{changed.height} of {of} tenants are {what}"
        accepted = self.overrides.accept_revised
        return self._outcome(name, changed, of, limit, found, accepted, "--accept-revised")

    def moved(self, before: pl.DataFrame, after: pl.DataFrame, moved: pl.DataFrame, of: int) -> CheckOutcome:
        """Check the tenants that moved, and among the shops and the dinings those that became the other."""
        outcome = self.changed("few_tenants_moved", moved, of, "max_moved_share")
        both = before.select("unique_id", "kind").join(after.select("unique_id", now="kind"), on="unique_id")
        for kind in both["kind"].unique().sort():
            of_kind = both.filter(kind=kind)
            switched = of_kind.filter(pl.col("now") != kind).rename({"kind": "was"})
            if outcome.passed and exceeds(switched.height, of_kind.height, self.spec.max_moved_share):
                found = (
                    f"{switched.height} of {of_kind.height} tenants of the kind {kind} become another kind"
                )
                accepted = self.overrides.accept_revised
                outcome = self._outcome(
                    "few_tenants_moved",
                    switched,
                    of_kind.height,
                    "max_moved_share",
                    found,
                    accepted,
                    "--accept-revised",
                )
        return outcome

    def emptied(self, before: pl.DataFrame, after: pl.DataFrame) -> CheckOutcome:
        """Check, column by column, the tenants that had a value and have none now."""
        names = [name for name in COLUMNS if name not in _NOT_VALUES]
        both = before.select("unique_id", *names).join(
            after.select("unique_id", *names), on="unique_id", suffix="_now"
        )
        worst, rows, of = names[0], both.clear(), 0
        for name in names:
            had = both.filter(_has_value(name, before.schema[name]))
            lost = had.filter(~_has_value(f"{name}_now", before.schema[name]))
            if lost.height * max(of, 1) > rows.height * max(had.height, 1):
                worst, rows, of = name, lost, had.height
        sample = rows.select("unique_id", was=pl.col(worst).cast(pl.String, strict=False)) if of else rows
        found = f"{rows.height} of {of} tenants lose their {worst}" if of else "no tenant loses a value"
        accepted = self.overrides.accept_revised
        return self._outcome(
            "few_values_emptied", sample, of, "max_emptied_share", found, accepted, "--accept-revised"
        )

    def _outcome(
        self, name: str, rows: pl.DataFrame, of: int, limit: str, found: str, accepted: bool, option: str
    ) -> CheckOutcome:
        share: float = getattr(self.spec, limit)
        found += f" ({rows.height / of:.0%})" if of else ""
        if not exceeds(rows.height, of, share):
            return CheckOutcome(name, True, found)
        sample = rows.head(PREVIEW_ROWS)
        if accepted:
            return CheckOutcome(name, True, f"{found}; accepted by {option}", sample)
        found += (
            f", more than {limit} ({share:.0%}). Look at the API: does it answer in full? If this is true, run "
            f"`tnt run {self.spec.name} {option}`; otherwise wait until it answers well again"
        )
        return CheckOutcome(name, False, found, sample)


def _has_value(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        return column.fill_null("").str.strip_chars() != ""
    if isinstance(dtype, pl.List):
        return column.list.len().fill_null(0) > 0
    return column.is_not_null()
