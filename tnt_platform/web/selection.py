"""Select rows and columns of one version, and read them page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
from polars.exceptions import PolarsError

from tnt_platform.lake.snapshot import Snapshot, scan_files
from tnt_platform.web.problems import bad_parameter
from tnt_platform.web.queries import DataQuery
from tnt_platform.web.rows import bodies

_FILES_A_READ = 64
_NUMBER = "#row"
_OPERATORS = {
    "eq": pl.Expr.eq,
    "ne": pl.Expr.ne,
    "lt": pl.Expr.lt,
    "le": pl.Expr.le,
    "gt": pl.Expr.gt,
    "ge": pl.Expr.ge,
}


@dataclass(frozen=True)
class Selection:
    """The selected rows and columns of a version."""

    snapshot: Snapshot
    columns: list[str]
    condition: pl.Expr | None
    partition: str | None

    @classmethod
    def of(cls, snapshot: Snapshot, query: DataQuery) -> Selection:
        """Check a query against the columns of a version.

        Raises:
            Problem: 400, a column, operator, value or partition is invalid.
        """
        schema = snapshot.schema
        columns = list(dict.fromkeys(query.columns.split(","))) if query.columns else list(schema)
        for name in columns:
            _column_type(schema, name, "columns")
        if query.partition is not None and snapshot.partition(query.partition) is None:
            some = snapshot.partitions["partition"].tail(5).to_list()
            raise bad_parameter(
                "partition",
                f"{query.partition!r} is not a partition of this version; it has {some} and others",
            )
        conditions = [_condition(schema, text) for text in query.where]
        condition = pl.all_horizontal(conditions) if conditions else None
        return cls(snapshot, columns, condition, query.partition)

    def scan(self) -> pl.LazyFrame:
        """Return all selected rows, lazily."""
        rows = self.snapshot.scan([self.partition] if self.partition else None)
        return self._filtered(rows).select(self.columns)

    def page(self, start: int, limit: int) -> tuple[list[str], int | None]:
        """Return up to `limit` rows as JSON from row number `start` on, and the row number of the next page.

        Row numbers serve as keys, because versions never change and not every dataset has a key. Only files from that
        row on are opened, some at a time.
        """
        files = self.snapshot.files
        if self.partition is not None:
            files = files.filter(partition=self.partition)
        files = files.with_columns(end=pl.col("rows").cum_sum()).filter(pl.col("end") > start)
        frames: list[pl.DataFrame] = []
        missing = limit + 1
        for group in _files_to_read(files):
            rows = self._numbered(group, start).head(missing).collect(engine="streaming")
            frames.append(rows)
            missing -= rows.height
            if not missing:
                break
        if not frames:
            return [], None
        rows = pl.concat(frames)
        more = int(rows[_NUMBER][limit]) if rows.height > limit else None
        return bodies(rows.head(limit).select(self.columns)), more

    def _numbered(self, files: pl.DataFrame, start: int) -> pl.LazyFrame:
        first = int(files["end"][0] - files["rows"][0])
        rows = scan_files(self.snapshot.objects, files, self.snapshot.schema).with_row_index("#index")
        rows = rows.slice(max(0, start - first))
        number = (pl.col("#index").cast(pl.Int64) + first).alias(_NUMBER)
        return self._filtered(rows.with_columns(number)).select(_NUMBER, *self.columns)

    def _filtered(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows if self.condition is None else rows.filter(self.condition)


def _files_to_read(files: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Group neighbouring files with the same columns; polars would reorder files with different ones."""
    for _, alike in files.group_by(pl.col("schema").rle_id().alias("#alike"), maintain_order=True):
        for offset in range(0, alike.height, _FILES_A_READ):
            yield alike.slice(offset, _FILES_A_READ)


def _column_type(schema: pl.Schema, name: str, parameter: str) -> pl.DataType:
    if name not in schema:
        raise bad_parameter(
            parameter, f"there is no column {name[:80]!r}; the columns are {', '.join(schema)}"
        )
    return schema[name]


def _condition(schema: pl.Schema, text: str) -> pl.Expr:
    """Parse `column:operator:value`; the value must be of the column's type."""
    parts = text.split(":", 2)
    if len(parts) != 3:
        raise bad_parameter("where", f"{text[:80]!r} is not column:operator:value")
    name, operator, value = parts
    dtype = _column_type(schema, name, "where")
    column = pl.col(name)
    if operator == "null":
        if value not in ("true", "false"):
            raise bad_parameter("where", f"null takes true or false, not {value[:80]!r}")
        return column.is_null() if value == "true" else column.is_not_null()
    if operator == "contains":
        if dtype != pl.String:
            raise bad_parameter("where", f"contains works on strings, but {name} is {dtype}")
        return column.str.contains(value, literal=True)
    if operator not in _OPERATORS:
        known = ", ".join([*_OPERATORS, "contains", "null"])
        raise bad_parameter("where", f"there is no operator {operator[:80]!r}; the operators are {known}")
    return _OPERATORS[operator](column, _literal(name, dtype, value))


def _literal(name: str, dtype: pl.DataType, value: str) -> pl.Expr:
    try:
        if dtype == pl.Boolean:
            return pl.lit({"true": True, "false": False}[value])
        if dtype == pl.Date:
            return pl.lit(date.fromisoformat(value))
        if isinstance(dtype, pl.Datetime):
            moment = datetime.fromisoformat(value)
            if (moment.tzinfo is None) != (dtype.time_zone is None):
                raise ValueError(value)
            return pl.lit(moment)
        if dtype.is_nested() or dtype == pl.Binary:
            raise ValueError(value)
        return pl.lit(pl.Series([value]).cast(dtype)[0], dtype)
    except (ValueError, KeyError, OverflowError, PolarsError) as error:
        raise bad_parameter(
            "where", f"{value[:80]!r} can't be compared with {name}, which is {dtype}"
        ) from error


def frame_page(frame: pl.DataFrame, start: int, limit: int) -> tuple[Sequence[str], int | None]:
    """Return a page of a frame as JSON rows, and the row number of the next page."""
    rows = frame.slice(start, limit)
    more = start + limit if start + limit < frame.height else None
    return bodies(rows), more
