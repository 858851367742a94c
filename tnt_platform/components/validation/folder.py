"""Every dataset below a folder: each checked alone, then against the others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from pydantic import BaseModel

import tnt_platform.components as kinds
from tnt_platform.components.validation.document import Document, Node, read_document
from tnt_platform.components.validation.fault import Fault, Findings, listed, meant, shown
from tnt_platform.components.validation.schema import refusal, schema_faults
from tnt_platform.components.validation.texts import ownership_faults, placeholder_faults, template_faults
from tnt_platform.components.validation.transit import VARIABLES_IN, transit_faults
from tnt_platform.errors import NotFound
from tnt_platform.settings import Settings

FILE = "defs.yaml"
# What Dagster lets a defs.yaml say besides its type and attributes.
OTHER_KEYS = ("template_vars_module", "requirements", "post_processing")
_NAME = re.compile(r"[A-Za-z0-9_]+")

Checks = Callable[[Document, Node, Path, Findings], Findings | None]
# A kind of dataset and the checks that its schema can't state; a new kind adds its own here.
CHECKS: Mapping[str, Checks] = {"TransitDataset": transit_faults}
VARIABLES: Mapping[str, tuple[tuple[str, ...], ...]] = {"TransitDataset": VARIABLES_IN}


@dataclass(frozen=True)
class Report:
    """How many datasets were looked at, and what was found, by file and line."""

    datasets: int
    faults: list[Fault]
    warnings: list[Fault]


@dataclass(frozen=True)
class _Dataset:
    path: Path
    attributes: Node
    findings: Findings

    def place(self, *path: str) -> tuple[Node, str] | None:
        node = self.attributes.get(*path)
        return (node, node.value) if node and isinstance(node.value, str) else None


def validate_folder(folder: Path, settings: Settings, *, strict_env: bool = False) -> Report:
    """Check every dataset below `folder` without touching network, bucket or lake.

    A variable that is not set is a warning, since a laptop lacks production's, unless `strict_env`.

    Raises:
        NotFound: there is no such folder, or no dataset in it.
    """
    paths = sorted(folder.rglob(FILE)) if folder.is_dir() else []
    if not paths:
        raise NotFound(f"there is no {FILE} below {folder}; give a folder such as tnt_platform/defs")
    found: list[Findings] = []
    datasets = []
    for path in paths:
        findings = Findings(path)
        found.append(findings)
        document = read_document(path.read_bytes())
        if attributes := _check_alone(document, path, settings, strict_env, findings, found):
            datasets.append(_Dataset(path, attributes, findings))
    found.append(_folders_without_file(folder, paths))
    _check_together(datasets)
    faults = sorted(fault for findings in found for fault in findings.faults)
    return Report(len(paths), [f for f in faults if not f.warning], [f for f in faults if f.warning])


def _check_alone(
    document: Document,
    path: Path,
    settings: Settings,
    strict_env: bool,
    findings: Findings,
    found: list[Findings],
) -> Node | None:
    for fault in document.faults:
        findings.add(fault.line, fault.wrong, fault.expected, fault.mend)
    if not _NAME.fullmatch(path.parent.name):
        mend = f"rename the folder to {re.sub(r'[^A-Za-z0-9_]+', '_', path.parent.name)}"
        findings.add(1, f"the folder {path.parent.name} names the dataset", "letters, digits and _", mend)
    root = document.root
    if root is None or not isinstance(root.value, dict):
        if not document.faults:
            wrong = "the file is empty" if root is None or root.value is None else "the file is no mapping"
            findings.add(1, wrong, "the keys type and attributes", "write `type: ...` and `attributes:`")
        return None
    kind = _kind_of(root, findings)
    attributes = root.get("attributes")
    if attributes is None or not isinstance(attributes.value, dict):
        expected = "the dataset's keys below it"
        findings.add(
            attributes or 1, "attributes is missing or empty", expected, "write `attributes:` with keys below"
        )
        return None
    for name, node in attributes.leaves():
        template_faults(node, findings)
        allowed = [
            place for place in VARIABLES.get(kind.__name__ if kind else "", ()) if name[: len(place)] == place
        ]
        if kind:
            places = listed(".".join(place) for place in VARIABLES.get(kind.__name__, ()))
            placeholder_faults(node, bool(allowed), places, settings, strict_env, findings)
    if kind is None:
        return attributes
    schema_faults(kind, attributes, findings)
    ownership_faults(attributes, findings)
    beside = (
        CHECKS[kind.__name__](document, attributes, path.parent, findings)
        if kind.__name__ in CHECKS
        else None
    )
    if beside:
        _request_variables(beside, settings, strict_env)
        found.append(beside)
    if (
        findings.sound
        and not document.faults
        and (said := refusal(lambda: _build(kind, attributes, path.parent)))
    ):
        findings.add(
            attributes, f"the dataset can't be built: {said.splitlines()[0]}", "", "mend what is named"
        )
    return attributes


def _request_variables(beside: Findings, settings: Settings, strict_env: bool) -> None:
    document = read_document(beside.path.read_bytes().replace(b"\t", b" "))
    for header in document.root.entries("headers").values() if document.root else ():
        placeholder_faults(header, True, "headers", settings, strict_env, beside)


def _kind_of(root: Node, findings: Findings) -> type[BaseModel] | None:
    known = {f"{kinds.__name__}.{name}": getattr(kinds, name) for name in kinds.__all__}
    for name, node in root.entries().items():
        if name not in ("type", "attributes", *OTHER_KEYS):
            expected = f"one of {listed(('type', 'attributes', *OTHER_KEYS))}"
            mend = meant(name, ("type", "attributes"), "indent it below `attributes:`, or delete it")
            findings.add(node.key_line, f"unknown key {name}", expected, mend)
    kind = root.get("type")
    if kind is None:
        findings.add(1, "the key type is missing", f"one of {listed(known)}", f"add `type: {min(known)}`")
        return None
    if kind.value not in known:
        mend = meant(str(kind.value), known, "write one of them")
        findings.add(kind, f"unknown type {shown(kind.value)}", f"one of {listed(known)}", mend)
        return None
    found: type[BaseModel] = known[str(kind.value)]
    return found


def _build(kind: type[BaseModel], attributes: Node, folder: Path) -> None:
    """What Dagster does when it loads the dataset, up to its assets."""
    assert issubclass(kind, dg.Resolvable)
    dataset = kind.resolve_from_dict(dict(attributes.value) if isinstance(attributes.value, dict) else {})
    if spec := getattr(dataset, "spec", None):
        spec(folder)


def _folders_without_file(folder: Path, paths: list[Path]) -> Findings:
    """A folder of a dataset whose YAML has another name is silently no dataset."""
    findings = Findings(folder)
    known = {parent for path in paths for parent in (path.parent, *path.parent.parents)}
    for path in sorted(p for pattern in ("*.yaml", "*.yml") for p in folder.rglob(pattern)):
        if path.parent not in known:
            fault = Fault(
                path,
                1,
                "this folder is no dataset: Dagster reads defs.yaml only",
                FILE,
                f"rename it to {FILE}",
            )
            findings.faults.append(fault)
    return findings


def _check_together(datasets: list[_Dataset]) -> None:
    for one, other in itertools.combinations(datasets, 2):
        if one.path.parent.name == other.path.parent.name:
            wrong = f"the dataset {other.path.parent.name} is also in {one.path}"
            other.findings.add(1, wrong, "each folder name once", "rename one of the folders")
        mine, theirs = one.place("source", "prefix"), other.place("source", "prefix")
        if mine and theirs and (mine[1].startswith(theirs[1]) or theirs[1].startswith(mine[1])):
            wrong = f"the prefix {shown(theirs[1])} overlaps {shown(mine[1])} of {one.path}:{mine[0].line}"
            mend = "give each dataset a folder of its own in the bucket"
            other.findings.add(theirs[0], wrong, "prefixes none of which begins another", mend)
    for one, other in itertools.product(datasets, datasets):
        reference, prefix = one.place("rate_api", "reference"), other.place("source", "prefix")
        if reference and prefix and reference[1].startswith(prefix[1]):
            wrong = f"reference {reference[1]} would be read as a file of {other.path.parent.name}"
            expected = f"a key outside {shown(prefix[1])} ({other.path}:{prefix[0].line})"
            one.findings.add(reference[0], wrong, expected, "move it, for example to config/")
