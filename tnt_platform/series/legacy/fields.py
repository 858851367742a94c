"""Taking fields out of an old dataset file, with a note on what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tnt_platform.errors import ConfigError

Fate = Literal["carried over", "assumed", "not needed", "to do"]
FATES: Final[tuple[Fate, ...]] = ("carried over", "assumed", "not needed", "to do")


@dataclass(frozen=True)
class Note:
    """What became of one field of the old file."""

    field: str
    fate: Fate
    said: str


@dataclass
class Notes:
    """The notes on all fields, in the order they were taken; a note on many series is kept once."""

    all: list[Note] = field(default_factory=list)

    def add(self, name: str, fate: Fate, said: str) -> None:
        """Note what became of a field."""
        note = Note(name, fate, said)
        if note not in self.all:
            self.all.append(note)


class OldFields:
    """One mapping of the old file; every field that nobody takes is named in the end."""

    def __init__(self, mapping: Mapping[str, Any], path: str, notes: Notes) -> None:
        self._left = {str(name): value for name, value in mapping.items()}
        self._path = path
        self._notes = notes

    def take(self, new: str | None, *names: str, variants: Sequence[str] = ()) -> Any:
        """The value of the first of `names`, or of a variant of its spelling, which is noted; None if there is none.

        new: the field it becomes, for the note; None if the caller writes the note.
        """
        known = {_spelling(name): name for name in self._left}
        for name in (*names, *variants):
            found = known.get(_spelling(name))
            if found is None:
                continue
            value = self._left.pop(found)
            if found not in names:
                self._notes.add(self._at(found), "assumed", f"taken for {names[0]}")
            if new is not None and value is not None:
                self._notes.add(self._at(found), "carried over", f"as {new}")
            return value
        return None

    def drop(self, why: str, *names: str) -> None:
        """Fields that the new system has no use for."""
        for name in names:
            if name in self._left:
                value = self._left.pop(name)
                self._notes.add(
                    self._at(name), "not needed", f"{value!r}: {why}" if _is_plain(value) else why
                )

    def inner(self, *names: str) -> OldFields:
        """A mapping inside; an empty one if there is none."""
        for name in names:
            value = self._left.get(name)
            if isinstance(value, Mapping):
                del self._left[name]
                return OldFields(value, self._at(name), self._notes)
            if value is None:
                self._left.pop(name, None)
        return OldFields({}, self._at(names[0]), self._notes)

    def of_list(self, one: Mapping[str, Any], path: str) -> OldFields:
        """A mapping of a list, whose notes go to the same place."""
        return OldFields(one, path, self._notes)

    def free(self, name: str, said: str) -> None:
        """A field that was taken, and is not needed."""
        self._notes.add(self._at(name), "not needed", said)

    def assume(self, name: str, said: str) -> None:
        """A reading that the file does not state."""
        self._notes.add(self._at(name), "assumed", said)

    def carried(self, name: str, new: str) -> None:
        """A field that was taken, and lives on as `new`."""
        self._notes.add(self._at(name), "carried over", f"as {new}")

    def todo(self, name: str, said: str) -> None:
        """Something that a person must do."""
        self._notes.add(self._at(name), "to do", said)

    def unknown(self) -> None:
        """Name what nobody took."""
        for name, value in self._leaves():
            self._notes.add(
                self._at(name), "to do", f"{value!r}: not understood, so not carried over; see if it matters"
            )
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
    """A number of the old file.

    Raises:
        ConfigError: it is none.
    """
    try:
        return float(str(value))
    except ValueError:
        raise ConfigError(f"{where}: {value!r} is no number; correct it in the old file") from None


def _spelling(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Mapping | list)
