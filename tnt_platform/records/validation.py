"""Checks of a dataset of records: what its schema can't state."""

from __future__ import annotations

from dataclasses import replace

from tnt_platform.validation.document import Node
from tnt_platform.validation.fault import DatasetFile, Findings, shown
from tnt_platform.validation.texts import (
    PLACEHOLDER,
    credential_faults,
    header_faults,
)

# Where `${VARIABLES}` are resolved when a run starts.
RECORDS_VARIABLES_IN = (("source", "url"), ("source", "headers"), ("queue",), ("dynamodb_table",))


def records_faults(dataset: DatasetFile) -> list[Findings]:
    """Check one dataset of records; the source is not asked."""
    attributes, findings = dataset.attributes, dataset.findings
    if (url := attributes.get("source", "url")) and isinstance(url.value, str):
        _address_faults(url, url.value, findings)
    for header, value in attributes.entries("source", "headers").items():
        header_faults(header, value, findings)
    if (fields := attributes.get("fields")) and fields.value == []:
        findings.add(fields, "fields is empty", "what a record holds", "add lines such as `- {name: title}`")
    seen: dict[str, int] = {}
    for node in attributes.items("fields"):
        name = node.text("name")
        if name is not None and name in seen:
            wrong = f"the field {name} is also on line {seen[name]}"
            findings.add(node, wrong, "each name once", "rename one, or delete it")
        elif name is not None:
            seen[name] = node.line
    return []


def _address_faults(url: Node, text: str, findings: Findings) -> None:
    """The url, or the default of the variable that stands for it, is an address of the web without secrets."""
    address = PLACEHOLDER.sub(lambda variable: variable[2] or "", text)
    credential_faults(replace(url, value=address), findings)
    if address and not address.startswith(("http://", "https://")):
        mend = "write it like https://api.example.com/items"
        findings.add(url, f"source.url: {shown(address)} is no URL", "http:// or https://", mend)
