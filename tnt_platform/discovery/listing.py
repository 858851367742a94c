"""List a dataset's raw files, each with the partition it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from tnt_platform.discovery.raw_source import RawSource, located
from tnt_platform.discovery.sidecars import sidecar_meanings
from tnt_platform.storage.objects import Objects

_NO_HOMES: Mapping[str, str] = {}
_FOLDERS_AT_ONCE = 8


@dataclass(frozen=True)
class Listing:
    """The objects of a dataset.

    Attributes:
        files: key, etag, size_bytes, last_modified, partition (String, ISO date), problem (String, null if the key
            is as expected) and the pattern's groups; sorted by key. A key outside every date folder has no partition,
            because no other listing would find it again.
        sidecars: the objects that are no data (`sidecars.csv`), as `files`, and what each of them is (`meaning`).
    """

    files: pl.DataFrame
    sidecars: pl.DataFrame

    def where(self, wanted: pl.Expr) -> Listing:
        """Return the objects that fulfil a condition on the columns that both tables have."""
        return Listing(self.files.filter(wanted), self.sidecars.filter(wanted))


def list_all(objects: Objects, source: RawSource, undated_homes: Mapping[str, str] = _NO_HOMES) -> Listing:
    """List every object under the source's prefix, for the full reconciliation."""
    return _sorted_out(objects.list(source.prefix), source, undated_homes)


def list_since(
    objects: Objects, source: RawSource, first_date: str, undated_homes: Mapping[str, str] = _NO_HOMES
) -> Listing:
    """List the partitions from `first_date` (ISO) on, as `list_all` does; earlier date folders are not listed."""
    listing = _list_folders_where(objects, source, lambda day: day >= first_date)
    return _sorted_out(listing, source, undated_homes).where(pl.col("partition") >= first_date)


def list_partition(
    objects: Objects, source: RawSource, partition: str, undated_homes: Mapping[str, str] = _NO_HOMES
) -> Listing:
    """List one partition; the rows are those that `list_all` returns for it."""
    listing = _list_folders_where(objects, source, lambda day: day == partition)
    return _sorted_out(listing, source, undated_homes).where(pl.col("partition") == partition)


def list_wanted(
    objects: Objects,
    source: RawSource,
    since: str | None,
    named: Sequence[str],
    undated_homes: Mapping[str, str] = _NO_HOMES,
) -> tuple[Listing, list[str]]:
    """List the partitions from `since` on and those in `named`, or everything where neither is given.

    Also return the named partitions before `since`, each of which is listed whole.
    """
    if since is None and not named:
        return list_all(objects, source, undated_homes), []
    outside = sorted({name for name in named if since is None or name < since})
    listings = [list_partition(objects, source, name, undated_homes) for name in outside]
    if since is not None:
        listings.insert(0, list_since(objects, source, since, undated_homes))
    files, sidecars = ([getattr(one, table) for one in listings] for table in ("files", "sidecars"))
    return Listing(pl.concat(files), pl.concat(sidecars)), outside


def _sorted_out(listing: pl.DataFrame, source: RawSource, undated_homes: Mapping[str, str]) -> Listing:
    """Tell data from what accompanies it, before anything counts, compares or opens it."""
    found = located(listing, source, undated_homes)
    meanings = sidecar_meanings(found, source)
    is_data = meanings.is_null()
    return Listing(found.filter(is_data), found.with_columns(meaning=meanings).filter(~is_data))


def _list_folders_where(objects: Objects, source: RawSource, wanted: Callable[[str], bool]) -> pl.DataFrame:
    """List the wanted date folders; folders that belong to others are not listed."""
    layout = source.date_folders
    if layout is None:
        return objects.list(source.prefix)
    files, folders = objects.list_level(source.prefix)
    prefixes = []
    for folder in folders:
        name = source.folder_of(f"{source.prefix}{folder}/")
        day = source.day(name) if name is not None else None
        misspelt = name is not None and day is None and layout.spelling.fullmatch(name) is not None
        if (day is not None and wanted(day)) or misspelt or (day is None and layout.optional):
            prefixes.append(f"{source.prefix}{folder}/")
    with ThreadPoolExecutor(_FOLDERS_AT_ONCE) as pool:
        return pl.concat([files, *pool.map(objects.list, prefixes)]).sort("key")


def partitions_named_by(
    keys: Iterable[str],
    source: RawSource,
    undated_homes: Mapping[str, str] = _NO_HOMES,
    first_seen: Sequence[str] = (),
) -> list[str]:
    """Find the partitions that these keys (decoded, relative to the raw store's URL) belong to, sorted.

    An event only says where to look first: the listing decides. A new key without a date may belong to any of the
    partitions in `first_seen`.
    """
    partitions: set[str | None] = set()
    for key in keys:
        match = source.whole_key.fullmatch(key) if key.startswith(source.prefix) else None
        text = match.groupdict().get("date") if match else None
        if text is not None:
            partitions.add(source.day(text))
        elif key in undated_homes:
            partitions.add(undated_homes[key])
        elif match:
            partitions.update(first_seen)
    return sorted(name for name in partitions if name is not None)
