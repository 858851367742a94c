"""The keys of a dataset's objects, and which names are valid."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tnt_platform.errors import ConfigError

DATASETS = "datasets/"
_TIME_FORMAT = "%Y%m%dT%H%M%S%fZ"
_VERSION_ID = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{8}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
# Characters that need no escaping in a file name, an S3 key or a URL.
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*")
_RESERVED = frozenset({"index", "versions"})


def dataset_folder(dataset: str) -> str:
    """Return the folder of one dataset, with its trailing slash.

    Raises:
        ConfigError: the id is empty, has an invalid character, or a segment named index or versions.
    """
    segments = dataset.split("/")
    if not all(_SEGMENT.fullmatch(part) and part not in _RESERVED for part in segments):
        raise ConfigError(
            f"{dataset!r} is not a valid dataset id: use segments of letters, digits and _ . = + - joined "
            "by '/', none of them 'index' or 'versions'"
        )
    return f"{DATASETS}{dataset}/"


def check_partition_name(partition: str) -> None:
    """Check that a partition name can be part of a key.

    Raises:
        ConfigError: the name is empty or has an invalid character.
    """
    if not all(_SEGMENT.fullmatch(part) for part in partition.split("/")):
        raise ConfigError(
            f"{partition!r} is not a valid partition name: use segments of letters, digits and _ . = + - joined by '/'"
        )


def pointer_key(dataset: str) -> str:
    """Return the key of the object that holds the id of the current version."""
    return f"{dataset_folder(dataset)}index/current_version.txt"


def notified_key(dataset: str) -> str:
    """Return the key of the object that holds the id of the last version that subscribers were notified of."""
    return f"{dataset_folder(dataset)}index/notified_version.txt"


def expired_key(dataset: str) -> str:
    """Return the key of the object that holds the id of the newest version that an expiry deleted."""
    return f"{dataset_folder(dataset)}index/expired_version.txt"


def clock_key(dataset: str) -> str:
    """Return the key of the object that an expiry writes to learn the time of the store's clock."""
    return f"{dataset_folder(dataset)}index/clock.txt"


def tags_folder(dataset: str) -> str:
    """Return the folder of the dataset's tags."""
    return f"{dataset_folder(dataset)}index/tags/"


def tag_key(dataset: str, name: str) -> str:
    """Return the key of the object that holds the version id of a tag.

    Raises:
        ConfigError: the name has an invalid character or looks like a version id.
    """
    if not _TAG.fullmatch(name) or is_version_id(name):
        raise ConfigError(
            f"{name!r} is not a valid tag: use up to 100 letters, digits and _ . -, not a version id"
        )
    return f"{tags_folder(dataset)}{name}.txt"


def versions_folder(dataset: str) -> str:
    """Return the folder that holds the folders of all versions."""
    return f"{dataset_folder(dataset)}versions/"


def version_folder(dataset: str, version: str) -> str:
    """Return the folder of one version, with its trailing slash."""
    return f"{versions_folder(dataset)}{version}/"


def manifest_key(dataset: str, version: str) -> str:
    """Return the key of one version's manifest."""
    return f"{version_folder(dataset, version)}manifest.json"


def files_key(dataset: str, version: str) -> str:
    """Return the key of the list of one version's live data files."""
    return f"{version_folder(dataset, version)}files.parquet"


def partitions_key(dataset: str, version: str) -> str:
    """Return the key of the list of one version's partitions."""
    return f"{version_folder(dataset, version)}partitions.parquet"


def is_version_id(text: str) -> bool:
    """Return whether `text` has the form of a version id."""
    return _VERSION_ID.fullmatch(text) is not None


def version_time(version: str) -> datetime:
    """Return the UTC time in a version id."""
    return datetime.strptime(version.split("-")[0], _TIME_FORMAT).replace(tzinfo=UTC)


def new_version_id(now: datetime, entropy: Callable[[int], bytes], *, after: str | None = None) -> str:
    """Make a unique id that sorts by time, and after the id `after` even if this clock is behind its writer's."""
    moment = now.astimezone(UTC)
    if after is not None:
        moment = max(moment, version_time(after) + timedelta(microseconds=1))
    return f"{moment.strftime(_TIME_FORMAT)}-{entropy(4).hex()}"
