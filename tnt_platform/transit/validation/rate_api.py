"""Checks of a rate API: address, headers, the expression that reads the answer, and where its request is."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from tnt_platform.errors import ConfigError
from tnt_platform.transit.transforms.answers import compile_answer
from tnt_platform.transit.validation.request import request_faults
from tnt_platform.validation.document import Document, Node
from tnt_platform.validation.fault import DatasetFile, Findings, listed, meant, shown
from tnt_platform.validation.texts import header_faults, url_faults

SHIPPER_ID = "shipper_id"
ANSWER_PARTS = ("days", "ground", "rates")


def api_faults(dataset: DatasetFile, node: Node, fields: Collection[str]) -> list[Findings]:
    """Check `rate_api`, whose requests may use `fields`; returns what is wrong in the request's own file."""
    findings = dataset.findings
    if url := node.get("url"):
        url_faults(url, findings)
    for name, header in node.entries("headers").items():
        header_faults(name, header, findings)
    if answer := node.get("answer"):
        _answer_faults(dataset.document, answer, findings)
    reference = node.get("reference")
    has_reference = reference is not None and bool(reference.value)
    if reference and has_reference and SHIPPER_ID not in fields:
        wrong = f"no row has a {SHIPPER_ID} to look up in the reference"
        mend = f"add the group (?P<{SHIPPER_ID}>...) to key_pattern, or a column {SHIPPER_ID}"
        findings.add(reference, wrong, "it in key_pattern", mend)
    path = _request_path(dataset, node)
    return [request_faults(path, fields, has_reference, dataset)] if path else []


def _request_path(dataset: DatasetFile, node: Node) -> Path | None:
    place, file = node.get("request") or node, node.text("request") or "request.json"
    if Path(file).is_absolute() or ".." in Path(file).parts:
        wrong = f"request: {file} is outside the dataset's folder"
        dataset.findings.add(place, wrong, "a file beside the YAML", "move it there")
        return None
    path = dataset.folder / file
    if not path.is_file():
        there = [found.name for found in dataset.folder.glob("*.json")]
        wrong = f"request: there is no file {file} beside the YAML"
        mend = meant(file, there, "create it, as docs/datasets/transit.md shows")
        dataset.findings.add(place, wrong, "a JSON file", mend)
        return None
    return path


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
    if not {"days", *keys} - {*ANSWER_PARTS} and "days" not in keys:
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
    rest = str(node.value)[position:].strip() if isinstance(position, int) else ""
    if rest:
        line = document.line_with(node, rest.split()[0])
        why = getattr(cause, "message", None) or getattr(cause, "msg", str(cause).splitlines()[0])
        wrong, mend = f"answer: not a JMESPath expression near {shown(rest)}: {why}", "mend that place"
    else:
        line, wrong = node.last_line, "answer: the JMESPath expression is not complete"
        mend = "close the brackets and finish it"
    findings.add(line, wrong, "a JMESPath expression such as {days: rates[0].days}", mend)
