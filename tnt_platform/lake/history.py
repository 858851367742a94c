"""List datasets, versions and tags."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake import formats, naming
from tnt_platform.lake.manifest import Manifest
from tnt_platform.lake.snapshot import Snapshot, ancestors, read_manifest
from tnt_platform.storage.objects import Objects

_READ_AT_ONCE = 32
_VERSIONS: dict[str, pl.DataType] = {
    "version": pl.String(),
    "created_at": formats.UTC_TIME,
    "parent": pl.String(),
    "rows": pl.Int64(),
    "partitions": pl.Int64(),
    "partitions_changed": pl.Int64(),
    "added": pl.Int64(),
    "updated": pl.Int64(),
    "removed": pl.Int64(),
    "tags": pl.List(pl.String()),
    "note": pl.String(),
    "run_id": pl.String(),
    "code_version": pl.String(),
    "held_because": pl.String(),
    "rolled_back_to": pl.String(),
}


def dataset_ids(objects: Objects) -> list[str]:
    """Return the ids of all published datasets, sorted; an id may contain '/'."""
    found: list[str] = []
    pending = [""]
    while pending:
        dataset = pending.pop()
        inside = objects.list_folders(f"{naming.DATASETS}{dataset}")
        if "index" in inside and objects.exists(naming.pointer_key(dataset.removesuffix("/"))):
            found.append(dataset.removesuffix("/"))
        # `index` and `versions` belong to the dataset; every other folder below it may be a dataset, such as a step.
        pending.extend(f"{dataset}{folder}/" for folder in inside if folder not in ("index", "versions"))
    return sorted(found)


def find_manifest(objects: Objects, dataset: str, version: str) -> Manifest:
    """Read the manifest of a version id or tag.

    Raises:
        NotFound: there is no such version or tag; the message lists those that exist.
    """
    try:
        if not naming.is_version_id(version):
            version = objects.get(naming.tag_key(dataset, version)).decode().strip()
        return read_manifest(objects, dataset, version)
    except NotFound as error:
        newest = objects.list_folders(naming.versions_folder(dataset))[:-11:-1]
        raise NotFound(
            f"{dataset} has no version {version!r}; its newest versions are {newest}, its tags "
            f"{tags(objects, dataset)}"
        ) from error


def tag(objects: Objects, dataset: str, version: str, name: str) -> None:
    """Tag a version as `name`; it never expires as long as it has a tag.

    Raises:
        NotFound: there is no such version.
    """
    manifest = find_manifest(objects, dataset, version)
    key = naming.tag_key(dataset, name)
    objects.put(key, manifest.version_id.encode())
    # An expiry deletes the manifest first and then reads the tags again, so one of the two notices the other.
    if not objects.exists(naming.manifest_key(dataset, manifest.version_id)):
        objects.delete([key])
        raise NotFound(
            f"{dataset} {manifest.version_id} expired while it was being tagged; tag a version that is kept"
        )


def tags(objects: Objects, dataset: str) -> dict[str, str]:
    """Return tag name -> version id."""
    folder = naming.tags_folder(dataset)
    keys = objects.list(folder)["key"].to_list()
    found: dict[str, str] = {}
    for key in keys:
        try:
            found[key.removeprefix(folder).removesuffix(".txt")] = objects.get(key).decode().strip()
        except NotFound:
            continue  # removed meanwhile
    return found


def read_manifests(objects: Objects, dataset: str, versions: Iterable[str]) -> dict[str, Manifest]:
    """Read concurrently the manifests of those `versions` that have one."""

    def read(version: str) -> Manifest | None:
        try:
            return read_manifest(objects, dataset, version)
        except NotFound:
            return None

    with ThreadPoolExecutor(_READ_AT_ONCE, "manifests") as pool:
        found = [manifest for manifest in pool.map(read, versions) if manifest is not None]
    return {manifest.version_id: manifest for manifest in found}


def published(manifests: dict[str, Manifest], current: Manifest) -> list[Manifest]:
    """Return `current` and the versions before it, newest first, as far back as `manifests` has them."""
    chain = [current]
    while (parent := chain[-1].parent) is not None and parent in manifests:
        chain.append(manifests[parent])
    return chain


def is_published(objects: Objects, version: Manifest, current: Snapshot | None) -> bool:
    """Whether a version was ever current, or has a tag; a draft that no commit followed was not."""
    if current is not None:
        for earlier in ancestors(objects, current.manifest, until=None):
            if earlier == version.version_id:
                return True
            if earlier < version.version_id:
                break
    return version.version_id in tags(objects, version.dataset_id).values()


def versions_table(objects: Objects, dataset: str, current: Snapshot | None) -> pl.DataFrame:
    """Return the published and tagged versions that are kept, newest first.

    Returns:
        version, created_at (UTC), parent, rows, partitions, partitions_changed, added, updated, removed
        (Int64), tags (List[String]), note, run_id, code_version, held_because, rolled_back_to.
    """
    if current is None:
        return pl.DataFrame(schema=_VERSIONS)
    found = read_manifests(objects, dataset, objects.list_folders(naming.versions_folder(dataset)))
    names: dict[str, list[str]] = {}
    for name, version in sorted(tags(objects, dataset).items()):
        names.setdefault(version, []).append(name)
    listed = {manifest.version_id: manifest for manifest in published(found, current.manifest)}
    listed |= {version: found[version] for version in names if version in found}
    rows = [_version_row(listed[version], names.get(version, [])) for version in sorted(listed, reverse=True)]
    return pl.DataFrame(rows, schema=_VERSIONS, orient="row")


def _version_row(manifest: Manifest, names: list[str]) -> dict[str, object]:
    log = manifest.changelog
    return {
        "version": manifest.version_id,
        "created_at": manifest.created_at,
        "parent": manifest.parent,
        "rows": manifest.rows,
        "partitions": manifest.partitions,
        "partitions_changed": len(log.partitions_changed),
        "added": log.added,
        "updated": log.updated,
        "removed": log.removed,
        "tags": names,
        "note": manifest.note,
        "run_id": manifest.run_id,
        "code_version": manifest.code_version,
        "held_because": manifest.paused_because,
        "rolled_back_to": manifest.rolled_back_to,
    }
