"""A dataset file of the old series system as the attributes of a new one; no field is dropped in silence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, get_args

from tnt_platform.errors import ConfigError
from tnt_platform.series.legacy.address import legacy_source
from tnt_platform.series.legacy.entries import old_series
from tnt_platform.series.legacy.fields import Note, Notes, OldFields, number
from tnt_platform.series.spec import Strategy

FREQUENCIES: Final[Mapping[str, str]] = {
    name: code
    for code, names in {
        "D": ("d", "b", "daily", "day", "diaria", "diario", "business_daily"),
        "W": ("w", "weekly", "week", "semanal"),
        "M": ("m", "ms", "me", "monthly", "month", "mensual"),
        "Q": ("q", "qs", "qe", "quarterly", "quarter", "trimestral"),
        "A": ("a", "y", "ys", "ye", "yearly", "annual", "annually", "anual"),
    }.items()
    for name in names
}
_OLD_KEYS: Final = {"obs_time", "internal_series_code"}


@dataclass(frozen=True)
class Converted:
    """The new dataset: its name, its attributes, and a note on each field of the old file."""

    name: str
    attributes: Mapping[str, Any]
    comments: Mapping[str, str]
    notes: tuple[Note, ...]


def converted(document: object, file_name: str) -> Converted:
    """Map an old dataset document to the new fields.

    Raises:
        ConfigError: it is no dataset of the old system, or lacks what can't be guessed: the source, the frequency, the
            series and their places.
    """
    if isinstance(document, Mapping) and set(document) == {"dataset"}:
        document = document["dataset"]
    if not isinstance(document, Mapping):
        raise ConfigError(
            f"{file_name} is no mapping; give a dataset file of the old system, with dataset_id and source"
        )
    notes = Notes()
    old = OldFields(document, "", notes)
    name = str(
        old.take("the folder's name", "dataset_id", variants=("id", "dataset", "name")) or _stem(file_name)
    )
    attributes, comments = _about(old, name)
    attributes["timezone"] = _timezone(old, comments)
    attributes["frequency"] = frequency_of(
        old.take("frequency", "frequency", variants=("freq",)), "frequency"
    )
    attributes["source"] = legacy_source(old)
    reader, series = old_series(old, attributes["frequency"], frequency_of)
    attributes["reader"] = reader
    attributes |= _load(old)
    attributes |= _lock(old, name)
    attributes |= _running(old)
    attributes["series"] = series
    old.drop("versions with manifests replace it: what was published is the only state", "state")
    old.unknown()
    return Converted(name, attributes, comments, tuple(notes.all))


def _about(old: OldFields, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Whose dataset it is and what it is of, and comments where nobody has said."""
    attributes: dict[str, Any] = {}
    comments: dict[str, str] = {}
    attributes["description"] = (
        old.take("description", "description", variants=("title",)) or f"Series of {name}."
    )
    owner = old.take("owners", "owner", "owners")
    attributes["owners"] = owner if isinstance(owner, list) else [owner or "team:data"]
    if owner is None:
        comments["owners"] = "TODO who answers for it"
    provider = old.take("provider", "provider", variants=("publisher",))
    attributes["provider"] = str(provider) if provider else name
    if not provider:
        comments["provider"] = "TODO who publishes it"
    return attributes, comments


def frequency_of(value: object, where: str) -> str:
    """The letter of a frequency, however the old file spells it.

    Raises:
        ConfigError: it is missing or unknown.
    """
    found = FREQUENCIES.get(str(value).strip().lower())
    if found is None:
        raise ConfigError(
            f"{where}: {value!r} is no frequency; write daily, weekly, monthly, quarterly or yearly in the old file"
        )
    return found


def _timezone(old: OldFields, comments: dict[str, str]) -> str:
    normalize = old.inner("normalize", "normalizer")
    zone = normalize.take("timezone", "timezone", variants=("tz", "time_zone")) or old.take(
        "timezone", "timezone"
    )
    normalize.drop("every series is normalized the same way", "plugin")
    keys = normalize.take(None, "primary_keys", variants=("primary_key", "keys"))
    if isinstance(keys, list) and not {str(key) for key in keys} - _OLD_KEYS:
        normalize.free("primary_keys", "the key is internal_series_code + period")
    elif keys is not None:
        normalize.todo(
            "primary_keys",
            f"{keys!r}: the key is internal_series_code + period; see if that identifies an observation",
        )
    normalize.unknown()
    if not zone:
        comments["timezone"] = "TODO the old file names none"
    return str(zone or "UTC")


def _load(old: OldFields) -> dict[str, Any]:
    transform = old.inner("transform")
    plugin = transform.take(None, "plugin")
    if plugin is not None:
        if str(plugin).lower() in ("none", "identity", "noop", "passthrough", "pass_through", "default"):
            transform.free("plugin", f"{plugin!r}: it changed nothing")
        else:
            transform.todo(
                "plugin",
                f"{plugin!r}: values are published as they are read; see what the plugin did to them",
            )
    transform.unknown()
    load = old.inner("load")
    load.drop("every dataset is versioned", "plugin")
    load.drop(
        "the lake's place is one setting for all datasets: TNT_LAKE_URL=s3://bucket/prefix",
        "bucket",
        "prefix",
    )
    load.drop("AWS_REGION of the environment says it", "region")
    load.drop("the store writes Parquet with zstd", "compression", "format")
    strategy = load.take("partition_strategy", "partition_strategy", variants=("partitioning",))
    load.drop(
        "subscribers are told of every version that changed data, if notify_topic resolves to a topic",
        "notify",
    )
    made: dict[str, Any] = {}
    if strategy in get_args(Strategy):
        made["partition_strategy"] = strategy
    elif strategy is not None:
        known = ", ".join(get_args(Strategy))
        load.todo("partition_strategy", f"{strategy!r} is not known; the default is used (known: {known})")
    load.unknown()
    return made


def _lock(old: OldFields, name: str) -> dict[str, Any]:
    lock = old.inner("lock")
    key = lock.take(None, "key", variants=("lock_key", "name"))
    timeout = lock.take(
        "lock_timeout_s", "timeout", "timeout_s", variants=("timeout_seconds", "ttl", "lease_seconds")
    )
    made: dict[str, Any] = {}
    if key is not None:
        text = str(key).replace("{dataset_id}", name)
        if text == f"etl:{name}":
            lock.free("key", f"{key!r}: it is the default")
        else:
            made["lock_key"] = text
            lock.carried("key", "lock_key")
    if timeout is not None:
        made["lock_timeout_s"] = number(timeout, "lock.timeout")
    lock.drop(
        "TNT_LOCK_TABLE names the DynamoDB table; without it a local file is used",
        "kind",
        "type",
        "plugin",
        "table",
        "table_name",
    )
    lock.drop("AWS_REGION of the environment says it", "region")
    lock.unknown()
    return made


def _running(old: OldFields) -> dict[str, Any]:
    """When it runs, and whom it tells."""
    made: dict[str, Any] = {}
    cron = old.take("cron", "cron", "schedule")
    if isinstance(cron, str):
        made["cron"] = cron
    elif cron is not None:
        old.todo("schedule", f"{cron!r}: write it as cron, such as '0 18 * * *'")
    notify = old.inner("notify", "sns", "notification")
    topic = notify.take("notify_topic", "topic_arn", variants=("topic", "sns_topic_arn", "arn"))
    if topic:
        made["notify_topic"] = str(topic)
    notify.unknown()
    return made


def _stem(file_name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", PurePosixPath(file_name).stem)
