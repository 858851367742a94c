"""Convert the series of an old dataset file, a list or a mapping, into those of a `defs.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tnt_platform.errors import ConfigError
from tnt_platform.series.drafting.draft import UNIT
from tnt_platform.series.legacy.fields import OldFields, frequency_of, number, table
from tnt_platform.series.readers.layouts import column_letters

_LETTERS: Final = ("date_column", "value_column", "first_column")
_REQUIRED: Final = {
    "date_column": ("sheet", "header_row", "date_column", "value_column"),
    "date_row": ("sheet", "dates_row", "values_row"),
}
# YAML reads the columns NO and ON as false and true.
_BOOLEANS: Final = {False: "NO", True: "ON"}


def old_series(old: OldFields, frequency: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the reader and the series.

    Raises:
        ConfigError: there are none, or one lacks its place, or some run down a column and others along a row.
    """
    parse, config = old.inner("parse", "parser"), old.inner("parse_config")
    inner = parse.inner("config", "parse_config", "options")
    written = None
    for fields in (config, inner, parse, old):
        written = fields.take("series_map", "series") if written is None else written
    if not written:
        raise ConfigError("parse_config.series_map: there are no series; give the old file with its series")
    defaults = _place(config) | _place(inner)
    for fields, section in ((config, "series"), (inner, "series"), (parse, "parse")):
        fields.close(section)
    series = [_series(code, one, defaults, frequency, old) for code, one in _listed(written)]
    readers = {"date_row" if "values_row" in one else "date_column" for one in series}
    if len(readers) > 1:
        raise ConfigError(
            "parse_config.series_map: some series run down a column and others along a row; split the old file into "
            "two datasets, since a dataset has one reader"
        )
    reader = readers.pop()
    _complete(series, reader, old)
    order = ("code", "unit", *_places(), "frequency")
    return reader, [{name: one[name] for name in order if name in one} for one in series]


def _complete(series: list[dict[str, Any]], reader: str, old: OldFields) -> None:
    """Add what may be left out.

    Raises:
        ConfigError: a series lacks its place.
    """
    for one in series:
        if missing := [name for name in _REQUIRED[reader] if name not in one]:
            lacks = ", ".join(_places()[name] for name in missing)
            raise ConfigError(f"parse_config.series_map: {one['code']} lacks {lacks}; add it to the old file")
        if reader == "date_row" and "first_column" not in one:
            one["first_column"] = "B"
            old.note("parse_config.series_map", "assumed", "series without a start column start in column B")


def _listed(series: object) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    items: list[tuple[Any, Any]]
    if isinstance(series, Mapping):
        items = list(series.items())
    elif isinstance(series, list):
        items = [(None, one) for one in series]
    else:
        raise ConfigError("parse_config.series_map is neither a list nor a mapping of series; correct it")
    for code, one in items:
        if not isinstance(one, Mapping):
            raise ConfigError(
                f"parse_config.series_map: {code or one!r} has no place; give its sheet, row and columns"
            )
        yield (None if code is None else str(code)), one


def _series(
    key: str | None, one: Mapping[str, Any], defaults: Mapping[str, Any], frequency: str, old: OldFields
) -> dict[str, Any]:
    fields = old.under(one, "parse_config.series_map[]")
    code = fields.take("series.code", "code") or key
    if not code:
        raise ConfigError(
            f"parse_config.series_map: a series has no internal_series_code: {dict(one)!r}; add it"
        )
    unit = fields.take("series.unit", "unit")
    if not unit:
        fields.note("unit", "to do", f"{code} has none: replace {UNIT!r}")
    series: dict[str, Any] = {"code": str(code), "unit": str(unit or UNIT), **defaults, **_place(fields)}
    own = fields.take("series.frequency", "frequency")
    if own is not None and (letter := frequency_of(own, f"{code}: frequency")) != frequency:
        series["frequency"] = letter
    fields.close("series")
    return series


def _place(fields: OldFields) -> dict[str, Any]:
    """Return where a series is, columns as letters."""
    place: dict[str, Any] = {}
    for name in _places():
        value = fields.take(f"place.{name}", name)
        if value is None:
            continue
        if name in _LETTERS:
            value = _letters(value, name, fields)
        elif name not in ("sheet", "label"):
            value = int(number(value, f"parse_config.series_map: {name}"))
        place[name] = value
    return place


def _places() -> dict[str, str]:
    """Return the fields of a series' place, with the old name of each."""
    places: dict[str, str] = {}
    for row in table("field_names"):
        if row["field"].startswith("place."):
            places.setdefault(row["field"].removeprefix("place."), row["name"])
    return places


def _letters(value: object, name: str, fields: OldFields) -> str:
    if isinstance(value, bool):
        fields.note(
            name, "assumed", f"YAML read the column as {str(value).lower()}: {_BOOLEANS[value]} is meant"
        )
        return _BOOLEANS[value]
    if isinstance(value, int):
        letters = column_letters(max(value - 1, 0))
        fields.note(name, "assumed", f"{value} is column {letters}, counted from 1")
        return letters
    return str(value).strip().upper()
