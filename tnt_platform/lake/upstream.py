"""The upstream partition that a step was computed from, as its own ledger records it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake.publishing import Published, as_ledger
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import VersionedStore

LEDGER_SCHEMA = {"key": pl.Utf8, "etag": pl.Utf8, "size_bytes": pl.Int64, "recipe": pl.Utf8}


@dataclass(frozen=True)
class Upstream:
    """One partition of the dataset that a step reads, pinned to the version it was read from.

    `inputs_digest` becomes the inputs_digest of the step that reads it: see `digest_after`.
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
            NotFound: the upstream has no such partition yet.
        """
        snapshot = store.current(dataset)
        row = snapshot.partition(partition) if snapshot else None
        if snapshot is None or row is None:
            raise NotFound(
                f"{dataset} has no partition {partition}: materialize it first, or all steps in one run"
            )
        digest = snapshot.partitions.filter(partition=partition).select(digest_after()).item()
        return cls(dataset, partition, row["changed_by"], digest, snapshot)

    @property
    def frame(self) -> pl.DataFrame:
        """The partition's rows."""
        return self.snapshot.scan([self.partition]).collect()

    @property
    def file_times(self) -> pl.DataFrame:
        """When each file of a shipments partition was uploaded: file_key, last_modified."""
        return self.snapshot.inputs(self.partition).select("last_modified", file_key="key")

    def ledger(self, recipe: str) -> pl.DataFrame:
        """Return the ledger: one row with the version of the upstream partition and the recipe applied to it."""
        row = {
            "key": f"{self.dataset}@{self.partition}",
            "etag": self.changed_by,
            "size_bytes": None,
            "recipe": recipe,
        }
        return as_ledger(pl.DataFrame([row], schema=LEDGER_SCHEMA))


def digest_after() -> pl.Expr:
    """Return the inputs_digest of a step as an expression on partitions.parquet of the step before it.

    It joins the digest of the raw files and the version of the step before. So a step that is behind is found
    without reading a ledger, even if the same files were read by another recipe.
    """
    return pl.concat_str(raw_digest(), pl.lit("@"), "changed_by")


def raw_digest() -> pl.Expr:
    """Return the part of `inputs_digest` that identifies the raw files, as an expression."""
    return pl.col("inputs_digest").str.split("@").list.first()


def published_unchanged(
    base: Snapshot | None, upstream: Upstream, partition: str, recipe: str
) -> Published | None:
    """Return what is published, if it was made from this version of the upstream by this recipe, else None.

    So a finished date costs two small reads instead of being computed again.
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
    return Published.unchanged(base, partition)
