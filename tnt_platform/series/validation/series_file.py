"""Whether the file of a series dataset holds what the YAML says, if it is a file that is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tnt_platform.errors import InvalidInput
from tnt_platform.series.dataset import SeriesDataset
from tnt_platform.series.normalized import read_capture
from tnt_platform.validation.document import Node
from tnt_platform.validation.fault import DatasetFile

# The key of a series that is wrong, by what the reader says.
_AT_FAULT = {
    "missing_sheet": ("sheet",),
    "missing_column": ("value_column", "date_column", "first_column", "column"),
    "header_moved": ("header", "header_row"),
    "label_moved": ("label", "values_row"),
}
_TABLE_AT_FAULT = {"missing_column": ("date_column", "value_column", "code", "date_columns", "where", "unit")}


def file_faults(dataset: DatasetFile) -> None:
    """A sheet, a column or a header that the file lacks, at the line of the series that names it."""
    path = local_source(dataset)
    if path is None or not isinstance(dataset.attributes.value, dict):
        return
    body, attributes = path.read_bytes(), dict(dataset.attributes.value)
    if (fault := _refused(dataset, attributes, body)) is None:
        return
    nodes = dataset.attributes.items("series")
    alone = [(node, _refused(dataset, {**attributes, "series": [node.value]}, body)) for node in nodes]
    if attributes.get("reader") not in ("date_column", "date_row", "wide") or not any(
        said for _, said in alone
    ):
        _say(dataset, dataset.attributes.get("table") or dataset.attributes, path, fault)
    elif len({str(said) for _, said in alone}) == 1 and len(alone) > 1:
        # The file as a whole is wrong, or its one sheet: one fault, not one for each series.
        _say(dataset, nodes[0], path, fault)
    else:
        for node, said in alone:
            if said is not None:
                _say(dataset, node, path, said)


def local_source(dataset: DatasetFile) -> Path | None:
    """The file that `source.url` names, if it is on this machine; marks for the month are not looked up."""
    text = dataset.attributes.text("source", "url")
    if text is None or dataset.settings.missing(text):
        return None
    url = dataset.settings.resolve(text)
    if re.search(r"\{[^{}]*\}", url) or url.startswith(("http://", "https://", "s3://")):
        return None
    if not url.startswith("file:///"):
        url = f"{dataset.settings.raw_url}/{url}"
    if not url.startswith("file:///"):
        return None
    path = Path(url2pathname(urlsplit(url).path))
    return path if path.is_file() else None


def _refused(dataset: DatasetFile, attributes: dict[str, object], body: bytes) -> InvalidInput | None:
    try:
        read_capture(SeriesDataset.resolve_from_dict(attributes).spec(dataset.folder), body)
    except InvalidInput as fault:
        return fault
    return None


def _say(dataset: DatasetFile, node: Node, path: Path, fault: InvalidInput) -> None:
    keys: Sequence[str] = _AT_FAULT.get(fault.reason_code, ()) or ()
    if node is dataset.attributes.get("table"):
        keys = _TABLE_AT_FAULT.get(fault.reason_code, ())
    found = [node.children[key] for key in keys if key in node.children]
    wrong, _, mend = str(fault).partition("; ")
    named = [child for child in found if _names(child.value) & _quoted(wrong)]
    place = (named or found or [node])[0]
    dataset.findings.add(place, f"{path.name}: {wrong}", "", mend or "correct the YAML")


def _names(value: object) -> set[str]:
    if isinstance(value, dict):
        return {str(name) for name in value}
    return {str(value), *re.findall(r"\{([^{}]*)\}", str(value))}


def _quoted(text: str) -> set[str]:
    """What a message shows in quotes, and its single words: the names it may be about."""
    quoted = {one or other for one, other in re.findall(r"'([^']*)'|\"([^\"]*)\"", text)}
    return quoted | set(re.findall(r"\w+", text))
