"""Checks of a `TransitDataset` that its schema can't state: each rule asked alone, so that all faults show at once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tnt_platform.transit.model import ColumnModel, LayoutModel, SourceModel
from tnt_platform.transit.spec import TransitSource
from tnt_platform.transit.validation.columns import column_faults
from tnt_platform.transit.validation.layouts import glob_faults, layout_faults
from tnt_platform.transit.validation.rate_api import api_faults
from tnt_platform.validation.document import Node
from tnt_platform.validation.fault import DatasetFile, Findings
from tnt_platform.validation.legacy_schema import read_part
from tnt_platform.validation.schema import spec_mistakes
from tnt_platform.validation.texts import name_faults

# Where `${VARIABLES}` are resolved when a run starts.
VARIABLES_IN = (("rate_api", "url"), ("rate_api", "headers"), ("dynamodb", "table"))

# Added by later steps; a column of the same name would be replaced or refused there.
ADDED_ALWAYS = frozenset({"test_id", "lag_days", "status", "success"})
ADDED_BY_API = frozenset(
    {
        "actual_transit_days",
        "api_url",
        "asked_at",
        "attempts",
        "expected_delivery_date",
        "fault",
        "reason",
        "reason_code",
        "request_id",
        "request_payload",
        "response_payload",
        "ship_date",
        "ship_profile",
        "shipper_sha256",
        "time_taken_ms",
        "timestamp",
    }
)
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
_AT_LEAST_ONE = {"identity": "list what makes two rows the same case", "layouts": "describe one kind of file"}
# What the comparison computes with, and the types it can compute with.
NEEDED_WITH_API = {"expected_transit_days": ("days", "integer", "number")}
NEEDED_WITHOUT_API = {"expected_date": ("date",), "actual_date": ("date",)}


@dataclass(frozen=True)
class Parts:
    """The parts of a dataset's YAML, each None where its schema is broken already."""

    attributes: Node
    source: SourceModel | None
    columns: list[tuple[Node, ColumnModel | None]]
    layouts: list[tuple[Node, LayoutModel | None]]

    @property
    def column_names(self) -> dict[str, Node]:
        """Every declared name, also of a column that has other faults."""
        return {name: node for node, _ in self.columns if (name := node.text("name")) is not None}

    @property
    def notes(self) -> list[str]:
        """The columns that carry the codes of notes."""
        return [f"{node.text('name')}_note" for node, _ in self.columns if node.items("notes")]

    @property
    def taken(self) -> frozenset[str]:
        """Names that later steps give to columns of their own."""
        return ADDED_ALWAYS | ADDED_BY_API if self.attributes.get("rate_api") else ADDED_ALWAYS

    @property
    def groups(self) -> list[str]:
        """The groups of key_pattern that become columns, also while the pattern is broken."""
        pattern = self.attributes.text("source", "key_pattern") or ""
        return [name for name in re.findall(r"\(\?P<(\w+)>", pattern) if name != "date"]


def transit_faults(dataset: DatasetFile) -> list[Findings]:
    """Check one dataset; returns what is wrong in other files of it, such as its request template."""
    attributes, findings = dataset.attributes, dataset.findings
    parts = Parts(
        attributes,
        read_part(SourceModel, attributes.get("source")),
        [(node, read_part(ColumnModel, node)) for node in attributes.items("columns")],
        [(node, read_part(LayoutModel, node)) for node in attributes.items("layouts")],
    )
    _source_faults(parts, findings)
    _column_set_faults(parts, findings)
    for node, column in parts.columns:
        column_faults(node, column, findings)
    columns = [column for _, column in parts.columns if column]
    for node, layout in parts.layouts:
        layout_faults(node, layout, columns, parts.column_names, findings)
    glob_faults([node for node, _ in parts.layouts], findings)
    fields = {*parts.column_names, *parts.groups}
    for option in ("identity", "summary_by"):
        name_faults(attributes.items(option), fields, option, findings)
    for option, mend in _AT_LEAST_ONE.items():
        place = attributes.get(option)
        if place and place.value == []:
            findings.add(place, f"{option} is empty", "at least one", mend)
    api, sample = attributes.get("rate_api"), attributes.get("sample_per_file")
    if api and api.value is not None:
        return api_faults(dataset, api, {*fields, *parts.notes, *GIVEN_FIELDS})
    if sample and sample.value is not None:
        findings.add(
            sample.key_line, "sample_per_file has no effect", "it together with rate_api", "delete it"
        )
    return []


def _source_faults(parts: Parts, findings: Findings) -> None:
    source, node = parts.source, parts.attributes.get("source")
    if source is None or node is None:
        return
    assert isinstance(node.value, dict)
    own = {name: value for name, value in node.value.items() if name != "same_file_again"}
    for found in spec_mistakes(TransitSource, own)[0]:
        findings.add(node.nearest(found.at), found.wrong, found.expected, found.fix)
    pattern = node.children["key_pattern"]
    for name in parts.groups:
        if name in parts.column_names:
            wrong = f"key_pattern: the group {name} is also a column"
            findings.add(pattern, wrong, "each name once", "rename one of them")
        if name in parts.taken | {"line_no", "raw"}:
            wrong = f"key_pattern: the group {name} has a name of the platform's own"
            findings.add(pattern, wrong, "a free name", f"rename it, for example to key_{name}")


def _column_set_faults(parts: Parts, findings: Findings) -> None:
    seen: dict[str, int] = {}
    for node, _ in parts.columns:
        name = node.text("name")
        if name is None:
            continue
        place = node.children["name"]
        if name in seen:
            mend = f"rename or delete one of them (the other is on line {seen[name]})"
            findings.add(place, f"the column {name} is declared twice", "each name once", mend)
        seen.setdefault(name, place.line)
        if name in parts.taken:
            mend = f"choose another name, such as file_{name}"
            findings.add(
                place, f"the column {name} would be replaced by the platform's own", "a free name", mend
            )
    for node, column in parts.columns:
        if column and column.notes and f"{column.name}_note" in seen:
            wrong = (
                f"the notes of {column.name} are published as {column.name}_note, which is a column already"
            )
            findings.add(node.children["notes"].key_line, wrong, "a free name", "rename that column")
    _needed_faults(parts, findings)
    placed = {name for node, _ in parts.layouts for name in node.entries("columns")}
    for name, node in parts.column_names.items():
        if (
            name not in placed
            and parts.layouts
            and not (node.get("required") and node.children["required"].value)
        ):
            mend = "place it in a layout, or delete it"
            findings.add(node, f"the column {name} is in no layout", "it in at least one", mend, warning=True)


def _needed_faults(parts: Parts, findings: Findings) -> None:
    columns = parts.attributes.get("columns")
    if columns is None or not isinstance(columns.value, list):
        return
    has_api = parts.attributes.get("rate_api") is not None
    how = "with" if has_api else "without"
    for name, kinds in (NEEDED_WITH_API if has_api else NEEDED_WITHOUT_API).items():
        node = parts.column_names.get(name)
        if node is None:
            mend = f"add `- {{name: {name}, type: {kinds[0]}, required: true}}`"
            findings.add(columns, f"the column {name} is missing", f"it in a dataset {how} rate_api", mend)
            continue
        required, kind = node.get("required"), node.get("type")
        if required is None or required.value is False:
            findings.add(
                required or node,
                f"the column {name} is optional",
                f"it required {how} rate_api",
                "set required: true",
            )
        if (kind.value if kind else "text") not in kinds:
            findings.add(
                kind or node,
                f"the column {name} can't be computed with",
                f"type {' or '.join(kinds)}",
                f"set type: {kinds[0]}",
            )
