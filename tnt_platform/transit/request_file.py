"""What is wrong in the request file of a dataset, each mistake on its own line of that file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

from tnt_platform.settings import Settings
from tnt_platform.specs.fields import listed, meant, nearest, shown, spelled
from tnt_platform.specs.spec import Mistake
from tnt_platform.transit.transforms.request_template import RequestFile
from tnt_platform.validation.document import Node, read_document
from tnt_platform.validation.schema import spec_mistakes, variable_mistakes

# Likeness from which a name that is not known here is taken for a misspelled one that is.
TYPING_ERROR = 0.85


def request_mistakes(
    path: Path, fields: Collection[str], has_reference: bool, settings: Settings
) -> Iterator[Mistake]:
    """Find every mistake of the request at `path`, whose rows have `fields` and perhaps those of a reference."""
    if not path.is_file():
        there = [found.name for found in path.parent.glob("*.json")]
        fix = meant(path.name, there, "create it, as docs/datasets/transit.md shows")
        wrong = f"there is no file {path.name} beside the YAML"
        yield Mistake(wrong, "a JSON file", fix, at=("rate_api", "request"))
        return
    data = path.read_bytes()
    try:
        tree = json.loads(data)
    except json.JSONDecodeError as error:
        wrong = f"not JSON: {error.msg} (column {error.colno})"
        fix = "fix this line or the one above it: a comma, a quote or a bracket"
        yield Mistake(wrong, "valid JSON", fix, file=path.name, line=error.lineno)
        return
    except ValueError as error:
        yield Mistake(f"not JSON: {error}", "UTF-8 text", "save the file as UTF-8", file=path.name)
        return
    # Valid JSON is YAML, apart from tabs, and the reader of YAML knows the lines.
    document = read_document(data.replace(b"\t", b" "))
    for fault in document.faults:
        fix = fault.fix.replace("YAML", "a JSON reader")
        yield Mistake(fault.wrong, fault.expected, fix, file=path.name, line=fault.line)
    if not isinstance(tree, dict) or document.root is None:
        fix = 'write {"method": "POST", "url": "{api_url}/..."}'
        yield Mistake(
            "not an object", f"an object with {listed(RequestFile.model_fields)}", fix, file=path.name
        )
        return
    for found in _mistakes_in(tree, document.root, fields, has_reference, settings):
        yield replace(found, at=(), file=path.name, line=document.root.nearest(found.at).line)


def _mistakes_in(
    tree: dict[str, object],
    root: Node,
    fields: Collection[str],
    has_reference: bool,
    settings: Settings,
) -> Iterator[Mistake]:
    found, request = spec_mistakes(RequestFile, tree)
    yield from found
    for name, header in root.entries("headers").items():
        if isinstance(header.value, str) and "${" in header.value:
            yield from variable_mistakes(header.value, ("headers", name), RequestFile, tree, settings)
    for path, field in request.fields() if isinstance(request, RequestFile) else ():
        if field in fields:
            continue
        where = spelled(path)
        known = f"one of {listed(fields)}" + (", or a column of the reference" if has_reference else "")
        if not has_reference:
            wrong = f"{where}: no row has a field {field}"
            fix = meant(field, fields, "declare it as a column, or delete it")
            yield Mistake(wrong, known, fix, at=path)
        elif (close := nearest(field, fields)) and _typing_error(field, close):
            # The reference is in the bucket, which is not opened here.
            wrong = f"{where}: the files have no column {shown(field)}"
            fix = f"did you mean {close}? If the reference has it, nothing is wrong"
            yield Mistake(wrong, known, fix, at=path, warning=True)


def _typing_error(name: str, known: str) -> bool:
    """One or two letters away, so that `city` of a reference is not taken for `country`."""
    return SequenceMatcher(None, name, known).ratio() >= TYPING_ERROR
