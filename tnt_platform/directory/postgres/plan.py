"""Plan a sync: what to do with each record, and the slugs of new rows. Frames in, frames out, no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tnt_platform.directory.postgres.tables import KINDS
from tnt_platform.errors import PermanentError

# What is read from every row of shops and dinings, including withdrawn ones; key unique_id.
STORED = {
    "kind": pl.String(),
    "id": pl.Int64(),
    "unique_id": pl.String(),
    "slug": pl.String(),
    "fingerprint": pl.String(),
    "withdrawn": pl.Boolean(),
}


@dataclass(frozen=True, eq=False)
class Plan:
    """What a sync will do.

    changes: the tenants with action (created | moved | updated | unchanged) and the kind (was) and id of their stored
    row; withdrawals: kind, id and unique_id of the rows to withdraw.
    """

    changes: pl.DataFrame
    withdrawals: pl.DataFrame

    def records(self, action: str, kind: str | None = None) -> pl.DataFrame:
        """Select the changes with `action`, optionally only those whose new kind is `kind`."""
        changes = self.changes.filter(action=action)
        return changes if kind is None else changes.filter(kind=kind)


def plan_of(tenants: pl.DataFrame, stored: pl.DataFrame, *, held_back: Sequence[str], complete: bool) -> Plan:
    """Compare the tenants (unique_id, kind, fingerprint and more) with the stored rows.

    If the input is `complete`, rows that are neither among the tenants nor held back are withdrawn.

    Raises:
        PermanentError: a record is in both tables, or a complete input is empty and would withdraw every row.
    """
    known = stored.select(
        "unique_id", "id", was="kind", was_fingerprint="fingerprint", was_withdrawn="withdrawn"
    )
    changes = tenants.join(known, on="unique_id", how="left", maintain_order="left")
    if changes.height > tenants.height:
        repeated = changes.filter(pl.col("unique_id").is_duplicated())["unique_id"][0]
        raise PermanentError(
            f"the record {repeated!r} is in both shops and dinings, which no sync does: delete one of the rows"
        )
    differs = pl.col("fingerprint").ne(pl.col("was_fingerprint")) | pl.col("was_withdrawn")
    action = (
        pl.when(pl.col("was").is_null())
        .then(pl.lit("created"))
        .when(pl.col("was") != pl.col("kind"))
        .then(pl.lit("moved"))
        .when(differs)
        .then(pl.lit("updated"))
        .otherwise(pl.lit("unchanged"))
    )
    changes = changes.with_columns(action=action).drop("was_fingerprint", "was_withdrawn")
    return Plan(changes, _withdrawals(tenants, stored, held_back) if complete else stored.clear())


def _withdrawals(tenants: pl.DataFrame, stored: pl.DataFrame, held_back: Sequence[str]) -> pl.DataFrame:
    kept = pl.concat([tenants["unique_id"], pl.Series("unique_id", held_back, pl.String)])
    gone = stored.filter(~pl.col("withdrawn")).join(kept.to_frame(), on="unique_id", how="anti")
    if gone.height and tenants.is_empty():
        raise PermanentError(
            f"a complete directory without records would withdraw all {gone.height:,} rows: check the source; "
            "to empty the directory on purpose, set withdrawn_at by hand"
        )
    return gone.select("kind", "id", "unique_id")


def refuse_taken_slugs(moved: pl.DataFrame, stored: pl.DataFrame) -> None:
    """Refuse to move a record into a table where another row has its slug.

    moved: unique_id, the new kind, and slug. The slug of a row that itself moves away is free.

    Raises:
        PermanentError: names the first such record and the row that has its slug.
    """
    staying = stored.join(moved, on="unique_id", how="anti").select("kind", "slug", taken_by="unique_id")
    taken = moved.join(staying, on=["kind", "slug"]).sort("unique_id").head(1)
    for row in taken.iter_rows(named=True):
        raise PermanentError(
            f"the record {row['unique_id']!r} moves to {KINDS[row['kind']]} with its slug {row['slug']!r}, but there "
            f"{row['taken_by']!r} was given the same slug by hand: change one of the slugs"
        )


def new_slugs(created: pl.DataFrame, taken: pl.Series) -> pl.DataFrame:
    """Choose slugs for new records: the base for the first of them, then -2, -3 ... in the order of unique_id.

    created: unique_id, slug_base (key unique_id); taken: the slugs of all rows in both tables.
    Returns unique_id, slug. Slugs are unique and not taken, and do not depend on the order of the rows.
    """
    claims = created.select("unique_id", "slug_base").sort("unique_id")
    first = claims.filter(pl.col("slug_base").is_first_distinct())
    first = first.filter(~pl.col("slug_base").is_in(taken.implode()))
    chosen = first.select("unique_id", slug="slug_base")
    claims = claims.join(first, on="unique_id", how="anti", maintain_order="left")
    if claims.is_empty():
        return chosen
    return pl.concat([chosen, _numbered(claims, pl.concat([taken, chosen["slug"]]))])


def _numbered(claims: pl.DataFrame, taken: pl.Series) -> pl.DataFrame:
    """Give claims (unique_id, slug_base), in their order, the free slugs base-2, base-3 ...

    Numbered slugs of two bases never collide: the part after the last hyphen is the number, the rest is the base.
    They can collide with slugs that are bases themselves ("a-2"), but those are all taken by now. A base with `used`
    such slugs finds `wanted` free numbers among 2 .. 1 + wanted + used.
    """
    stems = taken.to_frame("slug").select(stem=pl.col("slug").str.strip_chars_end("0123456789"))
    used = stems.group_by("stem").agg(used=pl.len())
    bases = claims.group_by("slug_base").agg(wanted=pl.len()).with_columns(stem=pl.format("{}-", "slug_base"))
    last = 1 + pl.col("wanted") + pl.col("used").fill_null(0)
    candidates = (
        bases.join(used, on="stem", how="left")
        .select("slug_base", number=pl.int_ranges(2, last + 1))
        .explode("number")
        .with_columns(slug=pl.format("{}-{}", "slug_base", "number"))
        .filter(~pl.col("slug").is_in(taken.implode()))
        .sort("slug_base", "number")
    )
    rank = pl.int_range(pl.len()).over("slug_base").alias("rank")
    numbered = claims.with_columns(rank).join(candidates.with_columns(rank), on=["slug_base", "rank"])
    return numbered.select("unique_id", "slug")
