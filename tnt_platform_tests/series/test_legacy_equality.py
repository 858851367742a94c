"""Workbooks in the layout the old system read, against a reader that looks at one cell after the other."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook
from openpyxl.utils import column_index_from_string, get_column_letter

from tnt_platform.series.reading import read_capture
from tnt_platform.series.spec import NEWEST, SeriesSpec
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.series.scene import SeriesScene, prices, with_url

SHEETS = ("RESERVAS", "BASE MONETARIA", "DEPOSITOS", "TASAS DE MERCADO")
COLUMNS, HEADER_ROW, SKIPPED = 30, 8, 2
FIRST_ROW = HEADER_ROW + SKIPPED + 1
# Sheet and value column of each series, as the old dataset file names them, and some more.
PLACES = [
    ("RESERVAS", "P"), ("RESERVAS", "C"), ("RESERVAS", "B"), ("BASE MONETARIA", "AD"), ("BASE MONETARIA", "B"),
    ("DEPOSITOS", "X"), ("DEPOSITOS", "Z"), ("DEPOSITOS", "AA"), ("TASAS DE MERCADO", "T"), ("TASAS DE MERCADO", "C"),
]  # fmt: skip
NOT_AVAILABLE = {"", "-", "n/a", "n.d.", "nd", "s/d", "...", "na", "#n/a"}
Cell = object
Sheets = Mapping[str, list[list[Cell]]]

numbers = (
    st.integers(-(10**9), 10**9)
    | st.floats(-1e12, 1e12, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-9)
    | st.sampled_from([0, 0.1, 1 / 3, 1e-7, 123456789.123456, -0.5])
)
dirt = st.sampled_from(
    [None, "", "  ", "n/a", "s/d", "(1)", "12,5", "1 234", "x", "#N/A", True, "n.d.", "...", "10%", "\xa0"]
)
cells = st.one_of(numbers, numbers, numbers, numbers, st.none(), dirt)
bad_dates = st.sampled_from([None, "Total", "31/02/2020", "n/a", 5.25, "2020-13-01"])


@st.composite
def workbooks(draw: st.DrawFn) -> Sheets:
    """Per sheet: rows below the header of 30 cells, the first a date more or less."""
    sheets = {}
    for name in SHEETS:
        start = draw(st.dates(date(1996, 1, 1), date(2025, 1, 1)))
        rows: list[list[Cell]] = []
        for offset in range(draw(st.integers(1, 12))):
            day: Cell = datetime.combine(start + timedelta(days=offset), time())
            if offset and draw(st.integers(0, 9)) == 0:
                day = draw(bad_dates)
            # A column without a single cell is rejected, so the first row has one in each.
            filler: list[Cell] = [draw(cells if offset else numbers) for _ in range(COLUMNS - 1)]
            rows.append([day, *filler])
        sheets[name] = rows
    return sheets


def saved(sheets: Sheets) -> bytes:
    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        page = book.create_sheet(name)
        page.cell(1, 1, "Banco Central: series diarias")
        for column in range(1, COLUMNS + 1):
            page.cell(HEADER_ROW, column, "Fecha" if column == 1 else f"Serie {get_column_letter(column)}")
            page.cell(HEADER_ROW + 1, column, "en millones")
        for at, row in enumerate(rows):
            for column, value in enumerate(row, start=1):
                if value is not None:
                    page.cell(FIRST_ROW + at, column, value)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def code_of(sheet: str, column: str) -> str:
    return f"{sheet.replace(' ', '_')}_{column}_D"


def spec_of(places: Sequence[tuple[str, str]] = PLACES) -> SeriesSpec:
    series = [
        {
            "code": code_of(sheet, column),
            "sheet": sheet,
            "header_row": HEADER_ROW,
            "skip_rows_after_header": SKIPPED,
            "date_column": "A",
            "value_column": column,
            "unit": "ARS",
        }
        for sheet, column in places
    ]
    spec = prices(
        reader="date_column",
        table=None,
        series=series,
        frequency="D",
        timezone="America/Argentina/Buenos_Aires",
        not_available=sorted(NOT_AVAILABLE),
    )
    return with_url(spec, "series.xlsx")


def cell_by_cell(body: bytes) -> tuple[dict[tuple[str, date], float], int]:
    """(code, day) -> value, and how many value cells are unreadable: openpyxl, one cell at a time, no shared code."""
    book = load_workbook(io.BytesIO(body), data_only=True)
    found: dict[tuple[str, date], float] = {}
    unclear = 0
    for sheet, letters in PLACES:
        page = book[sheet]
        for row in range(FIRST_ROW, page.max_row + 1):
            day = page.cell(row, 1).value
            value = page.cell(row, column_index_from_string(letters)).value
            if isinstance(value, str):
                value = value.replace("\xa0", " ").strip()
            if value is None or (isinstance(value, str) and value.lower() in NOT_AVAILABLE):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(day, datetime):
                unclear += 1
                continue
            assert day.time() == time()
            found[code_of(sheet, letters), day.date()] = float(value)
    return found, unclear


def as_mapping(rows: pl.DataFrame) -> dict[tuple[str, date], float]:
    found = {
        (code, day): value
        for code, day, value in rows.select("internal_series_code", "period", "value").iter_rows()
    }
    assert len(found) == rows.height
    return found


@pytest.mark.heavy
@settings(max_examples=tries(20), deadline=None, suppress_health_check=list(HealthCheck))
@given(sheets=workbooks())
def test_what_is_read_is_what_a_look_at_each_cell_finds_and_nothing_else(sheets: Sheets) -> None:
    body = saved(sheets)
    expected, unclear = cell_by_cell(body)
    read = read_capture(spec_of(), body)
    assert as_mapping(read.normalized.observations) == expected
    # A date that can't be read is rejected even where the value is not available.
    rejected = read.normalized.rejected
    assert rejected.filter(pl.col("raw").is_not_null()).height >= unclear
    assert read.counts.balanced


@pytest.mark.parametrize("seed", [1, 2])
def test_every_published_observation_is_the_cell_that_it_names(tmp_path: Path, seed: int) -> None:
    sheets = dirty_workbook(seed, days=300)
    body = saved(sheets)
    expected, unclear = cell_by_cell(body)
    scene = SeriesScene(tmp_path, spec=spec_of())
    scene.raw.put("series.xlsx", body)
    done = scene.run()
    rows = scene.published
    assert as_mapping(rows) == expected
    assert len(expected) > 1_500
    assert done["series"].counts.quarantined >= unclear > 50
    book = load_workbook(io.BytesIO(body), data_only=True)
    for code, day, value, place, unit in rows.select(
        "internal_series_code", "period", "value", "place", "unit"
    ).iter_rows():
        sheet, _, cell = place.rpartition("!")
        assert book[sheet][cell].value == value
        assert book[sheet][f"A{''.join(filter(str.isdigit, cell))}"].value.date() == day
        assert (code, unit) == (code_of(sheet, "".join(filter(str.isalpha, cell))), "ARS")
    quarantine = scene.workspace.store.current("prices/series").quarantine([NEWEST])
    for place in quarantine["place"]:
        sheet, _, cell = place.rpartition("!")
        value, day = book[sheet][cell].value, book[sheet][f"A{''.join(filter(str.isdigit, cell))}"].value
        sound = isinstance(value, int | float) and not isinstance(value, bool) and isinstance(day, datetime)
        assert not sound, f"{place} {value!r} was rejected"


def dirty_workbook(seed: int, days: int) -> Sheets:
    """Sheets as they come: weekends missing, some blanks, a little text."""
    from random import Random

    random = Random(seed)
    odd: list[Any] = ["s/d", "(1)", "12,5", "n/a", True, "", "1 234", "…"]
    sheets: dict[str, list[list[Cell]]] = {}
    for name in SHEETS:
        rows: list[list[Cell]] = []
        for offset in range(days):
            day = datetime.combine(date(2020, 1, 1), time()) + timedelta(days=offset)
            if day.weekday() >= 5:
                continue
            values: list[Cell] = []
            for _ in range(COLUMNS - 1):
                chance = random.random()
                number = round(random.uniform(-1e6, 1e6), random.randrange(8))
                values.append(None if chance < 0.1 else random.choice(odd) if chance < 0.15 else number)
            rows.append(
                [day if random.random() > 0.02 else random.choice(["Total", None, "31/02/2020"]), *values]
            )
        sheets[name] = rows
    return sheets


def test_numbers_keep_every_bit_from_cell_to_observation() -> None:
    awkward = [
        0.1,
        1 / 3,
        2**53 - 1,
        1e-300,
        1e300,
        math.pi,
        1e15 + 0.3,
        -5e-324 * 2**40,
        100,
        1e21,
        0.1 + 0.2,
    ]
    rows: list[list[Cell]] = [
        [datetime.combine(date(2024, 1, 1), time()) + timedelta(days=at), *([value] * (COLUMNS - 1))]
        for at, value in enumerate(awkward)
    ]
    body = saved(dict.fromkeys(SHEETS, rows))
    expected, _ = cell_by_cell(body)
    code = code_of(*PLACES[0])
    wanted = [value.hex() for (name, _), value in sorted(expected.items()) if name == code]
    read = read_capture(spec_of(PLACES[:1]), body).normalized.observations
    assert [value.hex() for value in read["value"]] == wanted
    assert len(wanted) == len(awkward)
