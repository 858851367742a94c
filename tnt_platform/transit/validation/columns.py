"""Checks of one column: the rules of `transforms.column`, asked option by option."""

from __future__ import annotations

import re
from typing import Any

from tnt_platform.readers.column import Column, Note
from tnt_platform.transit.model import ColumnModel, NoteModel, column_of
from tnt_platform.validation.document import Node
from tnt_platform.validation.fault import Findings
from tnt_platform.validation.legacy_schema import read_part, refusal

# Options that are checked together because one rule is about both.
_TOGETHER = (("true_values", "false_values"), ("thousands", "decimal"))
# Where pattern starts in what polars is given: `^(?:`, which its message shows after four spaces.
_POLARS_INDENT, _POLARS_PREFIX = 4, 4


def column_faults(node: Node, column: ColumnModel | None, findings: Findings) -> None:
    """Every option that means nothing for the type, or that the transforms refuse."""
    for note_node in node.items("notes"):
        if note := read_part(NoteModel, note_node):
            said = refusal(Note, **note.model_dump())
            _say(note_node.get("matches") or note_node, said, "`equals` or `matches`, one of them", findings)
    if column is None:
        return
    if refusal(Column, name=column.name, source=0):
        wrong = f"{column.name!r} is no column name"
        expected = "lower-case letters, digits and _, not file_key, line_no or raw"
        findings.add(node.children["name"], wrong, expected, f"write {_as_name(column.name)}")
    if column.type == "category" and not column.values:
        wrong = f"{column.name}: type category without values"
        findings.add(node.children["type"], wrong, "the categories", "add `values: [a, b]`")
        return
    _option_faults(node, column, findings)
    low, high = column.minimum, column.maximum
    if low is not None and high is not None and low > high:
        wrong = f"{column.name}: minimum {low:g} is above maximum {high:g}"
        findings.add(node.children["minimum"], wrong, "the smaller number first", "exchange them")
    if findings.sound:
        bare = column.model_copy(update={"notes": ()})
        _say(node, refusal(column_of, bare, 0), "a column that can be read", findings)


def _option_faults(node: Node, column: ColumnModel, findings: Findings) -> None:
    written = column.model_dump(exclude={"name", "type", "notes", "required"}, exclude_unset=True)
    given = {option: value for option, value in written.items() if value not in (None, "", (), [])}
    base: dict[str, Any] = {"name": "x", "source": 0, "type": column.type}
    if column.type == "category":
        base["values"] = tuple(column.values)
    for option in given:
        together = next((pair for pair in _TOGETHER if option in pair), (option,))
        asked = {name: given[name] for name in together if name in given}
        said = refusal(Column, **{**base, **asked})
        _say(node.children[option], said, _expected(said), findings)


def _expected(said: str | None) -> str:
    """What the rule's own words say was expected."""
    text = said or ""
    if found := re.search(r"; it is for (.*)", text):
        return f"it for type {found[1]} only"
    if found := re.search(r"Input should be (.*)", text):
        return found[1]
    return "%Y, %m and %d in each" if text.startswith("formats") else "another value"


def _say(node: Node, said: str | None, expected: str, findings: Findings) -> None:
    if said is None:
        return
    if "no regular expression that polars takes" in said:
        wrong, place = _pattern_fault(said)
        mend = "mend that place; look-around and back-references can't be used"
        findings.add(
            node, f"{node.value!r} is not a regular expression: {wrong}{place}", "Rust's syntax", mend
        )
        return
    wrong = said.partition("; it is for ")[0]
    option, colon, _ = said.partition(": Input should be ")
    findings.add(node, f"{option} is {node.value!r}" if colon else wrong, expected, "change it or delete it")


def _pattern_fault(said: str) -> tuple[str, str]:
    """What the regex engine said, and the position its caret points at."""
    why = re.search(r"^\s*error: (.*)$", said, re.MULTILINE)
    caret = re.search(r"^( +)\^+\s*$", said, re.MULTILINE)
    position = len(caret[1]) - _POLARS_INDENT - _POLARS_PREFIX if caret else -1
    return why[1] if why else said.splitlines()[0], f" at position {position}" if position >= 0 else ""


def _as_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if re.match(r"[a-z]", name) and name not in ("file_key", "line_no", "raw") else f"file_{name}"
