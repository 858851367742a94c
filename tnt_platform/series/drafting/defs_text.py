"""A series dataset's `defs.yaml` as text that a person reads: comments beside the values, a series a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

TYPE: Final = "tnt_platform.components.SeriesDataset"
_INDENT: Final = "  "


def defs_text(heading: Sequence[str], attributes: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Write the file; `comments` stand behind the values they name, as `timezone` or `source.url`."""
    lines = [f"# {line}".rstrip() for text in heading for line in text.splitlines()]
    lines += [f"type: {TYPE}", "", "attributes:"]
    for name, value in attributes.items():
        if isinstance(value, Mapping | list) and value:
            lines.append("")
        lines += _entry(name, value, comments, name, _INDENT)
    return "\n".join(lines) + "\n"


def _entry(name: str, value: Any, comments: Mapping[str, str], path: str, indent: str) -> Iterator[str]:
    comment = f"  # {comments[path]}" if path in comments else ""
    if isinstance(value, Mapping) and any(f"{path}.{key}" in comments for key in value):
        yield f"{indent}{name}:{comment}"
        for key, inner in value.items():
            yield from _entry(key, inner, comments, f"{path}.{key}", indent + _INDENT)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        yield f"{indent}{name}:{comment}"
        for number, one in enumerate(value):
            behind = f"  # {comments[f'{path}.{number}']}" if f"{path}.{number}" in comments else ""
            yield f"{indent}{_INDENT}- {flow(one)}{behind}"
    elif isinstance(value, Mapping) and value:
        yield f"{indent}{name}:{comment}"
        for key, inner in value.items():
            yield f"{indent}{_INDENT}{flow(str(key))}: {flow(inner)}"
    else:
        yield f"{indent}{name}: {flow(value)}{comment}"


def flow(value: Any) -> str:
    """A value on one line, quoted only where YAML needs it."""
    text = yaml.safe_dump(
        _plain(value), default_flow_style=True, allow_unicode=True, sort_keys=False, width=1_000_000_000
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
