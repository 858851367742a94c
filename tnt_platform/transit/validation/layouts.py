"""Checks of file layouts: the rules of `readers.layout`, asked one at a time, and globs that hide each other."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Collection, Iterator, Sequence

from tnt_platform.readers.layout import DelimitedLayout, column_name, normalised
from tnt_platform.transit.model import ColumnModel, LayoutModel, layout_of
from tnt_platform.validation.document import Node
from tnt_platform.validation.fault import Findings, listed, meant, shown
from tnt_platform.validation.legacy_schema import refusal
from tnt_platform.validation.texts import ENCODINGS

COMPRESSED = (".gz", ".zip", ".bz2", ".xz")
# Samples of a glob are made with a character that no other glob names.
_ODD = "\x01"
_MAX_SAMPLES = 4_000


def layout_faults(
    node: Node,
    layout: LayoutModel | None,
    columns: Sequence[ColumnModel],
    names: Collection[str],
    findings: Findings,
) -> None:
    """Separator, quote, encoding, widths, and where the columns are."""
    _name_faults(node, findings)
    if layout is None:
        return
    _character_faults(node, layout, findings)
    if layout.separator == layout.quote:
        place = node.get("quote") or node.get("separator") or node
        findings.add(
            place, f"separator and quote are both {layout.quote!r}", "two characters", "change one of them"
        )
    if layout.encoding is not None and refusal(DelimitedLayout, max_columns=1, encoding=layout.encoding):
        findings.add(
            node.children["encoding"],
            f"encoding: {layout.encoding!r} is not known",
            "a name such as utf-8 or cp1252",
            meant(layout.encoding, ENCODINGS, "delete it to let each file's bytes tell"),
        )
    _width_faults(node, layout, findings)
    _place_faults(node, layout, names, findings)
    _left_out_faults(node, layout, columns, findings)
    if findings.sound and (said := refusal(layout_of, layout, columns)):
        wrong, _, rest = said.partition("; ")
        findings.add(node, f"layout {layout.files}: {wrong}", rest, "change the layout")


def _character_faults(node: Node, layout: LayoutModel, findings: Findings) -> None:
    expected = "one ASCII character, no line end"
    if refusal(DelimitedLayout, separator=layout.separator, quote=None, max_columns=1):
        wrong = f"separator: {layout.separator!r} is not one character"
        mend = 'write one character; a tab is "\\t" in double quotes'
        findings.add(node.children["separator"], wrong, expected, mend)
    other = "," if layout.quote == "|" else "|"
    if refusal(DelimitedLayout, separator=other, quote=layout.quote, max_columns=1):
        wrong = f"quote: {layout.quote!r} is not one character"
        mend = "write one character, or null if the files don't use quotes"
        findings.add(node.children["quote"], wrong, expected, mend)


def _name_faults(node: Node, findings: Findings) -> None:
    files = node.text("files")
    if files is None:
        return
    place = node.children["files"]
    if "/" in files:
        mend = f"write {files.rsplit('/', 1)[-1] or '*'}; folders belong into prefix and key_pattern"
        findings.add(
            place, f"files: {files} can't fit: it is compared with the file's name", "a glob without /", mend
        )
    for suffix in COMPRESSED:
        if files.lower().endswith(suffix):
            wrong = f"files: {files} can't fit: {suffix} of a compressed file is not part of the name"
            findings.add(place, wrong, "the name inside", f"write {files[: -len(suffix)]}")


def _width_faults(node: Node, layout: LayoutModel, findings: Findings) -> None:
    if layout.max_columns is None:
        if not layout.header:
            findings.add(
                node,
                f"layout {layout.files}: max_columns is missing",
                "it where header is false",
                "add `max_columns:` with the most cells a row may have",
            )
    elif layout.max_columns < 1:
        findings.add(
            node.children["max_columns"],
            f"max_columns is {layout.max_columns}",
            "1 or more",
            "write the most cells a row may have",
        )


def _place_faults(node: Node, layout: LayoutModel, names: Collection[str], findings: Findings) -> None:
    seen: dict[str, str] = {}
    for name, place in node.entries("columns").items():
        if name not in names:
            findings.add(
                place.key_line,
                f"layout {layout.files} places {name}, which is not declared",
                f"one of {listed(names)}",
                meant(name, names, "declare it below `columns`, or delete it here"),
            )
        source = place.value
        if isinstance(source, bool):
            word = "yes" if source else "no"
            findings.add(
                place,
                f"{name}: the place is read as {str(source).lower()}",
                "a header name or a position",
                f'put a header name such as {word} in quotes: "{word}"',
            )
            continue
        if not isinstance(source, int | str):
            continue
        if said := _place_refused(source, layout):
            findings.add(
                place,
                f"{name}: {said}",
                "a position from 0 below max_columns, or a name of the header",
                "correct the position, or set `header: true`" if isinstance(source, str) else "correct it",
            )
        spelling = normalised(column_name(source))
        if spelling in seen:
            findings.add(
                place,
                f"{name} and {seen[spelling]} are both {shown(source)}",
                "one column for each place",
                "correct one of them",
            )
        seen.setdefault(spelling, name)


def _place_refused(source: int | str, layout: LayoutModel) -> str | None:
    if isinstance(source, int):
        if source < 0:
            return f"position {source} is below 0"
        if layout.max_columns is not None and source >= layout.max_columns:
            return f"position {source} is past max_columns {layout.max_columns}"
        return None
    if not source.strip():
        return "the header name is empty"
    if not layout.header:
        return f"{shown(source)} can't be found by name in files without a header"
    said = refusal(DelimitedLayout, header=True, columns=(source,))
    return said.removeprefix("columns: ").partition("; ")[0] if said else None


def _left_out_faults(
    node: Node, layout: LayoutModel, columns: Sequence[ColumnModel], findings: Findings
) -> None:
    places = node.children["columns"]
    for column in columns:
        if column.required and column.name not in places.children:
            findings.add(
                places.key_line,
                f"layout {layout.files} leaves out the required column {column.name}",
                "a place for each required column",
                f"add `{column.name}: <position or header name>`",
            )


def glob_faults(nodes: Sequence[Node], findings: Findings) -> None:
    """A layout whose files an earlier one takes all: the first that fits is used."""
    globs = [(node.children["files"], files) for node in nodes if (files := node.text("files")) is not None]
    for (earlier_node, earlier), (node, glob) in itertools.combinations(globs, 2):
        if hides(earlier.lower(), glob.lower()):
            findings.add(
                node,
                f"files: {glob} is never used: {earlier} on line {earlier_node.line} takes all its files",
                "the narrower glob first",
                "move this layout up, or delete it",
            )


def hides(earlier: str, glob: str) -> bool:
    """Whether every name that fits `glob` fits `earlier`: decided on samples that try what `earlier` could refuse."""
    return all(
        fnmatch.fnmatchcase(sample, earlier)
        for sample in itertools.islice(_samples(glob, earlier), _MAX_SAMPLES)
    )


def _samples(glob: str, against: str) -> Iterator[str]:
    """Names that fit `glob`: `*` as nothing, as an odd character, as many, and as what `against` names."""
    letters = [_ODD, *sorted(set(re.sub(r"[*?\[\]!-]", "", against)))]
    pieces: list[list[str]] = []
    for piece in re.findall(r"\*+|\?|\[!?\]?[^\]]*\]|.", glob, re.DOTALL):
        if piece.startswith("*"):
            pieces.append(["", _ODD, _ODD * 40, *letters[1:]])
        elif piece == "?":
            pieces.append(letters)
        elif len(piece) > 1:
            pieces.append([c for c in map(chr, range(1, 127)) if fnmatch.fnmatchcase(c, piece)] or [_ODD])
        else:
            pieces.append([piece])
    return ("".join(parts) for parts in itertools.product(*pieces))
