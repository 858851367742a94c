"""Checks of a daily report: what its schema can't state."""

from __future__ import annotations

import re

from tnt_platform.report.dataset import RESERVED
from tnt_platform.report.model import ReportSourceModel, source_of
from tnt_platform.specs.document import Node
from tnt_platform.specs.fault import DatasetFile, Findings, shown
from tnt_platform.specs.schema import read_part, refusal

REPORT_VARIABLES_IN: tuple[tuple[str, ...], ...] = ()


def report_faults(dataset: DatasetFile) -> list[Findings]:
    """Check one daily report; the bucket is not listed."""
    attributes, findings = dataset.attributes, dataset.findings
    if source := attributes.get("source"):
        _source_faults(source, findings)
    seen: set[str] = set()
    for node in attributes.items("totals"):
        name = str(node.value)
        if name in seen:
            findings.add(node, f"totals: {name} occurs twice", "each column once", "delete one of them")
        elif name in RESERVED:
            wrong = f"totals: {name} is a name that the reader uses itself"
            findings.add(node, wrong, "a column of the files", "delete it, or have the column renamed")
        seen.add(name)
    stale = attributes.get("stale_after_hours")
    if stale and stale.value is not None and attributes.text("empty_days") == "normal":
        wrong = "stale_after_hours is set, and days without files are normal"
        mend = "delete it, or set empty_days: missing"
        findings.add(stale.key_line, wrong, "one of the two", mend)
    return []


def _source_faults(source: Node, findings: Findings) -> None:
    prefix, pattern = source.get("prefix"), source.text("key_pattern")
    if prefix and isinstance(prefix.value, str) and not prefix.value.endswith("/"):
        mend = f"write {prefix.value}/"
        findings.add(prefix, f"source.prefix {shown(prefix.value)} is no folder", "a slash at its end", mend)
    if pattern is not None and not _has_date(pattern):
        node = source.get("key_pattern") or source
        mend = "write it like (?P<date>\\d{4}-\\d{2}-\\d{2})/.+"
        findings.add(node, "source.key_pattern has no group date", "the date of each file", mend)
    model = read_part(ReportSourceModel, source)
    if findings.sound and model is not None and (said := refusal(source_of, model)):
        findings.add(source, f"source: {said}", "", "mend what is named")


def _has_date(pattern: str) -> bool:
    try:
        return "date" in re.compile(pattern).groupindex
    except re.error:
        return True  # the schema says what is wrong with it
