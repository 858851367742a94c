"""Draft the layout of workbooks: find blocks of dates with values along them, and write a series for each line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.series.drafting.dates import (
    FREQUENCIES,
    FREQUENCY_NAMES,
    MIN_DATES,
    Timeline,
    date_checks,
    months_across_years,
)
from tnt_platform.series.drafting.draft import UNIT, Draft, code_of, code_part, footer_of, unique_codes
from tnt_platform.series.drafting.grid import Grid
from tnt_platform.series.drafting.numbers import number_format
from tnt_platform.series.readers.cells import slug
from tnt_platform.series.readers.layouts import column_letters
from tnt_platform.series.readers.sheet import Sheet
from tnt_platform.series.readers.workbook import Workbook

_SHEETS_LISTED: Final = 12
# More labelled rows than this are drafted as blocks, whose rows are a series each.
_MAX_SINGLE_ROWS: Final = 12
_HEADER_SEARCH_ROWS: Final = 15
# A header that names a moment will differ in the next file.
_MOMENT: Final = re.compile(r"(?:19|20)[0-9]{2}|\d{1,2}[/-]\d")
_RUN: Final = 4
_SAMPLE: Final = 2_000


@dataclass(frozen=True)
class Block:
    """A column of dates, or with `across` a row of them, and the columns or rows of values along it.

    line: the column or row of the dates, from 0. lines: each column or row of values, with its header or label.
    place: what all its series declare in a `defs.yaml`. title: what stands before a row of dates. values: the cells,
    of long columns the first. printed: the dates as printed.
    """

    across: bool
    line: int
    place: Mapping[str, Any]
    dates: Timeline
    count: int
    lines: tuple[tuple[int, str | None], ...]
    values: pl.Series
    printed: tuple[str | None, ...]
    detected: str
    title: str | None = None
    notes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


# The parts that the codes of a block begin with.
_Prefix = tuple[str, str]


class _Sheet(NamedTuple):
    grid: Grid
    blocks: list[Block]


class _Series(NamedTuple):
    """A series to be: its code, what makes the code unique, and its lines in the sheet."""

    code: str
    suffix: str
    block: Block
    place: Mapping[str, Any]


def draft_workbook(workbook: Workbook, name: str, only: str | None = None) -> Draft:
    """Draft the series of all sheets, or of one.

    Raises:
        InvalidInput: missing_sheet, or nothing_recognised with what each sheet starts with.
    """
    names = [only] if only is not None else workbook.sheet_names
    grids = [Grid(sheet.name, sheet.all_cells().columns) for sheet in map(workbook.sheet, names)]
    sheets = [_Sheet(grid, _blocks(grid)) for grid in grids]
    percents = [check for grid in grids for check in _percents(workbook.sheet(grid.name))]
    down, across = (
        sum(len(block.values) for sheet in sheets for block in sheet.blocks if block.across is way)
        for way in (False, True)
    )
    if not down and not across:
        raise InvalidInput("nothing_recognised", _nothing_recognised(grids))
    draft = _draft(sheets, name, across=across > down)
    return replace(draft, check=(*draft.check, *percents))


def _percents(sheet: Sheet) -> Iterator[str]:
    columns = [column_letters(at) for at in sheet.percent_columns]
    if columns:
        yield (
            f"sheet {sheet.name!r}: cells of column {', '.join(columns)} are shown as percentages and stored as "
            "fractions (25% as 0.25): the unit is the fraction"
        )


def _draft(sheets: Sequence[_Sheet], name: str, *, across: bool) -> Draft:
    """Draft the sheets whose dates run one way; the others are reported as left out."""
    used = [sheet for sheet in sheets if sheet.blocks and sheet.blocks[0].across is across]
    # A sheet is part of its series' codes only where there are several.
    parts = [code_part(sheet.grid.name) if len(used) > 1 else "" for sheet in used]
    blocks = [
        ((code_part(name), part), block)
        for part, sheet in zip(parts, used, strict=True)
        for block in sheet.blocks
    ]
    dates = [block.dates for _, block in blocks]
    frequency = max(FREQUENCIES, key=[line.frequency for line in dates].count)
    numbers = number_format(pl.concat([block.values for _, block in blocks]))
    numbers = numbers.with_marks(mark for line in dates for mark in line.marks)
    orders = [line.order for line in dates if line.order is not None]
    found = list(_row_series(blocks) if across else _column_series(blocks))
    codes = unique_codes([one.code for one in found], [one.suffix for one in found])
    return Draft(
        reader="date_row" if across else "date_column",
        frequency=frequency,
        series=tuple(_entry(code, one, frequency) for code, one in zip(codes, found, strict=True)),
        options=numbers.options(is_text=False) | ({"date_order": min(orders)} if orders else {}),
        footer=footer_of(
            [note for _, block in blocks for note in block.notes],
            [text for _, block in blocks if not across for text in block.printed],
        ),
        detected=(*(block.detected for _, block in blocks), *_left_out(sheets, used)),
        check=(
            *(check for _, block in blocks for check in block.checks),
            *([f"days and months are read as {min(orders)}: compare one with the file"] if orders else []),
            *numbers.checks,
            *date_checks(text for _, block in blocks for text in block.printed)[1],
            *(check for sheet in used for check in _numbers_left_out(sheet)),
        ),
    )


def _numbers_left_out(sheet: _Sheet) -> Iterator[str]:
    """Name the columns, or rows, with numbers that no block reads."""
    grid, across = sheet.grid, sheet.blocks[0].across
    used = {at for block in sheet.blocks for at, _ in block.lines} | {block.line for block in sheet.blocks}
    for at in range(grid.height if across else grid.width):
        found = None if at in used else grid.numbers_in(grid.row(at) if across else grid.column(at))
        if found:
            line = f"row {at + 1}" if across else f"column {column_letters(at)}"
            yield f"sheet {grid.name!r}: {line} is left out: {found}"


def _entry(code: str, one: _Series, frequency: str) -> dict[str, Any]:
    entry = {"code": code, "unit": UNIT, **one.block.place, **one.place}
    own = one.block.dates.frequency
    return entry if own == frequency else {**entry, "frequency": own}


def _blocks(grid: Grid) -> list[Block]:
    """Find the blocks of a sheet: all run down, or all across."""
    down = _column_blocks(grid) if grid.width else []
    across = _row_blocks(grid) if grid.width else []
    # Both readings explain a square of dates; the one that runs further along its dates is right.
    longest_down = max((block.count for block in down), default=0)
    longest_across = max((block.count for block in across), default=0)
    return down if longest_down > longest_across or not across else across


def _column_blocks(grid: Grid) -> list[Block]:
    """Find the columns of dates; each owns the columns of values to its right, the first also those to its left."""
    found = grid.timelines()
    beside: dict[int, list[int]] = {at: [] for at in found}
    for column in range(grid.width):
        owner = max((at for at in found if at < column), default=min(found, default=column))
        if column in found or owner not in found:
            continue
        if grid.are_numbers(grid.cell(row, column) for row in found[owner].positions):
            beside[owner].append(column)
    blocks = [_column_block(grid, at, found[at], columns) for at, columns in beside.items() if columns]
    return [
        block
        for block in blocks
        if block.count >= MIN_DATES
        and len(block.values)
        and not months_across_years(block.dates.frequency, [header for _, header in block.lines])
    ]


def _column_block(grid: Grid, at: int, dates: Timeline, columns: Sequence[int]) -> Block:
    first = _first_of_run(dates.positions)
    rows = [row for row in dates.positions if row >= first]
    header = _header_row(grid, [at, *columns], first)
    header_row = first if header is None else header
    first_row = max(first, header_row + 1)
    letters = column_letters(at)
    cells = [
        text for column in columns for row in rows[:_SAMPLE] if (text := grid.cell(row, column)) is not None
    ]
    checks = []
    if header is None:
        checks.append(
            f"sheet {grid.name!r}: row {first + 1} has data where a header is expected: it is not read"
        )
    if not dates.regular:
        checks.append(
            f"sheet {grid.name!r}: the dates in column {letters} are irregular: check the frequency"
        )
    return Block(
        across=False,
        line=at,
        place={
            "sheet": grid.name,
            "header_row": header_row + 1,
            "skip_rows_after_header": first_row - header_row - 1,
            "date_column": letters,
        },
        dates=dates,
        count=len(rows),
        lines=tuple((column, None if header is None else grid.cell(header, column)) for column in columns),
        values=pl.Series(cells, dtype=pl.String),
        printed=tuple(grid.cell(row, at) for row in rows),
        detected=(
            f"sheet {grid.name!r}: dates down column {letters} from row {first_row + 1} "
            f"({len(rows)} of them, {FREQUENCY_NAMES[dates.frequency]}), header in row {header_row + 1}, "
            f"{len(columns)} columns of values"
        ),
        notes=tuple(text for text in grid.column(at)[rows[-1] + 1 :] if text is not None),
        checks=tuple(checks),
    )


def _first_of_run(rows: Sequence[int]) -> int:
    """Return where dates follow each other: one alone above them, such as a date of publication, is not data."""
    for number, row in enumerate(rows):
        run = rows[number : number + _RUN]
        if len(run) < 2 or run[1] - row <= 2:
            return row
    return rows[0]


def _header_row(grid: Grid, columns: Sequence[int], first: int) -> int | None:
    """Return the row above the data that names most columns, then has most distinct names; the lowest of equals."""
    scores = []
    for row in range(max(0, first - _HEADER_SEARCH_ROWS), first):
        dates, *values = (grid.cell(row, column) for column in columns)
        if any(label is not None for label in values):
            labels = [label for label in (dates, *values) if label is not None]
            scores.append((len(labels), len(set(labels)), row))
    if scores:
        return max(scores)[-1]
    return first - 1 if first else None


def _column_series(blocks: Sequence[tuple[_Prefix, Block]]) -> Iterator[_Series]:
    for prefix, block in blocks:
        for at, header in block.lines:
            letters = column_letters(at)
            code = code_of(*prefix, code_part(header or letters) or letters, block.dates.frequency)
            is_stable = header and not _MOMENT.search(header)
            place = {"value_column": letters} | ({"header": header} if is_stable else {})
            yield _Series(code, letters, block, place)


def _row_blocks(grid: Grid) -> list[Block]:
    """Find the rows of dates with labelled rows of values below, up to the next row of dates."""
    found = list(grid.timelines(across=True).items())
    ends = [*(row for row, _ in found[1:]), grid.height]
    blocks = (_row_block(grid, row, dates, end) for (row, dates), end in zip(found, ends, strict=False))
    return [block for block in blocks if block is not None]


def _row_block(grid: Grid, row: int, dates: Timeline, end: int) -> Block | None:
    places = dates.positions
    rows = [at for at in range(row + 1, end) if grid.are_numbers(grid.cell(at, place) for place in places)]
    column = _label_column(grid, rows, places[0])
    if column is None:
        return None
    lines = [(at, label) for at in rows if (label := grid.cell(at, column)) is not None and slug(label)]
    if not lines:
        return None
    labelled = [at for at, _ in lines]
    sheet, title = f"sheet {grid.name!r}", grid.cell(row, column)
    checks = [f"{sheet}: row {at + 1} has values but no label: left out" for at in rows if at not in labelled]
    if not dates.regular:
        checks.append(f"{sheet}: the dates in row {row + 1} are irregular: check the frequency")
    cells = [text for at in rows for place in places if (text := grid.cell(at, place)) is not None]
    first, label_column = column_letters(places[0]), column_letters(column)
    return Block(
        across=True,
        line=row,
        place={"sheet": grid.name, "dates_row": row + 1, "first_column": first}
        | ({"label_column": label_column} if column else {}),
        dates=dates,
        count=dates.count,
        lines=tuple(lines),
        values=pl.Series(cells, dtype=pl.String),
        printed=tuple(grid.cell(row, place) for place in places),
        detected=(
            f"{sheet}: dates along row {row + 1} from column {first} "
            f"({dates.count} of them, {FREQUENCY_NAMES[dates.frequency]}), {len(lines)} rows of values with labels in "
            f"column {label_column}" + (f", under {title!r}" if title else "")
        ),
        title=title,
        checks=tuple(checks),
    )


def _label_column(grid: Grid, rows: Sequence[int], before: int) -> int | None:
    """Return the column left of the dates with the most distinct labels; the leftmost of equals."""
    cells = [{grid.cell(row, column) for row in rows} - {None} for column in range(before)]
    counts = [sum(not grid.is_number(text or "") for text in column) for column in cells]
    return counts.index(max(counts)) if any(counts) else None


def _row_series(blocks: Sequence[tuple[_Prefix, Block]]) -> Iterator[_Series]:
    """Yield each labelled row if they are few, otherwise runs of rows whose codes come from their labels."""
    single = sum(len(block.lines) for _, block in blocks) <= _MAX_SINGLE_ROWS
    sheets = [block.place["sheet"] for _, block in blocks]
    for prefix, block in blocks:
        # Titles tell the blocks of one sheet apart.
        title = ""
        if sheets.count(block.place["sheet"]) > 1:
            title = code_part(block.title or f"R{block.place['dates_row']}")
        if single:
            for at, label in block.lines:
                code = code_of(*prefix, title, code_part(label or ""), block.dates.frequency)
                yield _Series(code, f"R{at + 1}", block, {"values_row": at + 1, "label": label})
            continue
        for number, run in enumerate(_runs_of_distinct_labels(block)):
            code = code_of(
                *prefix, title, str(number + 1) if number else "", "{label}", block.dates.frequency
            )
            yield _Series(code, f"R{run[0]}", block, {"first_row": run[0], "last_row": run[-1]})


def _runs_of_distinct_labels(block: Block) -> Iterator[list[int]]:
    """Split the rows of a block, counted from 1, where a label occurs again: a code names one series."""
    run: list[int] = []
    seen: set[str] = set()
    for at, label in block.lines:
        if slug(label or "") in seen:
            yield run
            run, seen = [], set()
        run.append(at + 1)
        seen.add(slug(label or ""))
    yield run


def _left_out(sheets: Sequence[_Sheet], used: Sequence[_Sheet]) -> Iterator[str]:
    for sheet in sheets:
        if sheet in used:
            continue
        reason = "no dates with values"
        if found := sheet.grid.numbers_in(
            text for at in range(sheet.grid.width) for text in sheet.grid.column(at)
        ):
            reason += f" ({found})"
        if sheet.blocks:
            way = "along a row" if sheet.blocks[0].across else "down a column"
            reason = f"its dates run {way}, which needs a dataset of its own (use --sheet)"
        yield f"sheet {sheet.grid.name!r} left out: {reason}"


def _nothing_recognised(grids: Sequence[Grid]) -> str:
    seen = "; ".join(
        f"sheet {grid.name!r} has {grid.height} rows and {grid.width} columns and starts with {grid.first_label!r}"
        for grid in grids[:_SHEETS_LISTED]
    )
    return (
        f"no dates with values beside or below them were recognised: {seen}. Three or more dates must be in one column "
        "or one row; if they are split, as a column of years beside one of months, write the series yourself, with "
        "`year_column` or `years_row`"
    )
