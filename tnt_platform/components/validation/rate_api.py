"""Checks of a rate API: address, headers, the expression that reads the answer, the request template."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from difflib import SequenceMatcher
from pathlib import Path

import jmespath
import jmespath.exceptions

from tnt_platform.components.transit.model import ColumnModel, RateApiModel
from tnt_platform.components.validation.document import Document, Node, read_document
from tnt_platform.components.validation.fault import Findings, listed, meant, nearest, shown
from tnt_platform.components.validation.schema import refusal
from tnt_platform.components.validation.texts import header_faults, url_faults
from tnt_platform.errors import ConfigError
from tnt_platform.transforms.answers import compile_answer
from tnt_platform.transforms.request_template import read_template

SHIPPER_ID = "shipper_id"
# Fields that a request may use besides the columns of the file.
GIVEN_FIELDS = (
    "api_url",
    "expected_delivery_date",
    "file_key",
    "line_no",
    "ship_date",
    "ship_profile",
    "shipper_sha256",
)
ANSWER_PARTS = ("days", "ground", "rates")
# Likeness from which a name that is not known here is taken for a misspelt one that is.
TYPING_ERROR = 0.85
REQUEST_PARTS = ("body", "headers", "method", "url")


def api_faults(
    document: Document,
    node: Node,
    api: RateApiModel | None,
    columns: Sequence[tuple[Node, ColumnModel | None]],
    groups: Sequence[str],
    folder: Path,
    findings: Findings,
) -> Findings | None:
    """Check `rate_api`; returns what is wrong in the request's own file."""
    if url := node.get("url"):
        url_faults(url, findings)
    for name, header in node.entries("headers").items():
        header_faults(name, header, findings)
    if answer := node.get("answer"):
        _answer_faults(document, answer, findings)
    names = {name for column, _ in columns if (name := column.text("name")) is not None} | set(groups)
    reference = node.get("reference")
    if reference and reference.value and SHIPPER_ID not in names:
        mend = f"add the group (?P<{SHIPPER_ID}>...) to key_pattern, or a column {SHIPPER_ID}"
        findings.add(
            reference, f"no row has a {SHIPPER_ID} to look up in the reference", "it in key_pattern", mend
        )
    notes = {f"{column.text('name')}_note" for column, _ in columns if column.items("notes")}
    place, file = node.get("request") or node, node.text("request") or "request.json"
    path = folder / file
    if Path(file).is_absolute() or ".." in Path(file).parts:
        findings.add(
            place,
            f"request: {file} is outside the dataset's folder",
            "a file beside the YAML",
            "move it there",
        )
        return None
    if not path.is_file():
        there = [found.name for found in folder.glob("*.json")]
        mend = meant(file, there, "create it, as docs/datasets/transit.md shows")
        findings.add(place, f"request: there is no file {file} beside the YAML", "a JSON file", mend)
        return None
    request = Findings(path.parent / file)
    has_reference = bool(reference and reference.value)
    request_faults(path.read_bytes(), {*names, *notes, *GIVEN_FIELDS}, has_reference, request)
    return request


def _answer_faults(document: Document, node: Node, findings: Findings) -> None:
    if not isinstance(node.value, str):
        return
    try:
        compiled = compile_answer(node.value, where="answer")
    except ConfigError as error:
        _say_answer(document, node, error, findings)
        return
    if compiled.compiled.parsed["type"] != "multi_select_dict":
        return
    keys = [child["value"] for child in compiled.compiled.parsed["children"]]
    for key in keys:
        if key not in ANSWER_PARTS:
            line = document.line_with(node, key)
            findings.add(
                line,
                f"answer: {key} is not read",
                listed(ANSWER_PARTS),
                meant(key, ANSWER_PARTS, "delete it"),
            )
    if "days" not in keys:
        findings.add(
            node, "answer: the key days is missing", "{days: ...}", "add the transit days under `days`"
        )


def _say_answer(document: Document, node: Node, error: ConfigError, findings: Findings) -> None:
    cause = error.__context__
    if unknown := re.search(r"unknown function (\w+)\(\); available: (.*)", str(error)):
        name, known = unknown[1], unknown[2].split(", ")
        line = document.line_with(node, f"{name}(")
        findings.add(
            line,
            f"answer: unknown function {name}()",
            f"one of {listed(known)}",
            meant(name, known, "use another"),
        )
        return
    position = getattr(cause, "lex_position", None)
    said = str(error).removeprefix("answer: not a JMESPath expression: ").splitlines()[0].rstrip(":")
    text = str(node.value)
    near = text[position:].split() if isinstance(position, int) else []
    line = (
        document.line_with(node, near[0])
        if near
        else max(node.line, node.last_line if position == len(text) else 0)
    )
    where = f" at position {position}" if isinstance(position, int) else ""
    incomplete = isinstance(cause, jmespath.exceptions.IncompleteExpressionError)
    mend = "close the brackets and finish it" if incomplete else "mend that place"
    findings.add(line, f"answer: not a JMESPath expression{where}: {said}", "JMESPath", mend)


def request_faults(data: bytes, fields: Collection[str], has_reference: bool, findings: Findings) -> None:
    """Every fault of a request template: syntax, parts, braces, and fields that no row has."""
    try:
        tree = json.loads(data)
    except json.JSONDecodeError as error:
        mend = "mend this line or the one above it: a comma, a quote or a bracket"
        findings.add(error.lineno, f"not JSON: {error.msg} (column {error.colno})", "valid JSON", mend)
        return
    except ValueError as error:
        findings.add(1, f"not JSON: {error}", "UTF-8 text", "save the file as UTF-8")
        return
    # Valid JSON is YAML, apart from tabs, and YAML's reader knows the lines.
    document = read_document(data.replace(b"\t", b" "))
    root = document.root
    if not isinstance(tree, dict) or root is None:
        mend = 'write {"method": "POST", "url": "{api_url}/..."}'
        findings.add(1, "not an object", f"an object with {listed(REQUEST_PARTS)}", mend)
        return
    for fault in document.faults:
        findings.add(fault.line, fault.wrong, fault.expected, fault.mend.replace("YAML", "a JSON reader"))
    for name, node in root.entries().items():
        if name not in REQUEST_PARTS:
            mend = meant(name, REQUEST_PARTS, "move it into the body")
            findings.add(node.key_line, f"unknown part {name}", f"one of {listed(REQUEST_PARTS)}", mend)
    for name, header in root.entries("headers").items():
        header_faults(name, header, findings)
    _part_faults(tree, root, findings)
    for part in ("url", "body"):
        for path, leaf in root.children[part].leaves((part,)) if part in root.children else ():
            _leaf_faults(path, leaf, fields, has_reference, findings)


def _part_faults(tree: dict[str, object], root: Node, findings: Findings) -> None:
    """The template's own rules, part by part; those of single texts are asked leaf by leaf."""
    alone: list[dict[str, object]] = [
        {"url": tree["url"]} if isinstance(tree.get("url"), str) and tree["url"] else {}
    ]
    if alone == [{}]:
        findings.add(
            root.get("url") or root, "url is missing or no text", "a text", 'write "url": "{api_url}/..."'
        )
    for part in ("method", "headers"):
        if part in tree and (said := refusal(lambda part=part: _read({"url": "x", part: tree[part]}))):
            wrong, _, rest = said.partition("; ")
            findings.add(root.children[part], wrong.removeprefix("request: "), rest, "correct it")
    for path, name, line in _keys(root.children["body"], ("body",)) if "body" in root.children else ():
        if "{" in name or "}" in name:
            findings.add(
                line,
                f"{'.'.join(map(str, path))}: the name {name!r} can't hold a field",
                "a plain name",
                "put the field into a value",
            )


def _keys(node: Node, path: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], str, int]]:
    own = [(path, name, child.key_line) for name, child in node.entries().items()]
    return own + [found for name, child in node.children.items() for found in _keys(child, (*path, name))]


def _leaf_faults(
    path: tuple[str | int, ...], leaf: Node, fields: Collection[str], has_reference: bool, findings: Findings
) -> None:
    if not isinstance(leaf.value, str):
        return
    where = ".".join(str(part) for part in path)
    text = {"url": leaf.value} if path[0] == "url" else {"url": "x", "body": leaf.value}
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


def _read(tree: dict[str, object]) -> object:
    return read_template(json.dumps(tree), source="request")
