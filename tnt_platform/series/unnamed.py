"""Find the columns of a table that the YAML does not name, and say when there is a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tnt_platform.lake.publishing import CheckOutcome
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.readers.compression import unpack_member
from tnt_platform.series.readers.cells import template_names
from tnt_platform.series.readers.table import read_table
from tnt_platform.series.source import FileSpec
from tnt_platform.series.spec import WideSpec
from tnt_platform.series.whole_answer import whole_answer

COLUMNS_ARE_NAMED: Final = "columns_are_named"
_COLUMNS: Final = "columns"
_LISTED: Final = 5


def columns_with_values(spec: FileSpec, body: bytes) -> Mapping[str, int]:
    """Return the columns of a wide table, but for its dates, with the number of their values.

    It is empty where a template names the series, as every column is one then, and for a workbook, which is read by
    the columns that the YAML names.
    """
    if not isinstance(spec, WideSpec) or not spec.series:
        return {}
    unpacked = unpack_member(body, spec.source.member) if spec.source.member else body
    unpacked, layout = whole_answer(spec, unpacked)
    assert isinstance(layout, WideSpec)
    table = read_table(unpacked, layout.table)
    date = layout.table.date_column or ""
    dates = {date.strip(), *template_names(date)}
    counts = {name: table.frame[f"c{at}"].count() for at, name in enumerate(table.names) if name not in dates}
    return {name: count for name, count in counts.items() if count}


def about_columns(columns: Mapping[str, int]) -> dict[str, object]:
    """Return what the manifest records, so that the next version knows which columns are new."""
    return {_COLUMNS: sorted(columns)}


def check_named(spec: FileSpec, columns: Mapping[str, int], base: Snapshot | None) -> CheckOutcome:
    """Warn of columns that are in no series and that the version before did not have; the others are no news."""
    named = {one.column.strip() for one in spec.series} if isinstance(spec, WideSpec) else set()
    unnamed = {name: count for name, count in columns.items() if name not in named}
    known = base.manifest.about.get(_COLUMNS, columns) if base else columns
    new = {name: count for name, count in unnamed.items() if name not in known}
    if not new:
        return CheckOutcome(COLUMNS_ARE_NAMED, True, _described(unnamed), blocking=False)
    description = f"new in the file: {_described(new)}; add them to `series` if they are to be published"
    return CheckOutcome(COLUMNS_ARE_NAMED, False, description, blocking=False)


def _described(unnamed: Mapping[str, int]) -> str:
    if not unnamed:
        return "the YAML names every column that its reader looks at"
    listed = ", ".join(f"{name!r} ({count:,} values)" for name, count in list(unnamed.items())[:_LISTED])
    more = len(unnamed) - _LISTED
    what = (
        "1 column that no series names"
        if len(unnamed) == 1
        else f"{len(unnamed)} columns that no series names"
    )
    return f"{what}: {listed}" + (f" and {more} more" if more > 0 else "")
