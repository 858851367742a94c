"""What is in the bucket against what the published data says it was made from: the difference is the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tnt_platform.flows.publishing import Place
from tnt_platform.flows.transit.files import undated_homes
from tnt_platform.flows.transit.spec import FILES, SHIPMENTS, TransitSpec
from tnt_platform.lake.discovery import (
    differing_partitions,
    inputs_digest,
    list_all,
    list_partition,
    list_since,
)
from tnt_platform.lake.snapshot import Snapshot


@dataclass(frozen=True)
class Work:
    """One date to materialize, and why."""

    date: str
    digest: str
    new: int
    changed: int
    vanished: int

    @property
    def reason(self) -> str:
        """For a person: what differs."""
        parts = [
            f"{n} {what}"
            for n, what in ((self.new, "new"), (self.changed, "changed"), (self.vanished, "gone"))
            if n
        ]
        return ", ".join(parts) if parts else "a link of the chain is behind the files"


@dataclass(frozen=True)
class Survey:
    """What one look at the bucket found. `held_because` is set after a rollback: nothing is to be done."""

    work: list[Work]
    files_seen: int
    dates_seen: int
    held_because: str | None = None


def survey(spec: TransitSpec, place: Place, *, since: str | None = None, named: Sequence[str] = ()) -> Survey:
    """Compare the bucket with the last link of the chain.

    With `since`, only dates from then on are listed, and those in `named`; without, everything is.
    Dates whose chain stopped half-way are found without any listing.
    """
    files = place.store.current(spec.dataset(FILES))
    first = place.store.current(spec.dataset(SHIPMENTS))
    last = place.store.current(spec.dataset(spec.steps[-1]))
    held = next((s.manifest.held_because for s in _snapshots(spec, place) if s.manifest.held_because), None)
    homes = undated_homes(files)
    listing = (
        list_all(place.raw, spec.source, homes)
        if since is None
        else list_since(place.raw, spec.source, since, homes)
    )
    outside = [date for date in named if since is not None and date < since]
    listing = pl.concat([listing, *(list_partition(place.raw, spec.source, date, homes) for date in outside)])
    listing = listing.filter(pl.col("partition").is_not_null())
    seen = listing["partition"].n_unique()
    if held:
        return Survey([], listing.height, seen, held)

    def ledgers(partitions: Sequence[str]) -> pl.DataFrame:
        return first.all_inputs(partitions) if first else pl.DataFrame()

    found = differing_partitions(
        listing, first.partitions if first else None, ledgers, spec.source, complete_since=since or ""
    )
    work = {d.partition: Work(d.partition, d.digest, d.new, d.changed, d.vanished) for d in found}
    for date in _half_way(first, last):
        if date not in work:
            digest = inputs_digest(listing.filter(pl.col("partition") == date))
            work[date] = Work(date, digest, 0, 0, 0)
    return Survey([work[date] for date in sorted(work)], listing.height, seen)


def _snapshots(spec: TransitSpec, place: Place) -> list[Snapshot]:
    found = [place.store.current(spec.dataset(step)) for step in spec.steps]
    return [snapshot for snapshot in found if snapshot]


def _half_way(first: Snapshot | None, last: Snapshot | None) -> list[str]:
    """Dates whose shipments were published from other files than the last link was."""
    if first is None:
        return []
    digests = first.partitions.select("partition", "inputs_digest")
    if last is None:
        return digests["partition"].to_list()
    done = last.partitions.select("partition", "inputs_digest")
    return digests.join(done, on=["partition", "inputs_digest"], how="anti")["partition"].to_list()
