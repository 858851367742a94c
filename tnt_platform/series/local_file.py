"""Whether the file of a series dataset holds what its YAML declares, if it is a file on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tnt_platform.errors import InvalidInput
from tnt_platform.series.normalized import read_capture
from tnt_platform.settings import Settings
from tnt_platform.specs.spec import Mistake
from tnt_platform.specs.spec import Path as SpecPath

if TYPE_CHECKING:
    from tnt_platform.series.spec import SeriesSpec

# The fields that a reason code may be about, in the order in which they are looked at.
_SERIES_AT_FAULT: Mapping[str, tuple[str, ...]] = {
    "missing_sheet": ("sheet",),
    "missing_column": ("value_column", "date_column", "first_column", "column"),
    "header_moved": ("header", "header_row"),
    "label_moved": ("label", "values_row"),
}
_TABLE_AT_FAULT: Mapping[str, tuple[str, ...]] = {
    "missing_column": ("date_column", "value_column", "code", "date_columns", "where", "unit"),
}


def local_file_mistakes(spec: SeriesSpec, settings: Settings) -> Iterator[Mistake]:
    """Find a sheet, a column or a header that the file lacks, at the series that names it."""
    path = _local_file(spec.source.url, settings)
    if path is None:
        return
    body = path.read_bytes()
    fault = _fault_of(spec, body)
    if fault is None:
        return
    series: tuple[Any, ...] = getattr(spec, "series", ())
    alone = [_fault_of(spec.model_copy(update={"series": (one,)}), body) for one in series]
    if spec.reader == "long" or not any(alone):
        yield _mistake(spec, ("table",) if hasattr(spec, "table") else (), path, fault, _TABLE_AT_FAULT)
    elif len({str(one) for one in alone}) == 1 and len(alone) > 1:
        # The file as a whole is wrong, or its one sheet: one mistake, not one for each series.
        yield _mistake(spec, ("series", 0), path, fault, _SERIES_AT_FAULT)
    else:
        for position, one in enumerate(alone):
            if one is not None:
                yield _mistake(spec, ("series", position), path, one, _SERIES_AT_FAULT)


def _local_file(url: str, settings: Settings) -> Path | None:
    """The file that `source.url` names, if it is on this machine; marks for the month are not looked up."""
    if settings.missing(url):
        return None
    address = settings.resolve(url)
    if re.search(r"\{[^{}]*\}", address) or address.startswith(("http://", "https://", "s3://")):
        return None
    if not address.startswith("file:///"):
        address = f"{settings.raw_url}/{address}"
    if not address.startswith("file:///"):
        return None
    path = Path(url2pathname(urlsplit(address).path))
    return path if path.is_file() else None


def _fault_of(spec: SeriesSpec, body: bytes) -> InvalidInput | None:
    try:
        read_capture(spec, body)
    except InvalidInput as fault:
        return fault
    return None


def _mistake(
    spec: SeriesSpec,
    at: SpecPath,
    path: Path,
    fault: InvalidInput,
    fields: Mapping[str, tuple[str, ...]],
) -> Mistake:
    wrong, _, fix = str(fault).partition("; ")
    part: Any = spec
    for step in at:
        part = part[step] if isinstance(step, int) else getattr(part, step)
    declared: set[str] = getattr(part, "model_fields_set", set())
    found = [name for name in fields.get(fault.reason_code, ()) if name in declared]
    named = [name for name in found if _names(getattr(part, name)) & _quoted(wrong)]
    place = (*at, (named or found)[0]) if found else at
    return Mistake(f"{path.name}: {wrong}", "", fix or "correct the YAML", place)


def _names(value: object) -> set[str]:
    if isinstance(value, Mapping):
        return {str(name) for name in value}
    return {str(value), *re.findall(r"\{([^{}]*)\}", str(value))}


def _quoted(text: str) -> set[str]:
    """What a message has in quotes, and its single words: the names that it may be about."""
    quoted = {one or other for one, other in re.findall(r"'([^']*)'|\"([^\"]*)\"", text)}
    return quoted | set(re.findall(r"\w+", text))
