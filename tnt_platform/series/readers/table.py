"""Read a CSV or JSON file into rows of text, under the names of its header."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import jmespath
import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import MEMBER_LIMIT_BYTES, MEMBER_MAX_RATIO, decompress
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, read_rows
from tnt_platform.readers.encoding import decode
from tnt_platform.readers.paged_json import RepeatedName, parsed
from tnt_platform.readers.printed_dates import DateOrder, dates_of
from tnt_platform.readers.served_page import refuse_page
from tnt_platform.series.readers.cells import REJECTED, NotInFile, filled, stripped, template_names
from tnt_platform.series.readers.layouts import TableLayout

_FRAME_COLUMNS: Final = 3
_MESSAGE_NAMES: Final = frozenset(
    (
        "message",
        "messages",
        "error",
        "errors",
        "detail",
        "details",
        "reason",
        "status",
        "mensaje",
        "description",
    )
)
_SAID_CHARS: Final = 300
_SAID_TEXTS: Final = 10
_RAW_LIMIT_CHARS: Final = 10_000
_DATED_CELLS: Final = 2
_READINGS: Final[tuple[tuple[str, DateOrder | None], ...]] = (
    ("D", "dmy"),
    ("D", "mdy"),
    ("W", None),
    ("M", None),
    ("Q", None),
    ("A", None),
)
# The column of dates that are composed from several columns.
DATES: Final = "dates"


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    names: the names in the header, stripped, "" for a column without one.
    frame: line_no (Int64) and c0, c1, ... (String, stripped, blank ones null), one column for each name.
    rejected: `REJECTED`, the rows that can't be split.
    kind: what messages call a row, "line" or "record". separator: what separates the cells of a line.
    """

    names: tuple[str, ...]
    frame: pl.DataFrame
    rejected: pl.DataFrame
    kind: str
    separator: str

    def column(self, name: str) -> str:
        """Return the column of the frame with this name, ignoring white space around it.

        Raises:
            InvalidInput: missing_column or duplicate_column.
        """
        found = [at for at, label in enumerate(self.names) if label == name.strip()]
        if len(found) == 1:
            return f"c{found[0]}"
        if found:
            raise NotInFile(
                "duplicate_column",
                f"the header has {name!r} {len(found)} times, as columns {', '.join(str(at + 1) for at in found)}; "
                "rename one in the file",
                name,
            )
        listed = ", ".join(repr(label) for label in self.names[:60] if label) or "none"
        raise NotInFile(
            "missing_column",
            f"the file has no column {name!r}; it has {listed}. Correct the name, header_row or separator, or ask the "
            "publisher where the column went",
            name,
        )

    def dated(self, name: str) -> tuple[Table, str, frozenset[str]]:
        """Return the table with a column of dates, its name, and the columns it is composed of.

        `name` is the name of a column, or a template of several, such as {year}-{month}; a row without a value in one
        of them has no date.

        Raises:
            InvalidInput: missing_column or duplicate_column.
        """
        parts = template_names(name)
        if not parts or name.strip() in self.names:
            column = self.column(name)
            return self, column, frozenset({column})
        columns = [self.column(part) for part in parts]
        pattern = filled(name.replace("{}", ""), dict.fromkeys(parts, "{}"))
        dates = pl.format(pattern, *columns).alias(DATES)
        return replace(self, frame=self.frame.with_columns(dates)), DATES, frozenset(columns)

    def split_at_footer(self, footer: str | None, *first_cells: str) -> tuple[Table, Table]:
        """Return the rows above the first one with a match of `footer` in one of the columns, and the others.

        Raises:
            InvalidInput: footer_above_data if it is the first row.
        """
        if footer is None:
            return self, self._rows(pl.lit(False))
        hit = pl.any_horizontal(
            pl.col(name).str.contains(footer).fill_null(False) for name in set(first_cells)
        )
        notes = [*self.frame.filter(hit)["line_no"], *_noted(self.rejected, footer)]
        if not notes:
            return self, self._rows(pl.lit(False))
        is_above = pl.col("line_no") < min(notes)
        above = self._rows(is_above)
        below = self._rows(~is_above)
        # What can't be split is a note, too, unless it begins like the rows above.
        data = below.rejected.filter(_dated(below.rejected["raw"], self.separator))
        above = replace(above, rejected=pl.concat([above.rejected, data]))
        if above.frame.is_empty():
            raise InvalidInput(
                "footer_above_data",
                f"the `footer` matches {self.kind} {min(notes)}, above which there is no {self.kind} of data; narrow "
                "the pattern",
            )
        return above, below

    def _rows(self, which: pl.Expr) -> Table:
        return replace(self, frame=self.frame.filter(which), rejected=self.rejected.filter(which))


def read_table(data: bytes, layout: TableLayout) -> Table:
    """Read a table, compressed or not; see `Table` for the frames.

    Raises:
        InvalidInput: as `decompress`; html_page, no_rows; for CSV the reasons of `read_rows` for a whole file; for
            JSON not_json, no_records.
    """
    data = decompress(data, limit_bytes=MEMBER_LIMIT_BYTES, max_ratio=MEMBER_MAX_RATIO)
    refuse_page(data)
    table = _csv_table(data, layout) if layout.format == "csv" else _json_table(data, layout)
    if table.frame.is_empty() and table.rejected.is_empty():
        raise InvalidInput("no_rows", f"the file has a header but no {table.kind} of data; fetch it again")
    return table


def _noted(rejected: pl.DataFrame, footer: str) -> list[int]:
    """Return the lines of rejected rows whose first cell matches `footer`."""
    first_cell = pl.col("raw").str.strip_chars('" \t').str.contains(footer)
    return rejected.filter(first_cell)["line_no"].to_list()


def _dated(raw: pl.Series, separator: str) -> pl.Series:
    """Tell which lines have a date in one of their first cells, and a number further on."""
    rows = [next(csv.reader([line], delimiter=separator), []) for line in raw]
    firsts = pl.Series("text", [cell.strip() for row in rows for cell in row[:_DATED_CELLS]], dtype=pl.String)
    readings = (dates_of(pl.col("text"), one, order).is_not_null() for one, order in _READINGS)
    dates = set(firsts.to_frame().filter(pl.any_horizontal(readings))["text"])
    found = [
        any(cell.strip() in dates for cell in row[:_DATED_CELLS])
        and any(any(map(str.isdigit, cell)) for cell in row[1:])
        for row in rows
    ]
    return pl.Series(found, dtype=pl.Boolean)


def _csv_table(data: bytes, layout: TableLayout) -> Table:
    header = _csv_header(data, layout)
    named = len(header)
    while named > 1 and not header[named - 1]:
        named -= 1
    delimited = DelimitedLayout(
        separator=layout.separator,
        header=True,
        quote=layout.quote,
        encoding=layout.encoding,
        skip_rows=layout.header_row - 1,
        min_columns=named,
        max_columns=len(header),
    )
    rows = read_rows([RawFile("file", data)], delimited)
    whole = rows.bad.filter(pl.col("line_no") == 0)
    if not whole.is_empty():
        raise InvalidInput(whole["reason_code"][0], whole["reason"][0])
    names = rows.good.columns[_FRAME_COLUMNS:]
    if len(names) != len(header):
        raise InvalidInput(
            "malformed_header",
            f"the header on line {layout.header_row} has {len(header)} or {len(names)} columns, depending on how its "
            "quotes are read; correct them",
        )
    cells = [stripped(pl.col(name)).alias(f"cell {at}") for at, name in enumerate(names)]
    frame = rows.good.select("line_no", *cells).rename({f"cell {at}": f"c{at}" for at in range(len(names))})
    return Table(tuple(header), frame, rows.bad.select(list(REJECTED)), "line", layout.separator)


def _csv_header(data: bytes, layout: TableLayout) -> list[str]:
    """Return the cells of the header, stripped."""
    text = decode(data, declared=layout.encoding).text_utf8.decode("utf-8", "backslashreplace")
    lines = (line[0] for line in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n|$)", text))
    for _ in range(layout.header_row - 1):
        next(lines, None)
    padding = " \t\r\n".replace(layout.separator, "")
    kept = _from_first(lines, padding)
    try:
        if layout.quote is None:
            reader = csv.reader(kept, delimiter=layout.separator, quoting=csv.QUOTE_NONE)
        else:
            reader = csv.reader(kept, delimiter=layout.separator, quotechar=layout.quote)
        cells = next(reader, None)
    except csv.Error as fault:
        raise InvalidInput(
            "malformed_header", f"the header on line {layout.header_row} can't be read ({fault}); correct it"
        ) from fault
    if cells is None:
        raise InvalidInput(
            "empty_file",
            f"the file has no header on line {layout.header_row}; fetch it again, or correct header_row",
        )
    return [cell.strip() for cell in cells]


def _from_first(lines: Iterable[str], padding: str) -> Iterable[str]:
    """Skip the blank lines at the start."""
    begun = False
    for line in lines:
        begun = begun or bool(line.strip(padding))
        if begun and line:
            yield line


class _Number(float):
    """A JSON number that keeps its spelling."""

    text: str

    def __new__(cls, text: str) -> _Number:
        number = super().__new__(cls, text)
        number.text = text
        return number


def _json_table(data: bytes, layout: TableLayout) -> Table:
    records = _records(data, layout.records)
    names = list(dict.fromkeys(name for record in records if isinstance(record, dict) for name in record))
    rows: list[tuple[int | str | None, ...]] = []
    rejected: list[tuple[int, str, str, str]] = []
    for line_no, record in enumerate(records, start=1):
        fault = _record_fault(record)
        if fault is None:
            rows.append((line_no, *(_json_text(record.get(name)) for name in names)))
        else:
            raw = json.dumps(record, ensure_ascii=False, default=str)[:_RAW_LIMIT_CHARS]
            rejected.append((line_no, raw, *fault))
    schema: dict[str, Any] = {"line_no": pl.Int64()} | {f"c{at}": pl.String() for at in range(len(names))}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return Table(
        names=tuple(name.strip() for name in names),
        frame=frame.select(
            "line_no", *(stripped(pl.col(f"c{at}")).alias(f"c{at}") for at in range(len(names)))
        ),
        rejected=pl.DataFrame(rejected, schema=REJECTED, orient="row"),
        kind="record",
        separator=",",
    )


def _records(data: bytes, path: str) -> list[Any]:
    try:
        document = parsed(data, parse_float=_Number, parse_constant=str)
    except RepeatedName as fault:
        raise InvalidInput(
            "duplicate_name", f"{fault} in the file; ask the publisher which is meant"
        ) from fault
    except (ValueError, RecursionError) as fault:
        raise InvalidInput(
            "not_json",
            f"the file is not JSON ({fault}); it starts with {data[:60]!r}. Fetch it again, or choose another format",
        ) from fault
    try:
        records = jmespath.search(path, document)
    except jmespath.exceptions.JMESPathError as fault:
        raise InvalidInput(
            "no_records", f"records: {path!r} can't be applied to the file ({fault}); correct the path"
        ) from fault
    if not isinstance(records, list):
        has = (
            f"has the fields {sorted(document)[:40]}"
            if isinstance(document, dict)
            else "is a list of another shape"
        )
        raise InvalidInput(
            "no_records",
            f"records: {path!r} finds no list in the answer, which {has}{_says(document)}; correct the path, or the "
            "request if the answer says that it failed",
        )
    if not records:
        raise InvalidInput(
            "no_rows",
            f"records: {path!r} finds an empty list{_says(document)}; correct the request, or fetch it again",
        )
    return records


def _says(document: Any) -> str:
    """Quote what an answer says about itself, such as why it has no data."""
    texts = list(dict.fromkeys(_messages(document, "")))
    return f" and says {'; '.join(texts)[:_SAID_CHARS]!r}" if texts else ""


def _messages(value: Any, name: str) -> Iterator[str]:
    """Yield the texts below names that answers use for errors."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _messages(inner, name if name in _MESSAGE_NAMES else key.lower())
    elif isinstance(value, list):
        for inner in value[:_SAID_TEXTS]:
            yield from _messages(inner, name)
    elif isinstance(value, str) and name in _MESSAGE_NAMES:
        yield value


def _record_fault(record: Any) -> tuple[str, str] | None:
    if not isinstance(record, dict):
        return "not_an_object", (
            f"the record is a {type(record).__name__}, not an object with named fields; name its parts in `records`, "
            "such as data[*].{date: [0], value: [1]}"
        )
    nested = [name for name, value in record.items() if isinstance(value, (dict, list))]
    if nested:
        return "nested_value", (
            f"{', '.join(map(repr, nested[:5]))} is an object or a list; expected a string or number: select the "
            "right part in `records`, such as [].{country: country.id, date: date, value: value}"
        )
    return None


def _json_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return value.text if isinstance(value, _Number) else str(value)
