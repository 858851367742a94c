"""Checks of a series dataset: what its schema can't state, each rule of the layouts asked where it is broken."""

from __future__ import annotations

import re
from dataclasses import dataclass

import jmespath
import jmespath.exceptions

from tnt_platform.readers.layout import DelimitedLayout
from tnt_platform.series.model import SeriesModel, TableModel, layout_of
from tnt_platform.series.readers.layouts import column_index
from tnt_platform.series.transforms.observations import Conventions
from tnt_platform.series.validation.series_file import file_faults
from tnt_platform.series.validation.series_source import source_faults
from tnt_platform.validation.document import Node
from tnt_platform.validation.fault import DatasetFile, Findings, meant, shown
from tnt_platform.validation.legacy_schema import read_part, refusal
from tnt_platform.validation.texts import ENCODINGS

# Where `${VARIABLES}` are resolved when a run starts.
SERIES_VARIABLES_IN = (("source", "url"), ("source", "headers"), ("notify_topic",))

READERS = ("date_column", "date_row", "long", "wide")
LETTER_FIELDS = ("date_column", "value_column", "year_column", "first_column", "label_column")
# The fields that say where a series is: two series that agree in all of them read the same cells.
_PLACE = {
    "date_column": ("sheet", "header_row", "skip_rows_after_header", "date_column", "value_column"),
    "date_row": ("sheet", "dates_row", "first_column", "values_row"),
    "wide": ("column",),
}
_CSV_ONLY = ("separator", "quote", "encoding", "header_row")
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Parts:
    """The parts of a series dataset's YAML, each None where its schema is broken already."""

    attributes: Node
    reader: str | None
    frequency: str
    table: TableModel | None
    series: list[tuple[Node, SeriesModel | None]]

    @property
    def readable(self) -> list[tuple[Node, SeriesModel]]:
        """The series whose schema is in order."""
        return [(node, one) for node, one in self.series if one is not None]

    def layout(self, *series: SeriesModel, footer: str | None = None) -> object:
        """The layout with these series alone; raises what the layouts raise."""
        assert self.reader is not None, "asked only where the reader is known"
        return layout_of(self.reader, series, self.table, self.frequency, footer)  # type: ignore[arg-type]


def series_faults(dataset: DatasetFile) -> list[Findings]:
    """Check one dataset of series; the file it reads is looked at only if it is there, never over a network."""
    attributes, findings = dataset.attributes, dataset.findings
    parts = parts_of(attributes)
    if source := attributes.get("source"):
        source_faults(source, findings)
    _mark_faults(attributes, findings)
    _code_faults(parts, findings)
    _place_faults(parts, findings)
    if table := attributes.get("table"):
        _table_faults(parts, table, findings)
    if findings.sound:
        _layout_faults(parts, findings)
    if findings.sound:
        file_faults(dataset)
    return []


def parts_of(attributes: Node) -> Parts:
    """The parts of the YAML that can be read."""
    reader, frequency = attributes.text("reader"), attributes.text("frequency")
    return Parts(
        attributes,
        reader if reader in READERS else None,
        frequency if frequency in ("D", "W", "M", "Q", "A") else "D",
        read_part(TableModel, attributes.get("table")),
        [(node, read_part(SeriesModel, node)) for node in attributes.items("series")],
    )


def _mark_faults(attributes: Node, findings: Findings) -> None:
    thousands = attributes.get("thousands")
    if thousands and isinstance(thousands.value, str):
        decimal = attributes.text("decimal") or "."
        if thousands.value == decimal:
            other = "," if decimal == "." else "."
            findings.add(
                thousands,
                f"thousands: {thousands.value!r} is the decimal mark too",
                "two different marks",
                f"write decimal: {other!r}, or another thousands mark, or delete it",
            )
        elif thousands.value == "." and (
            attributes.get("table") is None or attributes.text("table", "format") == "json"
        ):
            findings.add(
                thousands,
                "thousands: '.' can't be told from the decimal point of cells that are numbers",
                "it for CSV only: workbooks and JSON have numbers",
                "delete it",
            )
    tokens = attributes.items("not_available")
    for node in tokens:
        if isinstance(node.value, str) and re.fullmatch(r"[+-]?\d+([.,]\d+)?", node.value.strip()):
            findings.add(
                node,
                f"not_available: {node.value!r} is a number",
                "texts that stand where a value is not known",
                "delete it: a number is an observation",
                warning=True,
            )
    for node in attributes.items("marks"):
        if isinstance(node.value, str) and refusal(Conventions, timezone="UTC", marks=(node.value,)):
            findings.add(
                node,
                f"marks: {node.value!r} is blank or a number",
                "what stands beside a value or a date",
                "write it as it is printed, such as (p) or *, or delete it",
            )


def _code_faults(parts: Parts, findings: Findings) -> None:
    seen: dict[str, Node] = {}
    for node, _ in parts.series:
        code = node.text("code")
        if code is None:
            continue
        place = node.children["code"]
        is_block = node.get("first_row") is not None or node.get("last_row") is not None
        if code in seen and not is_block:
            first = seen[code].line
            mend = f"rename or delete one of them (the other is on line {first})"
            findings.add(place, f"the series {code} occurs twice", "each code once", mend)
        seen.setdefault(code, place)
        names = _BRACES.findall(code)
        if names and not is_block:
            mend = f"write the code itself, such as {_BRACES.sub('X', code)}"
            findings.add(place, f"the code {code} has braces", "a code of one series", mend)
        elif is_block and set(names) != {"label"}:
            mend = meant(
                names[0] if names else "", ("label",), f"write it like {_BRACES.sub('', code)}_{{label}}"
            )
            wrong = f"the code {code} of a block of rows is a template of {_named(names)}"
            findings.add(place, wrong, "{label} in it, and nothing else in braces", mend)


def _place_faults(parts: Parts, findings: Findings) -> None:
    for node, _ in parts.series:
        for name in LETTER_FIELDS:
            letters = node.text(name)
            # Others than letters are the schema's to refuse.
            if letters and re.fullmatch("[A-Z]{1,3}", letters) and refusal(column_index, letters):
                wrong = f"{name}: {letters} is past the last column of a sheet"
                findings.add(node.children[name], wrong, "A to XFD", "correct the letters")
        _block_faults(node, findings)
    seen: dict[tuple[object, ...], tuple[str, Node]] = {}
    for node, one in parts.readable:
        fields = _PLACE.get(parts.reader or "", ())
        place = tuple(getattr(one, name) for name in fields)
        if not place or None in place:
            continue
        code, other = seen.setdefault(place, (one.code, node))
        if other is not node and code != one.code:
            where = node.get("value_column") or node.get("values_row") or node.get("column") or node
            wrong = f"{one.code} reads the same cells as {code} on line {other.line}"
            findings.add(where, wrong, "a place of its own for each series", "correct one of them")


def _block_faults(node: Node, findings: Findings) -> None:
    first, last = node.get("first_row"), node.get("last_row")
    rows = [end.value for end in (first, last) if end is not None and isinstance(end.value, int)]
    if last is not None and len(rows) == 2 and rows[0] > rows[1]:
        wrong = f"last_row {rows[1]} is above first_row {rows[0]}"
        findings.add(last, wrong, "the smaller number first", "exchange them")


def _table_faults(parts: Parts, node: Node, findings: Findings) -> None:
    if parts.reader in ("date_column", "date_row"):
        mend = "delete it, or set reader: wide or long"
        wrong = f"table has no meaning for reader {parts.reader}"
        findings.add(node.key_line, wrong, "it with a CSV or JSON file only", mend)
        return
    table = parts.table
    if table is None:
        return
    if table.format == "json":
        for name in _CSV_ONLY:
            if name in node.children:
                wrong = f"table.{name} has no meaning for format: json"
                findings.add(node.children[name].key_line, wrong, "it for CSV only", "delete it")
    elif "records" in node.children:
        wrong = "table.records has no meaning for format: csv"
        findings.add(node.children["records"].key_line, wrong, "it for JSON only", "delete it")
    for name, mark in (("separator", table.separator), ("quote", table.quote)):
        other = {"separator": "\x01", "quote": None, name: mark}
        if name in node.children and refusal(DelimitedLayout, max_columns=1, **other):
            mend = 'write one character; a tab is "\\t" in double quotes'
            findings.add(node.children[name], f"table.{name} is {mark!r}", "one ASCII character", mend)
    if table.separator == table.quote:
        place = node.get("quote") or node.children["separator"]
        findings.add(place, f"separator and quote are both {table.quote!r}", "two characters", "change one")
    if table.encoding is not None and refusal(DelimitedLayout, max_columns=1, encoding=table.encoding):
        mend = meant(table.encoding, ENCODINGS, "delete it to let the bytes tell")
        wrong = f"table.encoding: {table.encoding!r} is not known"
        findings.add(node.children["encoding"], wrong, "a name such as utf-8 or cp1252", mend)
    _expression_faults(node, findings)
    _template_faults(parts, node, table, findings)


def _expression_faults(node: Node, findings: Findings) -> None:
    records = node.text("records")
    if records is None:
        return
    try:
        jmespath.compile(records)
    except jmespath.exceptions.JMESPathError as error:
        wrong = f"table.records: {shown(records)} is no JMESPath: {str(error).splitlines()[0]}"
        findings.add(
            node.children["records"], wrong, "an expression such as data or [1]", "mend the expression"
        )


def _template_faults(parts: Parts, node: Node, table: TableModel, findings: Findings) -> None:
    """Braces of `code`: {column} for a wide table, names of columns elsewhere."""
    place = node.get("code")
    if table.code is None or place is None:
        return
    names = _BRACES.findall(table.code)
    if parts.reader == "wide" and table.date_columns is None:
        if set(names) != {"column"}:
            mend = meant(names[0] if names else "", ("column",), "write it like FX_{column}")
            wrong = f"table.code {table.code} is a template of {_named(names)}"
            findings.add(
                place, wrong, "{column}, which stands for the name of each column, and nothing else", mend
            )
        return
    if not names and table.date_columns is not None:
        wrong = f"table.code {table.code} is the same for every row"
        findings.add(place, wrong, "a column in braces", "write it like WB_{Country Code}_A")
    for name in names:
        if not name.strip() or name != name.strip():
            wrong = f"table.code {table.code}: {{{name}}} names no column"
            findings.add(place, wrong, "the name of a column in braces", "write it as the header does")
        elif name in (table.date_column, table.value_column):
            what = "dates" if name == table.date_column else "values"
            wrong = f"table.code {table.code}: {{{name}}} is the column of the {what}"
            findings.add(place, wrong, "a column that tells the series apart", "name another column")


def _layout_faults(parts: Parts, findings: Findings) -> None:
    """What the layouts refuse: first each series alone, then all together."""
    if parts.reader is None or any(one is None for _, one in parts.series):
        return
    attributes = parts.attributes
    if attributes.get("table") is not None and parts.table is None:
        return
    footer = attributes.text("footer")
    said = refusal(parts.layout, *(one for _, one in parts.readable), footer=footer)
    if said is None:
        return
    for node, one in parts.readable:
        alone = refusal(parts.layout, one)
        if alone and alone.startswith("series "):
            _say(alone, node, findings)
    if findings.sound:
        option = said.partition(":")[0]
        _say(said, attributes.get(option) or attributes, findings)


def _say(said: str, node: Node, findings: Findings) -> None:
    """A rule's words at the line of the first key that they name."""
    wrong, _, rest = said.partition("; ")
    named = [
        node.children[word] for word in re.findall(r"\w+", wrong.partition(":")[2]) if word in node.children
    ]
    expected, _, mend = rest.partition("; ")
    is_cure = bool(expected) and not mend
    findings.add(
        named[0].key_line if named else node,
        wrong,
        "" if is_cure else expected,
        expected if is_cure else mend or "mend what is named",
    )


def _named(names: list[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names) or "nothing"
