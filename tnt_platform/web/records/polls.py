"""When an item was last seen at its source, from the polls in `<dataset>/capture`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tnt_platform.lake.snapshot import Snapshot

# `item_ids` are the items of new content; an "unchanged" poll found the same content again, and any other poll without
# ids found nothing acceptable.
POLL_COLUMNS = frozenset({"captured_at", "status", "item_ids"})
UNCHANGED = "unchanged"


@dataclass(frozen=True)
class LatestCapture:
    """The latest accepted content: when it was first and last seen, and the ids of its items."""

    version: str = ""
    since: datetime | None = None
    at: datetime | None = None
    items: frozenset[str] = frozenset()

    def seen(self, item_id: object) -> datetime | None:
        """Return when the item was last seen; None if the latest content does not have it."""
        return self.at if item_id in self.items else None


NO_CAPTURE = LatestCapture()


def latest_capture(capture: Snapshot) -> LatestCapture:
    """Find the latest content in `<dataset>/capture`, reading back day by day."""
    polls: list[pl.DataFrame] = []
    for day in capture.partitions["partition"].sort(descending=True):
        polls.append(capture.scan([day], sorted(POLL_COLUMNS)).collect())
        contents = _contents(pl.concat(polls))
        if contents.height:
            newest = contents.row(-1, named=True)
            return LatestCapture(
                capture.version, newest["since"], newest["at"], frozenset(newest["item_ids"])
            )
    return LatestCapture(capture.version)


def last_seen(capture: Snapshot, item_id: str, since: datetime | None) -> datetime | None:
    """Return when an item was last seen in any content since the day of `since`; None if never."""
    days = capture.partitions["partition"]
    if since is not None:
        days = days.filter(days >= f"{since:%Y-%m-%d}")
    polls = capture.scan(days.to_list(), sorted(POLL_COLUMNS)).with_columns(
        is_content=pl.col("item_ids").is_not_null(),
        item_ids=pl.when(pl.col("item_ids").list.contains(item_id)).then(pl.lit([item_id])),
    )
    rows = polls.collect()
    held = _contents(rows.with_columns(pl.when("is_content").then(pl.col("item_ids").fill_null([]))))
    return held.filter(pl.col("item_ids").list.len() > 0)["at"].max()  # type: ignore[return-value]


def _contents(polls: pl.DataFrame) -> pl.DataFrame:
    """Return each content, oldest first: item_ids, `since`, and `at`, the last poll that found it."""
    rows = polls.sort("captured_at").with_columns(
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
