"""Compare two sets of rows by key."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tnt_platform.errors import PermanentError
from tnt_platform.lake import formats, naming
from tnt_platform.lake.manifest import RowChanges
from tnt_platform.lake.snapshot import Snapshot, scan_files

# At about 60 bytes per key, a pass stays well below a gigabyte.
_KEYS_PER_PASS = 5_000_000
# Not `partition`: the data may have a column of that name.
PARTITION = "#partition"
_CHANGED = pl.List(pl.Struct({"column": pl.String, "before": pl.String, "after": pl.String}))


def count_changes(
    before: pl.LazyFrame, after: pl.LazyFrame, *, by: Sequence[str], key: Sequence[str], rows: int
) -> dict[tuple[object, ...], RowChanges]:
    """Count rows added, updated and removed per value of the columns `by`, in streaming memory.

    Rows are compared by hash, so that only hashes are in memory; `rows` (of both sides together) decides the number
    of passes. Both frames must have the same schema. A value of `by` without changes is omitted.
    """
    if not rows:
        return {}
    passes = max(1, -(-rows // _KEYS_PER_PASS))
    names = [name for name in before.collect_schema().names() if name not in by]
    both = pl.concat([_hashed(before, by, key, names, 0), _hashed(after, by, key, names, 1)])
    counted = [_count_pass(both.filter(pl.col("#key") % passes == number), by) for number in range(passes)]
    total = pl.concat(counted).group_by(by).sum()
    return {row[:-3]: RowChanges(*row[-3:]) for row in total.iter_rows() if any(row[-3:])}


def _hashed(
    frame: pl.LazyFrame, by: Sequence[str], key: Sequence[str], names: Sequence[str], side: int
) -> pl.LazyFrame:
    return frame.select(
        *by,
        pl.struct(*by, *(key or names)).hash(1).alias("#key"),
        pl.struct(names).hash(0).alias("#row"),
        pl.lit(side, pl.UInt8).alias("#side"),
    )


def _count_pass(both: pl.LazyFrame, by: Sequence[str]) -> pl.DataFrame:
    old, new = pl.col("#side") == 0, pl.col("#side") == 1
    per_key = both.group_by(*by, "#key").agg(
        old.cast(pl.Int64).sum().alias("old"),
        new.cast(pl.Int64).sum().alias("new"),
        # A sum, so that a repeated key is compared as a set of rows.
        pl.when(old).then("#row").otherwise(0).sum().alias("old_row"),
        pl.when(new).then("#row").otherwise(0).sum().alias("new_row"),
    )
    common = pl.min_horizontal("old", "new")
    differs = (pl.col("old_row") != pl.col("new_row")) | (pl.col("old") != pl.col("new"))
    return (
        per_key.filter(differs)
        .group_by(by)
        .agg(
            (pl.col("new") - common).sum().alias("added"),
            common.sum().alias("updated"),
            (pl.col("old") - common).sum().alias("removed"),
        )
        .collect(engine="streaming")
    )


def diff(before: Snapshot | None, after: Snapshot, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the rows that differ between two versions of a dataset, by its key.

    Returns:
        partition (String), change (added, removed or updated), the key columns, and `changed`: a list of
        {column, before, after} with the values as strings, null where there was no value. Sorted by partition
        and key.

    Raises:
        PermanentError: the versions have different keys, or none.
    """
    key = after.manifest.key
    if not key or (before is not None and before.manifest.files and before.manifest.key != key):
        raise PermanentError(
            f"{after.dataset}: versions with the keys {before and before.manifest.key} and {key} cannot be "
            "compared; compare versions that were published with the same key"
        )
    # A version that never had a row has no schema; take its key columns as strings.
    no_rows = pl.Schema() if after.schema else pl.Schema(dict.fromkeys(key, pl.String()))
    schema = formats.merged_schema([after.schema, *([before.schema] if before else []), no_rows])
    old, new = files_apart(before, after, partitions)
    old_rows, new_rows = with_partition(after, old, schema), with_partition(after, new, schema)
    values = [name for name in schema if name not in key]
    return _paired(*_unequal(old_rows, new_rows, list(schema)), key, values)


def files_apart(
    before: Snapshot | None, after: Snapshot, partitions: Sequence[str] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the files that only `before` has, and those that only `after` has: a shared file cannot differ."""
    new = after.files
    old = before.files if before else new.clear()
    if partitions is not None:
        wanted = pl.col("partition").is_in(pl.Series(partitions, dtype=pl.String).implode())
        old, new = old.filter(wanted), new.filter(wanted)
    return old.join(new, on="path", how="anti"), new.join(old, on="path", how="anti")


def partition_changes(before: Snapshot, after: Snapshot) -> dict[str, RowChanges]:
    """Count the differing rows of each partition that differs between the versions."""
    rows = [snapshot.partitions.select("partition", "changed_by") for snapshot in (before, after)]
    both = pl.concat(rows)
    names = both.filter(~both.is_duplicated())["partition"].unique().sort()
    old, new = files_apart(before, after)
    schema = formats.merged_schema([after.schema, before.schema])
    counts = count_changes(
        with_partition(after, old, schema),
        with_partition(after, new, schema),
        by=[PARTITION],
        key=after.manifest.key,
        rows=formats.total(old["rows"]) + formats.total(new["rows"]),
    )
    return {name: counts.get((name,), RowChanges()) for name in names}


def with_partition(snapshot: Snapshot, files: pl.DataFrame, schema: pl.Schema) -> pl.LazyFrame:
    """Scan `files` with the column PARTITION, which is taken from each file's path."""
    objects = snapshot.objects
    folder = objects.polars_url(naming.versions_folder(snapshot.dataset).removesuffix("/"))
    inside = pl.col(PARTITION).str.slice(len(folder))
    return scan_files(objects, files, schema, path_column=PARTITION).with_columns(
        inside.str.extract("^/[^/]+/data/(.+)/part-[^/]+$")
    )


def _unequal(
    old: pl.LazyFrame, new: pl.LazyFrame, columns: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows without an equal row on the other side; one streaming pass per side, by hash."""
    row = pl.struct(PARTITION, *columns).hash().alias("#row")
    old, new = old.with_columns(row), new.with_columns(row)
    old_only = old.join(new.select("#row"), on="#row", how="anti").drop("#row")
    new_only = new.join(old.select("#row"), on="#row", how="anti").drop("#row")
    found = pl.collect_all([old_only, new_only], engine="streaming")
    return found[0], found[1]


def _paired(old: pl.DataFrame, new: pl.DataFrame, key: Sequence[str], values: Sequence[str]) -> pl.DataFrame:
    by = [PARTITION, *key]
    left = old.select(*by, pl.lit(True).alias("#old"), *(_text(old, c).alias(f"#old {c}") for c in values))
    right = new.select(*by, pl.lit(True).alias("#new"), *(_text(new, c).alias(f"#new {c}") for c in values))
    both = left.join(right, on=by, how="full", coalesce=True, nulls_equal=True)
    change = (
        pl.when(pl.col("#old").is_null())
        .then(pl.lit("added"))
        .when(pl.col("#new").is_null())
        .then(pl.lit("removed"))
        .otherwise(pl.lit("updated"))
    )
    return both.sort(by, maintain_order=True).select(
        pl.col(PARTITION).alias("partition"),
        change.alias("change"),
        *(name for name in key if name != "partition"),
        _changed_columns(values).alias("changed"),
    )


def _changed_columns(values: Sequence[str]) -> pl.Expr:
    pairs = [
        pl.struct(
            pl.lit(name).alias("column"),
            pl.col(f"#old {name}").alias("before"),
            pl.col(f"#new {name}").alias("after"),
        )
        for name in values
    ]
    if not pairs:
        return pl.lit([], _CHANGED)
    differs = pl.element().struct["before"].ne_missing(pl.element().struct["after"])
    return pl.concat_list(pairs).list.filter(differs).cast(_CHANGED)


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    dtype = frame.schema[name]
    if dtype == pl.Binary:
        return pl.col(name).bin.encode("hex")
    if dtype.is_nested():
        # polars writes only structs as JSON, so wrap lists and arrays.
        return pl.when(pl.col(name).is_not_null()).then(pl.struct(name).struct.json_encode())
    return pl.col(name).cast(pl.String)
