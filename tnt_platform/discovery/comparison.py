"""Compare what is in the bucket with the ledger of what was read; pure functions on frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from tnt_platform.discovery.raw_source import OnDelete, OnOverwrite
from tnt_platform.discovery.unread import UNREAD
from tnt_platform.storage.objects import LISTING_SCHEMA

_IDENTITY = ["key", "etag", "size_bytes"]


@dataclass(frozen=True)
class PartitionDifference:
    """A partition that is not published from the files now in the bucket, and how many files differ."""

    partition: str
    digest: str
    new: int = 0
    changed: int = 0
    vanished: int = 0

    @property
    def reason(self) -> str:
        """What differs, for a person."""
        counts = ((self.new, "new"), (self.changed, "changed"), (self.vanished, "gone"))
        return ", ".join(f"{count} {what}" for count, what in counts if count) or "a step is behind the files"


@dataclass(frozen=True)
class Reconciliation:
    """What one comparison of the bucket with the published data found.

    `paused_because` is the reason of a rollback that paused the dataset; there are no differences then. `unread` are
    the listed objects that no run reads, each with the reason (unread.UNREAD).
    """

    differences: list[PartitionDifference]
    files_seen: int
    dates_seen: int
    paused_because: str | None = None
    unread: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=UNREAD))


@dataclass(frozen=True)
class FilePlan:
    """The files of one partition (or of several, with the column `partition`), sorted by key.

    `status` is the value that the ledger is to have from now on.

    Attributes:
        new: listed, but not in the ledger; `status` is `accepted`.
        changed: listed with other content than in the ledger, whose etag is `previous_etag`; `status` is `accepted`
            (read it again) or, with on_overwrite reject, `rejected` (keep the earlier rows, and record this etag so
            that the next comparison finds the file unchanged).
        vanished: rows of the ledger whose object is gone; `status` is `kept` (its rows stay) or `removed`.
        unchanged: rows of the ledger whose object is listed unchanged.
    """

    new: pl.DataFrame
    changed: pl.DataFrame
    vanished: pl.DataFrame
    unchanged: pl.DataFrame

    @property
    def has_work(self) -> bool:
        """Whether a run has anything to do; not for a file that expired and is kept."""
        removed = self.vanished.filter(status="removed").height
        return bool(self.new.height or self.changed.height or removed)


def plan_files(
    listing: pl.DataFrame, ledger: pl.DataFrame, *, on_overwrite: OnOverwrite, on_delete: OnDelete
) -> FilePlan:
    """Compare objects with the ledger by key, etag and size, never by time.

    Args:
        listing: key (String), etag (String), size_bytes (Int64), last_modified; other columns are passed through. Of
            a repeated key, the last modified object counts.
        ledger: key, etag, size_bytes, status (accepted, rejected or kept); other columns are passed through.
    """
    by_partition = ["partition"] if "partition" in listing.columns and "partition" in ledger.columns else []
    file_key = [*by_partition, "key"]
    present = _each_key_once(listing, file_key)
    identity = [*by_partition, *_IDENTITY]
    unknown = present.join(ledger, how="anti", on=identity, nulls_equal=True, maintain_order="left")
    before = (
        ledger.sort(file_key).group_by(file_key, maintain_order=True).agg(previous_etag=pl.col("etag").last())
    )
    new = unknown.join(before, on=file_key, how="anti", maintain_order="left")
    changed = unknown.join(before, on=file_key, how="inner", maintain_order="left")
    gone = ledger.join(present, on=file_key, how="anti").sort(file_key)
    if on_delete == "keep":
        gone = gone.filter(status="accepted")
    changed_status = "accepted" if on_overwrite == "latest" else "rejected"
    return FilePlan(
        new=new.with_columns(status=pl.lit("accepted")),
        changed=changed.with_columns(status=pl.lit(changed_status)),
        vanished=gone.with_columns(status=pl.lit("kept" if on_delete == "keep" else "removed")),
        unchanged=ledger.join(present, how="semi", on=identity, nulls_equal=True).sort(file_key),
    )


def differing_partitions(
    listing: pl.DataFrame,
    published: pl.DataFrame | None,
    ledgers: Callable[[Sequence[str]], pl.DataFrame],
    *,
    complete_since: str | None = None,
    on_overwrite: OnOverwrite = "latest",
    on_delete: OnDelete = "keep",
) -> list[PartitionDifference]:
    """Find the partitions whose files are not those that were published, in order of date.

    Args:
        listing: key, etag, size_bytes, last_modified, partition; each partition in it must be listed whole.
        published: partition, inputs_digest of the published version; None before the first publish.
        ledgers: reads the input ledgers of these partitions: partition, key, etag, size_bytes, status. Called once,
            and only for published partitions whose digest differs.
        complete_since: partitions from this date on ("" for all) were all listed, so that a published one without
            any object has lost its files. By default such partitions are ignored, because a listing of a few
            dates says nothing about the others.
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
    new, changed, gone = (_count_by_partition(files) for files in (plan.new, plan.changed, plan.vanished))
    removed = _count_by_partition(plan.vanished.filter(status="removed"))
    return [
        PartitionDifference(date, digests[date], new.get(date, 0), changed.get(date, 0), gone.get(date, 0))
        for date in sorted(new.keys() | changed.keys() | removed.keys())
    ]


def _published_digests(published: pl.DataFrame | None) -> pl.DataFrame:
    schema = {"partition": pl.String(), "inputs_digest": pl.String()}
    return pl.DataFrame(schema=schema) if published is None else published.select(list(schema))


def _known_files(ledger: pl.DataFrame | None) -> pl.DataFrame:
    schema = {
        "partition": pl.String(),
        **{name: LISTING_SCHEMA[name] for name in _IDENTITY},
        "status": pl.String(),
    }
    return pl.DataFrame(schema=schema) if ledger is None or ledger.is_empty() else ledger.select(list(schema))


def _count_by_partition(files: pl.DataFrame) -> Mapping[str, int]:
    return dict(files.group_by("partition").len().iter_rows())


def inputs_digest(listing: pl.DataFrame) -> str:
    """Return the SHA-256 (hex) of the set of (key, etag, size), whatever its order."""
    return _digest_of(listing.select(line=_identity_line())["line"])


def digests_by_partition(listing: pl.DataFrame) -> pl.DataFrame:
    """Return the `inputs_digest` of each partition: partition (String), digest (String); sorted by partition."""
    lines = (
        listing.select("partition", line=_identity_line()).group_by("partition").agg("line").sort("partition")
    )
    digests = [_digest_of(of_partition) for of_partition in lines["line"]]
    return lines.select("partition", pl.Series("digest", digests, dtype=pl.String))


def _each_key_once(listing: pl.DataFrame, file_key: list[str]) -> pl.DataFrame:
    # For objects of the same second, the etag decides: the order of arrival must not.
    return listing.sort([*file_key, "last_modified", "etag", "size_bytes"]).unique(
        file_key, keep="last", maintain_order=True
    )


def _identity_line() -> pl.Expr:
    # No key contains a NUL, so different sets have different lines.
    return pl.concat_str(pl.col("key"), pl.col("etag").fill_null(""), pl.col("size_bytes"), separator="\0")


def _digest_of(lines: pl.Series) -> str:
    text = "\n".join(lines.unique().sort().to_list())
    return hashlib.sha256(text.encode()).hexdigest()
