"""Where a dataset's raw files lie, and which date each of their keys belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

import polars as pl

from tnt_platform.errors import ConfigError
from tnt_platform.storage.keys import UNUSABLE_KEY, checked_prefix

OnOverwrite = Literal["latest", "reject"]
OnDelete = Literal["keep", "remove"]

_RESERVED = {"key", "etag", "size_bytes", "last_modified", "partition", "problem", "status", "file_key"}
_UNUSABLE = re.compile(UNUSABLE_KEY)
_SOME_DAYS = (date(2026, 11, 20), date(2024, 2, 29), date(1999, 1, 2))


@dataclass(frozen=True)
class DateFolders:
    """Keys look like `<before><date>/...`: a date's files can be listed without looking at the others."""

    before: str  # `raw/` or `raw/date=`
    spelling: re.Pattern[str]  # the date group of the key pattern
    optional: bool  # keys without a date folder belong to the dataset too


@dataclass(frozen=True)
class RawSource:
    """The raw files of one dataset: `prefix` to look under, and a pattern that whole keys must match.

    The pattern's group `date`, read by `date_format`, is the partition; without it the UTC date of
    last_modified is. Other groups, such as `shipper_id`, become columns.

    Raises:
        ConfigError: a group's name is taken, or the format does not name one day.
    """

    prefix: str
    key_pattern: re.Pattern[str]
    date_format: str = "%Y-%m-%d"
    on_overwrite: OnOverwrite = "latest"
    on_delete: OnDelete = "keep"
    date_folders: DateFolders | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        checked_prefix(self.prefix)
        if taken := _RESERVED & set(self.key_pattern.groupindex):
            raise ConfigError(f"key_pattern: the group names {sorted(taken)} are taken; choose others")
        if any(self.day(day.strftime(self.date_format)) != day.isoformat() for day in _SOME_DAYS):
            raise ConfigError(
                f"date_format {self.date_format!r} does not name one day; write it like %Y-%m-%d"
            )
        if self.on_overwrite not in ("latest", "reject"):
            raise ConfigError(f"on_overwrite is {self.on_overwrite!r}; write latest or reject")
        if self.on_delete not in ("keep", "remove"):
            raise ConfigError(f"on_delete is {self.on_delete!r}; write keep or remove")
        object.__setattr__(self, "date_folders", _date_folders(self.prefix, self.key_pattern))

    @property
    def fields(self) -> list[str]:
        """The groups of the key pattern other than the date: columns of every listing."""
        return [name for name in self.key_pattern.groupindex if name != "date"]

    def day(self, text: str) -> str | None:
        """`2026-11-20` for what the key says, None when it is no date."""
        try:
            return datetime.strptime(text, self.date_format).date().isoformat()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            return None

    def folder_of(self, key: str) -> str | None:
        """The name of the folder where `key` would have its date; None without date folders."""
        if self.date_folders is None or not key.startswith(self.date_folders.before):
            return None
        name, slash, _ = key[len(self.date_folders.before) :].partition("/")
        return name if slash else None


def located(listing: pl.DataFrame, source: RawSource, undated_homes: Mapping[str, str]) -> pl.DataFrame:
    """Say which partition each object belongs to, and why it can't be read if it can't.

    Args:
        undated_homes: key -> partition of keys without a date that were seen before; an overwrite
            gives them a new last_modified, not a new home.

    Returns:
        `listing` (key, etag, size_bytes, last_modified) and partition (String, ISO date, null for a
        key that lies outside every date folder), problem (String, null when the key is as expected)
        and the pattern's other groups (String).
    """
    keys = listing["key"].to_list()
    matches = [source.key_pattern.fullmatch(key) for key in keys]
    texts = (
        [match["date"] if match else None for match in matches] if _has_date(source) else [None] * len(keys)
    )
    days = {text: source.day(text) for text in set(texts) if text is not None}
    partitions: list[str | None] = [days.get(text) if text is not None else None for text in texts]
    problems: list[str | None] = [None] * len(keys)
    modified = listing["last_modified"].dt.strftime("%Y-%m-%d").to_list()
    for index, day in enumerate(partitions):
        key = keys[index]
        problems[index] = _problem(key, matches[index], texts[index], day, source)
        if day is None:
            home = undated_homes.get(key) or modified[index]
            partitions[index] = home if problems[index] is None else _home_of_unmatched(key, home, source)
    groups = {name: [match[name] if match else None for match in matches] for name in source.fields}
    added = {"partition": partitions, "problem": problems, **groups}
    return listing.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in added.items())


def _has_date(source: RawSource) -> bool:
    return "date" in source.key_pattern.groupindex


def _problem(
    key: str, match: re.Match[str] | None, text: str | None, day: str | None, source: RawSource
) -> str | None:
    if _UNUSABLE.search(key):
        return (
            "the key has an empty, `.` or `..` part or a control character and can't be read; "
            "upload the file under another name"
        )
    if match is None:
        return (
            f"the key does not match {source.key_pattern.pattern!r}; rename the file or correct key_pattern"
        )
    if text is not None and day is None:
        return (
            f"{text!r} in the key is no date of the form {source.date_format}; upload it under its real date"
        )
    return None


def _home_of_unmatched(key: str, home: str, source: RawSource) -> str | None:
    """A partition whose listing will find this key again, or None for a key in somebody else's folder."""
    if source.date_folders is None:
        return home
    name = source.folder_of(key)
    if name is None:
        return home if "/" not in key[len(source.prefix) :] or source.date_folders.optional else None
    if (day := source.day(name)) is not None:
        return day
    lookalike = source.date_folders.spelling.fullmatch(name)
    return home if lookalike or source.date_folders.optional else None


def _date_folders(prefix: str, pattern: re.Pattern[str]) -> DateFolders | None:
    """Read from the pattern's text whether dates are folders right under the prefix; None when unsure."""
    if pattern.flags & (re.VERBOSE | re.IGNORECASE) or (prefix and not prefix.endswith("/")):
        return None
    head, found, tail = pattern.pattern.removeprefix("^").partition("(?P<date>")
    optional = head.endswith("(?:")
    before = _literal(head.removesuffix("(?:"))
    inside, after = _split_group(tail)
    if not found or before is None or inside is None or "/" in inside:
        return None
    if not before.startswith(prefix) or "/" in before[len(prefix) :]:
        return None
    closing = "/)?" if optional else "/"
    if not after.startswith(closing) or _has_alternatives(after.removeprefix(closing)):
        return None
    return DateFolders(before, re.compile(inside), optional)


def _literal(text: str) -> str | None:
    """The plain text that a piece of a pattern stands for, or None when it holds more than that."""
    plain = re.sub(r"\\([^A-Za-z0-9])", "", text)
    if re.search(r"[\\.^$*+?{}\[\]|()]", plain):
        return None
    return re.sub(r"\\(.)", r"\1", text)


def _split_group(tail: str) -> tuple[str | None, str]:
    """What is inside the group that was opened just before `tail`, and what follows its bracket."""
    depth = 1
    for index, char in _active(tail):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return tail[:index], tail[index + 1 :]
    return None, ""


def _has_alternatives(text: str) -> bool:
    depth = 0
    for _, char in _active(text):
        depth += (char == "(") - (char == ")")
        if char == "|" and depth <= 0:
            return True
    return False


def _active(text: str) -> list[tuple[int, str]]:
    """The characters that mean something to a regular expression: not escaped, not inside [...]."""
    spaced = re.sub(r"\\.", "  ", text)
    spaced = re.sub(r"\[\^?\]?[^\]]*\]", lambda found: " " * len(found[0]), spaced)
    return [(index, char) for index, char in enumerate(spaced) if char in "()|"]
