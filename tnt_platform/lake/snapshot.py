"""One version of a dataset, open for reading."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.errors import NotFound, PermanentError
from tnt_platform.lake import formats, naming
from tnt_platform.lake.manifest import Manifest
from tnt_platform.storage.objects import Objects, Pointer

_HASHED_AT_ONCE = 16
# A larger file is hashed on local disk.
_IN_MEMORY_BYTES = 32 * 1024 * 1024


class Snapshot:
    """An immutable version, open for reading.

    `pointer` is the pointer from which the current version was read, for a later swap.
    """

    def __init__(
        self,
        objects: Objects,
        manifest: Manifest,
        *,
        pointer: Pointer | None = None,
        files: pl.DataFrame | None = None,
        partitions: pl.DataFrame | None = None,
    ) -> None:
        self.dataset = manifest.dataset_id
        self.version = manifest.version_id
        self.manifest = manifest
        self.pointer = pointer
        self.objects = objects
        self._files = files
        self._partitions = partitions

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, {self.version!r}, rows={self.manifest.rows})"

    @property
    def files(self) -> pl.DataFrame:
        """One row per live data file (formats.FILES); read on first use."""
        if self._files is None:
            key = naming.files_key(self.dataset, self.version)
            self._files = _read_table(self.objects, key, self.manifest.files_sha256)
        return self._files

    @property
    def partitions(self) -> pl.DataFrame:
        """One row per partition: digest, counts, watermarks, last change (formats.PARTITIONS); read on first use."""
        if self._partitions is None:
            key = naming.partitions_key(self.dataset, self.version)
            self._partitions = _read_table(self.objects, key, self.manifest.partitions_sha256)
        return self._partitions

    @property
    def schema(self) -> pl.Schema:
        """The columns and types of `scan`."""
        return formats.named_schema(self.manifest.schema)

    def partition(self, name: str) -> dict[str, Any] | None:
        """Return the row of one partition, or None if the version has no such partition."""
        return next(self.partitions.filter(pl.col("partition") == name).iter_rows(named=True), None)

    def scan(
        self, partitions: Sequence[str] | None = None, columns: Sequence[str] | None = None
    ) -> pl.LazyFrame:
        """Return the published rows, lazily; a column that an old file lacks is null. No listing is needed.

        Raises:
            NotFound: the version lacks one of `columns`.
        """
        unknown = [name for name in columns or () if name not in self.manifest.schema]
        if unknown:
            known = list(self.manifest.schema)
            raise NotFound(f"{self.dataset} {self.version} has no columns {unknown}; it has {known}")
        frame = scan_files(self.objects, _chosen(self.files, partitions), self.schema)
        return frame if columns is None else frame.select(columns)

    def intact(self, partitions: Sequence[str] | None = None) -> Snapshot:
        """Return this version after hashing the files of these partitions again.

        Whoever writes rows of it once more needs this: a flipped bit is read as another value, which would then be
        published under a hash of its own.

        Raises:
            PermanentError: a file is not what was published.
        """
        files = _chosen(self.files, partitions).select("path", "sha256", "size_bytes")
        with ThreadPoolExecutor(_HASHED_AT_ONCE, "hash") as pool:
            hashes = pool.map(lambda row: self._hash(row[0], row[2]), files.iter_rows())
            damaged = [
                row[0] for row, found in zip(files.iter_rows(), hashes, strict=True) if found != row[1]
            ]
        if damaged:
            raise PermanentError(
                f"{self.dataset} {self.version}: {', '.join(damaged[:3])} ({len(damaged)} files in all) have another "
                "hash than was published; restore them from the bucket's versions, or roll back to a version that "
                "`tnt verify` finds intact, before the partition is changed"
            )
        return self

    def _hash(self, path: str, size_bytes: int) -> str:
        if size_bytes <= _IN_MEMORY_BYTES:
            return formats.sha256_of(self.objects.get(path))
        with tempfile.TemporaryDirectory(prefix="hash-") as folder:
            local = Path(folder) / "part.parquet"
            self.objects.get_to_file(path, local)
            return formats.sha256_of_file(local)

    def inputs(self, partition: str) -> pl.DataFrame:
        """Return the ledger of one partition (formats.LEDGER and its publisher's columns); empty if it has none."""
        return self.all_inputs([partition]).drop("partition")

    def all_inputs(self, partitions: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the ledgers of several partitions, with the column `partition` first; read concurrently."""
        return self._gathered("ledger_path", partitions, formats.LEDGER)

    def quarantine(self, partitions: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the quarantined rows: `partition`, then formats.QUARANTINE."""
        return self._gathered("quarantine_path", partitions, formats.QUARANTINE)

    def _gathered(
        self, column: str, partitions: Sequence[str] | None, schema: Mapping[str, pl.DataType]
    ) -> pl.DataFrame:
        chosen = _chosen(self.partitions, partitions).filter(pl.col(column).is_not_null())
        empty = pl.DataFrame(schema={"partition": pl.String(), **schema})
        bodies = self.objects.get_many(chosen[column].to_list())
        hashes = chosen[column.replace("_path", "_sha256")]
        frames = [
            _table(key, body, sha256).select(pl.lit(name).alias("partition"), pl.all())
            for name, sha256, (key, body) in zip(chosen["partition"], hashes, bodies, strict=True)
        ]
        return pl.concat([empty, *frames], how="diagonal_relaxed")


class Draft(Snapshot):
    """A version that is written but not committed: checks read it like any snapshot.

    `replaced` are the partitions that it replaces or removes.
    """

    def __init__(
        self,
        objects: Objects,
        manifest: Manifest,
        *,
        base: Snapshot | None,
        replaced: tuple[str, ...],
        **lists: Any,
    ) -> None:
        super().__init__(objects, manifest, **lists)
        self.base = base
        self.replaced = replaced

    @property
    def unchanged(self) -> bool:
        """Whether its content equals the base: then nothing was written, and it reads as the base."""
        return self.base is not None and self.base.version == self.version


def scan_files(
    objects: Objects, files: pl.DataFrame, schema: pl.Schema, *, path_column: str | None = None
) -> pl.LazyFrame:
    """Scan `files` (path, schema) as `schema`, in as few scans as their types allow."""
    frames = []
    apart = [text for text in files["schema"].unique(maintain_order=True) if not _fits(text, schema)]
    usual = files.filter(~pl.col("schema").is_in(apart))["path"] if apart else files["path"]
    if len(usual):
        frames.append(scan_paths(objects, usual, schema, path_column=path_column))
    for text in apart:
        stored = formats.parse_schema(text)
        paths = files.filter(pl.col("schema") == text)["path"]
        old = scan_paths(objects, paths, stored, path_column=path_column)
        frames.append(cast_to(old, stored, schema, also=[path_column] if path_column else []))
    if not frames:
        return pl.LazyFrame(schema={**schema, path_column: pl.String()} if path_column else schema)
    return pl.concat(frames) if len(frames) > 1 else frames[0]


def scan_paths(
    objects: Objects, paths: pl.Series, schema: pl.Schema, *, path_column: str | None = None
) -> pl.LazyFrame:
    """Scan Parquet objects as one lazy frame; a missing column is null."""
    return pl.scan_parquet(
        [objects.polars_url(path) for path in paths],
        schema=schema,
        missing_columns="insert",
        glob=False,
        hive_partitioning=False,
        include_file_paths=path_column,
        storage_options=objects.polars_options(),
    )


def cast_to(
    frame: pl.LazyFrame, stored: pl.Schema, schema: pl.Schema, *, also: Sequence[str] = ()
) -> pl.LazyFrame:
    """Cast `frame`, which has the columns `stored`, to `schema`; missing columns are null, `also` pass through."""
    return frame.select(
        *(
            pl.col(name).cast(dtype) if name in stored else pl.lit(None, dtype).alias(name)
            for name, dtype in schema.items()
        ),
        *also,
    )


def _fits(text: str, schema: pl.Schema) -> bool:
    return all(schema.get(name) == dtype for name, dtype in formats.parse_schema(text).items())


def _chosen(table: pl.DataFrame, partitions: Sequence[str] | None) -> pl.DataFrame:
    if partitions is None:
        return table
    return table.filter(pl.col("partition").is_in(pl.Series(partitions, dtype=pl.String).implode()))


def _read_table(objects: Objects, key: str, sha256: str) -> pl.DataFrame:
    return _table(key, objects.get(key), sha256)


def _table(key: str, body: bytes, sha256: str) -> pl.DataFrame:
    if formats.sha256_of(body) != sha256:
        raise PermanentError(
            f"{key} has another hash than its manifest says: it was overwritten or damaged; roll back to a "
            "version that verifies"
        )
    return formats.read_parquet(body)


def read_manifest(objects: Objects, dataset: str, version: str) -> Manifest:
    """Read the manifest of one version.

    Raises:
        NotFound: there is no such version.
    """
    key = naming.manifest_key(dataset, version)
    return Manifest.from_json(objects.get(key), key=key)


def ancestors(objects: Objects, manifest: Manifest, *, until: str | None) -> Iterator[str]:
    """Yield the ids of `manifest` and the versions before it, newest first, up to but without `until`."""
    while manifest.version_id != until:
        yield manifest.version_id
        if manifest.parent is None or manifest.parent == until:
            return
        try:
            manifest = read_manifest(objects, manifest.dataset_id, manifest.parent)
        except NotFound:
            return  # expired


def current_snapshot(objects: Objects, dataset: str) -> Snapshot | None:
    """Open the current version in two reads; None before the first publish."""
    key = naming.pointer_key(dataset)
    pointer = objects.read_pointer(key)
    while pointer is not None:
        version = pointer.value.decode().strip()
        try:
            return Snapshot(objects, read_manifest(objects, dataset, version), pointer=pointer)
        except NotFound:
            # Between the two reads, others may have published and expired this version.
            again = objects.read_pointer(key)
            if again is not None and again.value == pointer.value:
                raise
            pointer = again
    return None
