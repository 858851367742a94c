"""Listings: the objects of a bucket or a folder as one frame."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import polars as pl

from tnt_platform.storage.keys import SIDE_FOLDER

if TYPE_CHECKING:
    from obstore import ObjectMeta

    from tnt_platform.storage.folder import ListedObject

LISTING_SCHEMA = pl.Schema(
    {
        "key": pl.String(),
        "etag": pl.String(),
        "size_bytes": pl.Int64(),
        "last_modified": pl.Datetime("us", "UTC"),
    }
)


def folder_listing(batches: Iterable[Sequence[ListedObject]]) -> pl.DataFrame:
    """Return a folder's objects (LISTING_SCHEMA), sorted by key."""
    rows = [row for batch in batches for row in batch]
    return pl.DataFrame(rows, schema=LISTING_SCHEMA, orient="row").sort("key")


def bucket_listing(batches: Iterable[Sequence[ObjectMeta]], *, root: str, prefix: str) -> pl.DataFrame:
    """Return a bucket's objects (LISTING_SCHEMA), sorted by key, which is relative to `root`."""
    frames = [
        pl.DataFrame(
            {
                "key": [meta["path"] for meta in batch],
                "etag": [meta["e_tag"] for meta in batch],
                "size_bytes": [meta["size"] for meta in batch],
                "last_modified": [meta["last_modified"] for meta in batch],
            },
            schema=LISTING_SCHEMA,
        )
        for batch in batches
    ]
    listing = pl.concat(frames) if frames else pl.DataFrame(schema=LISTING_SCHEMA)
    inside = pl.col("key").str.slice(len(root))
    listing = listing.with_columns(inside).filter(~pl.col("key").str.starts_with(f"{SIDE_FOLDER}/"))
    return _without_folder_markers(listing.sort("key"), prefix)


def _without_folder_markers(listing: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """Drop the empty `raw/2026-11-20/` objects that consoles make; obstore lists them without their slash."""
    empty = listing.filter(size_bytes=0)["key"]
    if empty.is_empty():
        return listing
    keys = listing["key"].to_list()
    markers = []
    for key in empty:
        after = bisect_left(keys, f"{key}/")
        if not key.startswith(prefix) or (after < len(keys) and keys[after].startswith(f"{key}/")):
            markers.append(key)
    return listing.filter(~pl.col("key").is_in(markers))
