"""Generate small published files of each layout that series datasets read, the same for the same seed.

The workbooks are in `samples/`; `python -m tnt_platform.sandbox.series_samples` regenerates them (which needs the
development extras). Their flaws are those of real publishers: holidays without a value, "s/d" for no data, cells that
hold an empty string, notes below the table, dates as text, a month typed as one of its days.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

SAMPLES = Path(__file__).parent / "samples"
SEED = 1991
LAST_DAY = dt.date(2026, 10, 30)
MONTHS = 36
HEADER_ROW, FIRST_ROW = 8, 11
# Sheet -> its columns of values: letter, first value, daily change; other columns are blank.
BCRA_SHEETS: dict[str, dict[str, tuple[float, float]]] = {
    "RESERVAS": {
        "C": (28_000.0, 120.0),
        "P": (1_000.0, 2.0),
        **dict.fromkeys("DE", (14_000.0, 60.0)),
        **dict.fromkeys("GHIJKL", (50.0, 20.0)),
        "N": (4_000.0, 1.0),
    },
    "BASE MONETARIA": {
        "AD": (19_000.0, 90.0),
        **dict.fromkeys(("Z", "AA", "AB", "AC", "AE", "AF"), (9_000.0, 40.0)),
    },
    "DEPOSITOS": {
        "X": (31_000.0, 110.0),
        **dict.fromkeys((*"BCDEFGHIJKLMNOPQRSTUWZ", "AA", "AC"), (8_000.0, 50.0)),
    },
    "PRESTAMOS": dict.fromkeys("BCDEFGHIJKLMNOPQSU", (6_000.0, 30.0)),
    "TASAS DE MERCADO": {"T": (35.0, 0.8), **dict.fromkeys("BCDEFGHILMNOPQRSUVWXY", (33.0, 0.6))},
}
# The column that says whether a row is a day (D) or the average of a month (M).
BCRA_KINDS = {"RESERVAS": "Q", "BASE MONETARIA": "AG", "DEPOSITOS": "AD", "PRESTAMOS": "V"}
INDEC_SHEETS = {
    "Variación mensual IPC Nacional": (3.0, 1.0),
    "Var. interanual IPC Nacional": (60.0, 2.0),
    "Índices IPC Cobertura Nacional": (5_000.0, 150.0),
}
INDEC_BLOCKS = ("Total nacional", "Región GBA", "Región Pampeana")
INDEC_LABELS = (
    "Nivel general",
    "Alimentos y bebidas no alcohólicas",
    "Prendas de vestir y calzado",
    "Salud",
    "Transporte",
    "Educación",
    "Restaurantes y hoteles",
    "Bienes y servicios varios",
)
COUNTRIES = ("Australia", "Brazil", "Euro", "New Zealand", "Hong Kong")
ISO3 = ("ARG", "BOL", "BRA", "CHL", "COL", "MEX", "PER", "URY")


def write_samples(folder: Path) -> list[Path]:
    """Write every sample file into `folder`, always with the same content."""
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(SEED)
    bodies = {
        "series.xlsm": bcra_workbook(random),
        **{
            f"sh_ipc_{month:%m_%y}.xls": indec_workbook(Random(SEED + 1), month)
            for month in _published_months()
        },
        "brent-monthly.csv": brent_csv(random),
        "fx-monthly.csv": fx_csv(random),
        "world-bank-inflation.json": world_bank_json(random),
    }
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    return [folder / name for name in bodies]


def _published_months() -> list[dt.date]:
    """Return the months of two vintages of the price index; the second adds a month to the first."""
    return [dt.date(2026, 10, 1), dt.date(2026, 11, 1)]


def _months(last: dt.date, count: int) -> list[dt.date]:
    number = last.year * 12 + last.month - 1
    return [dt.date(n // 12, n % 12 + 1, 1) for n in range(number - count + 1, number + 1)]


def _walk(random: Random, start: float, step: float, count: int, digits: int = 4) -> Iterator[float]:
    value = start
    for _ in range(count):
        yield round(value, digits)
        value = max(value + random.gauss(0.05, 1.0) * step, start / 10)


def bcra_workbook(random: Random) -> bytes:
    """Return daily series down columns: header in row 8, data from row 11, then monthly averages and a note (.xlsm)."""
    import xlsxwriter

    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "default_date_format": "dd/mm/yyyy"})
    book.set_properties({"created": dt.datetime(2026, 10, 30, tzinfo=dt.UTC).replace(tzinfo=None)})
    days = [LAST_DAY - dt.timedelta(days=n) for n in range(420, -1, -1)]
    days = [day for day in days if day.weekday() < 5]
    for name, columns in BCRA_SHEETS.items():
        sheet = book.add_worksheet(name)
        sheet.write(0, 0, f"Principales variables: {name.title()}")
        sheet.write(HEADER_ROW - 1, 0, "Fecha")
        months = _months(LAST_DAY, 12) if name in BCRA_KINDS else []
        for letter, (start, step) in columns.items():
            _bcra_column(sheet, random, days, len(months), _column(letter), start, step)
        for row, day in enumerate([*days, *months], start=FIRST_ROW - 1):
            sheet.write_datetime(row, 0, dt.datetime(day.year, day.month, day.day))  # noqa: DTZ001  (a cell has no zone)
            if name in BCRA_KINDS:
                sheet.write_string(
                    row, _column(BCRA_KINDS[name]), "D" if row < FIRST_ROW - 1 + len(days) else "M"
                )
        sheet.write(FIRST_ROW + len(days) + len(months) + 1, 1, "Datos provisorios, sujetos a revisión")
    book.close()
    return buffer.getvalue()


def _bcra_column(
    sheet: Any, random: Random, days: Sequence[dt.date], months: int, column: int, start: float, step: float
) -> None:
    """Write the values of the days, and below them those of the months."""
    sheet.write(HEADER_ROW - 1, column, f"Serie {column + 1}")
    sheet.write(HEADER_ROW, column, "(en millones)")
    for at, value in enumerate(_walk(random, start, step, len(days) + months)):
        row = FIRST_ROW - 1 + at
        if at >= len(days):
            sheet.write_number(row, column, value)
        elif (days[at].month, days[at].day) in {(12, 25), (1, 1), (5, 1), (7, 9)}:
            sheet.write_string(row, column, "")
        elif random.random() < 0.004:
            sheet.write_string(row, column, "s/d")
        else:
            sheet.write_number(row, column, value)


def indec_workbook(random: Random, published: dt.date) -> bytes:
    """Return monthly series along rows: blocks of a date row and labelled rows, notes below (legacy .xls)."""
    import xlwt

    book = xlwt.Workbook(encoding="utf-8")
    date_style = xlwt.easyxf(num_format_str="mmm-yy")
    months = _months(_months(published, 2)[0], MONTHS if published.month == 11 else MONTHS - 1)
    for name, (start, step) in INDEC_SHEETS.items():
        sheet = book.add_sheet(name)
        sheet.write(0, 0, "Índice de precios al consumidor con cobertura nacional. Muestra inventada")
        sheet.write(1, 0, "Período de referencia: Diciembre 2016=100")
        for number, block in enumerate(INDEC_BLOCKS):
            top = 5 + 30 * number
            sheet.write(top, 0, block)
            sheet.write(top + 2, 0, "Nivel general y divisiones COICOP")
            for at, month in enumerate(months, start=1):
                sheet.write(top, at, month, date_style)
                sheet.write(top + 1, at, "")
            for row, label in enumerate(INDEC_LABELS, start=top + 4):
                sheet.write(row, 0, label)
                # Every vintage draws the whole history, so that both agree on old months.
                values = list(_walk(random, start, step, MONTHS, 1))
                for at, _ in enumerate(months, start=1):
                    sheet.write(row, at, values[at - 1])
        sheet.write(5 + 30 * len(INDEC_BLOCKS), 0, "Fuente: muestra inventada, no es dato oficial")
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def brent_csv(random: Random) -> bytes:
    """Return a date column and one series with CRLF; dates are mid-month, as its publisher prints them."""
    months = _months(LAST_DAY, MONTHS)
    values = _walk(random, 75.0, 4.0, MONTHS, 2)
    return _csv(
        ["Date", "Price"], ((f"{month:%Y-%m}-15", value) for month, value in zip(months, values, strict=True))
    )


def fx_csv(random: Random) -> bytes:
    """Return codes in a column: one row per country and month."""
    months = _months(LAST_DAY, MONTHS)
    rows = []
    for country in COUNTRIES:
        values = _walk(random, random.uniform(0.5, 8.0), 0.05, MONTHS)
        rows += [(month.isoformat(), country, value) for month, value in zip(months, values, strict=True)]
    return _csv(["Date", "Country", "Exchange rate"], rows)


def world_bank_json(random: Random) -> bytes:
    """Return page information and a list of observations, latest first, with nulls."""
    records = []
    for iso3 in ISO3:
        values = list(_walk(random, 6.0, 1.5, 20, 6))
        for year, value in zip(range(2025, 2005, -1), reversed(values), strict=True):
            missing = iso3 == "ARG" and year < 2018
            records.append(
                {"countryiso3code": iso3, "date": str(year), "value": None if missing else value, "unit": ""}
            )
    page = {"page": 1, "pages": 1, "per_page": 20_000, "total": len(records)}
    return json.dumps([page, records], indent=0).encode()


def _csv(header: Sequence[str], rows: Any) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _column(letters: str) -> int:
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


if __name__ == "__main__":
    write_samples(SAMPLES)
