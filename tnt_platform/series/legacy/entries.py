"""The series of an old dataset file, a list or a map of them, as the new YAML lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tnt_platform.errors import ConfigError
from tnt_platform.series.drafting.draft import UNIT
from tnt_platform.series.legacy.fields import OldFields, number
from tnt_platform.series.readers.layouts import column_letters

# What each field of a series was called: the names of the old files first, then spellings that are assumed.
FIELDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "sheet": (("sheet",), ("sheet_name", "worksheet", "tab", "hoja")),
    "header_row": (("header_row",), ("header", "header_line")),
    "skip_rows_after_header": (
        ("skip_rows_after_header",),
        ("skip_rows", "skip_after_header", "rows_to_skip", "skip"),
    ),
    "date_column": (("date_col",), ("date_column", "dates_col", "col_date", "fecha_col")),
    "value_column": (
        ("value_col",),
        ("value_column", "values_col", "col_value", "column", "col", "valor_col"),
    ),
    "dates_row": (("date_row", "dates_row"), ("row_dates", "fila_fechas")),
    "first_column": (
        ("start_column", "start_col"),
        (
            "first_column",
            "first_col",
            "from_column",
            "date_start_col",
            "dates_start_col",
            "value_start_col",
            "data_start_col",
        ),
    ),
    "values_row": (("value_row", "values_row"), ("row_values", "data_row", "row", "fila_valores")),
    "label": (("label",), ()),
}
_LETTERS: Final = ("date_column", "value_column", "first_column")
_NEEDED: Final = {
    "date_column": ("sheet", "header_row", "date_column", "value_column"),
    "date_row": ("sheet", "dates_row", "values_row"),
}
# YAML reads the columns NO and ON as words for false and true.
_WORDS: Final = {False: "NO", True: "ON"}

FrequencyOf = Callable[[object, str], str]


def old_series(old: OldFields, frequency: str, frequency_of: FrequencyOf) -> tuple[str, list[dict[str, Any]]]:
    """The reader and the series.

    Raises:
        ConfigError: there are none, or one lacks its place, or some run down a column and others along a row.
    """
    parse, config = old.inner("parse", "parser"), old.inner("parse_config")
    inner = parse.inner("config", "parse_config", "options")
    parse.drop("reader says how the file is read", "plugin")
    listed = _written(config, inner, parse, old)
    defaults = _fields(config) | _fields(inner)
    for fields in (config, inner):
        fields.drop("blank cells are no observations", "drop_na", "dropna")
        fields.unknown()
    parse.unknown()
    made = [_series(code, one, defaults, frequency, frequency_of, old) for code, one in _listed(listed)]
    readers = {"date_row" if "values_row" in one else "date_column" for one in made}
    if len(readers) > 1:
        raise ConfigError(
            "parse_config.series_map: some series run down a column and others along a row; split the old "
            "file into two datasets, since one file is read in one way"
        )
    reader = readers.pop()
    _complete(made, reader, old)
    order = ("code", "unit", *FIELDS, "frequency")
    return reader, [{name: one[name] for name in order if name in one} for one in made]


def _written(*places: OldFields) -> object:
    """The series as the old file writes them, in the first place that has them."""
    listed = None
    for fields in places:
        listed = listed if listed is not None else fields.take("series", "series_map", variants=("series",))
    if not listed:
        raise ConfigError(
            "parse_config.series_map: there are no series; give a file of the old system with its series"
        )
    return listed


def _complete(made: list[dict[str, Any]], reader: str, old: OldFields) -> None:
    """Add what may be left out.

    Raises:
        ConfigError: a series lacks its place.
    """
    for one in made:
        if missing := [name for name in _NEEDED[reader] if name not in one]:
            lacks = ", ".join(FIELDS[name][0][0] for name in missing)
            raise ConfigError(f"parse_config.series_map: {one['code']} lacks {lacks}; add it")
        if reader == "date_row" and "first_column" not in one:
            one["first_column"] = "B"
            old.assume("parse_config.series_map", "no series says where its dates start: column B")


def _listed(series: object) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    items: list[tuple[Any, Any]]
    if isinstance(series, Mapping):
        items = list(series.items())
    elif isinstance(series, list):
        items = [(None, one) for one in series]
    else:
        raise ConfigError("parse_config.series_map is neither a list nor a map of series; correct it")
    for code, one in items:
        if not isinstance(one, Mapping):
            raise ConfigError(
                f"parse_config.series_map: {code or one!r} says nothing of its place; give sheet, row and columns"
            )
        yield (None if code is None else str(code)), one


def _series(
    key: str | None,
    one: Mapping[str, Any],
    defaults: Mapping[str, Any],
    frequency: str,
    frequency_of: FrequencyOf,
    old: OldFields,
) -> dict[str, Any]:
    fields = old.of_list(one, "parse_config.series_map[]")
    code = (
        fields.take(
            "code", "internal_series_code", "code", variants=("series_code", "series_id", "id", "name")
        )
        or key
    )
    if not code:
        raise ConfigError(
            f"parse_config.series_map: a series has no internal_series_code: {dict(one)!r}; add it"
        )
    unit = fields.take("unit", "unit", variants=("units", "unidad"))
    if not unit:
        fields.todo("unit", f"{code} has none: write it in the place of {UNIT!r}")
    made: dict[str, Any] = {"code": str(code), "unit": str(unit or UNIT)} | dict(defaults) | _fields(fields)
    own = fields.take("frequency", "frequency", variants=("freq",))
    if own is not None and (letter := frequency_of(own, f"{code}: frequency")) != frequency:
        made["frequency"] = letter
    fields.drop("blank cells are no observations", "drop_na", "dropna")
    fields.unknown()
    return made


def _fields(fields: OldFields) -> dict[str, Any]:
    """The place of a series, columns as letters."""
    made: dict[str, Any] = {}
    for new, (names, variants) in FIELDS.items():
        value = fields.take(new, *names, variants=variants)
        if value is None:
            continue
        if new in _LETTERS:
            value = _letters(value, new, fields)
        elif new not in ("sheet", "label"):
            value = int(number(value, f"parse_config.series_map: {new}"))
        made[new] = value
    return made


def _letters(value: object, name: str, fields: OldFields) -> str:
    if isinstance(value, bool):
        fields.assume(name, f"YAML read the column as {str(value).lower()}: taken for {_WORDS[value]}")
        return _WORDS[value]
    if isinstance(value, int):
        letters = column_letters(max(value - 1, 0))
        fields.assume(name, f"{value} is column {letters}, counted from 1")
        return letters
    return str(value).strip().upper()
