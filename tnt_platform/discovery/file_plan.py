"""What is in the bucket against what a ledger says was read: pure comparing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

from tnt_platform.discovery.raw_source import OnDelete, OnOverwrite

_IDENTITY = ["key", "etag", "size_bytes"]


@dataclass(frozen=True)
class FilePlan:
    """The files of one partition (or several, when `partition` is a column), sorted by key.

    Attributes:
        new: listed, unknown to the ledger; `status` is `accepted`.
        changed: listed with other content than the ledger's, whose etag is `previous_etag`; `status` is
            `accepted` (read it again) or, with on_overwrite reject, `rejected` (keep the earlier rows and
            record this etag with that status, so that the next look finds it unchanged).
        vanished: rows of the ledger whose object is gone; `status` is `kept` (its rows stay) or `removed`.
        unchanged: rows of the ledger whose object is listed as it was.
        `status` is what the ledger is to say from now on.
    """

    new: pl.DataFrame
    changed: pl.DataFrame
    vanished: pl.DataFrame
    unchanged: pl.DataFrame

    @property
    def has_work(self) -> bool:
        """Whether a run has anything to do: a file that expired and is kept is no work."""
        removed = self.vanished.filter(status="removed").height
        return bool(self.new.height or self.changed.height or removed)


def plan_files(
    listing: pl.DataFrame, ledger: pl.DataFrame, *, on_overwrite: OnOverwrite, on_delete: OnDelete
) -> FilePlan:
    """Compare objects with the ledger by (key, etag, size); clocks decide nothing.

    Args:
        listing: key (String), etag (String), size_bytes (Int64), last_modified; other columns pass
            through. A key that occurs twice counts once, as last modified.
        ledger: key, etag, size_bytes, status (accepted, rejected or kept); other columns pass through.
    """
    place = ["partition"] if "partition" in listing.columns and "partition" in ledger.columns else []
    known_key = [*place, "key"]
    present = _each_key_once(listing, known_key)
    identity = [*place, *_IDENTITY]
    unknown = present.join(ledger, how="anti", on=identity, nulls_equal=True, maintain_order="left")
    before = (
        ledger.sort(known_key)
        .group_by(known_key, maintain_order=True)
        .agg(previous_etag=pl.col("etag").last())
    )
    new = unknown.join(before, on=known_key, how="anti", maintain_order="left")
    changed = unknown.join(before, on=known_key, how="inner", maintain_order="left")
    gone = ledger.join(present, on=known_key, how="anti").sort(known_key)
    if on_delete == "keep":
        gone = gone.filter(status="accepted")
    read_again = "accepted" if on_overwrite == "latest" else "rejected"
    return FilePlan(
        new=new.with_columns(status=pl.lit("accepted")),
        changed=changed.with_columns(status=pl.lit(read_again)),
        vanished=gone.with_columns(status=pl.lit("kept" if on_delete == "keep" else "removed")),
        unchanged=ledger.join(present, how="semi", on=identity, nulls_equal=True).sort(known_key),
    )


def inputs_digest(listing: pl.DataFrame) -> str:
    """SHA-256 (hex) of the set of (key, etag, size); order and repetition don't matter."""
    return _digest_of(_identity_lines(listing))


def digests_by_partition(listing: pl.DataFrame) -> pl.DataFrame:
    """`inputs_digest` of each partition.

    Returns:
        partition (String), digest (String); key: partition, sorted.
    """
    lines = (
        listing.select("partition", line=_identity_line()).group_by("partition").agg("line").sort("partition")
    )
    digests = [_digest_of(texts) for texts in lines["line"]]
    return lines.select("partition", pl.Series("digest", digests, dtype=pl.String))


def _each_key_once(listing: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    # The etag breaks a tie of the same second, so that the order of arrival decides nothing.
    return listing.sort([*key, "last_modified", "etag", "size_bytes"]).unique(
        key, keep="last", maintain_order=True
    )


def _identity_line() -> pl.Expr:
    # No key holds a NUL, so no two sets share a text.
    return pl.concat_str(pl.col("key"), pl.col("etag").fill_null(""), pl.col("size_bytes"), separator="\0")


def _identity_lines(listing: pl.DataFrame) -> pl.Series:
    return listing.select(line=_identity_line())["line"]


def _digest_of(lines: pl.Series) -> str:
    text = "\n".join(lines.unique().sort().to_list())
    return hashlib.sha256(text.encode()).hexdigest()
