"""Expire versions by mark and sweep: delete what no kept version needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from tnt_platform.errors import ConfigError
from tnt_platform.lake import formats, history, naming
from tnt_platform.lake.manifest import Manifest
from tnt_platform.lake.snapshot import current_snapshot
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

    Raises:
        ConfigError: `keep` is below 1.
    """
    if keep < 1:
        raise ConfigError(f"keep={keep} must be 1 or more: the current version never expires")
    listing = _listing(objects, dataset)
    current = current_snapshot(objects, dataset)
    if current is None:
        return Expired()
    found = history.read_manifests(objects, dataset, listing["version"].unique().sort())
    chain = history.published(found, current.manifest)
    tagged = set(history.tags(objects, dataset).values())
    limit = now - older_than
    expired = [m for m in chain[keep:] if m.created_at < limit and m.version_id not in tagged]
    if not dry_run:
        expired = _withdraw(objects, dataset, expired)
        tagged = set(history.tags(objects, dataset).values())
    gone = {manifest.version_id for manifest in expired}
    retained = {m.version_id: m for m in chain if m.version_id not in gone}
    retained |= {version: found[version] for version in tagged - gone if version in found}
    unneeded = _unneeded(objects, listing, retained.values(), gone=gone, now=now)
    if not dry_run:
        for start in range(0, unneeded.height, _DELETE_BATCH):
            objects.delete(unneeded["key"].slice(start, _DELETE_BATCH).to_list())
    return Expired(tuple(sorted(gone)), unneeded.height, formats.total(unneeded["size_bytes"]))


def _listing(objects: Objects, dataset: str) -> pl.DataFrame:
    """List every object in a version's folder, with the column `version`; other folders are ignored."""
    folder = naming.versions_folder(dataset)
    listing = objects.list(folder).with_columns(
        pl.col("key").str.slice(len(folder)).str.split("/").list.first().alias("version")
    )
    ours = [name for name in listing["version"].unique() if naming.is_version_id(name)]
    return listing.filter(pl.col("version").is_in(ours))


def _withdraw(objects: Objects, dataset: str, expired: list[Manifest]) -> list[Manifest]:
    """Delete the manifests, so that nobody can tag or roll back to them; restore those tagged meanwhile."""
    keys = [naming.manifest_key(dataset, manifest.version_id) for manifest in expired]
    for start in range(0, len(keys), _DELETE_BATCH):
        objects.delete(keys[start : start + _DELETE_BATCH])
    tagged = set(history.tags(objects, dataset).values())
    for manifest in expired:
        if manifest.version_id in tagged:
            objects.put(naming.manifest_key(dataset, manifest.version_id), manifest.to_json())
    return [manifest for manifest in expired if manifest.version_id not in tagged]


def _unneeded(
    objects: Objects, listing: pl.DataFrame, retained: Iterable[Manifest], *, gone: set[str], now: datetime
) -> pl.DataFrame:
    """Return the listed objects that no kept version needs, without the drafts younger than GRACE."""
    manifests = list(retained)
    published = gone | {manifest.version_id for manifest in manifests}
    spared = [
        name
        for name in listing["version"].unique()
        if name not in published and naming.version_time(name) > now - GRACE
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
