"""What a link was computed from: the upstream partition, named in the link's own ledger."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake.publishing import Published, as_ledger
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import RowCounts, VersionedStore

LEDGER_SCHEMA = {"key": pl.Utf8, "etag": pl.Utf8, "size_bytes": pl.Int64, "recipe": pl.Utf8}


@dataclass(frozen=True)
class Upstream:
    """One partition of the dataset a link reads, pinned to the version it was read from.

    `inputs_digest` is what the link that reads it carries: see `digest_after`.
    """

    dataset: str
    partition: str
    changed_by: str
    inputs_digest: str
    snapshot: Snapshot

    @classmethod
    def read(cls, store: VersionedStore, dataset: str, partition: str) -> Upstream:
        """Pin `partition` of the current version.

        Raises:
            NotFound: the upstream was never published for this partition.
        """
        snapshot = store.current(dataset)
        row = snapshot.partition(partition) if snapshot else None
        if snapshot is None or row is None:
            raise NotFound(
                f"{dataset} has no partition {partition}: materialize it first, or the whole chain at once"
            )
        digest = snapshot.partitions.filter(partition=partition).select(digest_after()).item()
        return cls(dataset, partition, row["changed_by"], digest, snapshot)

    @property
    def frame(self) -> pl.DataFrame:
        """The partition's rows."""
        return self.snapshot.scan([self.partition]).collect()

    @property
    def file_times(self) -> pl.DataFrame:
        """When each file of a shipments partition was uploaded, as it was read: file_key, last_modified."""
        return self.snapshot.inputs(self.partition).select("last_modified", file_key="key")

    def ledger(self, recipe: str) -> pl.DataFrame:
        """One input row: which version of the upstream partition, and the recipe applied to it."""
        row = {
            "key": f"{self.dataset}@{self.partition}",
            "etag": self.changed_by,
            "size_bytes": None,
            "recipe": recipe,
        }
        return as_ledger(pl.DataFrame([row], schema=LEDGER_SCHEMA))


def digest_after() -> pl.Expr:
    """The inputs_digest of a link, from the row in partitions.parquet of the link before it.

    It is the digest of the raw files, carried along, and the version of the link before: so a link that is
    behind is seen without reading a ledger, also when the same files were read in another way.
    """
    return pl.concat_str(raw_digest(), pl.lit("@"), "changed_by")


def raw_digest() -> pl.Expr:
    """The part of `inputs_digest` that tells which raw files a link was made from."""
    return pl.col("inputs_digest").str.split("@").list.first()


def published_unchanged(
    base: Snapshot | None, upstream: Upstream, partition: str, recipe: str
) -> Published | None:
    """What is published already, if it was made from this very upstream by this very recipe.

    A finished date costs two small reads instead of being redone.
    """
    row = base.partition(partition) if base else None
    if base is None or row is None or row["inputs_digest"] != upstream.inputs_digest:
        return None
    if (
        not base.inputs(partition)
        .select("key", "etag", "recipe")
        .equals(upstream.ledger(recipe).select("key", "etag", "recipe"))
    ):
        return None
    counts = RowCounts(
        **{name: row[name] for name in ("rows_in", "published", "quarantined", "deduplicated", "filtered")}
    )
    return Published(base.dataset, partition, base, changed=False, counts=counts)
