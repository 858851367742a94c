"""When a source was last seen to hold its records, from `<dataset>/capture`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tnt_platform.lake.snapshot import Snapshot

# `item_ids` is null for a look that found the bytes of the one before, and for a content that was refused.
LOOK_COLUMNS = frozenset({"captured_at", "sha256", "item_ids"})


@dataclass(frozen=True)
class Look:
    """The newest look at a content that was taken: `at`, and the ids of the items it holds."""

    version: str = ""
    at: datetime | None = None
    items: frozenset[str] = frozenset()

    def seen(self, item_id: object) -> datetime | None:
        """When the item was last seen; None if the newest content does not hold it."""
        return self.at if item_id in self.items else None


NO_LOOK = Look()


def newest_look(capture: Snapshot) -> Look:
    """The newest look of a version of `<dataset>/capture`; days are read from the newest on, until one tells."""
    looks: list[pl.DataFrame] = []
    for day in capture.partitions["partition"].sort(descending=True):
        looks.append(capture.scan([day], ["captured_at", "sha256", "item_ids"]).collect())
        rows = pl.concat(looks)
        contents = rows.filter(pl.col("item_ids").is_not_null()).sort("captured_at")
        if contents.height:
            newest = contents.row(-1, named=True)
            same = rows.filter(
                pl.col("sha256") == newest["sha256"], pl.col("captured_at") >= newest["captured_at"]
            )
            return Look(capture.version, same["captured_at"].max(), frozenset(newest["item_ids"]))  # type: ignore[arg-type]
    return Look(capture.version)
