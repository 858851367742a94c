"""Finding work: list what is in the bucket, and compare it with what was published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote_plus

import polars as pl

from tnt_platform.discovery.file_plan import FilePlan, digests_by_partition, inputs_digest, plan_files
from tnt_platform.discovery.raw_source import OnDelete, OnOverwrite, RawSource, located
from tnt_platform.storage.objects import LISTING_SCHEMA, Objects

__all__ = [
    "Assigned",
    "Difference",
    "EventKeys",
    "FilePlan",
    "RawSource",
    "assign_partitions",
    "decoded_event_key",
    "differing_partitions",
    "inputs_digest",
    "list_all",
    "list_partition",
    "list_since",
    "partitions_named_by",
    "plan_files",
]

_NO_HOMES: Mapping[str, str] = {}
_FOLDERS_AT_ONCE = 8


@dataclass(frozen=True)
class Assigned:
    """`files`: listing + partition + the pattern's groups. `unmatched`: key, reason, for keys that can't be read."""

    files: pl.DataFrame
    unmatched: pl.DataFrame


@dataclass(frozen=True)
class Difference:
    """One partition that is not published as the bucket has it, and how many files differ."""

    partition: str
    digest: str
    new: int
    changed: int
    vanished: int


@dataclass(frozen=True)
class EventKeys:
    """What a batch of S3 events says: partitions to look at, undated keys to look up, and keys of no concern."""

    partitions: list[str]
    undated: list[str]
    foreign: list[str]


def assign_partitions(
    listing: pl.DataFrame, source: RawSource, undated_homes: Mapping[str, str] = _NO_HOMES
) -> Assigned:
    """Give each object its partition; keys that can't be read are returned apart with the reason.

    Args:
        listing: key, etag, size_bytes, last_modified, as `Objects.list` returns it.
        undated_homes: key -> partition of keys without a date that were seen before.
    """
    everything = located(listing, source, undated_homes)
    odd = pl.col("problem").is_not_null()
    return Assigned(
        files=everything.filter(~odd).drop("problem"),
        unmatched=everything.filter(odd).select("key", reason="problem"),
    )


def list_all(
    objects: Objects, source: RawSource, undated_homes: Mapping[str, str] = _NO_HOMES
) -> pl.DataFrame:
    """Every object under the source's prefix, with its partition: for the sweep.

    Returns:
        key, etag, size_bytes, last_modified, partition (String, ISO date), problem (String, null when
        the key is as expected) and the pattern's groups; sorted by key. A key that lies outside every
        date folder has no partition: no other listing would find it again.
    """
    return located(objects.list(source.prefix), source, undated_homes)


def list_since(
    objects: Objects, source: RawSource, first_date: str, undated_homes: Mapping[str, str] = _NO_HOMES
) -> pl.DataFrame:
    """As `list_all`, for the partitions from `first_date` (ISO) on; date folders before it are not listed."""
    listing = _list_folders_where(objects, source, lambda day: day >= first_date)
    return located(listing, source, undated_homes).filter(pl.col("partition") >= first_date)


def list_partition(
    objects: Objects, source: RawSource, partition: str, undated_homes: Mapping[str, str] = _NO_HOMES
) -> pl.DataFrame:
    """As `list_all`, for one partition; the same rows that `list_all` gives it."""
    listing = _list_folders_where(objects, source, lambda day: day == partition)
    return located(listing, source, undated_homes).filter(pl.col("partition") == partition)


def _list_folders_where(objects: Objects, source: RawSource, wanted: Callable[[str], bool]) -> pl.DataFrame:
    """The listing without those date folders that are not wanted, and without other people's folders."""
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


def differing_partitions(
    listing: pl.DataFrame,
    published: pl.DataFrame | None,
    ledgers: Callable[[Sequence[str]], pl.DataFrame],
    *,
    complete_since: str | None = None,
    on_overwrite: OnOverwrite = "latest",
    on_delete: OnDelete = "keep",
) -> list[Difference]:
    """The partitions whose files are not those that were published, in order of date.

    Args:
        listing: key, etag, size_bytes, last_modified, partition; each partition in it listed whole.
        published: partition, inputs_digest of the published version; None before the first publish.
        ledgers: reads the input ledgers of these partitions: partition, key, etag, size_bytes, status.
            Asked once, and only for published partitions whose digest differs.
        complete_since: partitions from this date on were all listed ("" for all), so that a published
            one with no object left has lost its files. Without it such partitions are left alone,
            because a listing of a few dates says nothing about the others.
    """
    listing = listing.filter(pl.col("partition").is_not_null())
    before = _published_digests(published)
    now = digests_by_partition(listing)
    differing = now.join(
        before, left_on=["partition", "digest"], right_on=["partition", "inputs_digest"], how="anti"
    )
    digests = dict(differing.iter_rows())
    if complete_since is not None and on_delete == "remove":
        emptied = before.filter(pl.col("partition") >= complete_since).join(now, on="partition", how="anti")
        digests |= dict.fromkeys(emptied["partition"], inputs_digest(listing.clear()))
    known = sorted(digests.keys() & set(before["partition"]))
    plan = plan_files(
        listing.filter(pl.col("partition").is_in(list(digests))),
        _known_files(ledgers(known) if known else None),
        on_overwrite=on_overwrite,
        on_delete=on_delete,
    )
    return _differences(digests, plan)


def _differences(digests: Mapping[str, str], plan: FilePlan) -> list[Difference]:
    new, changed, gone = (_count_by_partition(files) for files in (plan.new, plan.changed, plan.vanished))
    with_work = (
        new.keys() | changed.keys() | _count_by_partition(plan.vanished.filter(status="removed")).keys()
    )
    return [
        Difference(date, digests[date], new.get(date, 0), changed.get(date, 0), gone.get(date, 0))
        for date in sorted(with_work)
    ]


def _published_digests(published: pl.DataFrame | None) -> pl.DataFrame:
    schema = {"partition": pl.String(), "inputs_digest": pl.String()}
    return pl.DataFrame(schema=schema) if published is None else published.select(list(schema))


def _known_files(ledger: pl.DataFrame | None) -> pl.DataFrame:
    schema = {
        "partition": pl.String(),
        **{name: LISTING_SCHEMA[name] for name in ("key", "etag", "size_bytes")},
        "status": pl.String(),
    }
    return pl.DataFrame(schema=schema) if ledger is None or ledger.is_empty() else ledger.select(list(schema))


def _count_by_partition(files: pl.DataFrame) -> dict[str, int]:
    return dict(files.group_by("partition").len().iter_rows())


def decoded_event_key(key: str) -> str:
    """The object's key as it is, from the form in which S3 writes it into an event."""
    return unquote_plus(key)


def partitions_named_by(
    keys: Iterable[str],
    source: RawSource,
    undated_homes: Mapping[str, str] = _NO_HOMES,
) -> EventKeys:
    """Which partitions these keys (decoded, relative to the raw store's URL) belong to.

    An event is only a hint where to look first: what counts is the listing. A key without a date that
    was never seen has no known partition yet; `list_since` of the event's day finds it.
    """
    partitions: set[str] = set()
    undated: list[str] = []
    foreign: list[str] = []
    for key in dict.fromkeys(keys):
        match = source.whole_key.fullmatch(key) if key.startswith(source.prefix) else None
        text = match.groupdict().get("date") if match else None
        home = source.day(text) if text is not None else undated_homes.get(key)
        if home is not None:
            partitions.add(home)
        elif match is not None and text is None:
            undated.append(key)
        else:
            foreign.append(key)
    return EventKeys(sorted(partitions), undated, foreign)
