"""The SNS notice after a version that changed data, sent at least once."""

from __future__ import annotations

from typing import Any

from tnt_platform.lake import naming
from tnt_platform.lake.publishing import Place
from tnt_platform.lake.snapshot import Snapshot, ancestors, read_manifest
from tnt_platform.series.spec import OBSERVATIONS, SeriesSpec
from tnt_platform.services.notify import SnsNotifier
from tnt_platform.settings import Settings

_COUNTED = ("data_points_added", "data_points_updated", "data_points_removed")


def send_notice(spec: SeriesSpec, place: Place, settings: Settings) -> str | None:
    """Tell the topic about the current version, unless that was done; the version told about, or None.

    What was told last stands beside the pointer, and is written after the message is out: a run that dies between
    commit and message leaves a difference that the next run sees.

    Raises:
        TntError: the topic can't be reached or refuses; the published data is not affected.
    """
    topic = settings.resolve(spec.notify_topic)
    current = place.store.current(spec.dataset(OBSERVATIONS))
    if not topic or current is None:
        return None
    key = naming.notified_key(current.dataset)
    told = place.lake.read_pointer(key)
    version = told.value.decode().strip() if told else None
    if version == current.version:
        return None
    changelog = _since(place, current, version)
    if any(changelog[name] for name in _COUNTED):
        notifier = SnsNotifier(topic, settings.aws_options("sns"))
        notifier.send(f"projection_update:{spec.name}", _message(place, current, changelog))
    place.lake.put(key, current.version.encode())
    return current.version


def _since(place: Place, current: Snapshot, told: str | None) -> dict[str, Any]:
    """The changelogs of all versions after `told`, summed."""
    total: dict[str, Any] = dict.fromkeys(_COUNTED, 0) | {"new_series": [], "updated_series": []}
    for version in ancestors(place.lake, current.manifest, until=told):
        manifest = (
            current.manifest
            if version == current.version
            else read_manifest(place.lake, current.dataset, version)
        )
        if manifest.rolled_back_to is not None:
            # A rollback keeps the story of the version that it brought back: count its own changes.
            changes = manifest.changelog
            log: dict[str, Any] = dict(
                zip(_COUNTED, (changes.added, changes.updated, changes.removed), strict=True)
            )
        else:
            log = manifest.about.get("changelog", {})
        for name in _COUNTED:
            total[name] += log.get(name, 0)
        for name in ("new_series", "updated_series"):
            total[name] = sorted({*total[name], *log.get(name, [])})
        if told is None:
            break
    return total


def _message(place: Place, current: Snapshot, changelog: dict[str, Any]) -> dict[str, Any]:
    """The old message with the changelog added; `projections_path` lists every live file, of all versions."""
    return {
        "event": "projection_update",
        "dataset_id": current.dataset,
        "bucket": place.lake.url.removeprefix("s3://").split("/")[0]
        if place.lake.url.startswith("s3://")
        else place.lake.url,
        "version_id": current.version,
        "version_manifest_path": naming.manifest_key(current.dataset, current.version),
        "projections_path": naming.files_key(current.dataset, current.version),
        "changelog": changelog,
    }
