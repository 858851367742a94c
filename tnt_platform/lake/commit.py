"""Commit drafts and roll back: the only code that moves a dataset's pointer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tnt_platform.errors import NotFound, PublishConflict, SwapLost
from tnt_platform.lake import naming
from tnt_platform.lake.manifest import Changelog
from tnt_platform.lake.retention import GRACE
from tnt_platform.lake.snapshot import Draft, Snapshot, ancestors, current_snapshot
from tnt_platform.lake.version_contents import VersionContents, write_version
from tnt_platform.lake.version_diff import partition_changes
from tnt_platform.storage.objects import Objects, Pointer

# A rebase takes milliseconds: losing this often means that the store ignores preconditions.
_SWAP_ATTEMPTS = 2_000
_LONGEST_PAUSE_S = 0.25


@dataclass(frozen=True)
class Committer:
    """Moves pointers, and rebases a draft onto what others published meanwhile."""

    objects: Objects
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    sleep: Callable[[float], None]

    def commit(self, draft: Draft) -> Snapshot:
        """Publish `draft`; see VersionedStore.commit."""
        if draft.base is not None and draft.unchanged:
            return draft.base
        self._check_age(draft)
        candidate, parent = draft, draft.base
        for attempt in range(_SWAP_ATTEMPTS):
            try:
                published = self._swap(candidate, parent)
                self._check_not_swept(draft, published, parent)
                return published
            except SwapLost:
                self._pause(attempt)
            current = current_snapshot(self.objects, draft.dataset)
            if current is None:
                raise PublishConflict(
                    f"{draft.dataset}: its pointer vanished during a publish; publish again"
                )
            if landed := self._landed(candidate, current):
                return landed
            candidate, parent = self._rebased(draft, current), current
        raise _too_many_losses(draft.dataset)

    def roll_back(self, target: Snapshot, *, reason: str, code_version: str) -> Snapshot:
        """Publish the content of `target` on top of whatever is current; see VersionedStore.rollback."""
        draft: Draft | None = None
        for attempt in range(_SWAP_ATTEMPTS):
            current = current_snapshot(self.objects, target.dataset)
            if current is None:
                raise NotFound(f"{target.dataset} was never published: there is nothing to roll back")
            if draft is not None and (landed := self._landed(draft, current)):
                return landed
            draft = self._rolled_back(current, target, reason, code_version)
            try:
                published = self._swap(draft, current)
                self._check_not_swept(draft, published, current)
                return published
            except SwapLost:
                self._pause(attempt)
        raise _too_many_losses(target.dataset)

    def _swap(self, draft: Draft, parent: Snapshot | None) -> Snapshot:
        key = naming.pointer_key(draft.dataset)
        expected = parent.pointer if parent else None
        if parent is None:
            # The first publish of a dataset: a store that ignores preconditions would lose publishes in silence.
            self.objects.refuse_without_preconditions(key.rpartition("/")[0] + "/")
        if parent is not None and expected is None:
            # The base was opened by its id. Ids are unique, so a pointer with that id is the one to expect.
            expected = self.objects.read_pointer(key)
            if expected is None or expected.value.decode().strip() != parent.version:
                raise SwapLost(f"{draft.dataset} is no longer at {parent.version}")
        pointer = self.objects.compare_and_swap(key, expected=expected, new=draft.version.encode())
        return _published(draft, pointer)

    def _check_not_swept(self, draft: Draft, published: Snapshot, parent: Snapshot | None) -> None:
        """Take back a publish whose draft an expiry has taken for an abandoned one; clocks may differ by days.

        The expiry deletes the manifests of drafts, then reads the pointer, and then deletes files; so either it sees
        this publish, or this sees that a manifest is gone.
        """
        for version in {draft.version, published.version}:
            if self.objects.exists(naming.manifest_key(draft.dataset, version)) or parent is None:
                continue
            with suppress(SwapLost):
                key = naming.pointer_key(draft.dataset)
                self.objects.compare_and_swap(key, expected=published.pointer, new=parent.version.encode())
            raise PublishConflict(
                f"{draft.dataset}: an expiry deleted the draft {version} while it was published; compare the clocks of "
                "the hosts, and recompute it from the current version"
            )

    def _pause(self, attempt: int) -> None:
        share = int.from_bytes(self.entropy(2)) / 2**16
        self.sleep(share * min(_LONGEST_PAUSE_S, 0.002 * 2 ** min(attempt, 10)))

    def _landed(self, draft: Draft, current: Snapshot) -> Snapshot | None:
        """Return the draft as published if its swap took effect although the response was lost."""
        if draft.version in ancestors(self.objects, current.manifest, until=draft.manifest.parent):
            return _published(draft, current.pointer if current.version == draft.version else None)
        return None

    def _rebased(self, draft: Draft, current: Snapshot) -> Draft:
        """Rebase the draft onto `current`, with a new id that sorts after it; its data files stay where they are."""
        _check_conflict(draft, current)
        now = self.clock()
        version = naming.new_version_id(now, self.entropy, after=current.version)
        own = VersionContents.of(draft).only(draft.replaced)
        renamed = own.partitions.with_columns(pl.lit(version).alias("changed_by"))
        lists = VersionContents.of(current).replacing(draft.replaced, VersionContents(own.files, renamed))
        before = draft.manifest
        return write_version(
            self.objects,
            lists,
            base=draft.base,
            dataset=draft.dataset,
            version=version,
            changelog=before.changelog,
            schema_if_empty=before.schema,
            parent=current.version,
            created_at=now,
            key=before.key,
            run_id=before.run_id,
            note=before.note,
            code_version=before.code_version,
            about=before.about,
        )

    def _rolled_back(self, current: Snapshot, target: Snapshot, reason: str, code_version: str) -> Draft:
        now = self.clock()
        return write_version(
            self.objects,
            VersionContents.of(target),
            base=current,
            dataset=current.dataset,
            version=naming.new_version_id(now, self.entropy, after=current.version),
            changelog=Changelog.of(partition_changes(current, target)),
            schema_if_empty=target.manifest.schema,
            parent=current.version,
            created_at=now,
            key=target.manifest.key,
            run_id="",
            note=f"rolled back to {target.version}: {reason}",
            code_version=code_version,
            paused_because=reason,
            rolled_back_to=target.version,
            about=target.manifest.about,
        )

    def _check_age(self, draft: Draft) -> None:
        age = self.clock() - draft.manifest.created_at
        if age > GRACE / 2:
            raise PublishConflict(
                f"{draft.dataset}: the draft {draft.version} is {age} old and its files may soon be expired; "
                "recompute it from the current version"
            )


def _published(draft: Draft, pointer: Pointer | None) -> Snapshot:
    return Snapshot(
        draft.objects, draft.manifest, pointer=pointer, files=draft.files, partitions=draft.partitions
    )


def _check_conflict(draft: Draft, current: Snapshot) -> None:
    """Raise PublishConflict unless the draft would be the same if it were computed from `current`."""
    before = VersionContents.of(draft.base).only(draft.replaced)
    now = VersionContents.of(current).only(draft.replaced)
    fix = "recompute from the current version and publish again"
    if changed := now.changed_since(before):
        raise PublishConflict(
            f"{draft.dataset}: the partitions {changed[:10]} ({len(changed)} in all) changed between "
            f"{draft.base and draft.base.version} and {current.version}; {fix}"
        )
    if current.manifest.paused_because is not None:
        raise PublishConflict(
            f"{draft.dataset} was rolled back meanwhile ({current.manifest.paused_because}); "
            f"check whether the publish is still wanted, then {fix}"
        )
    if current.manifest.key != draft.manifest.key:
        raise PublishConflict(
            f"{draft.dataset}: {current.version} has the key {current.manifest.key}, the draft "
            f"{draft.manifest.key}; {fix}"
        )


def _too_many_losses(dataset: str) -> PublishConflict:
    return PublishConflict(
        f"{dataset}: lost {_SWAP_ATTEMPTS} swaps in a row; check that the store honours If-Match, then "
        "publish again"
    )
