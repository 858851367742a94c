"""Write a draft: upload what differs from the base, then the lists and the manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.errors import PermanentError
from tnt_platform.lake import formats, naming
from tnt_platform.lake.manifest import Changelog, PartitionChange, RowChanges
from tnt_platform.lake.snapshot import Draft, Snapshot, cast_to
from tnt_platform.lake.staging import PublishedPartition, StagedPartition, stage
from tnt_platform.lake.version_contents import VersionContents, named_types, write_version
from tnt_platform.lake.version_diff import PARTITION, count_changes, with_partition
from tnt_platform.storage.objects import Objects

# Partitions are encoded, compared and uploaded in batches: this bounds memory, and one comparison serves them all.
_BATCH = 256


@dataclass
class _Written:
    """What the uploads so far add to the lists of the version."""

    files: list[dict[str, Any]] = field(default_factory=list)
    partitions: list[dict[str, Any]] = field(default_factory=list)
    changes: dict[str, RowChanges] = field(default_factory=dict)
    empty_schemas: list[str] = field(default_factory=list)

    @property
    def lists(self) -> VersionContents:
        return VersionContents(
            pl.DataFrame(self.files, schema=formats.FILES, orient="row"),
            pl.DataFrame(self.partitions, schema=formats.PARTITIONS, orient="row"),
        )


@dataclass(frozen=True)
class DraftWriter:
    """Writes one draft of `dataset` on top of `base`; `version` is its id, `now` the time it carries."""

    objects: Objects
    dataset: str
    base: Snapshot | None
    version: str
    now: datetime
    key: tuple[str, ...]
    scratch: Path
    concurrency: int

    def write(self, changes: Sequence[PartitionChange], **fields: Any) -> Draft:
        """Upload what differs from the base, then the lists, then the manifest with these further `fields`.

        Raises:
            PermanentError: a change contradicts itself, or two name the same partition.
        """
        _check_names(changes)
        base = VersionContents.of(self.base)
        written = self._upload_all(changes, base.only([change.partition for change in changes]))
        if self.base is not None and not written.changes:
            return _as_draft(self.base)
        return write_version(
            self.objects,
            base.replacing(sorted(written.changes), written.lists),
            base=self.base,
            dataset=self.dataset,
            version=self.version,
            changelog=Changelog.of(written.changes),
            schema_if_empty=self._schema_if_empty(written),
            parent=self.base.version if self.base else None,
            created_at=self.now,
            key=self.key,
            **fields,
        )

    def _upload_all(self, changes: Sequence[PartitionChange], base: VersionContents) -> _Written:
        written = _Written()
        published = _base_partitions(base)
        self.scratch.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="draft-", dir=self.scratch))
        try:
            with ThreadPoolExecutor(self.concurrency, "draft") as pool:
                for start in range(0, len(changes), _BATCH):
                    batch = changes[start : start + _BATCH]
                    self._upload_batch(batch, published, scratch, pool, written)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return written

    def _upload_batch(
        self,
        changes: Sequence[PartitionChange],
        published: dict[str, PublishedPartition],
        scratch: Path,
        pool: ThreadPoolExecutor,
        written: _Written,
    ) -> None:
        def staged(change: PartitionChange) -> StagedPartition:
            base = published.get(change.partition, PublishedPartition(None, []))
            return stage(change, base, objects=self.objects, key=self.key, scratch=scratch, now=self.now)

        batch = list(pool.map(staged, changes))
        self._compare([one for one in batch if one.rows_changed is None])
        changed = [one for one in batch if one.changed]
        for one, (files, partition) in zip(changed, pool.map(self._upload, changed), strict=True):
            written.changes[one.change.partition] = one.rows_changed or RowChanges()
            written.files.extend(files)
            written.partitions.extend(partition)
        for one in batch:
            written.empty_schemas.extend(one.empty_schemas)

    def _compare(self, batch: list[StagedPartition]) -> None:
        """Count the changed rows of all partitions whose files differ, in one query."""
        if not batch or self.base is None:
            return
        dropped = pl.DataFrame([file for one in batch for file in one.dropped], schema=formats.FILES)
        texts = [*dropped["schema"], *(part.schema for one in batch for part in one.parts)]
        # Most parts share one schema: parse each distinct one once.
        schemas = {text: formats.parse_schema(text) for text in dict.fromkeys(texts)}
        schema = formats.merged_schema(schemas.values())
        after = [
            cast_to(part.scan(), schemas[part.schema], schema).with_columns(
                pl.lit(one.change.partition).alias(PARTITION)
            )
            for one in batch
            for part in one.parts
        ]
        rows = formats.total(dropped["rows"]) + sum(part.rows for one in batch for part in one.parts)
        before = with_partition(self.base, dropped, schema).select(*schema, PARTITION)
        found = count_changes(before, pl.concat(after), by=[PARTITION], key=self.key, rows=rows)
        for one in batch:
            one.rows_changed = found.get((one.change.partition,), RowChanges())
            # A new column or type changes the published data even if every value is equal.
            one.data_changed = bool(one.rows_changed) or not _same_columns(one)

    def _upload(self, one: StagedPartition) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Upload the new objects of one partition; return its rows of files.parquet and partitions.parquet."""
        if one.change.removed:
            return [], []
        files = self._upload_data(one) if one.data_changed else one.base.files
        ledger = self._upload_ledger(one)
        quarantine = self._upload_quarantine(one)
        changes = one.rows_changed or RowChanges()
        row = {
            "partition": one.change.partition,
            "changed_by": self.version,
            "changed_at": self.now,
            "inputs_digest": one.change.inputs_digest,
            **asdict(one.change.counts),
            "watermark": max((mark["at"] for mark in one.watermarks), default=None),
            "watermarks": one.watermarks,
            "files": len(files),
            "size_bytes": sum(file["size_bytes"] for file in files),
            **asdict(changes),
            **ledger,
            **quarantine,
        }
        return files, [row]

    def _upload_data(self, one: StagedPartition) -> list[dict[str, Any]]:
        files = list(one.carried)
        for number, part in enumerate(one.parts):
            path = f"{self._folder}data/{one.change.partition}/part-{number:05d}.parquet"
            part.upload(self.objects, path)
            row = {name: getattr(part, name) for name in formats.FILES if hasattr(part, name)}
            files.append({"path": path, "partition": one.change.partition, "version": self.version, **row})
        return files

    def _upload_ledger(self, one: StagedPartition) -> dict[str, Any]:
        if one.base.row is not None and one.base.row["ledger_sha256"] == one.ledger_sha256:
            return {name: one.base.row[name] for name in formats.PARTITIONS if name.startswith("ledger_")}
        if one.ledger is None:
            return {}
        path = f"{self._folder}inputs/{one.change.partition}.parquet"
        self.objects.put(path, one.ledger)
        return {"ledger_path": path, "ledger_sha256": one.ledger_sha256}

    def _upload_quarantine(self, one: StagedPartition) -> dict[str, Any]:
        if one.quarantine is None:
            row = one.base.row if one.quarantine_digest else None
            return (
                {name: row[name] for name in formats.PARTITIONS if name.startswith("quarantine_")}
                if row
                else {}
            )
        path = f"{self._folder}quarantine/{one.change.partition}.parquet"
        one.quarantine.upload(self.objects, path)
        return {
            "quarantine_path": path,
            "quarantine_sha256": one.quarantine.sha256,
            "quarantine_digest": one.quarantine_digest,
        }

    @property
    def _folder(self) -> str:
        return naming.version_folder(self.dataset, self.version)

    def _schema_if_empty(self, written: _Written) -> dict[str, str]:
        """Return the columns of a version without rows: those of the empty frames given, else the base's."""
        schemas = [formats.parse_schema(text) for text in dict.fromkeys(written.empty_schemas)]
        return named_types(schemas) or (self.base.manifest.schema if self.base else {})


def _base_partitions(base: VersionContents) -> dict[str, PublishedPartition]:
    published = {
        row["partition"]: PublishedPartition(row, []) for row in base.partitions.iter_rows(named=True)
    }
    for file in base.files.iter_rows(named=True):
        published[file["partition"]].files.append(file)
    return published


def _same_columns(one: StagedPartition) -> bool:
    before = [formats.parse_schema(file["schema"]) for file in one.dropped]
    after = [formats.parse_schema(part.schema) for part in one.parts]
    return dict(formats.merged_schema(before)) == dict(formats.merged_schema(after))


def _as_draft(base: Snapshot) -> Draft:
    return Draft(
        base.objects,
        base.manifest,
        base=base,
        replaced=(),
        pointer=base.pointer,
        files=base.files,
        partitions=base.partitions,
    )


def _check_names(changes: Iterable[PartitionChange]) -> None:
    seen = Counter(change.partition for change in changes)
    repeated = [name for name, times in seen.items() if times > 1]
    if repeated:
        raise PermanentError(
            f"partitions {repeated} are changed twice in one publish; merge their changes first"
        )
    for name in seen:
        naming.check_partition_name(name)
