"""Type the cells of rows: what each type of column accepts, and which rows are rejected with which reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from tnt_platform.errors import ConfigError, InvalidInput
from tnt_platform.readers.column import Bound, Column, ColumnSpec

POSTAL_CODE: Final = (
    "[0-9]{5}(-[0-9]{4})?|[ABCEGHJ-NPRSTVXY][0-9][ABCEGHJ-NPRSTV-Z] [0-9][ABCEGHJ-NPRSTV-Z][0-9]"
)
WHITE_SPACE: Final = " \t\u00a0"
SHOWN_CHARS: Final = 80
RAW_LIMIT_CHARS: Final = 10_000

_PLACE: Final = ("file_key", "line_no")
_FRAME: Final = (*_PLACE, "raw")
# Names no column can have: theirs hold no space.
_ROW: Final = "row in"
_SOUND: Final = "is sound"


def _text(cell: pl.Expr, column: Column) -> pl.Expr:
    return cell if column.pattern is None else _matching(cell, column.pattern)


def _postal_code(cell: pl.Expr, column: Column) -> pl.Expr:
    return _matching(cell, column.pattern or POSTAL_CODE)


def _five_digits(cell: pl.Expr, column: Column) -> pl.Expr:
    if column.pattern is not None:
        return _postal_code(cell, column)
    is_number = cell.cast(pl.UInt32, strict=False).is_not_null() & ~cell.str.starts_with("+")
    return pl.when((cell.str.len_bytes() == 5) & is_number).then(cell)


def _matching(cell: pl.Expr, pattern: str) -> pl.Expr:
    return pl.when(cell.str.contains(f"^(?:{pattern})$")).then(cell)


def _days(cell: pl.Expr, column: Column) -> pl.Expr:
    days = _integer(cell, column)
    return pl.when(days >= 0).then(days)


def _integer(cell: pl.Expr, column: Column) -> pl.Expr:
    return _plain_digits(cell, column).cast(pl.Int64, strict=False)


def _number(cell: pl.Expr, column: Column) -> pl.Expr:
    number = _plain_digits(cell, column).cast(pl.Float64, strict=False)
    # The cast also takes "nan" and "inf", which no file means as a quantity.
    return pl.when(number.is_finite()).then(number)


def _plain_digits(cell: pl.Expr, column: Column) -> pl.Expr:
    """Strip what the column declares (currency, thousands, decimal comma); anything else stays in the way."""
    if column.currency is not None:
        cell = cell.str.strip_prefix(column.currency).str.strip_suffix(column.currency).str.strip_chars(" ")
    if column.thousands is not None:
        mark = f"\\x{{{ord(column.thousands):x}}}"
        grouped = cell.str.contains(f"^[+-]?[0-9]{{1,3}}({mark}[0-9]{{3}})+([^0-9{mark}]|$)")
        bare = cell.str.replace_all(column.thousands, "", literal=True)
        # "1,23" with thousands "," has a misplaced mark; it is not 123.
        cell = pl.when(grouped).then(bare).when(~cell.str.contains(column.thousands, literal=True)).then(cell)
    if column.decimal != ".":
        english = cell.str.contains(".", literal=True)
        cell = pl.when(~english).then(cell.str.replace(column.decimal, ".", literal=True))
    return cell


def _date(cell: pl.Expr, column: Column) -> pl.Expr:
    """Read the date that all matching formats agree on; 01/02/06 is rejected where both orders are declared."""
    readings = [_date_in(cell, text) for text in column.formats]
    if len(readings) == 1:
        return readings[0]
    first = pl.min_horizontal(readings)
    return pl.when(first == pl.max_horizontal(readings)).then(first)


def _date_in(cell: pl.Expr, text: str) -> pl.Expr:
    date = cell.str.to_date(text, strict=False)
    year = date.dt.year()
    if "%y" in text:
        # Python's pivot: 69 to 99 are 1969 to 1999. chrono, which polars uses, makes 69 a 2069.
        return pl.when(year == 2069).then(date.dt.offset_by("-100y")).otherwise(date)
    # chrono takes "09" for %Y as the year 9.
    return pl.when(year >= 1000).then(date)


def _boolean(cell: pl.Expr, column: Column) -> pl.Expr:
    # Ten times faster than is_in for one or two words.
    is_true = pl.any_horizontal(cell == word for word in column.true_values)
    is_false = pl.any_horizontal(cell == word for word in column.false_values)
    return pl.when(is_true | is_false).then(is_true)


def _category(cell: pl.Expr, column: Column) -> pl.Expr:
    return pl.when(cell.is_in(list(column.values))).then(cell)


Parser = Callable[[pl.Expr, Column], pl.Expr]
# A parser turns a string into a value, or into null where it is not a value of the type; never into a guess.
PARSERS: Final[Mapping[str, Parser]] = {
    "text": _text,
    "postal_code": _postal_code,
    "days": _days,
    "integer": _integer,
    "number": _number,
    "date": _date,
    "boolean": _boolean,
    "category": _category,
}
# What most rows look like, at a third of the cost; a row rejected here is read again with PARSERS.
QUICK_PARSERS: Final[Mapping[str, Parser]] = {**PARSERS, "postal_code": _five_digits}
DTYPES: Final[Mapping[str, pl.DataType]] = {
    "text": pl.String(),
    "postal_code": pl.String(),
    "days": pl.Int64(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "date": pl.Date(),
    "boolean": pl.Boolean(),
    "category": pl.String(),
}
EXPECTED: Final[Mapping[str, Callable[[Column], str]]] = {
    "text": lambda c: f"text like {c.pattern}",
    "postal_code": lambda c: (
        f"a postal code like {c.pattern}" if c.pattern else "a postal code (12345, 12345-6789 or A1A 1A1)"
    ),
    "days": lambda _: "a whole number of days, 0 or more",
    "integer": lambda _: "a whole number",
    "number": lambda _: "a number",
    "date": lambda c: f"a date in one reading of {', '.join(c.formats)}",
    "boolean": lambda c: f"one of {', '.join((*c.true_values, *c.false_values))}",
    "category": lambda c: f"one of {', '.join(c.values)}",
}
# Types whose parser returns null for an empty cell.
NEVER_EMPTY: Final = frozenset({"postal_code", "days", "integer", "number", "date"})


@dataclass(frozen=True)
class _Fault:
    """A condition under which a column rejects a row, over the frame of cells, values and notes."""

    found: pl.Expr
    code: str
    reason: pl.Expr


def parse_columns(
    rows: pl.DataFrame | pl.LazyFrame, columns: Sequence[Column], *, few: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into those whose cells all are what their columns declare, and the others with the reasons.

    rows: file_key, line_no, raw, then String columns named by header or by position (c0, c1, ...). Spaces, tabs
    and no-break spaces around a cell don't count. `few` changes nothing but the time: it reads the rows in one pass,
    since planning a query over a few thousand rows costs more than running it.
    Returns good: file_key, line_no and `output_schema(columns)`; bad: file_key, line_no, raw, reason_code
    (of the first fault), reason (all faults, "; " between). Order is kept; together they are `rows`.

    Raises:
        ConfigError: two columns have one name.
        InvalidInput: missing_column, when a column that isn't optional has no source in `rows`.
    """
    output_schema(columns)
    rows = rows.lazy()
    sources = sources_of(rows.collect_schema().names(), columns)
    cells = rows.with_row_index(_ROW).select(
        _ROW,
        *_FRAME,
        *(cell_of(name).alias(cell_name(column)) for column, name in zip(columns, sources, strict=True)),
    )
    if few:
        good, rejected = _parted(_trimmed(cells, columns), columns, PARSERS)
    else:
        good, rest = _parted(cells, columns, QUICK_PARSERS)
        # White space is stripped only where it is in the way: stripping every cell took a third of the time.
        stripped, rejected = _parted(_trimmed(rest.lazy(), columns), columns, PARSERS)
        if stripped.height:
            good = pl.concat([good, stripped]).sort(_ROW)
    return good.drop(_ROW), _reported(rejected, columns)


def _trimmed(cells: pl.LazyFrame, columns: Sequence[Column]) -> pl.LazyFrame:
    return cells.with_columns(pl.col(cell_name(column)).str.strip_chars(WHITE_SPACE) for column in columns)


def _parted(
    cells: pl.LazyFrame, columns: Sequence[Column], parsers: Mapping[str, Parser]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into the typed sound ones and the cells of the others."""
    padded = pl.any_horizontal(pl.lit(False), *(_padded(c) for c in columns if c.type == "text"))
    sound = pl.all_horizontal(is_sound(column) for column in columns) & ~padded
    typed = staged(cells, columns, parsers).with_columns(sound.alias(_SOUND))
    # Streaming works on pieces that fit into the cache: a fifth less time, and no page faults for wide frames.
    good, rest = pl.collect_all(
        [
            typed.filter(_SOUND).select(_ROW, *_PLACE, *output_schema(columns)),
            typed.filter(~pl.col(_SOUND)).select(_ROW, *_FRAME, *map(cell_name, columns)),
        ],
        engine="streaming",
    )
    return good, rest


def staged(cells: pl.LazyFrame, columns: Sequence[Column], parsers: Mapping[str, Parser]) -> pl.LazyFrame:
    """Add notes and values to the cells, which are named by `cell_name`."""
    # Two steps, not one expression: polars would parse each cell again for every use of its value.
    noted = cells.with_columns(_noted(column) for column in columns if column.notes)
    return noted.with_columns(_value(column, parsers[column.type]) for column in columns)


def output_schema(columns: Sequence[ColumnSpec]) -> dict[str, pl.DataType]:
    """Return the name and dtype of every published column; `<name>_note` follows a column with notes.

    Raises:
        ConfigError: there is no column, or two have one name.
    """
    named: list[tuple[str, pl.DataType]] = []
    for column in columns:
        named.append((column.name, DTYPES[column.type]))
        if column.notes:
            named.append((column.note_name, pl.String()))
    schema = dict(named)
    if len(schema) < len(named) or not schema:
        raise ConfigError(f"columns: {[name for name, _ in named]} must be one or more different names")
    return schema


def sources_of(names: Sequence[str], columns: Sequence[Column]) -> list[str | None]:
    """Return which of `names` each column is read from; None for an optional column that has none.

    Raises:
        InvalidInput: missing_column.
    """
    by_label = {_label(name): name for name in reversed(names) if name not in _FRAME}
    found = [by_label.get(_label(c.source if isinstance(c.source, str) else f"c{c.source}")) for c in columns]
    missing = [
        repr(c.source) for c, name in zip(columns, found, strict=True) if name is None and not c.optional
    ]
    if missing:
        raise InvalidInput(
            "missing_column",
            f"the rows lack {', '.join(missing)}; they have {', '.join(map(repr, by_label.values()))}. "
            "Correct where the column is",
        )
    return found


def _label(name: str) -> str:
    return " ".join(name.split()).casefold()


def cell_name(column: Column) -> str:
    """Return the name of the column of strings from which `column` is typed."""
    # A space can't be in a column's name, so this is free.
    return f"{column.name} cell"


def cell_of(name: str | None) -> pl.Expr:
    """Return the cells of a source, all null where there is none."""
    return pl.lit(None, pl.String) if name is None else pl.col(name)


def _padded(column: Column) -> pl.Expr:
    """Tell where white space surrounds a cell: of type text, such a cell is sound otherwise."""
    cell = pl.col(cell_name(column))
    return pl.any_horizontal(cell.str.starts_with(c) | cell.str.ends_with(c) for c in WHITE_SPACE).fill_null(
        False
    )


def _absent(column: Column) -> pl.Expr:
    cell = pl.col(cell_name(column))
    absent = cell.is_null() | (cell == "")
    return absent | cell.is_in(list(column.nulls)) if column.nulls else absent


def _present(column: Column) -> pl.Expr:
    present = ~_absent(column)
    return present & pl.col(column.note_name).is_null() if column.notes else present


def _noted(column: Column) -> pl.Expr:
    cell = pl.col(cell_name(column))
    codes = [
        pl.when(
            cell == note.equals if note.equals is not None else cell.str.contains(f"^(?:{note.matches})$")
        ).then(pl.lit(note.code))
        for note in column.notes
    ]
    return pl.coalesce(codes).alias(column.note_name)


def _value(column: Column, parser: Parser) -> pl.Expr:
    value = parser(pl.col(cell_name(column)), column)
    if column.nulls or column.notes or column.pattern or column.type not in NEVER_EMPTY:
        value = pl.when(_present(column)).then(value)
    return value.cast(DTYPES[column.type]).alias(column.name)


def is_sound(column: Column) -> pl.Expr:
    """Tell where a column has none of its `_faults`, in fewer operations."""
    if _takes_anything(column):
        return pl.lit(True)
    value = pl.col(column.name)
    sound = value.is_not_null()
    if not column.required:
        sound |= _absent(column)
    if column.notes:
        sound |= pl.col(column.note_name).is_not_null()
    if column.minimum is not None:
        sound &= (value >= column.minimum).fill_null(True)
    if column.maximum is not None:
        sound &= (value <= column.maximum).fill_null(True)
    return sound


def _takes_anything(column: Column) -> bool:
    return column.type == "text" and column.pattern is None and not column.required


def _faults(column: Column) -> list[_Fault]:
    value = pl.col(column.name)
    faults = []
    if column.required:
        empty = _absent(column) & pl.col(column.note_name).is_null() if column.notes else _absent(column)
        faults.append(_Fault(empty, "missing_value", pl.lit(f"{column.name} is missing")))
    unread = value.is_null() & _present(column)
    faults.append(
        _Fault(unread, f"invalid_{column.type}", _reason(column, f"is not {EXPECTED[column.type](column)}"))
    )
    if column.minimum is not None:
        below = (value < column.minimum).fill_null(False)
        faults.append(
            _Fault(below, "out_of_range", _reason(column, f"is less than {_written(column.minimum)}"))
        )
    if column.maximum is not None:
        above = (value > column.maximum).fill_null(False)
        faults.append(
            _Fault(above, "out_of_range", _reason(column, f"is more than {_written(column.maximum)}"))
        )
    return faults


def _written(bound: Bound) -> str:
    return str(int(bound) if isinstance(bound, float) and bound.is_integer() else bound)


def _reason(column: Column, what: str) -> pl.Expr:
    shown = pl.col(cell_name(column)).str.head(SHOWN_CHARS)
    return pl.concat_str(pl.lit(f"{column.name}: '"), shown, pl.lit(f"' {what}"))


def _reported(rejected: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    faults = [fault for column in columns for fault in _faults(column)]
    reasons = [pl.when(fault.found).then(fault.reason) for fault in faults]
    reported = staged(rejected.lazy(), columns, PARSERS).select(
        *_PLACE,
        pl.col("raw").str.head(RAW_LIMIT_CHARS),
        reason_code=pl.coalesce(pl.when(fault.found).then(pl.lit(fault.code)) for fault in faults),
        reason=pl.concat_str(reasons, separator="; ", ignore_nulls=True),
    )
    return reported.collect()
