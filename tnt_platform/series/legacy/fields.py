"""Take fields out of an old dataset file, with a note on what became of each."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from tnt_platform.errors import ConfigError

Fate = Literal["carried over", "assumed", "not needed", "to do"]
FATES: Final[tuple[Fate, ...]] = ("carried over", "assumed", "not needed", "to do")


@dataclass(frozen=True)
class Note:
    """What became of one field of the old file."""

    field: str
    fate: Fate
    description: str


@dataclass
class Notes:
    """The notes on all fields, in the order they were taken; a note that many series share is stored once."""

    all: list[Note] = field(default_factory=list)

    def add(self, name: str, fate: Fate, description: str) -> None:
        """Note what became of a field."""
        note = Note(name, fate, description)
        if note not in self.all:
            self.all.append(note)


class OldFields:
    """One mapping of the old file; `close` notes each field that was not taken."""

    def __init__(self, mapping: Mapping[str, Any], path: str, notes: Notes) -> None:
        self._left = {str(name): value for name, value in mapping.items()}
        self._path = path
        self._notes = notes

    def take(self, name: str, becomes: str | None = None) -> Any:
        """Take a field under any of its names in `field_names.csv`; None if it is absent.

        A name that is only assumed to mean it is noted, and what it `becomes`; without that the caller notes its fate.
        """
        by_spelling = {_spelling(left): left for left in self._left}
        names = [row for row in table("field_names") if row["field"] == name]
        for row in names:
            found = by_spelling.get(_spelling(row["name"]))
            if found is None:
                continue
            value = self._left.pop(found)
            if not any(found == one["name"] and one["spelling"] == "known" for one in names):
                self.note(found, "assumed", f"read as {names[0]['name']}")
            if becomes is not None and value is not None:
                self.note(found, "carried over", f"as {becomes}")
            return value
        return None

    def inner(self, *names: str) -> OldFields:
        """Take the mapping under one of `names`; an empty one if there is none."""
        for name in names:
            value = self._left.get(name)
            if isinstance(value, Mapping):
                del self._left[name]
                return self.under(value, self._at(name))
            if value is None:
                self._left.pop(name, None)
        return self.under({}, self._at(names[0]))

    def under(self, mapping: Mapping[str, Any], path: str) -> OldFields:
        """Return the fields of another mapping, with the same notes."""
        return OldFields(mapping, path, self._notes)

    def note(self, name: str, fate: Fate, description: str) -> None:
        """Note what became of a field of this mapping."""
        self._notes.add(self._at(name), fate, description)

    def close(self, section: str) -> None:
        """Note the fields that are left: those that `not_needed.csv` has for the section, and unknown ones."""
        reasons = {row["name"]: row["reason"] for row in table("not_needed") if row["section"] == section}
        for name in [name for name in self._left if name in reasons]:
            value = self._left.pop(name)
            is_scalar = not isinstance(value, Mapping | list)
            self.note(name, "not needed", f"{value!r}: {reasons[name]}" if is_scalar else reasons[name])
        for name, value in self._leaves():
            self.note(name, "to do", f"{value!r}: unknown, so not carried over; check whether it matters")
        self._left.clear()

    def _leaves(self) -> Iterator[tuple[str, Any]]:
        for name, value in self._left.items():
            if isinstance(value, Mapping) and value:
                yield from ((f"{name}.{inner}", one) for inner, one in value.items())
            else:
                yield name, value

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def number(value: object, where: str) -> float:
    """Return a number of the old file.

    Raises:
        ConfigError: it is not a number.
    """
    try:
        return float(str(value))
    except ValueError:
        raise ConfigError(f"{where}: {value!r} is not a number; correct it in the old file") from None


def frequency_of(value: object, where: str) -> str:
    """Return the letter of a frequency, however the old file spells it.

    Raises:
        ConfigError: it is missing or unknown.
    """
    letters = {row["name"]: row["frequency"] for row in table("frequency_names")}
    found = letters.get(str(value).strip().lower())
    if found is None:
        raise ConfigError(
            f"{where}: {value!r} is not a frequency; write daily, weekly, monthly, quarterly or yearly in the old file"
        )
    return found


@cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a CSV file beside this module."""
    with (files(__package__) / f"{name}.csv").open(encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def _spelling(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
