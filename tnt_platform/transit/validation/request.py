"""Checks of a request template: syntax, parts, braces, secrets, and fields that no row has; all of them at once."""

from __future__ import annotations

import json
from collections.abc import Collection
from difflib import SequenceMatcher
from pathlib import Path

from tnt_platform.errors import ConfigError
from tnt_platform.transit.transforms.request_template import RequestTemplate, read_template
from tnt_platform.validation.document import Node, read_document
from tnt_platform.validation.fault import DatasetFile, Findings, listed, meant, nearest, shown
from tnt_platform.validation.legacy_schema import refusal
from tnt_platform.validation.texts import header_faults, placeholder_faults

# Likeness from which a name that is not known here is taken for a misspelt one that is.
TYPING_ERROR = 0.85
REQUEST_PARTS = ("body", "headers", "method", "url")


def request_faults(
    path: Path, fields: Collection[str], has_reference: bool, dataset: DatasetFile
) -> Findings:
    """Every fault of the template at `path`, with its own lines."""
    findings = Findings(path)
    data = path.read_bytes()
    try:
        tree = json.loads(data)
    except json.JSONDecodeError as error:
        mend = "mend this line or the one above it: a comma, a quote or a bracket"
        findings.add(error.lineno, f"not JSON: {error.msg} (column {error.colno})", "valid JSON", mend)
        return findings
    except ValueError as error:
        findings.add(1, f"not JSON: {error}", "UTF-8 text", "save the file as UTF-8")
        return findings
    # Valid JSON is YAML, apart from tabs, and YAML's reader knows the lines.
    document = read_document(data.replace(b"\t", b" "))
    root = document.root
    if not isinstance(tree, dict) or root is None:
        mend = 'write {"method": "POST", "url": "{api_url}/..."}'
        findings.add(1, "not an object", f"an object with {listed(REQUEST_PARTS)}", mend)
        return findings
    for fault in document.faults:
        findings.add(fault.line, fault.wrong, fault.expected, fault.mend.replace("YAML", "a JSON reader"))
    for name, header in root.entries("headers").items():
        header_faults(name, header, findings)
        placeholder_faults(header, True, "headers", dataset, findings)
    _part_faults(tree, root, findings)
    for part in ("url", "body"):
        for where, leaf in root.children[part].leaves((part,)) if part in root.children else ():
            _leaf_faults(where, leaf, fields, has_reference, findings)
    return findings


def _part_faults(tree: dict[str, object], root: Node, findings: Findings) -> None:
    """The template's own rules, part by part; those of single texts are asked leaf by leaf."""
    for name, node in root.entries().items():
        if name not in REQUEST_PARTS:
            mend = meant(name, REQUEST_PARTS, "move it into the body")
            findings.add(node.key_line, f"unknown part {name}", f"one of {listed(REQUEST_PARTS)}", mend)
    if not isinstance(tree.get("url"), str) or not tree["url"]:
        findings.add(
            root.get("url") or root, "url is missing or no text", "a text", 'write "url": "{api_url}/..."'
        )
    asked: list[tuple[Node, dict[str, object]]] = []
    if method := root.get("method"):
        asked.append((method, {"method": tree["method"]}))
    if headers := root.get("headers"):
        asked += [(node, {"headers": {name: node.value}}) for name, node in root.entries("headers").items()]
        asked += [] if isinstance(headers.value, dict) else [(headers, {"headers": headers.value})]
    for node, part in asked:
        if said := refusal(_read, {"url": "x", **part}):
            wrong, _, rest = said.removeprefix("request: ").partition("; expected ")
            expected = rest or "a text that is the same for every row, or ${VARIABLE}"
            findings.add(node, wrong, expected, "write such a value")
    for path, name, line in _keys(root.children["body"], ("body",)) if "body" in root.children else ():
        if "{" in name or "}" in name:
            wrong = f"{'.'.join(map(str, path))}: the name {name!r} can't hold a field"
            findings.add(line, wrong, "a plain name", "put the field into a value")


def _keys(node: Node, path: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], str, int]]:
    own = [(path, name, child.key_line) for name, child in node.entries().items()]
    return own + [found for name, child in node.children.items() for found in _keys(child, (*path, name))]


def _leaf_faults(
    path: tuple[str | int, ...], leaf: Node, fields: Collection[str], has_reference: bool, findings: Findings
) -> None:
    if not isinstance(leaf.value, str):
        return
    where = ".".join(str(part) for part in path)
    text: dict[str, object] = {"url": leaf.value} if path[0] == "url" else {"url": "x", "body": leaf.value}
    try:
        template = _read(text)
    except ConfigError as error:
        if leaf.value:
            said = str(error).removeprefix("request: ").partition(": ")[2]
            wrong, _, mend = said.partition("; ")
            findings.add(leaf, f"{where}: {wrong}", "{field} for a field, {{ or }} for a brace", mend)
        return
    for slot in template.slots:
        if slot.field in fields:
            continue
        known = f"one of {listed(fields)}" + (", or a column of the reference" if has_reference else "")
        if not has_reference:
            mend = meant(slot.field, fields, "declare it as a column, or delete it")
            findings.add(leaf, f"{where}: no row has a field {slot.field}", known, mend)
        elif (close := nearest(slot.field, fields)) and _typing_error(slot.field, close):
            # The reference lies in the bucket, where this check does not look.
            wrong, mend = f"{where}: {shown(slot.field)} is no column of the files", f"did you mean {close}?"
            findings.add(leaf, wrong, known, f"{mend} If the reference has it, all is well", warning=True)


def _typing_error(name: str, known: str) -> bool:
    """One or two letters away, so that `city` of a reference is not taken for `country`."""
    return SequenceMatcher(None, name, known).ratio() >= TYPING_ERROR


def _read(tree: dict[str, object]) -> RequestTemplate:
    return read_template(json.dumps(tree), source="request")
