"""Every dataset below a folder: each checked on its own, then against the others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tnt_platform.errors import NotFound
from tnt_platform.settings import Settings
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.specs.fields import listed, meant, shown
from tnt_platform.specs.spec import Mistake
from tnt_platform.validation.document import Document, Node, read_document
from tnt_platform.validation.schema import spec_mistakes, variable_mistakes

FILE = "defs.yaml"
# What Dagster lets a defs.yaml have besides its type and attributes.
OTHER_KEYS = ("template_vars_module", "requirements", "post_processing")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)

Kinds = Mapping[str, type[DatasetSpec]]


@dataclass(frozen=True, order=True)
class Fault:
    """One mistake at a file and line; a warning does not keep the dataset from loading."""

    path: Path
    line: int
    wrong: str
    expected: str
    fix: str
    warning: bool = False

    def __str__(self) -> str:
        parts = (self.wrong, f"expected {self.expected}" if self.expected else "", self.fix)
        text = "; ".join(" ".join(part.split()) for part in parts if part)
        return f"{self.path}:{self.line}: {'warning: ' if self.warning else ''}{text}"


@dataclass(frozen=True)
class Report:
    """How many datasets were checked, and what was found, by file and line."""

    datasets: int
    faults: list[Fault]
    warnings: list[Fault]


@dataclass
class _File:
    """One `defs.yaml`: its path, its text as a tree, and the faults found so far."""

    path: Path
    document: Document
    faults: list[Fault] = field(default_factory=list)

    def add(self, where: Node | int, wrong: str, expected: str, fix: str) -> None:
        """Note one fault at a node or a line."""
        line = where if isinstance(where, int) else where.line
        self.note(Fault(self.path, line, wrong, expected, fix))

    def note(self, fault: Fault) -> None:
        """Note one fault, once."""
        if fault not in self.faults:
            self.faults.append(fault)

    @property
    def attributes(self) -> Node | None:
        """What the dataset declares, if the file can be read."""
        node = self.document.root.get("attributes") if self.document.root else None
        return node if node is not None and isinstance(node.value, dict) else None

    def value(self, *path: str) -> tuple[Node, str] | None:
        """A string and its node."""
        node = self.attributes.get(*path) if self.attributes else None
        return (node, node.value) if node is not None and isinstance(node.value, str) else None


def validate_folder(folder: Path, settings: Settings, kinds: Kinds, *, strict_env: bool = False) -> Report:
    """Check every dataset below `folder` without touching network, bucket or lake.

    A variable that is not set is a warning, since a laptop lacks production's, unless `strict_env`.

    Raises:
        NotFound: there is no such folder, or no dataset in it.
    """
    paths = sorted(folder.rglob(FILE)) if folder.is_dir() else []
    if not paths:
        raise NotFound(f"there is no {FILE} below {folder}; give a folder such as tnt_platform/defs")
    return _report(paths, settings, kinds, strict_env, list(_folders_without_file(folder, paths)))


def validate_file(path: Path, settings: Settings, kinds: Kinds) -> Report:
    """Check one dataset alone."""
    return _report([path], settings, kinds, False, [])


def _report(
    paths: list[Path], settings: Settings, kinds: Kinds, strict_env: bool, faults: list[Fault]
) -> Report:
    files = [_File(path, read_document(path.read_bytes())) for path in paths]
    for file in files:
        _check_alone(file, settings, kinds, strict_env)
    _check_together(files)
    faults = sorted([*faults, *(fault for file in files for fault in file.faults)])
    return Report(
        len(paths), [one for one in faults if not one.warning], [one for one in faults if one.warning]
    )


def _check_alone(file: _File, settings: Settings, kinds: Kinds, strict_env: bool) -> None:
    for fault in file.document.faults:
        file.add(fault.line, fault.wrong, fault.expected, fault.fix)
    name = file.path.parent.name
    if not _NAME.fullmatch(name):
        fix = f"rename the folder to {re.sub(r'[^A-Za-z0-9_]+', '_', name)}"
        file.add(1, f"the folder {name} names the dataset", "letters, digits and _", fix)
    root = file.document.root
    if root is None or not isinstance(root.value, dict):
        if not file.document.faults:
            wrong = "the file is empty" if root is None or root.value is None else "the file is not a mapping"
            file.add(1, wrong, "the keys type and attributes", "write `type: ...` and `attributes:`")
        return
    kind = _kind_of(root, kinds, file)
    if file.attributes is None:
        where = root.get("attributes") or 1
        fix = "write `attributes:` with keys below"
        file.add(where, "attributes is missing or empty", "the dataset's keys below it", fix)
    elif kind is not None:
        for one in _mistakes(kind, file, file.attributes, settings):
            _note(one, file, file.attributes, strict_env)


def _kind_of(root: Node, kinds: Kinds, file: _File) -> type[DatasetSpec] | None:
    for name, node in root.entries().items():
        if name not in ("type", "attributes", *OTHER_KEYS):
            expected = f"one of {listed(('type', 'attributes', *OTHER_KEYS))}"
            fix = meant(name, ("type", "attributes"), "indent it below `attributes:`, or delete it")
            file.add(node.key_line, f"unknown key {name}", expected, fix)
    kind = root.get("type")
    if kind is None:
        file.add(1, "the key type is missing", f"one of {listed(kinds)}", f"add `type: {min(kinds)}`")
        return None
    if not isinstance(kind.value, str) or kind.value not in kinds:
        fix = meant(str(kind.value), kinds, "write one of them")
        file.add(kind, f"unknown type {shown(kind.value)}", f"one of {listed(kinds)}", fix)
        return None
    return kinds[kind.value]


def _mistakes(
    kind: type[DatasetSpec], file: _File, attributes: Node, settings: Settings
) -> Iterator[Mistake]:
    """What the spec's types and rules, its variables and the files beside it have wrong."""
    found, spec = spec_mistakes(kind, attributes.value)
    yield from found
    if isinstance(spec, DatasetSpec):
        # Of a spec that was salvaged from faulty YAML, a check that needs what is missing stops there.
        with suppress(AttributeError) if found else nullcontext():
            yield from spec.placed_in(file.path.parent).mistakes_beside(settings)
    for path, node in attributes.leaves():
        if not isinstance(node.value, str):
            continue
        if "${" in node.value:
            yield from variable_mistakes(node.value, path, kind, attributes.value, settings)
        if _TEMPLATE.search(node.value):
            fix = "write the value itself, or a ${VARIABLE} where those are allowed"
            wrong = f"{shown(node.value)} looks like a template, and datasets have none"
            yield Mistake(wrong, "a plain value", fix, path)


def _note(one: Mistake, file: _File, attributes: Node, strict_env: bool) -> None:
    """Turn a mistake into a fault at the line it means."""
    warning = one.warning or (one.unset and not strict_env)
    if one.see is not None:
        one = replace(one, fix=f"{one.fix} (see line {attributes.nearest(one.see).line})")
    path, line = file.path, one.line
    if one.file:
        path = file.path.parent / one.file
    else:
        node = attributes.nearest(one.at)
        line = file.document.line_with(node, one.near) if one.near else node.line
    file.note(Fault(path, line, one.wrong, one.expected, one.fix, warning))


def _folders_without_file(folder: Path, paths: list[Path]) -> Iterator[Fault]:
    """A folder whose YAML has another name is silently not a dataset."""
    known = {parent for path in paths for parent in (path.parent, *path.parent.parents)}
    for path in sorted(p for pattern in ("*.yaml", "*.yml") for p in folder.rglob(pattern)):
        if path.parent not in known:
            wrong = "this folder is not a dataset: Dagster reads defs.yaml only"
            yield Fault(path, 1, wrong, FILE, f"rename it to {FILE}")


def _check_together(files: list[_File]) -> None:
    for one, other in itertools.combinations(files, 2):
        if one.path.parent.name == other.path.parent.name:
            wrong = f"the dataset {other.path.parent.name} is also in {one.path}"
            other.add(1, wrong, "each folder name once", "rename one of the folders")
        mine, theirs = one.value("source", "prefix"), other.value("source", "prefix")
        if mine and theirs and (mine[1].startswith(theirs[1]) or theirs[1].startswith(mine[1])):
            wrong = f"the prefix {shown(theirs[1])} overlaps {shown(mine[1])} of {one.path}:{mine[0].line}"
            fix = "give each dataset a folder of its own in the bucket"
            other.add(theirs[0], wrong, "prefixes none of which begins another", fix)
    for one, other in itertools.product(files, files):
        reference, prefix = one.value("rate_api", "reference"), other.value("source", "prefix")
        if reference and prefix and reference[1].startswith(prefix[1]):
            wrong = f"reference {reference[1]} would be read as a file of {other.path.parent.name}"
            expected = f"a key outside {shown(prefix[1])} ({other.path}:{prefix[0].line})"
            one.add(reference[0], wrong, expected, "move it, for example to config/")
