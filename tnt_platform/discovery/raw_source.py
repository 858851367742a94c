"""Where a dataset's raw files are, and which date each key belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from tnt_platform.errors import Refused
from tnt_platform.specs.fields import Regex
from tnt_platform.specs.spec import Mistake, Spec, rule
from tnt_platform.storage.keys import UNUSABLE_KEY, checked_prefix

OnOverwrite = Literal["latest", "reject"]
OnDelete = Literal["keep", "remove"]

# Columns of every listing.
RESERVED_GROUPS = {"key", "etag", "size_bytes", "last_modified", "partition", "problem", "status", "file_key"}
_UNUSABLE = re.compile(UNUSABLE_KEY)
_SOME_DAYS = (date(2026, 11, 20), date(2024, 2, 29), date(1999, 1, 2))


@dataclass(frozen=True)
class DateFolders:
    """Keys of the form `<before><date>/...`, where one date can be listed without the others."""

    before: str  # `raw/` or `raw/date=`
    spelling: re.Pattern[str]  # the date group of the key pattern
    optional: bool  # keys without a date folder belong to the dataset too


class RawSource(Spec):
    """Where a dataset's raw files are, and which date each of them belongs to."""

    prefix: Annotated[str, Field(description="Where in the raw files to look, such as `transit/`.")]
    key_pattern: Annotated[
        Regex,
        Field(
            description="Regular expression for all of a key that follows the prefix. Its group `date` is the date; "
            "without it, the day (UTC) the file was written is. Other groups become columns."
        ),
    ]
    date_format: Annotated[str, Field(description="How the group `date` spells a day.")] = "%Y-%m-%d"

    @rule
    def _prefix_is_usable(self) -> Iterator[Mistake]:
        try:
            checked_prefix(self.prefix)
        except Refused as error:
            wrong, fix = f"prefix: {str(error).partition(':')[0]}", "write it like transit/"
            yield Mistake(wrong, "a folder in the raw bucket", fix, at=("prefix",))

    @rule
    def _pattern_follows_the_prefix(self) -> Iterator[Mistake]:
        at = ("key_pattern",)
        if self.prefix and self.key_pattern.removeprefix("^").startswith(
            (self.prefix, re.escape(self.prefix))
        ):
            fix = f"delete {self.prefix} from its start"
            yield Mistake("key_pattern repeats the prefix", "what follows the prefix", fix, at)
        try:
            groups = self.whole_key.groupindex
        except re.error:
            # It is valid alone, so what is wrong is where it stands: flags for all of it must come first.
            fix = "write them inside, (?i:...), or as [Aa]"
            wrong = "key_pattern starts with flags for all of it"
            yield Mistake(wrong, "a pattern that can follow the prefix", fix, at)
            return
        for name in sorted(RESERVED_GROUPS & set(groups)):
            wrong = f"key_pattern: the platform itself adds a column {name}"
            yield Mistake(wrong, "a free name", f"rename the group, for example to key_{name}", at)

    @rule
    def _date_format_names_one_day(self) -> Iterator[Mistake]:
        if any(self.day(day.strftime(self.date_format)) != day.isoformat() for day in _SOME_DAYS):
            wrong = f"date_format {self.date_format!r} does not name one day"
            yield Mistake(wrong, "year, month and day", "write it like %Y-%m-%d", at=("date_format",))

    @cached_property
    def whole_key(self) -> re.Pattern[str]:
        """The pattern of whole keys, with the prefix."""
        return re.compile(re.escape(self.prefix) + self.key_pattern)

    @cached_property
    def date_folders(self) -> DateFolders | None:
        """Where dates are folders directly under the prefix; None if they are not."""
        return _date_folders(self.prefix, self.whole_key)

    @property
    def fields(self) -> list[str]:
        """The groups of the key pattern without the date; they are columns of every listing."""
        return [name for name in re.compile(self.key_pattern).groupindex if name != "date"]

    def day(self, text: str) -> str | None:
        """Convert the date in a key to ISO, such as `2026-11-20`; None if it is not a date."""
        try:
            return datetime.strptime(text, self.date_format).date().isoformat()  # noqa: DTZ007 - a date has no time zone
        except ValueError:
            return None

    def folder_of(self, key: str) -> str | None:
        """Return the folder of `key` where its date would be; None if dates are not folders."""
        if self.date_folders is None or not key.startswith(self.date_folders.before):
            return None
        name, slash, _ = key[len(self.date_folders.before) :].partition("/")
        return name if slash else None


def located(listing: pl.DataFrame, source: RawSource, undated_homes: Mapping[str, str]) -> pl.DataFrame:
    """Add the partition of each object, and the problem of a key that cannot be read.

    Args:
        undated_homes: key -> partition of the known keys without a date: an overwrite changes their last_modified,
            but not their partition.

    Returns:
        `listing` (key, etag, size_bytes, last_modified) and partition (String, ISO date, null for a
        key outside every date folder), problem (String, null if the key is as expected) and the pattern's
        other groups (String).
    """
    keys = listing["key"].to_list()
    matches = [source.whole_key.fullmatch(key) for key in keys]
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
    return "date" in source.whole_key.groupindex


def _problem(
    key: str, match: re.Match[str] | None, text: str | None, day: str | None, source: RawSource
) -> str | None:
    if _UNUSABLE.search(key):
        return (
            "the key has an empty, `.` or `..` part or a control character and cannot be read; "
            "upload the file under another key"
        )
    if match is None:
        return f"the key does not match {source.whole_key.pattern!r}; rename the file or correct key_pattern"
    if text is not None and day is None:
        return f"{text!r} in the key is not a valid date of the form {source.date_format}; upload it under its date"
    return None


def _home_of_unmatched(key: str, home: str, source: RawSource) -> str | None:
    """Return a partition whose listing finds this key again, or None for a key in another folder."""
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
    """Detect from the pattern whether dates are folders directly under the prefix; None if unsure."""
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
    """Return the text that a part of a pattern matches literally, or None if it matches anything else."""
    plain = re.sub(r"\\([^A-Za-z0-9])", "", text)
    if re.search(r"[\\.^$*+?{}\[\]|()]", plain):
        return None
    return re.sub(r"\\(.)", r"\1", text)


def _split_group(tail: str) -> tuple[str | None, str]:
    """Split `tail`, which follows an opening parenthesis, into the group and what comes after it."""
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
    """Return the parentheses and bars that are syntax: not escaped, not in [...]."""
    spaced = re.sub(r"\\.", "  ", text)
    spaced = re.sub(r"\[\^?\]?[^\]]*\]", lambda found: " " * len(found[0]), spaced)
    return [(index, char) for index, char in enumerate(spaced) if char in "()|"]
