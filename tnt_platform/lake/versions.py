"""The versioned store: every dataset as a chain of versions behind one pointer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.lake import history, naming, retention, verification
from tnt_platform.lake.commit import Committer
from tnt_platform.lake.draft_writer import DraftWriter
from tnt_platform.lake.manifest import Manifest, PartitionChange, RowCounts
from tnt_platform.lake.retention import Expired
from tnt_platform.lake.snapshot import Draft, Snapshot, current_snapshot
from tnt_platform.lake.verification import duplicate_keys
from tnt_platform.lake.version_diff import diff
from tnt_platform.storage.objects import Objects

__all__ = [
    "Draft",
    "Expired",
    "Manifest",
    "PartitionChange",
    "RowCounts",
    "Snapshot",
    "VersionedStore",
    "diff",
    "duplicate_keys",
]


class VersionedStore:
    """Publishes datasets in one step each, and reads any version that is kept.

    `clock` gives UTC time, `entropy(n)` n random bytes, `scratch` is a local folder for files on their way
    (on the same file system as a folder lake, so that they are moved rather than copied).
    """

    def __init__(
        self,
        objects: Objects,
        *,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        code_version: str,
        scratch: Path,
        concurrency: int = 16,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._objects = objects
        self.clock = clock
        self._entropy = entropy
        self._code_version = code_version
        self._scratch = scratch
        self._concurrency = concurrency
        self._committer = Committer(objects, clock, entropy, sleep)

    def datasets(self) -> list[str]:
        """The ids of all published datasets, sorted."""
        return history.dataset_ids(self._objects)

    def current(self, dataset: str) -> Snapshot | None:
        """The published version, or None before the first publish. Costs two reads."""
        return current_snapshot(self._objects, dataset)

    def snapshot(self, dataset: str, version: str) -> Snapshot:
        """The version of that id or tag; drafts can be read too.

        Raises:
            NotFound: neither; the message says which exist.
        """
        return Snapshot(self._objects, history.find_manifest(self._objects, dataset, version))

    def draft(
        self,
        dataset: str,
        *,
        base: Snapshot | None,
        changes: Sequence[PartitionChange],
        key: Sequence[str],
        run_id: str = "",
        note: str = "",
        about: Mapping[str, Any] | None = None,
    ) -> Draft:
        """Write a new version on top of `base` without publishing it, so that checks can read it first.

        Content equal to `base` writes nothing and gives a draft that is `unchanged`. `about` goes into the manifest.

        Raises:
            PermanentError: a change contradicts itself (counts, key columns, types, repeated partition).
        """
        naming.dataset_folder(dataset)
        now = self.clock()
        writer = DraftWriter(
            objects=self._objects,
            dataset=dataset,
            base=base,
            version=naming.new_version_id(now, self._entropy, after=base.version if base else None),
            now=now,
            key=tuple(key),
            scratch=self._scratch,
            concurrency=self._concurrency,
        )
        story = {
            "run_id": run_id,
            "note": note,
            "code_version": self._code_version,
            "about": dict(about or {}),
        }
        return writer.write(changes, **story)

    def commit(self, draft: Draft) -> Snapshot:
        """Publish a draft: readers see the version before or this one, never a mixture.

        When others published since the draft's base, it is put on top of theirs, provided that none of its
        partitions moved.

        Raises:
            PublishConflict: a partition of the draft moved on since its base, the dataset was rolled back, or
                the draft is so old that its files may be swept (retryable: recompute from the current one).
        """
        return self._committer.commit(draft)

    def publish(
        self,
        dataset: str,
        *,
        base: Snapshot | None,
        changes: Sequence[PartitionChange],
        key: Sequence[str],
        run_id: str = "",
        note: str = "",
    ) -> Snapshot:
        """Make `changes` visible in one step on top of `base`.

        Readers see the old snapshot or the new one, never a mixture. Content equal to `base` returns `base`
        and writes nothing.

        Raises:
            PublishConflict: a partition in `changes` moved on since `base` (retryable: recompute from the
                current snapshot).
            PermanentError: a change contradicts itself.
        """
        return self.commit(self.draft(dataset, base=base, changes=changes, key=key, run_id=run_id, note=note))

    def versions(self, dataset: str) -> pl.DataFrame:
        """The published versions that are kept, newest first; see `history.versions_table`."""
        return history.versions_table(self._objects, dataset, self.current(dataset))

    def rollback(self, dataset: str, to: str, *, reason: str) -> Snapshot:
        """Publish again what version or tag `to` held, and hold the dataset there; no data is copied.

        Raises:
            NotFound: no such version, or nothing was ever published.
        """
        target = self.snapshot(dataset, to)
        pin = f"rollback-{self._entropy(4).hex()}"
        # An expiry under way must see that `target` is needed before its files go.
        self.tag(dataset, target.version, pin)
        try:
            return self._committer.roll_back(target, reason=reason, code_version=self._code_version)
        finally:
            self.untag(dataset, pin)

    def tag(self, dataset: str, version: str, name: str) -> None:
        """Name a version, so that it is found by that name and never expires; moves an existing tag.

        Raises:
            NotFound: no such version.
        """
        history.tag(self._objects, dataset, version, name)

    def untag(self, dataset: str, name: str) -> None:
        """Remove a tag; no error if there is none."""
        self._objects.delete([naming.tag_key(dataset, name)])

    def tags(self, dataset: str) -> dict[str, str]:
        """Tag name -> version id."""
        return history.tags(self._objects, dataset)

    def verify(self, snapshot: Snapshot) -> list[str]:
        """Read every live object again and recount it; the problems found, one sentence each."""
        return verification.verify(snapshot, concurrency=self._concurrency)

    def expire(self, dataset: str, *, keep: int, older_than: timedelta, dry_run: bool = False) -> Expired:
        """Remove versions beyond the newest `keep` that are older than `older_than` and not tagged.

        Only files that no kept version needs go, and drafts that are too old to be committed.
        """
        return retention.expire(
            self._objects, dataset, keep=keep, older_than=older_than, now=self.clock(), dry_run=dry_run
        )
