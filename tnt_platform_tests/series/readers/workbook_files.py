"""Workbooks made for the tests, and a reader of them that shares nothing with the platform's."""

import datetime as dt
import io
import re
import zipfile
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import openpyxl
import xlsxwriter
import xlwt

Grid = dict[tuple[int, int], Any]  # row and column from 1


def made(fill: Callable[[xlsxwriter.Workbook], None], **options: Any) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_numbers": False, **options}) as book:
        fill(book)
    return out.getvalue()


def xlsx(sheets: dict[str, Grid], **options: Any) -> bytes:
    """Make a workbook of numbers, texts, booleans and dates; a datetime is a cell with the format of a date."""

    def fill(book: xlsxwriter.Workbook) -> None:
        date_format = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        for name, grid in sheets.items():
            sheet = book.add_worksheet(name)
            for (row, column), value in grid.items():
                if isinstance(value, dt.datetime):
                    sheet.write_datetime(row - 1, column - 1, value, date_format)
                elif isinstance(value, bool):
                    sheet.write_boolean(row - 1, column - 1, value)
                elif isinstance(value, (int, float)):
                    sheet.write_number(row - 1, column - 1, value)
                else:
                    sheet.write_string(row - 1, column - 1, value)

    return made(fill, **options)


def xls(sheets: dict[str, Grid]) -> bytes:
    book = xlwt.Workbook()
    style = xlwt.XFStyle()
    style.num_format_str = "yyyy-mm-dd"
    for name, grid in sheets.items():
        sheet = book.add_sheet(name)
        for (row, column), value in grid.items():
            sheet.write(row - 1, column - 1, value, *((style,) if isinstance(value, dt.datetime) else ()))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def text_of(value: Any) -> str | None:
    """What a cell should read as."""
    if value is None or isinstance(value, str):
        return re.sub(r"^[\s\u200b\ufeff]+|[\s\ufeff]+$", "", value or "") or None
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, dt.datetime):
        value = (value + dt.timedelta(microseconds=500_000)).replace(microsecond=0)
        return value.strftime("%Y-%m-%d" if value.time() == dt.time() else "%Y-%m-%d %H:%M:%S")
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")


def oracle(data: bytes) -> dict[str, Grid]:
    """Read every cell with openpyxl, one by one."""
    book = openpyxl.load_workbook(io.BytesIO(data), data_only=True)
    return {
        sheet.title: {
            (cell.row, cell.column): text
            for row in sheet.iter_rows()
            for cell in row
            if (text := text_of(cell.value)) is not None
        }
        for sheet in book.worksheets
    }


def repacked(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """Change the parts of a workbook."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out.getvalue()
