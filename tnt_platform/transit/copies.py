"""The same export dropped twice (`same_file_again: skip`): its rows are published once."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.transit.spec import TransitSpec

# A reason_code, and the status in the ledger of a file whose present content is rejected whole.
CONTENT_REJECTED = "content_rejected"


@dataclass(frozen=True)
class Copies:
    """The same export dropped twice (`same_file_again: skip`): whose rows are published, and which copy takes over.

    `others` are the ledgers of the dataset's other dates; None where every file counts on its own.
    """

    base: Snapshot | None
    others: pl.DataFrame | None

    @classmethod
    def read(cls, spec: TransitSpec, base: Snapshot | None, date: str) -> Copies:
        """Read the ledgers, if the dataset skips copies."""
        if base is None or spec.source.same_file_again == "read":
            return cls(base, None)
        return cls(base, base.all_inputs().filter(pl.col("partition") != date))

    def published(self, ledger: pl.DataFrame) -> frozenset[str]:
        """Return the hashes of files whose rows are published, on other dates or, by `ledger`, on this one."""
        if self.others is None:
            return frozenset()
        # The copy of a file without a good row is rejected for the same reason, not counted as a duplicate.
        gave_rows = pl.col("status").is_in(["accepted", "kept", CONTENT_REJECTED]) & (pl.col("rows_out") > 0)
        every = pl.concat([self.others, ledger], how="diagonal_relaxed")
        return frozenset(every.filter(gave_rows)["sha256"].to_list())

    def orphaned(self, ledger: pl.DataFrame) -> list[str]:
        """Return the keys of this date's copies whose original is not published any more."""
        return _orphans(ledger, self.published(ledger))["key"].to_list()

    def released(self, ledger: pl.DataFrame) -> list[PartitionChange]:
        """Return changes of other dates that forget copies whose original is gone with `ledger`.

        They are published together with the change of this date; the next tick finds the copies as new files.
        """
        if self.base is None or self.others is None:
            return []
        orphans = _orphans(self.others, self.published(ledger))
        by_date = orphans.group_by("partition", maintain_order=True)
        return [_without(self.base, str(name), rows["key"].to_list()) for (name,), rows in by_date]


def _orphans(ledger: pl.DataFrame, published: frozenset[str]) -> pl.DataFrame:
    return ledger.filter((pl.col("status") == "duplicate") & ~pl.col("sha256").is_in(list(published)))


def counts_of(ledger: pl.DataFrame) -> RowCounts:
    """Sum what became of the rows of the files of a ledger."""
    sums = ledger.select(pl.col("^rows_.*$").sum()).row(0, named=True)
    return RowCounts(
        rows_in=sums["rows_in"],
        published=sums["rows_out"],
        quarantined=sums["rows_quarantined"],
        deduplicated=sums["rows_deduplicated"],
        filtered=sums["rows_filtered"],
    )


def _without(base: Snapshot, partition: str, keys: list[str]) -> PartitionChange:
    ledger = base.inputs(partition).filter(~pl.col("key").is_in(keys))
    live = base.files.filter(pl.col("partition") == partition)["path"].to_list()
    return PartitionChange(
        partition=partition,
        data=[] if live else base.intact([partition]).scan([partition]).collect(),
        keep=live,
        inputs=ledger,
        quarantine=base.quarantine([partition]).drop("partition"),
        counts=counts_of(ledger),
    )
