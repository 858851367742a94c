"""How fast a workbook's cells are read, beside openpyxl in read-only mode over the same cells.

    python -m bench.workbook              12 sheets x 20,000 rows, a date and 3 values each; a few minutes
    python -m bench.workbook --small      4 sheets x 1,000 rows, for CI

Ours gives what a dataset gets: for each series the date and value cells as exact text with their place. openpyxl is
asked for the same columns of the same rows and does nothing with them but count, the least that any use of it costs.
Each measurement is a process of its own, the two alternate, and the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from importlib.metadata import version
from pathlib import Path
from random import Random

import xlsxwriter

from tnt_platform.series.normalized import READERS
from tnt_platform.series.readers.layouts import ColumnSeries, DateColumnLayout

RESULTS = Path(__file__).parent / "results" / "workbook.json"
WANTED_RATIO = 8.0
HEADER_ROW = 8
VALUE_COLUMNS = ("B", "C", "D")
FIRST_DAY = datetime.combine(date(1970, 1, 1), clock_time())


def sheet_name(number: int) -> str:
    return f"Hoja {number + 1}"


def write_workbook(path: Path, sheets: int, rows: int, *, dirty: bool) -> None:
    """Dates in A, numbers in B to D; `dirty` puts a text among the numbers of each column, as most real ones have."""
    random = Random(20261121)
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    as_day = book.add_format({"num_format": "dd/mm/yyyy"})
    for number in range(sheets):
        sheet = book.add_worksheet(sheet_name(number))
        sheet.write_row(HEADER_ROW - 1, 0, ["Fecha", "Uno", "Dos", "Tres"])
        for row in range(rows):
            sheet.write_datetime(HEADER_ROW + row, 0, FIRST_DAY + timedelta(days=row), as_day)
            for column in range(1, 1 + len(VALUE_COLUMNS)):
                if dirty and row % 1_000 == 17:
                    sheet.write_string(HEADER_ROW + row, column, "s/d")
                else:
                    sheet.write_number(HEADER_ROW + row, column, round(random.uniform(1, 1e6), 4))
    book.close()


def read_ours(data: bytes, sheets: int) -> int:
    """Every series of every sheet: how many pairs of a date and a value."""
    series = tuple(
        ColumnSeries(
            code=f"S{number}_{column}",
            sheet=sheet_name(number),
            header_row=HEADER_ROW,
            skip_rows_after_header=0,
            date_column="A",
            value_column=column,
            unit="x",
            frequency="D",
        )
        for number in range(sheets)
        for column in VALUE_COLUMNS
    )
    return READERS["date_column"](data, DateColumnLayout(series=series, footer=None)).cells.height


def read_openpyxl(path: Path, sheets: int) -> int:
    """The same pairs, through openpyxl's read-only mode."""
    from openpyxl import load_workbook

    book = load_workbook(path, read_only=True, data_only=True)
    pairs = 0
    for number in range(sheets):
        for row in book[sheet_name(number)].iter_rows(min_row=HEADER_ROW + 1, max_col=4, values_only=True):
            day, *values = row
            pairs += sum(day is not None or value is not None for value in values)
    book.close()
    return pairs


def measure(technique: str, path: Path, sheets: int) -> dict[str, float]:
    start = time.perf_counter()
    pairs = read_ours(path.read_bytes(), sheets) if technique == "ours" else read_openpyxl(path, sheets)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "pairs": pairs,
        "seconds": round(seconds, 3),
        "cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "peak_mb": round(used.ru_maxrss / 1024, 1),
    }


def _apart(technique: str, path: Path, sheets: int) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "bench.workbook",
        "--measure",
        technique,
        "--file",
        str(path),
        "--sheets",
        str(sheets),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def compare(sheets: int, rows: int, repeats: int) -> list[dict[str, object]]:
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temp:
        for kind in ("numbers only", "with text"):
            path = Path(temp) / f"{kind}.xlsx"
            write_workbook(path, sheets, rows, dirty=kind == "with text")
            runs = [(_apart("openpyxl", path, sheets), _apart("ours", path, sheets)) for _ in range(repeats)]
            assert all(theirs["pairs"] == ours["pairs"] for theirs, ours in runs)
            ratios = sorted(theirs["seconds"] / ours["seconds"] for theirs, ours in runs)
            middle = ratios[len(ratios) // 2]
            for technique, costs in (
                ("openpyxl", [run[0] for run in runs]),
                ("ours", [run[1] for run in runs]),
            ):
                typical = sorted(costs, key=lambda cost: cost["seconds"])[len(costs) // 2]
                ratio = middle if technique == "ours" else 1.0
                table.append(
                    {"workbook": kind, "technique": technique, **typical, "times_faster": round(ratio, 2)}
                )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="4 sheets x 1,000 rows")
    parser.add_argument("--measure", choices=["ours", "openpyxl"])
    parser.add_argument("--file", type=Path)
    parser.add_argument("--sheets", type=int, default=12)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.file, options.sheets)))
        return
    sheets, rows, repeats = (4, 1_000, 1) if options.small else (options.sheets, 20_000, 3)
    table = compare(sheets, rows, repeats)
    print(
        f"{'workbook':<16}{'technique':<12}{'pairs':>10}{'seconds':>10}{'CPU s':>10}{'peak MB':>10}{'x':>8}"
    )
    for row in table:
        print(
            f"{row['workbook']:<16}{row['technique']:<12}{row['pairs']:>10,}{row['seconds']:>10.2f}{row['cpu_s']:>10.2f}"
            f"{row['peak_mb']:>10.0f}{row['times_faster']:>8.1f}"
        )
    if options.small:
        return
    about = {"cpus": os.cpu_count(), "python": platform.python_version()}
    about |= {name: version(name) for name in ("polars", "fastexcel", "openpyxl")}
    work = {"sheets": sheets, "rows": rows, "wanted_times_faster": WANTED_RATIO}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": about, "work": work, "runs": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
