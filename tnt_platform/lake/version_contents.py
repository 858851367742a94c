"""The lists and the manifest of a new version, built on its parent's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from tnt_platform.errors import PermanentError
from tnt_platform.lake import formats, naming
from tnt_platform.lake.manifest import Changelog, Manifest, RowCounts
from tnt_platform.storage.objects import Objects

_COUNTS = ["rows_in", "published", "quarantined", "deduplicated", "filtered"]


@dataclass(frozen=True)
class VersionContents:
    """files.parquet and partitions.parquet of one version (formats.FILES, formats.PARTITIONS)."""

    files: pl.DataFrame
    partitions: pl.DataFrame

    @classmethod
    def empty(cls) -> VersionContents:
        """The lists of a dataset before its first version."""
        return cls(pl.DataFrame(schema=formats.FILES), pl.DataFrame(schema=formats.PARTITIONS))

    def only(self, partitions: Sequence[str]) -> VersionContents:
        """The rows of these partitions."""
        names = pl.DataFrame({"partition": partitions}, schema={"partition": pl.String})
        return VersionContents(
            self.files.join(names, on="partition", how="semi"),
            self.partitions.join(names, on="partition", how="semi"),
        )

    def replacing(self, partitions: Sequence[str], new: VersionContents) -> VersionContents:
        """These lists with the rows of `partitions` taken from `new`; sorted by partition, then path."""
        names = pl.DataFrame({"partition": partitions}, schema={"partition": pl.String})
        files = self.files.join(names, on="partition", how="anti")
        rows = self.partitions.join(names, on="partition", how="anti")
        return VersionContents(
            pl.concat([files, new.files]).sort("partition", "path"),
            pl.concat([rows, new.partitions]).sort("partition"),
        )

    def moved_since(self, before: VersionContents) -> list[str]:
        """The partitions whose last change or files differ from what `before` says, sorted."""
        rows = pl.concat([_last_changes(self), _last_changes(before)])
        once = rows.filter(~rows.is_duplicated())["partition"]
        return sorted(once.unique())


def write_indexes(
    objects: Objects, manifest: Manifest, lists: VersionContents, *, schema_if_empty: Mapping[str, str]
) -> Manifest:
    """Write files.parquet, partitions.parquet, then manifest.json, whose totals are taken from the lists.

    `manifest` gives the identity and story of the version; `schema_if_empty` its columns if no file is live.

    Raises:
        PermanentError: a column has types in different files that don't go together.
    """
    files, partitions = formats.parquet_bytes(lists.files), formats.parquet_bytes(lists.partitions)
    whole = replace(
        manifest,
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
    )
    dataset, version = manifest.dataset_id, manifest.version_id
    objects.put(naming.files_key(dataset, version), files)
    objects.put(naming.partitions_key(dataset, version), partitions)
    objects.put(naming.manifest_key(dataset, version), whole.to_json())
    return whole


def new_manifest(
    dataset: str,
    version: str,
    *,
    parent: str | None,
    created_at: datetime,
    changelog: Changelog,
    key: Iterable[str],
    **story: Any,
) -> Manifest:
    """A manifest without totals, which `write_indexes` fills in."""
    return Manifest(
        version_id=version,
        dataset_id=dataset,
        parent=parent,
        created_at=created_at,
        key=tuple(key),
        schema={},
        counts=RowCounts(),
        changelog=changelog,
        watermarks={},
        date_range=None,
        partitions=0,
        files=0,
        rows=0,
        size_bytes=0,
        files_sha256="",
        partitions_sha256="",
        **story,
    )


def live_schema(files: pl.DataFrame) -> dict[str, str]:
    """The columns of all live files, the newest file's first, with types that hold every value.

    Raises:
        PermanentError: one column is text in some files and something else in others.
    """
    newest_first = (
        files.group_by("schema").agg(pl.col("version").max()).sort("version", "schema", descending=True)
    )
    return named_types([formats.parse_schema(text) for text in newest_first["schema"]])


def named_types(schemas: Sequence[pl.Schema]) -> dict[str, str]:
    """The union of `schemas` as column -> type name.

    Raises:
        PermanentError: one column is text in one and something else in another.
    """
    types: dict[str, set[pl.DataType]] = {}
    for schema in schemas:
        for name, dtype in schema.items():
            types.setdefault(name, set()).add(dtype)
    for name, found in types.items():
        real = found - {pl.Null()}
        if pl.String() in real and len(real) > 1:
            raise PermanentError(_clash(name, real))
    try:
        merged = formats.merged_schema(schemas)
    except pl.exceptions.SchemaError as error:
        raise PermanentError(_clash(str(error), ())) from error
    return {name: str(dtype) for name, dtype in merged.items()}


def _clash(name: str, found: Iterable[pl.DataType]) -> str:
    return (
        f"column {name} has types that don't go together: {sorted(map(str, found))}; cast the new rows to "
        "the published type, or replace every partition in one publish"
    )


def _last_changes(lists: VersionContents) -> pl.DataFrame:
    changes = lists.partitions.select("partition", pl.col("changed_by").alias("what"))
    return pl.concat([changes, lists.files.select("partition", pl.col("path").alias("what"))])


def _watermarks(partitions: pl.DataFrame) -> dict[str, datetime]:
    marks = partitions.select(pl.col("watermarks").explode(empty_as_null=False, keep_nulls=False))
    latest = marks.unnest("watermarks").group_by("name").agg(pl.col("at").max()).sort("name")
    return dict(latest.iter_rows())


def _date_range(names: pl.Series) -> tuple[str, str] | None:
    """First and last date among partitions named 2026-11-20, 2026 or x/year=2026/month=11."""
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
