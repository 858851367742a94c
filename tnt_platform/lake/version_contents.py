"""The lists and the manifest of a new version, built from those of its parent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from tnt_platform.errors import PermanentError
from tnt_platform.lake import formats, naming
from tnt_platform.lake.manifest import Changelog, Manifest, RowCounts
from tnt_platform.lake.snapshot import Draft, Snapshot
from tnt_platform.storage.objects import Objects

_COUNTS = ["rows_in", "published", "quarantined", "deduplicated", "filtered"]


@dataclass(frozen=True)
class VersionContents:
    """files.parquet and partitions.parquet of one version (formats.FILES, formats.PARTITIONS)."""

    files: pl.DataFrame
    partitions: pl.DataFrame

    @classmethod
    def of(cls, snapshot: Snapshot | None) -> VersionContents:
        """Return the lists of a version, or the empty ones of a dataset before its first version."""
        if snapshot is None:
            return cls(pl.DataFrame(schema=formats.FILES), pl.DataFrame(schema=formats.PARTITIONS))
        return cls(snapshot.files, snapshot.partitions)

    def only(self, partitions: Sequence[str]) -> VersionContents:
        """Return the rows of these partitions."""
        names = pl.DataFrame({"partition": partitions}, schema={"partition": pl.String})
        return VersionContents(
            self.files.join(names, on="partition", how="semi"),
            self.partitions.join(names, on="partition", how="semi"),
        )

    def replacing(self, partitions: Sequence[str], new: VersionContents) -> VersionContents:
        """Return these lists with the rows of `partitions` taken from `new`, sorted by partition, then path."""
        names = pl.DataFrame({"partition": partitions}, schema={"partition": pl.String})
        files = self.files.join(names, on="partition", how="anti")
        rows = self.partitions.join(names, on="partition", how="anti")
        return VersionContents(
            pl.concat([files, new.files]).sort("partition", "path"),
            pl.concat([rows, new.partitions]).sort("partition"),
        )

    def changed_since(self, before: VersionContents) -> list[str]:
        """Return the partitions whose last change or files differ from those in `before`, sorted."""
        rows = pl.concat([_last_changes(self), _last_changes(before)])
        once = rows.filter(~rows.is_duplicated())["partition"]
        return sorted(once.unique())


def write_version(
    objects: Objects,
    lists: VersionContents,
    *,
    base: Snapshot | None,
    dataset: str,
    version: str,
    changelog: Changelog,
    schema_if_empty: Mapping[str, str],
    **fields: Any,
) -> Draft:
    """Write files.parquet, partitions.parquet, then manifest.json with the totals of both and its other `fields`.

    `schema_if_empty` is the schema of a version without files.

    Raises:
        PermanentError: a column has incompatible types in different files.
    """
    files, partitions = formats.parquet_bytes(lists.files), formats.parquet_bytes(lists.partitions)
    manifest = Manifest(
        dataset_id=dataset,
        version_id=version,
        changelog=changelog,
        schema=live_schema(lists.files) or dict(schema_if_empty),
        counts=RowCounts(*lists.partitions.select(pl.col(_COUNTS).sum()).row(0)),
        watermarks=_watermarks(lists.partitions),
        date_range=_date_range(lists.partitions["partition"]),
        partitions=lists.partitions.height,
        files=lists.files.height,
        rows=formats.total(lists.files["rows"]),
        size_bytes=formats.total(lists.files["size_bytes"]),
        files_sha256=formats.sha256_of(files),
        partitions_sha256=formats.sha256_of(partitions),
        **fields,
    )
    objects.put(naming.files_key(dataset, version), files)
    objects.put(naming.partitions_key(dataset, version), partitions)
    objects.put(naming.manifest_key(dataset, version), manifest.to_json())
    own_lists = {"files": lists.files, "partitions": lists.partitions}
    return Draft(objects, manifest, base=base, replaced=changelog.partitions_changed, **own_lists)


def live_schema(files: pl.DataFrame) -> dict[str, str]:
    """Return the columns of all live files, the newest file's first, with types that hold every value.

    Raises:
        PermanentError: a column is a string in some files and not in others.
    """
    newest_first = (
        files.group_by("schema").agg(pl.col("version").max()).sort("version", "schema", descending=True)
    )
    return named_types([formats.parse_schema(text) for text in newest_first["schema"]])


def named_types(schemas: Sequence[pl.Schema]) -> dict[str, str]:
    """Return the union of `schemas` as column -> type name.

    Raises:
        PermanentError: a column is a string in some schemas and not in others.
    """
    types: dict[str, set[pl.DataType]] = {}
    for schema in schemas:
        for name, dtype in schema.items():
            types.setdefault(name, set()).add(dtype)
    for name, found in types.items():
        real = found - {pl.Null()}
        if pl.String() in real and len(real) > 1:
            raise PermanentError(_incompatible(name, real))
    try:
        merged = formats.merged_schema(schemas)
    except pl.exceptions.SchemaError as error:
        raise PermanentError(_incompatible(str(error), ())) from error
    return {name: str(dtype) for name, dtype in merged.items()}


def _incompatible(name: str, found: Iterable[pl.DataType]) -> str:
    return (
        f"column {name} has incompatible types: {sorted(map(str, found))}; cast the new rows to the published "
        "type, or replace every partition in one publish"
    )


def _last_changes(lists: VersionContents) -> pl.DataFrame:
    changes = lists.partitions.select("partition", pl.col("changed_by").alias("last_change"))
    return pl.concat([changes, lists.files.select("partition", pl.col("path").alias("last_change"))])


def _watermarks(partitions: pl.DataFrame) -> dict[str, datetime]:
    marks = partitions.select(pl.col("watermarks").explode(empty_as_null=False, keep_nulls=False))
    latest = marks.unnest("watermarks").group_by("name").agg(pl.col("at").max()).sort("name")
    return dict(latest.iter_rows())


def _date_range(names: pl.Series) -> tuple[str, str] | None:
    """Return the first and last date among partitions named 2026-11-20, 2026 or x/year=2026/month=11."""
    dashed = pl.col("partition").str.extract(r"(?:^|[/=])(\d{4}(?:-\d{2}(?:-\d{2})?)?)$")
    hive = pl.concat_str(
        pl.col("partition").str.extract(r"year=(\d{4})"),
        pl.col("partition").str.extract(r"month=(\d{2})"),
        separator="-",
        ignore_nulls=True,
    )
    dates = names.to_frame("partition").select(pl.coalesce(dashed, hive)).to_series()
    dates = dates.filter(dates.is_not_null() & (dates != ""))
    return (str(dates.min()), str(dates.max())) if len(dates) else None
