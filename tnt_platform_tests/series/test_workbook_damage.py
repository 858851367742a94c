"""One random damage to one random workbook: the clean observations are published, or what differs is in quarantine, or
nothing is published. Never a third thing.

What no reader can notice is left out: a value that is wrong and looks right, a cell that is empty where nothing was
published before, two sheets of one layout that were exchanged.
"""

from __future__ import annotations

import datetime as dt
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.errors import CheckFailed, InvalidInput
from tnt_platform_tests.rounds import each
from tnt_platform_tests.series.readers.workbook_files import repacked
from tnt_platform_tests.series.scene import SeriesScene, prices

CODES = ("A_M", "B_M")
FIRST_ROW = 3
DATE, NUMBER = "yyyy-mm-dd", "General"


@dataclass(frozen=True)
class Cell:
    """A cell: its value, its number format, and what else is special about it."""

    value: Any
    shown: str = NUMBER
    formula: str = ""


@dataclass
class Sheet:
    """A sheet with two header rows, dates in its first column and two columns of values."""

    rows: list[list[Cell]]
    hidden: set[int] = field(default_factory=set)
    merged: list[tuple[int, int, int, int]] = field(default_factory=list)
    name: str = "Data"
    from_1904: bool = False

    def change(self, at: int, column: int, cell: Cell) -> Sheet:
        """Put another cell into a row of data."""
        self.rows[FIRST_ROW - 1 + at][column] = cell
        return self

    def value(self, at: int, column: int) -> float:
        found = self.rows[FIRST_ROW - 1 + at][column].value
        assert isinstance(found, float)
        return found

    def day(self, at: int) -> dt.date:
        found = self.rows[FIRST_ROW - 1 + at][0].value
        assert isinstance(found, dt.date)
        return found

    def written(self) -> bytes:
        out = io.BytesIO()
        with xlsxwriter.Workbook(out, {"in_memory": True, "date_1904": self.from_1904}) as book:
            sheet = book.add_worksheet(self.name)
            for row, cells in enumerate(self.rows):
                for column, cell in enumerate(cells):
                    style = book.add_format({"num_format": cell.shown})
                    if cell.formula:
                        sheet.write_formula(row, column, cell.formula, style, cell.value)
                    elif isinstance(cell.value, dt.date):
                        sheet.write_datetime(row, column, dt.datetime.combine(cell.value, dt.time()), style)
                    elif isinstance(cell.value, str):
                        sheet.write_string(row, column, cell.value, style)
                    elif cell.value is not None:
                        sheet.write_number(row, column, cell.value, style)
            for row in self.hidden:
                sheet.set_row(row, None, None, {"hidden": True})
            for place in self.merged:
                sheet.merge_range(*place, self.rows[place[0]][place[1]].value)
        return out.getvalue()


def months(count: int) -> list[dt.date]:
    return [dt.date(2024 + number // 12, number % 12 + 1, 1) for number in range(count)]


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Values of two series, all distinct, so that one in another's place is seen."""
    values = st.integers(8, 800).map(lambda eighths: eighths / 8 + 20)
    found = draw(st.lists(values, min_size=16, max_size=40, unique=True))
    return list(zip(found[::2], found[1::2], strict=False))


def clean(values: list[tuple[float, float]]) -> Sheet:
    header = [[Cell("Month"), Cell("Prices"), Cell("Prices")], [Cell(""), Cell("North"), Cell("South")]]
    days = months(len(values))
    data = [
        [Cell(day, DATE), Cell(north), Cell(south)] for day, (north, south) in zip(days, values, strict=True)
    ]
    return Sheet([*header, *data])


Damage = Callable[[Sheet, int, int], Sheet | bytes]


def percent_format(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell(sheet.value(at, column) / 100, "0.0%"))


def percent_text(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell(f"{sheet.value(at, column)}%"))


def number_as_text(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell(f"{sheet.value(at, column)}"))


def decimal_comma(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell(f"{sheet.value(at, column):.3f}".replace(".", ",")))


def footnote(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell(f"{sheet.value(at, column)}*"))


def multiplied(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell(f"{sheet.value(at, column) / 1000}K"))


def shown_in_thousands(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell(sheet.value(at, column), "0.0,"))


def shown_as_date(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell(sheet.value(at, column), DATE))


def formula(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell(sheet.value(at, column), formula="=1+1"))


def formula_without_result(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell("", formula="=1+1"))


def formula_error(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, column, Cell("#DIV/0!", formula="=1/0"))


def date_as_text(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, 0, Cell(f"{sheet.day(at)}"))


def date_in_words(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, 0, Cell("the month after"))


def serial_date(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, 0, Cell(float((sheet.day(at) - dt.date(1899, 12, 30)).days)))


def year_alone(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, 0, Cell(f"{sheet.day(at).year}"))


def future_date(sheet: Sheet, at: int, column: int) -> Sheet:
    return sheet.change(at, 0, Cell(sheet.day(at).replace(year=2062), DATE))


def other_epoch(sheet: Sheet, at: int, column: int) -> bytes:
    def flipped(name: str, part: bytes) -> bytes:
        found = part.replace(b"<workbookPr ", b'<workbookPr date1904="1" ')
        return found if name == "xl/workbook.xml" else part

    return repacked(sheet.written(), flipped)


def written_from_1904(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.from_1904 = True
    return sheet


def hidden_row(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.hidden.add(FIRST_ROW - 1 + at)
    return sheet


def merged_values(sheet: Sheet, at: int, column: int) -> Sheet:
    row = FIRST_ROW - 1 + at
    sheet.rows[row + 1][column] = Cell(None)
    sheet.merged.append((row, column, row + 1, column))
    return sheet


def merged_header(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.rows[0][2] = Cell(None)
    sheet.merged.append((0, 1, 0, 2))
    return sheet


def row_above(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.rows.insert(0, [Cell("Prices of the month")])
    return sheet


def third_header_row(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.rows.insert(2, [Cell("unit"), Cell("EUR"), Cell("EUR")])
    return sheet


def header_row_gone(sheet: Sheet, at: int, column: int) -> Sheet:
    del sheet.rows[0]
    return sheet


def column_before(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.rows = [[Cell("x"), *cells] for cells in sheet.rows]
    return sheet


def swapped_columns(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.rows = [[cells[0], cells[2], cells[1]] for cells in sheet.rows]
    return sheet


def swapped_in_one_row(sheet: Sheet, at: int, column: int) -> Sheet:
    row = sheet.rows[FIRST_ROW - 1 + at]
    row[0], row[1] = row[1], Cell(row[0].value, DATE)
    return sheet


def renamed_header(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.rows[1][column] = Cell("East")
    return sheet


def renamed_sheet(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.name = "Data 2"
    return sheet


def doubled_row(sheet: Sheet, at: int, column: int) -> Sheet:
    row = FIRST_ROW - 1 + at
    sheet.rows.insert(row, [sheet.rows[row][0], Cell(1.5), Cell(2.5)])
    return sheet


def subtotal_row(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.rows.insert(FIRST_ROW - 1 + at, [Cell("Total"), Cell(1.5), Cell(2.5)])
    return sheet


def note_row(sheet: Sheet, at: int, column: int) -> Sheet:
    sheet.rows.insert(FIRST_ROW - 1 + at, [Cell("checked so far, by Ana")])
    return sheet


def row_gone(sheet: Sheet, at: int, column: int) -> Sheet:
    del sheet.rows[FIRST_ROW - 1 + at]
    return sheet


def shifted_up(sheet: Sheet, at: int, column: int) -> Sheet:
    data = sheet.rows[FIRST_ROW - 1 :]
    for cells, below in zip(data, [*data[1:], [Cell(None)] * 3], strict=True):
        cells[column] = below[column]
    return sheet


def cut(sheet: Sheet, at: int, column: int) -> bytes:
    data = sheet.written()
    return data[: len(data) * (at + 1) // (at + 3)]


DAMAGES: tuple[Damage, ...] = (
    percent_format,
    percent_text,
    number_as_text,
    decimal_comma,
    footnote,
    multiplied,
    shown_in_thousands,
    shown_as_date,
    formula,
    formula_without_result,
    formula_error,
    date_as_text,
    date_in_words,
    serial_date,
    year_alone,
    future_date,
    other_epoch,
    written_from_1904,
    hidden_row,
    merged_values,
    merged_header,
    row_above,
    third_header_row,
    header_row_gone,
    column_before,
    swapped_columns,
    swapped_in_one_row,
    renamed_header,
    renamed_sheet,
    doubled_row,
    subtotal_row,
    note_row,
    row_gone,
    shifted_up,
    cut,
)


def observations(values: list[tuple[float, float]]) -> set[tuple[str, dt.date, float]]:
    return {
        (code, day, value)
        for day, both in zip(months(len(values)), values, strict=True)
        for code, value in zip(CODES, both, strict=True)
    }


@pytest.mark.parametrize("damage", DAMAGES)
@settings(max_examples=each(8), deadline=None)
@given(values=tables(), number=st.integers(0, 1_000), column=st.integers(1, 2))
def test_a_damaged_workbook_publishes_clean_observations_or_quarantines_or_is_blocked(
    damage: Damage, values: list[tuple[float, float]], number: int, column: int
) -> None:
    place = {"sheet": "Data", "header_row": 2, "skip_rows_after_header": 0, "date_column": "A", "unit": "EUR"}
    series = [
        {"code": code, "value_column": letter, "header": header, **place}
        for code, letter, header in zip(CODES, "BC", ("North", "South"), strict=True)
    ]
    spec = prices(reader="date_column", table=None, series=series, jump_limit=None, partition_strategy="year")
    # All but the newest month was published before.
    before = clean(values[:-1]).written()
    damaged = damage(clean(values), number % (len(values) - 1), column)
    with tempfile.TemporaryDirectory() as home:
        scene = SeriesScene(Path(home), spec=spec)
        scene.publish(before)
        try:
            scene.publish(damaged if isinstance(damaged, bytes) else damaged.written())
        except (CheckFailed, InvalidInput):
            assert set(_published(scene)) == observations(values[:-1])
            return
        published = _published(scene)
        rejected = scene.workspace.store.current("prices/series").quarantine()  # type: ignore[union-attr]
    assert set(published) <= observations(values), damage.__name__
    assert len(published) == len(set(published))
    assert len(observations(values)) - len(published) <= rejected.height, damage.__name__


def _published(scene: SeriesScene) -> list[tuple[str, dt.date, float]]:
    return list(scene.published.select("internal_series_code", "period", "value").iter_rows())
