"""Objects in the bucket that no run reads, each with the reason: nothing there is passed over in silence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import polars as pl

from tnt_platform.discovery.listing import Listing
from tnt_platform.storage.objects import Objects

UNREAD: Final = {
    "key": pl.String(),
    "size_bytes": pl.Int64(),
    "reason_code": pl.String(),
    "reason": pl.String(),
}
SIDECAR, NOT_MATCHED, BEFORE_START, IN_THE_FUTURE, NO_DATASET = (
    "sidecar",
    "key_not_matched",
    "before_start_date",
    "in_the_future",
    "outside_every_prefix",
)
_NAMES_SHOWN = 3


def unread(listing: Listing, first: date, last: date) -> pl.DataFrame:
    """Return the listed objects that no run reads (UNREAD): sidecars, unmatched keys, dates out of range.

    `first` is the dataset's start_date, and `last` the last date that has a run: today.
    """
    files = listing.files
    outside = files.filter(pl.col("problem").is_null())
    early = outside.filter(pl.col("partition") < first.isoformat())
    late = outside.filter(pl.col("partition") > last.isoformat())
    start = pl.format(
        "{} is before the start_date {}; change it in the YAML", "partition", pl.lit(str(first))
    )
    future = pl.format("{} is in the future; the file waits until then", "partition")
    return pl.concat(
        [
            _rows(listing.sidecars, SIDECAR, pl.col("meaning")),
            _rows(files.filter(pl.col("problem").is_not_null()), NOT_MATCHED, pl.col("problem")),
            _rows(early, BEFORE_START, start),
            _rows(late, IN_THE_FUTURE, future),
        ]
    ).sort("key")


def sidecars_left_out(listing: Listing) -> dict[str, str]:
    """Return a fact for the metadata and the log of a run: the sidecars beside the files that it reads, if any."""
    return (
        {"left_out": summary(_rows(listing.sidecars, SIDECAR, pl.col("meaning")))}
        if listing.sidecars.height
        else {}
    )


def _rows(objects: pl.DataFrame, code: str, reason: pl.Expr) -> pl.DataFrame:
    return objects.select("key", "size_bytes", reason_code=pl.lit(code), reason=reason.cast(pl.String))


def outside_every_prefix(
    objects: Objects, prefixes: Sequence[str], *, below: str = "", without: Sequence[str] = ()
) -> pl.DataFrame:
    """List the objects below a folder that no dataset reads (UNREAD); `without` are folders that hold no raw files.

    Only folders outside the datasets' prefixes are listed.
    """
    pending, found = [below], [pl.DataFrame(schema=UNREAD)]
    while pending:
        folder = pending.pop()
        files, folders = objects.list_level(folder)
        # A prefix may end inside a name, such as `in/daily-`.
        found.append(_outside(files.filter(~_starts_with_any(prefixes))))
        for path in (f"{folder}{name}/" for name in folders):
            if any(path.startswith(prefix) for prefix in (*prefixes, *without)):
                continue
            if any(prefix.startswith(path) for prefix in (*prefixes, *without)):
                pending.append(path)
            else:
                found.append(_outside(objects.list(path)))
    return pl.concat(found).sort("key")


def _outside(listing: pl.DataFrame) -> pl.DataFrame:
    return _rows(listing, NO_DATASET, pl.lit("no dataset has a prefix that it begins with"))


def _starts_with_any(prefixes: Sequence[str]) -> pl.Expr:
    found = [pl.col("key").str.starts_with(prefix) for prefix in prefixes]
    return pl.any_horizontal(pl.lit(False), *found)


def summary(objects: pl.DataFrame) -> str:
    """Count the objects that no run reads by reason, with their first names; empty if there are none."""
    counted = (
        objects.group_by("reason_code", maintain_order=True)
        .agg(rows=pl.len(), first=pl.col("key").head(_NAMES_SHOWN))
        .sort("rows", "reason_code", descending=[True, False])
    )
    return "; ".join(
        f"{rows:,} {code.replace('_', ' ')} ({', '.join(first)}{', ...' if rows > len(first) else ''})"
        for code, rows, first in counted.iter_rows()
    )
