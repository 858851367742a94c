"""When a source was last seen to hold its records, from `<dataset>/capture`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tnt_platform.lake.snapshot import Snapshot

# `item_ids` names the items of a content that was not there at the look before; an "unchanged" look found that content
# again, and any other look without ids found nothing that could be taken.
LOOK_COLUMNS = frozenset({"captured_at", "status", "item_ids"})
UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Look:
    """The newest content that was taken: since when it is there, when it was seen last, and the ids of its items."""

    version: str = ""
    since: datetime | None = None
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
        looks.append(capture.scan([day], sorted(LOOK_COLUMNS)).collect())
        contents = _contents(pl.concat(looks))
        if contents.height:
            newest = contents.row(-1, named=True)
            return Look(capture.version, newest["since"], newest["at"], frozenset(newest["item_ids"]))
    return Look(capture.version)


def last_seen(capture: Snapshot, item_id: str, since: datetime | None) -> datetime | None:
    """When an item was last seen in any content, looking back to the day of `since`; None if it never was."""
    days = capture.partitions["partition"]
    if since is not None:
        days = days.filter(days >= f"{since:%Y-%m-%d}")
    looks = capture.scan(days.to_list(), sorted(LOOK_COLUMNS)).with_columns(
        is_content=pl.col("item_ids").is_not_null(),
        item_ids=pl.when(pl.col("item_ids").list.contains(item_id)).then(pl.lit([item_id])),
    )
    rows = looks.collect()
    held = _contents(rows.with_columns(pl.when("is_content").then(pl.col("item_ids").fill_null([]))))
    return held.filter(pl.col("item_ids").list.len() > 0)["at"].max()  # type: ignore[return-value]


def _contents(looks: pl.DataFrame) -> pl.DataFrame:
    """Each content in order of time: item_ids, `since`, and `at`, the last look that found it."""
    rows = looks.sort("captured_at").with_columns(
        content=pl.col("item_ids").is_not_null().cum_sum(),
    )
    found = rows.filter(
        pl.col("content") > 0, pl.col("item_ids").is_not_null() | (pl.col("status") == UNCHANGED)
    )
    return found.group_by("content", maintain_order=True).agg(
        pl.col("item_ids").first(),
        pl.col("captured_at").first().alias("since"),
        pl.col("captured_at").last().alias("at"),
    )
