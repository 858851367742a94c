"""Notify the SNS topic of each version that changed data, at least once."""

from __future__ import annotations

from typing import Any

from tnt_platform.lake import naming
from tnt_platform.lake.manifest import Manifest
from tnt_platform.lake.publishing import Workspace
from tnt_platform.lake.snapshot import Snapshot, ancestors, read_manifest
from tnt_platform.series.spec import OBSERVATIONS, SeriesSpec
from tnt_platform.services.notify import SnsNotifier
from tnt_platform.settings import Settings

_COUNTED = ("data_points_added", "data_points_updated", "data_points_removed")


def send_notice(spec: SeriesSpec, workspace: Workspace, settings: Settings) -> str | None:
    """Notify the topic of the current version, unless that was done; return the version notified, or None.

    The last version notified is stored beside the pointer, after the message is out: if a run dies between commit
    and message, the next run sees the difference.

    Raises:
        TntError: the topic can't be reached or rejects the message; the published data is not affected.
    """
    topic = settings.resolve(spec.notify_topic)
    current = workspace.store.current(spec.dataset(OBSERVATIONS))
    if not topic or current is None:
        return None
    key = naming.notified_key(current.dataset)
    stored = workspace.lake.read_pointer(key)
    notified = stored.value.decode().strip() if stored else None
    if notified == current.version:
        return None
    changelog = _changelog_since(workspace, current, notified)
    if any(changelog[name] for name in _COUNTED):
        notifier = SnsNotifier(topic, settings.aws_options("sns"))
        notifier.send(f"projection_update:{spec.name}", _message(workspace, current, changelog))
    workspace.lake.put(key, current.version.encode())
    return current.version


def _changelog_since(workspace: Workspace, current: Snapshot, notified: str | None) -> dict[str, Any]:
    """Sum the changelogs of all versions after `notified`."""
    total: dict[str, Any] = dict.fromkeys(_COUNTED, 0) | {"new_series": [], "updated_series": []}
    for version in ancestors(workspace.lake, current.manifest, until=notified):
        is_current = version == current.version
        changelog = _changelog_of(
            current.manifest if is_current else read_manifest(workspace.lake, current.dataset, version)
        )
        for name in _COUNTED:
            total[name] += changelog.get(name, 0)
        for name in ("new_series", "updated_series"):
            total[name] = sorted({*total[name], *changelog.get(name, [])})
        if notified is None:
            break
    return total


def _changelog_of(manifest: Manifest) -> dict[str, Any]:
    if manifest.rolled_back_to is None:
        changelog: dict[str, Any] = manifest.about.get("changelog", {})
        return changelog
    # `about` of a rollback is that of the version it restored: take what the rollback itself changed.
    changes = manifest.changelog
    return dict(zip(_COUNTED, (changes.added, changes.updated, changes.removed), strict=True))


def _message(workspace: Workspace, current: Snapshot, changelog: dict[str, Any]) -> dict[str, Any]:
    """Return the old system's message with the changelog added; `projections_path` lists all live files."""
    url = workspace.lake.url
    return {
        "event": "projection_update",
        "dataset_id": current.dataset,
        "bucket": url.removeprefix("s3://").split("/")[0] if url.startswith("s3://") else url,
        "version_id": current.version,
        "version_manifest_path": naming.manifest_key(current.dataset, current.version),
        "projections_path": naming.files_key(current.dataset, current.version),
        "changelog": changelog,
    }
