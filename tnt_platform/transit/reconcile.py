"""Compare the bucket with what the published data says it was made from: the difference is the work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import polars as pl

from tnt_platform.discovery.comparison import PartitionDifference, Reconciliation, differing_partitions
from tnt_platform.discovery.listing import list_wanted
from tnt_platform.discovery.unread import unread
from tnt_platform.lake.publishing import Workspace
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.upstream import digest_after, raw_digest
from tnt_platform.transit.files import as_compared, undated_homes
from tnt_platform.transit.spec import SHIPMENTS, TransitSpec


def survey(
    spec: TransitSpec, workspace: Workspace, *, since: str | None = None, named: Sequence[str] = ()
) -> Reconciliation:
    """Find the dates that a run would change.

    With `since`, only dates from then on are listed, and with `named` those; without either, everything is.
    Dates whose run stopped between two steps are found without any listing.
    """
    steps = [workspace.store.current(spec.dataset(step)) for step in spec.steps]
    paused = next(
        (step.manifest.paused_because for step in steps if step and step.manifest.paused_because), None
    )
    files, first = steps[0], steps[spec.steps.index(SHIPMENTS)]
    everything, outside = list_wanted(workspace.raw, spec.source, since, named, undated_homes(files))
    left_out = unread(everything, spec.start_date, workspace.clock().date())
    listing = everything.files.filter(pl.col("partition").is_not_null())
    seen = listing["partition"].n_unique()
    if paused:
        return Reconciliation([], listing.height, seen, paused, left_out)
    found = _differing(spec, listing, first, since, outside)
    differences = {difference.partition: difference for difference in (*_half_way(steps), *found)}
    found = [differences[date] for date in sorted(differences)]
    return Reconciliation(found, listing.height, seen, unread=left_out)


def _differing(
    spec: TransitSpec,
    listing: pl.DataFrame,
    first: Snapshot | None,
    since: str | None,
    outside: Sequence[str],
) -> list[PartitionDifference]:
    """Find the dates whose files are not those that shipments were read from."""
    listing = as_compared(spec, listing)
    published = first.partitions if first else None
    is_outside = pl.col("partition").is_in(outside)

    def ledgers(partitions: Sequence[str]) -> pl.DataFrame:
        return as_compared(spec, first.all_inputs(partitions)) if first else pl.DataFrame()

    differ = partial(
        differing_partitions, on_overwrite=spec.source.on_overwrite, on_delete=spec.source.on_delete
    )
    found = differ(listing.filter(~is_outside), published, ledgers, complete_since=since or "")
    if outside:
        # Each of these dates was listed whole too, so one without any file has lost them all.
        known = published.filter(is_outside) if published is not None else None
        found += differ(listing.filter(is_outside), known, ledgers, complete_since="")
    return found


def _half_way(steps: Sequence[Snapshot | None]) -> list[PartitionDifference]:
    """Find the dates of which a step after shipments was not made from what the step before it holds now."""
    behind: dict[str, PartitionDifference] = {}
    for step, following in pairwise(steps[1:]):
        if step is None:
            break
        done = following.partitions if following is not None else step.partitions.clear()
        ahead = step.partitions.select("partition", raw=raw_digest(), wanted=digest_after()).join(
            done.select("partition", raw_done=raw_digest(), made_from="inputs_digest"),
            on="partition",
            how="left",
        )
        for row in ahead.filter(pl.col("wanted").ne_missing(pl.col("made_from"))).iter_rows(named=True):
            # The same files read or answered differently are work of their own.
            digest = row["wanted"] if row["raw"] == row["raw_done"] else row["raw"]
            behind.setdefault(row["partition"], PartitionDifference(row["partition"], digest))
    return list(behind.values())
