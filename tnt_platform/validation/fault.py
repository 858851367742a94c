"""What a fault says, the list of those of one file, and the file that is being checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tnt_platform.settings import Settings
from tnt_platform.validation.document import Document, Node

SHOWN_CHARS = 60


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong, where it stands, and how to mend it; a warning is no reason to stop."""

    path: Path
    line: int
    wrong: str
    expected: str
    mend: str
    warning: bool = False

    def __str__(self) -> str:
        parts = (self.wrong, f"expected {self.expected}" if self.expected else "", self.mend)
        said = "; ".join(" ".join(part.split()) for part in parts if part)
        return f"{self.path}:{self.line}: {'warning: ' if self.warning else ''}{said}"


@dataclass
class Findings:
    """The faults of one file, in the order they were found."""

    path: Path
    faults: list[Fault] = field(default_factory=list)

    def add(self, where: Node | int, wrong: str, expected: str, mend: str, *, warning: bool = False) -> None:
        """Note one fault at a node or a line."""
        line = where if isinstance(where, int) else where.line
        fault = Fault(self.path, line, wrong, expected, mend, warning)
        if fault not in self.faults:
            self.faults.append(fault)

    @property
    def sound(self) -> bool:
        """Whether nothing but warnings was found."""
        return all(fault.warning for fault in self.faults)


@dataclass(frozen=True)
class DatasetFile:
    """One defs.yaml that could be read, and what its checks need; `attributes` is its mapping of that name."""

    path: Path
    document: Document
    attributes: Node
    findings: Findings
    settings: Settings
    strict_env: bool

    @property
    def folder(self) -> Path:
        """Where lookups and templates lie."""
        return self.path.parent

    def place(self, *path: str) -> tuple[Node, str] | None:
        """A text and its node."""
        text = self.attributes.text(*path)
        return (self.attributes.get(*path) or self.attributes, text) if text is not None else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was most likely meant to be."""
    by_lower = {text.lower(): text for text in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def meant(name: str, known: Iterable[str], otherwise: str) -> str:
    """`did you mean ...` where a known name is near, else what to do instead."""
    close = nearest(name, known)
    return f"did you mean {close}?" if close else otherwise


def shown(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def listed(names: Iterable[str]) -> str:
    """Names in order, separated by commas."""
    return ", ".join(sorted(names)) or "none"
