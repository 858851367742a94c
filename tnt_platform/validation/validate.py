"""Every dataset below a folder: each checked alone, then against the others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from pydantic import BaseModel

from tnt_platform.errors import NotFound
from tnt_platform.settings import Settings
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.validation.document import Document, Node, read_document
from tnt_platform.validation.fault import DatasetFile, Fault, Findings, listed, meant, shown
from tnt_platform.validation.legacy_schema import refusal, schema_faults
from tnt_platform.validation.schema import spec_mistakes, variable_mistakes
from tnt_platform.validation.texts import ownership_faults, placeholder_faults, template_faults

FILE = "defs.yaml"
# What Dagster lets a defs.yaml say besides its type and attributes.
OTHER_KEYS = ("template_vars_module", "requirements", "post_processing")
_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Rules:
    """A kind as `validate` sees it: its schema, the rules beyond it, and where `${VARIABLES}` may stand."""

    model: type[BaseModel]
    faults: Callable[[DatasetFile], list[Findings]]
    variables_in: tuple[tuple[str, ...], ...]


Kind = Rules | type[DatasetSpec]


@dataclass(frozen=True)
class Report:
    """How many datasets were looked at, and what was found, by file and line."""

    datasets: int
    faults: list[Fault]
    warnings: list[Fault]


def validate_folder(
    folder: Path, settings: Settings, kinds: Mapping[str, Kind], *, strict_env: bool = False
) -> Report:
    """Check every dataset below `folder` without touching network, bucket or lake.

    A variable that is not set is a warning, since a laptop lacks production's, unless `strict_env`.

    Raises:
        NotFound: there is no such folder, or no dataset in it.
    """
    paths = sorted(folder.rglob(FILE)) if folder.is_dir() else []
    if not paths:
        raise NotFound(f"there is no {FILE} below {folder}; give a folder such as tnt_platform/defs")
    return _report(paths, settings, kinds, strict_env, [_folders_without_file(folder, paths)])


def validate_file(path: Path, settings: Settings, kinds: Mapping[str, Kind]) -> Report:
    """Check one dataset alone."""
    return _report([path], settings, kinds, False, [])


def _report(
    paths: list[Path],
    settings: Settings,
    kinds: Mapping[str, Kind],
    strict_env: bool,
    found: list[Findings],
) -> Report:
    datasets = []
    for path in paths:
        document, findings = read_document(path.read_bytes()), Findings(path)
        found.append(findings)
        if attributes := _attributes(document, path, findings):
            dataset = DatasetFile(path, document, attributes, findings, settings, strict_env)
            found += _check_alone(dataset, kinds)
            datasets.append(dataset)
    _check_together(datasets)
    faults = sorted(fault for findings in found for fault in findings.faults)
    return Report(len(paths), [f for f in faults if not f.warning], [f for f in faults if f.warning])


def _attributes(document: Document, path: Path, findings: Findings) -> Node | None:
    """The attributes of a file that can be read, or None with the reason in `findings`."""
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
    attributes = root.get("attributes")
    if attributes is None or not isinstance(attributes.value, dict):
        expected = "the dataset's keys below it"
        mend = "write `attributes:` with keys below"
        findings.add(attributes or 1, "attributes is missing or empty", expected, mend)
        return None
    return attributes


def _check_alone(dataset: DatasetFile, kinds: Mapping[str, Kind]) -> list[Findings]:
    """Check one dataset; returns what was found in files beside its YAML."""
    attributes, findings = dataset.attributes, dataset.findings
    for _, node in attributes.leaves():
        template_faults(node, findings)
    assert dataset.document.root is not None, "it has attributes"
    kind = _kind_of(dataset.document.root, kinds, findings)
    if kind is None:
        return []
    if isinstance(kind, type):
        _check_spec(kind, dataset)
        return []
    allowed = kind.variables_in
    places = listed(".".join(place) for place in allowed)
    for path, node in attributes.leaves():
        placeholder_faults(node, any(path[: len(p)] == p for p in allowed), places, dataset, findings)
    schema_faults(kind.model, attributes, findings)
    ownership_faults(attributes, findings)
    beside = kind.faults(dataset)
    if findings.sound and (said := refusal(_build, kind.model, attributes, dataset.folder)):
        findings.add(
            attributes, f"the dataset can't be built: {said.splitlines()[0]}", "", "mend what is named"
        )
    return beside


def _check_spec(kind: type[DatasetSpec], dataset: DatasetFile) -> None:
    """Note what the spec's types and rules, its variables and the files beside it have wrong."""
    attributes = dataset.attributes
    found, spec = spec_mistakes(kind, attributes.value)
    if isinstance(spec, DatasetSpec):
        with suppress(AttributeError) if found else nullcontext():
            found += spec.placed_in(dataset.folder).mistakes_beside(dataset.settings)
    for path, node in attributes.leaves():
        if isinstance(node.value, str) and "${" in node.value:
            found += variable_mistakes(node.value, path, kind, attributes.value, dataset.settings)
    for one in found:
        warning = one.warning or (one.unset and not dataset.strict_env)
        if one.file:
            fault = Fault(dataset.folder / one.file, one.line, one.wrong, one.expected, one.fix, warning)
        else:
            node = attributes.nearest(one.at)
            line = dataset.document.line_with(node, one.near) if one.near else node.line
            fault = Fault(dataset.path, line, one.wrong, one.expected, one.fix, warning)
        if fault not in dataset.findings.faults:
            dataset.findings.faults.append(fault)


def _kind_of(root: Node, known: Mapping[str, Kind], findings: Findings) -> Kind | None:
    for name, node in root.entries().items():
        if name not in ("type", "attributes", *OTHER_KEYS):
            expected = f"one of {listed(('type', 'attributes', *OTHER_KEYS))}"
            mend = meant(name, ("type", "attributes"), "indent it below `attributes:`, or delete it")
            findings.add(node.key_line, f"unknown key {name}", expected, mend)
    kind = root.get("type")
    if kind is None:
        findings.add(1, "the key type is missing", f"one of {listed(known)}", f"add `type: {min(known)}`")
        return None
    if not isinstance(kind.value, str) or kind.value not in known:
        mend = meant(str(kind.value), known, "write one of them")
        findings.add(kind, f"unknown type {shown(kind.value)}", f"one of {listed(known)}", mend)
        return None
    return known[kind.value]


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


def _check_together(datasets: list[DatasetFile]) -> None:
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
