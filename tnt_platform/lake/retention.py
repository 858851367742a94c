"""Expire versions by mark and sweep: delete what no kept version needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

import polars as pl

from tnt_platform.errors import ConfigError, NotFound, PermanentError, SwapLost
from tnt_platform.lake import formats, history, naming
from tnt_platform.lake.manifest import Manifest
from tnt_platform.lake.snapshot import Snapshot, current_snapshot, read_manifest
from tnt_platform.storage.objects import Objects

# Files of a younger draft are kept. `commit` rejects a draft at half that age, so that its files are not deleted
# between that check and the swap.
GRACE = timedelta(hours=48)
_DELETE_BATCH = 1_000


@dataclass(frozen=True)
class Expired:
    """What an expiry deleted, or would delete: published versions, and files with their size."""

    versions: tuple[str, ...] = ()
    files: int = 0
    size_bytes: int = 0


def expire(
    objects: Objects, dataset: str, *, keep: int, older_than: timedelta, now: datetime, dry_run: bool
) -> Expired:
    """Delete untagged versions beyond the newest `keep` that are older than `older_than`.

    Safe beside publishes, rollbacks, tags and other expiries, whatever their clocks say: manifests are deleted first,
    then tags and the pointer are read again, and only then files that nothing kept needs.

    Raises:
        ConfigError: `keep` is below 1.
        PermanentError: the manifest of a version that no expiry deleted is missing, so that nobody can tell which
            files are needed; nothing was deleted.
    """
    if keep < 1:
        raise ConfigError(f"keep={keep} must be 1 or more: the current version never expires")
    listing = _listing(objects, dataset)
    current = current_snapshot(objects, dataset)
    if current is None:
        return Expired()
    found = history.read_manifests(objects, dataset, listing["version"].unique().sort())
    # Also the versions that were published since the listing.
    found |= {m.version_id: m for m in _published_since(objects, current.manifest, found)}
    chain = history.published(found, current.manifest)
    _refuse_gap(objects, dataset, chain[-1], listing)
    if not dry_run:
        # A host whose clock is ahead must not expire earlier than the others would.
        now = min(now, _store_time(objects, dataset))
    tagged = set(history.tags(objects, dataset).values())
    expired = [m for m in _beyond(chain, keep, now - older_than) if m.version_id not in tagged]
    kept = {manifest.version_id for manifest in chain} | tagged
    drafts = [m for m in found.values() if m.version_id not in kept and _is_old(m.version_id, now)]
    since: list[Manifest] = []
    if not dry_run:
        _record(objects, dataset, max((manifest.version_id for manifest in expired), default="0"))
        since = _withdraw(objects, current, [*expired, *drafts])
        tagged = set(history.tags(objects, dataset).values())
    gone = {manifest.version_id for manifest in expired} - tagged
    retained = {m.version_id: m for m in [*since, *chain] if m.version_id not in gone}
    retained |= {version: found[version] for version in tagged if version in found}
    unneeded = _unneeded(objects, listing, retained.values(), gone=gone, now=now)
    if not dry_run:
        for start in range(0, unneeded.height, _DELETE_BATCH):
            objects.delete(unneeded["key"].slice(start, _DELETE_BATCH).to_list())
    return Expired(tuple(sorted(gone)), unneeded.height, formats.total(unneeded["size_bytes"]))


def _beyond(chain: list[Manifest], keep: int, limit: datetime) -> list[Manifest]:
    """Return the oldest versions, all made before `limit`: the kept ones stay a chain without gaps."""
    oldest_first = chain[: keep - 1 : -1] if len(chain) > keep else []
    return list(takewhile(lambda manifest: manifest.created_at < limit, oldest_first))


def _is_old(version: str, now: datetime) -> bool:
    return naming.version_time(version) <= now - GRACE


def _refuse_gap(objects: Objects, dataset: str, oldest: Manifest, listing: pl.DataFrame) -> None:
    """Refuse to go on if the version before the oldest one is missing though no expiry deleted it."""
    parent = oldest.parent
    if parent is None:
        return
    try:
        expired = objects.get(naming.expired_key(dataset)).decode().strip()
        is_gap = parent > expired
    except NotFound:
        # Earlier releases kept no record; they deleted the lists of a version together with its manifest.
        is_gap = naming.files_key(dataset, parent) in set(listing["key"])
    if is_gap:
        raise PermanentError(
            f"{dataset}: {naming.manifest_key(dataset, parent)} is missing, though no expiry deleted it; nothing was "
            f"expired, because the files of {parent} and the versions before it would be taken for abandoned drafts. "
            "Restore the object (bucket versioning keeps it), or tag the versions to keep and ask for help"
        )


def _record(objects: Objects, dataset: str, expired: str) -> None:
    """Record the newest version that any expiry deletes, before its manifest goes."""
    key = naming.expired_key(dataset)
    while True:
        before = objects.read_pointer(key)
        if before is not None and before.value.decode().strip() >= expired:
            return
        with suppress(SwapLost):
            objects.compare_and_swap(key, expected=before, new=expired.encode())
            return


def _store_time(objects: Objects, dataset: str) -> datetime:
    """Return the time (UTC) of the store's own clock."""
    key = naming.clock_key(dataset)
    objects.put(key, b"written to learn the time of the store's clock")
    written: datetime = objects.list(key)["last_modified"][0]
    return written


def _listing(objects: Objects, dataset: str) -> pl.DataFrame:
    """List every object in a version's folder, with the column `version`; other folders are ignored."""
    folder = naming.versions_folder(dataset)
    listing = objects.list(folder).with_columns(
        pl.col("key").str.slice(len(folder)).str.split("/").list.first().alias("version")
    )
    ours = [name for name in listing["version"].unique() if naming.is_version_id(name)]
    return listing.filter(pl.col("version").is_in(ours))


def _withdraw(objects: Objects, current: Snapshot, withdrawn: list[Manifest]) -> list[Manifest]:
    """Delete the manifests, so that nobody can tag, publish or roll back to them; restore those needed meanwhile.

    Returns:
        the versions that were published since `current` was read, newest first.
    """
    dataset = current.dataset
    # The oldest first, so that what an interrupted expiry leaves is a chain without gaps.
    keys = [naming.manifest_key(dataset, version) for version in sorted(m.version_id for m in withdrawn)]
    for start in range(0, len(keys), _DELETE_BATCH):
        objects.delete(keys[start : start + _DELETE_BATCH])
    # In this order: a rollback removes its pin after it moved the pointer.
    tagged = set(history.tags(objects, dataset).values())
    since = list(_since(objects, current, {manifest.version_id: manifest for manifest in withdrawn}))
    needed = tagged | {manifest.version_id for manifest in since}
    for manifest in withdrawn:
        if manifest.version_id in needed:
            objects.put(naming.manifest_key(dataset, manifest.version_id), manifest.to_json())
    return since


def _since(objects: Objects, current: Snapshot, withdrawn: Mapping[str, Manifest]) -> Iterator[Manifest]:
    """Yield the versions published after `current`, newest first; one may have been withdrawn as an old draft."""
    pointer = objects.read_pointer(naming.pointer_key(current.dataset))
    version = pointer.value.decode().strip() if pointer else None
    while version is not None and version != current.version:
        manifest = withdrawn.get(version) or read_manifest(objects, current.dataset, version)
        yield manifest
        version = manifest.parent


def _published_since(objects: Objects, newest: Manifest, known: Mapping[str, Manifest]) -> list[Manifest]:
    """Return `newest` and the versions before it that are not `known`, newest first, as far as they are kept."""
    since = []
    while newest.version_id not in known:
        since.append(newest)
        if newest.parent is None or newest.parent in known:
            break
        try:
            newest = read_manifest(objects, newest.dataset_id, newest.parent)
        except NotFound:
            break
    return since


def _unneeded(
    objects: Objects, listing: pl.DataFrame, retained: Iterable[Manifest], *, gone: set[str], now: datetime
) -> pl.DataFrame:
    """Return the listed objects that no kept version needs, without the drafts younger than GRACE."""
    manifests = list(retained)
    published = gone | {manifest.version_id for manifest in manifests}
    spared = [
        name for name in listing["version"].unique() if name not in published and not _is_old(name, now)
    ]
    needed = _needed(objects, manifests)
    return listing.filter(~pl.col("version").is_in(spared)).join(needed, on="key", how="anti")


def _needed(objects: Objects, manifests: list[Manifest]) -> pl.DataFrame:
    """Return the keys of all objects that these versions consist of."""
    keys: list[pl.Series] = []
    lists: list[str] = []
    for manifest in manifests:
        dataset, version = manifest.dataset_id, manifest.version_id
        own = [naming.files_key(dataset, version), naming.partitions_key(dataset, version)]
        keys.append(pl.Series([*own, naming.manifest_key(dataset, version)], dtype=pl.String))
        lists.extend(own)
    for key, body in objects.get_many(lists):
        columns = ["path"] if key.endswith("/files.parquet") else ["ledger_path", "quarantine_path"]
        table = formats.read_parquet(body, columns)
        keys.extend(table[column].drop_nulls() for column in columns)
    return pl.concat(keys).unique().to_frame("key") if keys else pl.DataFrame(schema={"key": pl.String})
