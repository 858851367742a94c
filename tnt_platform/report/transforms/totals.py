"""Sum the columns of a file exactly, and build a day's report from its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Final

import polars as pl

# One row per file. records, bad_records, columns and totals are null for a file that can't be read at all (`problem`).
FILES: Final[Mapping[str, pl.DataType]] = {
    "file_key": pl.String(),
    "format": pl.String(),
    "compression": pl.String(),
    "size_bytes": pl.Int64(),
    "records": pl.Int64(),
    "bad_records": pl.Int64(),
    "columns": pl.List(pl.String()),
    "totals": pl.List(pl.Struct({"column": pl.String(), "total": pl.String()})),
    "problem": pl.String(),
}
# Enough digits to add the largest and smallest numbers that match _NUMBER without rounding.
_DIGITS: Final = 400
_NUMBER: Final = r"^[+-]?(?:[0-9]{1,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})(?:[eE][+-]?[0-9]{1,2})?$"
_INTEGER: Final = r"^[+-]?[0-9]{1,18}$"
_BAD: Final = {"line_no": pl.Int64(), "raw": pl.String(), "reason_code": pl.String(), "reason": pl.String()}


@dataclass(frozen=True)
class Totals:
    """The exact sum of each column of a file (None if no record has a value), and the records that can't be summed.

    bad: line_no, raw, reason_code (not_a_number), reason.
    """

    sums: dict[str, Decimal | None]
    bad: pl.DataFrame


def totals_of(records: pl.DataFrame, names: Sequence[str]) -> Totals:
    """Sum the columns `names` of `records` (line_no, raw, columns as String).

    Absent columns and empty cells are skipped. A record with anything but a plain number in one of them is bad and
    adds to no total.
    """
    present = [name for name in names if name in records.columns]
    if not present:
        return Totals({}, pl.DataFrame(schema=_BAD))
    cells = records.select("line_no", "raw", *(_cell(name) for name in present))
    faults = pl.coalesce(_fault(name) for name in present).alias("reason")
    checked = cells.with_columns(faults)
    bad = checked.filter(pl.col("reason").is_not_null()).select(
        "line_no", pl.col("raw").str.slice(0, 10_000), pl.lit("not_a_number").alias("reason_code"), "reason"
    )
    good = checked.filter(pl.col("reason").is_null())
    return Totals({name: _sum(good[name]) for name in present}, bad)


def exact_text(number: Decimal | None) -> str | None:
    """Write a total with all digits and without an exponent."""
    if number is None:
        return None
    with localcontext(prec=_DIGITS):
        return f"{number.normalize():f}" if number else "0"


def report_of(
    date: str,
    files: pl.DataFrame,
    totals: Sequence[str],
    day_before: tuple[str, pl.DataFrame | None],
    same_weekday: tuple[str, pl.DataFrame | None],
) -> dict[str, Any]:
    """Build the report of a date as JSON values, without `generated_at`.

    Args:
        files: FILES of the date, at least one.
        totals: the columns that the YAML names; the total of a column that no file has is null.
        day_before, same_weekday: an earlier date and its FILES, or None if it has no files.
    """
    own = _figures(files, totals)
    return {
        "date": date,
        "file_count": files.height,
        "total_records": own.records,
        "bad_records": own.bad_records,
        "files": [_file(row) for row in files.sort("file_key").iter_rows(named=True)],
        "totals": {name: _number(total) for name, total in own.totals.items()},
        "compared": {
            "day_before": _compared(own, day_before, totals),
            "same_weekday": _compared(own, same_weekday, totals),
        },
    }


@dataclass(frozen=True)
class _Figures:
    records: int
    bad_records: int
    totals: dict[str, Decimal | None]


def _figures(files: pl.DataFrame, names: Sequence[str]) -> _Figures:
    sums: dict[str, Decimal | None] = dict.fromkeys(names)
    with localcontext(prec=_DIGITS):
        for totals in files["totals"].drop_nulls().to_list():
            for entry in totals:
                column, total = entry["column"], entry["total"]
                if column in sums and total is not None:
                    sums[column] = (sums[column] or Decimal(0)) + Decimal(total)
    return _Figures(int(files["records"].sum()), int(files["bad_records"].sum()), sums)


def _file(row: Mapping[str, Any]) -> dict[str, Any]:
    totals = (
        None
        if row["totals"] is None
        else {entry["column"]: _number(entry["total"]) for entry in row["totals"]}
    )
    return {
        "key": row["file_key"],
        "format": row["format"],
        "compression": row["compression"],
        "bytes": row["size_bytes"],
        "records": row["records"],
        "bad_records": row["bad_records"],
        "columns": row["columns"],
        "totals": totals,
        "problem": row["problem"],
    }


def _compared(
    own: _Figures, other: tuple[str, pl.DataFrame | None], names: Sequence[str]
) -> dict[str, Any] | None:
    date, files = other
    if files is None or files.is_empty():
        return None
    then = _figures(files, names)
    return {
        "date": date,
        "file_count": files.height,
        "total_records": then.records,
        "total_records_change": own.records - then.records,
        "totals": {name: _number(total) for name, total in then.totals.items()},
        "totals_change": {name: _number(_minus(own.totals[name], then.totals[name])) for name in names},
    }


def _minus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    if one is None or other is None:
        return None
    with localcontext(prec=_DIGITS):
        return one - other


def _number(total: Decimal | str | None) -> int | float | None:
    """Convert a total for JSON: whole numbers exactly, others to the nearest float."""
    if total is None:
        return None
    number = Decimal(total)
    return int(number) if number == number.to_integral_value() else float(number)


def _cell(name: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars()
    return pl.when(text != "").then(text).alias(name)


def _fault(name: str) -> pl.Expr:
    reason = pl.format(
        "{}: '{}' is not a plain number such as -12.5; correct it, or remove the column from `totals`",
        pl.lit(name),
        pl.col(name).str.slice(0, 60),
    )
    return pl.when(~pl.col(name).str.contains(_NUMBER)).then(reason)


def _sum(values: pl.Series) -> Decimal | None:
    cells = values.drop_nulls()
    if cells.is_empty():
        return None
    whole = cells.str.contains(_INTEGER)
    integers = cells.filter(whole).str.strip_prefix("+").cast(pl.Int64).cast(pl.Int128)
    with localcontext(prec=_DIGITS):
        return sum((Decimal(cell) for cell in cells.filter(~whole)), Decimal(int(integers.sum())))
