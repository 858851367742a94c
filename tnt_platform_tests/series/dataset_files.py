"""Series datasets that are in order, and a workbook for them, for tests that spoil them one line at a time."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence

import xlsxwriter

BCRA = r"""# Series down the columns of a workbook.
type: tnt_platform.components.SeriesDataset

attributes:
  description: Reserves and rates.
  owners: ["team:economics"]
  provider: Central bank
  timezone: America/Argentina/Buenos_Aires
  frequency: D
  source:
    url: https://example.com/series_{MM}_{YY}.xlsm
    months_back: 4
    headers:
      Accept: application/vnd.ms-excel
  reader: date_column
  decimal: ","
  thousands: " "
  footer: "^Fuente"
  cron: "0 18 * * *"
  series:
    - {code: RESERVES_D, unit: M, sheet: RESERVAS, header_row: 3, skip_rows_after_header: 1,
       date_column: A, value_column: C}
    - code: RATE_D
      unit: PESOSxUSD
      sheet: RESERVAS
      header_row: 3
      skip_rows_after_header: 1
      date_column: A
      value_column: D
      header: Tipo de cambio
"""

IPC = r"""type: tnt_platform.components.SeriesDataset
attributes:
  description: Prices.
  owners: ["team:economics"]
  provider: Statistics office
  timezone: America/Argentina/Buenos_Aires
  frequency: M
  source:
    url: ipc/newest.xls
  reader: date_row
  series:
    - {code: IPC_TOTAL_M, unit: percent, sheet: IPC, dates_row: 6, first_column: B, values_row: 10, label: Total}
    - {code: "IPC_{label}_M", unit: percent, sheet: IPC, dates_row: 6, first_column: B, first_row: 11, last_row: 31}
"""

WIDE = r"""type: tnt_platform.components.SeriesDataset
attributes:
  description: Rates.
  owners: ["team:economics"]
  provider: Reserve bank
  timezone: UTC
  frequency: M
  source:
    url: s3://rates/monthly.csv
  reader: wide
  table:
    format: csv
    separator: ";"
    date_column: Date
  series:
    - {code: EUR_M, unit: USD, column: Euro}
    - {code: JPY_M, unit: USD, column: Yen}
"""

LONG = r"""type: tnt_platform.components.SeriesDataset
attributes:
  description: Rates.
  owners: ["team:economics"]
  provider: Reserve bank
  timezone: UTC
  frequency: M
  source:
    url: https://example.com/rates.json
  reader: long
  table:
    format: json
    records: "data[].{date: date, country: country.name, value: value}"
    date_column: date
    value_column: value
    code: FX_{country}_M
    unit: USD
"""


def workbook(sheets: dict[str, Sequence[Sequence[object]]]) -> bytes:
    """An xlsx whose sheets hold these rows from A1 on; None is a blank cell."""
    data = io.BytesIO()
    with xlsxwriter.Workbook(data, {"default_date_format": "yyyy-mm-dd"}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for row, cells in enumerate(rows):
                for column, value in enumerate(cells):
                    if isinstance(value, dt.date):
                        sheet.write_datetime(row, column, dt.datetime.combine(value, dt.time()))
                    elif value is not None:
                        sheet.write(row, column, value)
    return data.getvalue()


def months(count: int, first: dt.date = dt.date(2020, 1, 1)) -> list[dt.date]:
    """The first days of months that follow each other."""
    return [
        dt.date(first.year + (first.month - 1 + n) // 12, (first.month - 1 + n) % 12 + 1, 1)
        for n in range(count)
    ]


def days(count: int, first: dt.date = dt.date(2024, 1, 1)) -> list[dt.date]:
    """Working days that follow each other."""
    found: list[dt.date] = []
    day = first
    while len(found) < count:
        if day.weekday() < 5:
            found.append(day)
        day += dt.timedelta(days=1)
    return found
