"""Checks of one column: the rules of `transforms.column`, asked option by option."""

from __future__ import annotations

import re
from typing import Any

from tnt_platform.components.transit.model import ColumnModel, NoteModel, column_of
from tnt_platform.components.validation.document import Node
from tnt_platform.components.validation.fault import Findings
from tnt_platform.components.validation.schema import read_part, refusal
from tnt_platform.transforms.column import Column, Note

# Options that are checked together because one rule is about both.
_TOGETHER = (("true_values", "false_values"), ("thousands", "decimal"))
# Where pattern starts in what polars is given: `^(?:`, which its message shows after four spaces.
_POLARS_INDENT, _POLARS_PREFIX = 4, 4


def column_faults(node: Node, column: ColumnModel | None, findings: Findings) -> None:
    """Every option that means nothing for the type, or that the transforms refuse."""
    for note_node in node.items("notes"):
        if note := read_part(NoteModel, note_node):
            given = note.model_dump()
            _say(note_node.get("matches") or note_node, refusal(lambda given=given: Note(**given)), findings)
    if column is None:
        return
    before = len(findings.faults)
    if refusal(lambda: Column(name=column.name, source=0)):
        wrong, expected = (
            f"{column.name!r} is no column name",
            "lower-case letters, digits and _, not file_key, line_no or raw",
        )
        findings.add(node.children["name"], wrong, expected, f"write {_as_name(column.name)}")
    given = {
        name: value for name, value in column.model_dump(exclude_unset=True).items() if name in node.children
    }
    base: dict[str, Any] = {"name": "x", "source": 0, "type": column.type}
    if column.type == "category":
        if not column.values:
            findings.add(
                node, f"{column.name}: type category without values", "the categories", "add `values: [a, b]`"
            )
            return
        base["values"] = tuple(column.values)
    for option in given.keys() - {"name", "type", "notes", "required"}:
        together = next((pair for pair in _TOGETHER if option in pair), (option,))
        asked = {name: given[name] for name in together if name in given and given[name] not in (None, "")}
        said = refusal(lambda asked=asked: Column(**{**base, **asked}))
        _say(node.children[option], said, findings)
    if column.minimum is not None and column.maximum is not None and column.minimum > column.maximum:
        wrong = f"{column.name}: minimum {column.minimum:g} is above maximum {column.maximum:g}"
        findings.add(node.children["minimum"], wrong, "the smaller number first", "exchange them")
    if len(findings.faults) == before:
        bare = column.model_copy(update={"notes": ()})
        _say(node, refusal(lambda: column_of(bare, 0)), findings)


def _say(node: Node, said: str | None, findings: Findings) -> None:
    if said is None:
        return
    if "no regular expression that polars takes" in said:
        wrong, place = _pattern_fault(said)
        mend = "mend that place; look-around and back-references can't be used"
        findings.add(
            node, f"{node.value!r} is not a regular expression: {wrong}{place}", "Rust's syntax", mend
        )
        return
    wrong, _, rest = said.partition("; ")
    findings.add(node, wrong, rest or "another value", "change it or delete it")


def _pattern_fault(said: str) -> tuple[str, str]:
    """What the regex engine said, and the position its caret points at."""
    why = re.search(r"^\s*error: (.*)$", said, re.MULTILINE)
    caret = re.search(r"^( +)\^", said, re.MULTILINE)
    position = len(caret[1]) - _POLARS_INDENT - _POLARS_PREFIX if caret else -1
    return why[1] if why else said.splitlines()[0], f" at position {position}" if position >= 0 else ""


def _as_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if re.match(r"[a-z]", name) and name not in ("file_key", "line_no", "raw") else f"file_{name}"
