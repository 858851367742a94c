"""What a draft of a layout is, and the codes it gives to series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tnt_platform.series.readers.cells import slug

UNIT: Final = "TODO unit"
_CODE_CHARS: Final = 48


@dataclass(frozen=True)
class Draft:
    """A drafted layout in the words of a dataset's YAML.

    `detected` says what was recognised and where; `check` what a person must look at. `series` may be empty where
    `table` has a template for the codes.
    """

    reader: str
    frequency: str
    series: tuple[Mapping[str, Any], ...] = ()
    table: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    footer: str | None = None
    member: str | None = None
    detected: tuple[str, ...] = ()
    check: tuple[str, ...] = ()


def code_part(text: str) -> str:
    """A label as a part of a code, cut between words."""
    plain = slug(text)
    if len(plain) <= _CODE_CHARS:
        return plain
    return plain[: _CODE_CHARS + 1].rpartition("_")[0] or plain[:_CODE_CHARS]


def code_of(*parts: str) -> str:
    """Parts as one code; what a part repeats from the one before it is left out."""
    kept: list[str] = []
    for part in filter(None, parts):
        if not kept or part != kept[-1]:
            kept.append(part)
    return "_".join(kept)


def unique_codes(codes: Sequence[str], places: Sequence[str]) -> list[str]:
    """Codes of which none occurs twice: those that would get their place put before the frequency."""
    repeated = {code for code in codes if codes.count(code) > 1}
    found = []
    for code, place in zip(codes, places, strict=True):
        if code in repeated:
            head, _, frequency = code.rpartition("_")
            code = f"{head}_{place}_{frequency}"
        found.append(code)
    return found


def footer_of(texts: Sequence[str]) -> str | None:
    """A pattern for the first note below the data, from how the notes begin."""
    starts = list(dict.fromkeys(start for text in texts if (start := _start(text))))
    if not starts:
        return None
    return f"^{starts[0]}" if len(starts) == 1 else f"^(?:{'|'.join(starts)})"


def _start(text: str) -> str:
    word = ""
    for letter in text.strip():
        if not letter.isalpha():
            break
        word += letter
    if word:
        return word
    first = text.strip()[:1]
    return f"[{first}]" if first and first in "*(/+-–—[" and first != "[" else ""
