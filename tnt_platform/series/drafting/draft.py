"""Hold a drafted layout, name its series, and write it as a `defs.yaml` with comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from tnt_platform.series.readers.cells import slug

TYPE: Final = "tnt_platform.components.SeriesDataset"
UNIT: Final = "TODO unit"
_CODE_CHARS: Final = 48
_INDENT: Final = "  "


@dataclass(frozen=True)
class Draft:
    """A drafted layout, under the names of the fields of a `defs.yaml`.

    `detected` lists what was recognised and where; `check` what a person must check. `series` may be empty where
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
    """Turn a label into a part of a code, cut between words where it is long."""
    part = slug(text)
    if len(part) <= _CODE_CHARS:
        return part
    return part[: _CODE_CHARS + 1].rpartition("_")[0] or part[:_CODE_CHARS]


def code_of(*parts: str) -> str:
    """Join parts to a code, without empty parts and those that repeat the part before."""
    filled = [part for part in parts if part]
    return "_".join(part for at, part in enumerate(filled) if at == 0 or part != filled[at - 1])


def unique_codes(codes: Sequence[str], places: Sequence[str]) -> list[str]:
    """Make codes unique: each that occurs twice gets its place, before the frequency at its end."""
    unique = []
    for code, place in zip(codes, places, strict=True):
        head, _, frequency = code.rpartition("_")
        unique.append(f"{head}_{place}_{frequency}" if codes.count(code) > 1 else code)
    return unique


def footer_of(notes: Sequence[str], data: Iterable[str | None]) -> str | None:
    """Return a pattern for the first note below the data: the first words or marks of all notes.

    One that a row of data begins with, too, is left out: the footer would hide that row and all below.
    """
    rows = [text.strip() for text in data if text is not None]
    found = dict.fromkeys(filter(None, (_start(note.strip()) for note in notes)))
    starts = [start for start in found if not any(re.match(start, row) for row in rows)]
    if not starts:
        return None
    return f"^{starts[0]}" if len(starts) == 1 else f"^(?:{'|'.join(starts)})"


def _start(note: str) -> str:
    word = re.match(r"[^\W\d_]+", note)
    if word:
        return word[0]
    return f"[{note[0]}]" if note and note[0] in "*(/+-–—" else ""


def defs_text(heading: Sequence[str], attributes: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Write a `defs.yaml`; `comments` follow the values that they name, as `timezone` or `source.url`."""
    lines = [f"# {line}".rstrip() for text in heading for line in text.splitlines()]
    lines += [f"type: {TYPE}", "", "attributes:"]
    for name, value in attributes.items():
        if isinstance(value, Mapping | list) and value:
            lines.append("")
        lines += _entry(name, value, comments, name, _INDENT)
    return "\n".join(lines) + "\n"


def _entry(name: str, value: Any, comments: Mapping[str, str], path: str, indent: str) -> Iterator[str]:
    comment = _comment(comments, path)
    if isinstance(value, Mapping) and any(f"{path}.{key}" in comments for key in value):
        yield f"{indent}{name}:{comment}"
        for key, inner in value.items():
            yield from _entry(key, inner, comments, f"{path}.{key}", indent + _INDENT)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        yield f"{indent}{name}:{comment}"
        for number, one in enumerate(value):
            yield f"{indent}{_INDENT}- {_flow(one)}{_comment(comments, f'{path}.{number}')}"
    elif isinstance(value, Mapping) and value:
        yield f"{indent}{name}:{comment}"
        for key, inner in value.items():
            yield f"{indent}{_INDENT}{_flow(str(key))}: {_flow(inner)}"
    else:
        yield f"{indent}{name}: {_flow(value)}{comment}"


def _comment(comments: Mapping[str, str], path: str) -> str:
    return f"  # {comments[path]}" if path in comments else ""


def _flow(value: Any) -> str:
    """Write a value on one line, quoted only where YAML needs it."""
    text = yaml.safe_dump(
        _builtin(value), default_flow_style=True, allow_unicode=True, sort_keys=False, width=1_000_000_000
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _builtin(value: Any) -> Any:
    """Turn mappings and tuples into the dicts and lists that YAML's safe dumper takes."""
    if isinstance(value, Mapping):
        return {str(name): _builtin(inner) for name, inner in value.items()}
    return [_builtin(one) for one in value] if isinstance(value, list | tuple) else value
