"""YAML and JSON as trees in which every value knows its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from dagster_shared.yaml_utils import DagsterYamlLoader

MERGE_TAG = "tag:yaml.org,2002:merge"
TEXT_TAG = "tag:yaml.org,2002:str"

# What PyYAML says, and what people did who saw it.
_HINTS = {
    "mapping values are not allowed": "put a value that holds ': ' in quotes, and check the indentation",
    "cannot start any token": "indent with spaces, not tabs; put a value that starts with a sign in quotes",
    "could not find expected ':'": "check the indentation and the quotes of the lines above",
    "while scanning a quoted scalar": "close the quote, or double a quote inside the text",
    "while scanning a double-quoted scalar": "write a text with backslashes in single quotes",
    "while parsing a block mapping": "check the indentation: keys of one mapping start at the same column",
    "while parsing a block collection": "check the indentation: items of one list start at the same column",
    "while parsing a flow": "close every bracket, with a comma between the items",
    "found undefined alias": "define it above with &name, or put a text that starts with * in quotes",
}


@dataclass(frozen=True)
class SyntaxFault:
    """A line that can't be read, why, what was expected and how to fix it."""

    line: int
    wrong: str
    expected: str
    fix: str


@dataclass(frozen=True)
class Node:
    """One value of the file. `line` is where it stands: of a block that starts below its key, the key's line."""

    value: object
    line: int
    key_line: int
    last_line: int
    children: dict[str | int, Node] = field(default_factory=dict)

    def get(self, *path: str | int) -> Node | None:
        """The value at `path`, or None."""
        node: Node | None = self
        for part in path:
            node = node.children.get(part) if node else None
        return node

    def nearest(self, path: tuple[str | int, ...]) -> Node:
        """The value at `path`, or the innermost one on the way to it that is there."""
        node = self
        for part in path:
            if part not in node.children:
                break
            node = node.children[part]
        return node

    def items(self, *path: str | int) -> list[Node]:
        """The items of the list at `path`; none when it is no list."""
        node = self.get(*path)
        return list(node.children.values()) if node and isinstance(node.value, list) else []

    def entries(self, *path: str | int) -> dict[str, Node]:
        """The entries of the mapping at `path`; none when it is no mapping."""
        node = self.get(*path)
        mapping = node.children if node and isinstance(node.value, dict) else {}
        return {str(name): child for name, child in mapping.items()}

    def text(self, *path: str | int) -> str | None:
        """The text at `path`, or None when there is none."""
        node = self.get(*path)
        return node.value if node and isinstance(node.value, str) else None

    def leaves(self, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Node]]:
        """Every value that holds no others, with its path."""
        if not self.children:
            yield path, self
        for name, child in self.children.items():
            yield from child.leaves((*path, name))


@dataclass
class Document:
    """A file's tree (None when it can't be read) and what is wrong with its syntax."""

    root: Node | None
    faults: list[SyntaxFault]
    lines: list[str]

    def line_with(self, node: Node, text: str) -> int:
        """The last line of `node` that holds `text`, for values that span lines; else the node's own."""
        for line in range(node.last_line, node.line - 1, -1):
            if text and text in self.lines[line - 1]:
                return line
        return node.line


def read_document(data: bytes) -> Document:
    """Read YAML (JSON is YAML too), reporting bad syntax, double keys and keys that are no text."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fault = SyntaxFault(line, f"not UTF-8: {error.reason}", "UTF-8 text", "save the file as UTF-8")
        return Document(None, [fault], [])
    reading = _Reading()
    lines = text.splitlines() or [""]
    try:
        loader = DagsterYamlLoader(text)
        documents = []
        while loader.check_node():
            if (document := loader.get_node()) is not None:
                documents.append(document)
    except yaml.YAMLError as error:
        return Document(None, [_syntax_fault(error, text)], lines)
    if len(documents) > 1:
        reading.say(
            documents[1].start_mark.line + 1,
            "a second document starts here",
            "one dataset in one file",
            "move it to a folder of its own",
        )
    root = reading.node(loader, documents[0]) if documents else None
    return Document(root, reading.faults, lines)


@dataclass
class _Reading:
    """A walk over PyYAML's nodes."""

    faults: list[SyntaxFault] = field(default_factory=list)
    open: set[int] = field(default_factory=set)

    def say(self, line: int, wrong: str, expected: str, fix: str) -> None:
        self.faults.append(SyntaxFault(line, wrong, expected, fix))

    def node(self, loader: yaml.SafeLoader, node: yaml.Node, key_line: int | None = None) -> Node:
        start, key = node.start_mark.line + 1, key_line or node.start_mark.line + 1
        block = isinstance(node, yaml.CollectionNode) and not node.flow_style
        # The end of a block is where the next token starts.
        last = node.end_mark.line + (0 if node.end_mark.column == 0 and node.end_mark.line + 1 > start else 1)
        line = key if block else start
        if id(node) in self.open:
            self.say(start, "an alias contains itself", "a value that ends", "write the value out")
            return Node(None, line, key, last)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                children = self.mapping(loader, node)
                return Node({k: c.value for k, c in children.items()}, line, key, last, children)
            if isinstance(node, yaml.SequenceNode):
                items: dict[str | int, Node] = {n: self.node(loader, c) for n, c in enumerate(node.value)}
                return Node([c.value for c in items.values()], line, key, last, items)
            return Node(self.scalar(loader, node), line, key, last)
        finally:
            self.open.discard(id(node))

    def scalar(self, loader: yaml.SafeLoader, node: yaml.Node) -> object:
        try:
            value: object = loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            why = error.problem if isinstance(error, yaml.MarkedYAMLError) else str(error)
            fix = "put it in quotes, without a tag"
            self.say(node.start_mark.line + 1, f"{node.value!r} can't be read: {why}", "a plain value", fix)
            return str(node.value)
        return value

    def mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str | int, Node]:
        children: dict[str | int, Node] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            if key.tag == MERGE_TAG:
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
                continue
            line, name = key.start_mark.line + 1, self.key(key)
            if name in children:
                first = children[name].key_line
                fix = f"delete one of them (the other is on line {first}); YAML would silently take the last"
                self.say(line, f"the key {name} occurs twice", "each key once", fix)
            children[name] = self.node(loader, value, line)
        for source in merged:
            if isinstance(source, yaml.MappingNode):
                children = {**self.node(loader, source).children, **children}
        return children

    def key(self, key: yaml.Node) -> str:
        if not isinstance(key, yaml.ScalarNode):
            self.say(key.start_mark.line + 1, "a key is a list or a mapping", "a text", "write a plain name")
            return "?"
        if key.tag != TEXT_TAG:
            kind = key.tag.rsplit(":", 1)[-1]
            fix = f'put it in quotes: "{key.value}"'
            self.say(key.start_mark.line + 1, f"the key {key.value} is read as {kind}", "a text", fix)
        return str(key.value)


def _syntax_fault(error: yaml.YAMLError, text: str) -> SyntaxFault:
    expected, fix = "valid YAML", "fix this line or the one above it"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        # PyYAML has no codes for its errors. With words that it changes, only the hint is lost.
        hints = [hint for words, hint in _HINTS.items() if words in problem]
        line = min(mark.line + 1, max(1, len(text.splitlines()))) if mark else 1
        where = f" (column {mark.column + 1})" if mark else ""
        return SyntaxFault(line, f"not YAML: {problem}{where}", expected, hints[0] if hints else fix)
    found = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    line = text.count("\n", 0, found.start()) + 1 if found else 1
    return SyntaxFault(line, "a character that YAML doesn't allow", "printable text", "delete the character")
