"""The versioned store: each dataset is a chain of versions with one pointer to the current one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake import history, naming, retention, verification
from tnt_platform.lake.blocked import BlockedPublish, blocked_publishes, forget_blocked
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
    """Publishes datasets atomically, and opens any version that is kept.

    `clock` returns UTC, `entropy(n)` n random bytes. `scratch` is a local folder for files before their upload (on
    the file system of a folder lake, so that they are moved rather than copied).
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
        """Return the ids of all published datasets, sorted."""
        return history.dataset_ids(self._objects)

    def current(self, dataset: str) -> Snapshot | None:
        """Open the current version in two reads; None before the first publish."""
        return current_snapshot(self._objects, dataset)

    def snapshot(self, dataset: str, version: str) -> Snapshot:
        """Open the version (or draft) with that id or tag.

        Raises:
            NotFound: there is no such version or tag; the message lists those that exist.
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
        """Write a new version on top of `base` without committing it, so that checks can read it first.

        If the content equals `base`, nothing is written and the draft is `unchanged`. `about` goes into the manifest.

        Raises:
            PermanentError: a change is inconsistent (counts, key columns, types, repeated partition).
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
        return writer.write(
            changes, run_id=run_id, note=note, code_version=self._code_version, about=dict(about or {})
        )

    def commit(self, draft: Draft) -> Snapshot:
        """Publish a draft: readers see the version before or this one, never a mixture.

        If others published since the draft's base, the draft is rebased, provided that they changed none of its
        partitions.

        Raises:
            PublishConflict: a partition of the draft changed since its base, the dataset was rolled back, or the
                draft is so old that its files may be expired (retryable: recompute from the current version).
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

        Readers see the old snapshot or the new one, never a mixture. If the content equals `base`, nothing is
        written and `base` is returned.

        Raises:
            PublishConflict: a partition in `changes` changed since `base` (retryable: recompute from the
                current snapshot).
            PermanentError: a change is inconsistent.
        """
        return self.commit(self.draft(dataset, base=base, changes=changes, key=key, run_id=run_id, note=note))

    def versions(self, dataset: str) -> pl.DataFrame:
        """Return the published versions that are kept, newest first; see `history.versions_table`."""
        return history.versions_table(self._objects, dataset, self.current(dataset))

    def is_published(self, snapshot: Snapshot) -> bool:
        """Whether this version is or was current; false for a draft, such as one that a check kept back."""
        return history.is_published(self._objects, snapshot.manifest, self.current(snapshot.dataset))

    def blocked(self, dataset: str | None = None) -> list[BlockedPublish]:
        """Return the blocked publishes, of a dataset and its steps or of all, that nothing has replaced yet."""
        return blocked_publishes(self._objects, dataset)

    def rollback(self, dataset: str, to: str, *, reason: str) -> Snapshot:
        """Publish again the content of version or tag `to`, and pause the dataset; no data is copied.

        Raises:
            NotFound: there is no such version, or nothing was ever published.
        """
        target = self.snapshot(dataset, to)
        pin = f"rollback-{self._entropy(4).hex()}"
        # An expiry in flight must see that `target` is needed before it deletes its files.
        self.tag(dataset, target.version, pin)
        try:
            return self._committer.roll_back(target, reason=reason, code_version=self._code_version)
        finally:
            self.untag(dataset, pin)

    def tag(self, dataset: str, version: str, name: str) -> None:
        """Tag a version, so that it is found by that name and never expires; an existing tag moves.

        Raises:
            NotFound: there is no such version.
        """
        history.tag(self._objects, dataset, version, name)

    def untag(self, dataset: str, name: str) -> None:
        """Remove a tag, if it exists."""
        self._objects.delete([naming.tag_key(dataset, name)])

    def tags(self, dataset: str) -> dict[str, str]:
        """Return tag name -> version id."""
        return history.tags(self._objects, dataset)

    def verify(self, snapshot: Snapshot) -> list[str]:
        """Hash and count every live object again; return the problems, one sentence each.

        Raises:
            NotFound: the version expired meanwhile.
        """
        problems = verification.verify(snapshot, concurrency=self._concurrency)
        if problems and not self._objects.exists(naming.manifest_key(snapshot.dataset, snapshot.version)):
            raise NotFound(f"{snapshot.dataset} {snapshot.version} expired while it was verified")
        return problems

    def expire(self, dataset: str, *, keep: int, older_than: timedelta, dry_run: bool = False) -> Expired:
        """Delete untagged versions beyond the newest `keep` that are older than `older_than`.

        This deletes only files that no kept version needs, and drafts that are too old to be committed.
        """
        expired = retention.expire(
            self._objects, dataset, keep=keep, older_than=older_than, now=self.clock(), dry_run=dry_run
        )
        if not dry_run:
            forget_blocked(self._objects, dataset)
        return expired
