"""Convert a dataset file of the old series system into the attributes of a `defs.yaml`, accounting for every field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, get_args

from tnt_platform.errors import ConfigError
from tnt_platform.series.legacy.entries import old_series
from tnt_platform.series.legacy.fields import Note, Notes, OldFields, frequency_of, number, table
from tnt_platform.series.spec import Strategy

WORKBOOKS: Final = ("xlsx", "xlsm", "xls", "excel", "workbook")
_NO_TRANSFORMS: Final = ("none", "identity", "noop", "passthrough", "pass_through", "default")
_OLD_KEYS: Final = {"obs_time", "internal_series_code"}


@dataclass(frozen=True)
class Converted:
    """The new dataset: its name, its attributes, and a note on each field of the old file."""

    name: str
    attributes: Mapping[str, Any]
    comments: Mapping[str, str]
    notes: tuple[Note, ...]


def convert(document: object, file_name: str) -> Converted:
    """Map an old dataset document to the new fields.

    Raises:
        ConfigError: it is not a dataset of the old system, or lacks what can't be guessed: the source, the frequency,
            the series and their places.
    """
    if isinstance(document, Mapping) and set(document) == {"dataset"}:
        document = document["dataset"]
    if not isinstance(document, Mapping):
        raise ConfigError(
            f"{file_name} is not a mapping; give a dataset file of the old system, with dataset_id and source"
        )
    notes = Notes()
    old = OldFields(document, "", notes)
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", PurePosixPath(file_name).stem)
    name = str(old.take("dataset_id", "the folder's name") or stem)
    attributes, comments = _about(old, name)
    attributes["timezone"] = _timezone(old, comments)
    attributes["frequency"] = frequency_of(old.take("frequency", "frequency"), "frequency")
    attributes["source"] = _source(old)
    attributes["reader"], series = old_series(old, attributes["frequency"])
    attributes |= _load(old) | _lock(old, name) | _schedule(old) | {"series": series}
    old.close("")
    return Converted(name, attributes, comments, tuple(notes.all))


def _about(old: OldFields, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return description, owners and provider, and comments on those that the old file lacks."""
    description = old.take("description", "description") or f"Series of {name}."
    owner = old.take("owner", "owners")
    provider = old.take("provider", "provider")
    attributes = {
        "description": description,
        "owners": owner if isinstance(owner, list) else [owner or "team:data"],
        "provider": str(provider or name),
    }
    comments = {} if owner is not None else {"owners": "TODO who answers for it"}
    return attributes, comments if provider else comments | {"provider": "TODO who publishes it"}


def _timezone(old: OldFields, comments: dict[str, str]) -> str:
    normalize = old.inner("normalize", "normalizer")
    zone = normalize.take("normalize.timezone", "timezone") or old.take("timezone", "timezone")
    keys = normalize.take("normalize.primary_keys")
    if isinstance(keys, list) and not {str(key) for key in keys} - _OLD_KEYS:
        normalize.note("primary_keys", "not needed", "the key is internal_series_code + period")
    elif keys is not None:
        question = "check that internal_series_code + period identifies an observation"
        normalize.note("primary_keys", "to do", f"{keys!r}: {question}")
    normalize.close("normalize")
    if not zone:
        comments["timezone"] = "TODO the old file has none"
    return str(zone or "UTC")


def _source(old: OldFields) -> dict[str, Any]:
    """Return the source.

    Raises:
        ConfigError: it has no address, or a format that no reader takes.
    """
    source = old.inner("source")
    url = source.take("source.url", "source.url")
    if not url:
        raise ConfigError("source: url, url_template and path are missing; add one of them to the old file")
    form = source.take("source.format")
    if form is not None and str(form).lower().lstrip(".") not in WORKBOOKS:
        raise ConfigError(
            f"source.format: {form!r} can't be imported; draft the dataset with `tnt new series NAME --from FILE`"
        )
    not_needed = {
        "kind": (source.take("source.kind"), "it follows from the url"),
        "format": (form, "it is detected from the file"),
        "verify": (source.take("source.verify"), "certificates are always verified"),
    }
    for name, (value, reason) in not_needed.items():
        if value is not None:
            source.note(name, "not needed", f"{value!r}: {reason}")
    attributes: dict[str, Any] = {"url": _address(str(url), source)}
    headers = source.take("source.headers", "source.headers")
    if isinstance(headers, Mapping):
        attributes["headers"] = {str(name): str(value) for name, value in headers.items()}
    elif headers is not None:
        source.note("headers", "to do", f"{headers!r} is not a mapping; write the headers as `name: value`")
    if timeout := source.take("source.timeout", "source.timeout_s"):
        attributes["timeout_s"] = number(timeout, "source.timeout")
    if (back := source.take("source.months_back", "source.months_back")) is not None:
        attributes["months_back"] = int(number(back, "source.months_back"))
    source.close("source")
    return attributes


def _address(url: str, source: OldFields) -> str:
    """Return the url with today's marks for the month; a relative path becomes a key below the raw files."""
    marks = {row["written"]: row["mark"] for row in table("month_marks")}
    address = re.sub(r"\{[^{}$]+\}", lambda mark: marks.get(mark[0].lower(), mark[0]), url)
    address = re.sub("%[myY]", lambda mark: marks[mark[0]], address)
    if address != url:
        source.note("url_template", "assumed", f"{url} is written as {address}")
    if "://" in address:
        return address
    if address.startswith("/"):
        return f"file://{address}"
    key = str(PurePosixPath(address))
    source.note(
        "path", "to do", f"{address} was relative to the old program: put the file below TNT_RAW_URL as {key}"
    )
    return key


def _load(old: OldFields) -> dict[str, Any]:
    transform = old.inner("transform")
    plugin = transform.take("transform.plugin")
    if plugin is not None and str(plugin).lower() in _NO_TRANSFORMS:
        transform.note("plugin", "not needed", f"{plugin!r}: it changed nothing")
    elif plugin is not None:
        transform.note(
            "plugin", "to do", f"{plugin!r}: values are published as read; check what it did to them"
        )
    transform.close("transform")
    load = old.inner("load")
    strategy = load.take("load.partition_strategy", "partition_strategy")
    known = get_args(Strategy)
    if strategy is not None and strategy not in known:
        description = f"{strategy!r} is unknown, so the default is used; choose one of {', '.join(known)}"
        load.note("partition_strategy", "to do", description)
    load.close("load")
    return {"partition_strategy": strategy} if strategy in known else {}


def _lock(old: OldFields, name: str) -> dict[str, Any]:
    lock = old.inner("lock")
    attributes: dict[str, Any] = {}
    if (key := lock.take("lock.key")) is not None:
        lock_key = str(key).replace("{dataset_id}", name)
        if lock_key == f"etl:{name}":
            lock.note("key", "not needed", f"{key!r}: it is the default")
        else:
            attributes["lock_key"] = lock_key
            lock.note("key", "carried over", "as lock_key")
    if (timeout := lock.take("lock.timeout", "lock_timeout_s")) is not None:
        attributes["lock_timeout_s"] = number(timeout, "lock.timeout")
    lock.close("lock")
    return attributes


def _schedule(old: OldFields) -> dict[str, Any]:
    """Return when it runs and whom it notifies."""
    attributes: dict[str, Any] = {}
    cron = old.take("cron", "cron")
    if isinstance(cron, str):
        attributes["cron"] = cron
    elif cron is not None:
        old.note("schedule", "to do", f"{cron!r}: write it as cron, such as '0 18 * * *'")
    notify = old.inner("notify", "sns", "notification")
    if topic := notify.take("notify.topic", "notify_topic"):
        attributes["notify_topic"] = str(topic)
    notify.close("notify")
    return attributes
