"""The bench of published series, by deltalake and pyiceberg."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from bench.series_cost import Cost, measured, median_ms, shares
from bench.series_rows import changed_months, corrected, question, with_month


def delta(folder: Path, rows: pl.DataFrame, changed: int) -> tuple[list[Cost], dict[str, float]]:
    from deltalake import DeltaTable, QueryBuilder, write_deltalake

    table = str(folder / "delta")
    by = ["internal_series_code", "month"]
    whole = with_month(rows).to_arrow()
    who = "deltalake"
    first = measured(
        who, "first publish, by month", folder, lambda: write_deltalake(table, whole, partition_by=by)
    )
    part = changed_months(rows, corrected(rows, changed))
    keys = part.select(by).unique().rows()
    predicate = " OR ".join(
        f"(internal_series_code = '{code}' AND month = '{month}')" for code, month in keys
    )
    change = part.to_arrow()
    second = measured(
        who,
        f"{changed} partitions replaced",
        folder,
        lambda: write_deltalake(table, change, mode="overwrite", predicate=predicate),
    )
    code, months, wanted = question(rows)
    # Its own SQL engine: pyarrow makes a fragment of each of the 48,000 files first, which takes many seconds.
    query = f"SELECT * FROM t WHERE internal_series_code = '{code}' AND month >= '{months[0]}'"

    def ask(opened: DeltaTable) -> None:
        answer = QueryBuilder().register("t", opened).execute(query).read_all()
        assert answer.num_rows == wanted

    opened = DeltaTable(table)
    facts = {
        "read_ms": median_ms(lambda: ask(DeltaTable(table)), 3),
        "read_with_table_in_hand_ms": median_ms(lambda: ask(opened), 3),
    }
    return [first, second], {**facts, **shares(first, second)}


def iceberg(folder: Path, rows: pl.DataFrame, changed: int) -> tuple[list[Cost], dict[str, float]]:
    return _iceberg(folder, rows, changed, by_month=True)


def iceberg_by_series(folder: Path, rows: pl.DataFrame, changed: int) -> tuple[list[Cost], dict[str, float]]:
    """A layout that its writer is meant for: a file a series, so that each change rewrites a series."""
    return _iceberg(folder, rows, changed, by_month=False)


def _iceberg(
    folder: Path, rows: pl.DataFrame, changed: int, *, by_month: bool
) -> tuple[list[Cost], dict[str, float]]:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual
    from pyiceberg.transforms import IdentityTransform

    home = folder / "iceberg"
    home.mkdir(parents=True)
    catalog = SqlCatalog("bench", uri=f"sqlite:///{home}/catalog.db", warehouse=home.as_uri())
    catalog.create_namespace("bench")
    whole = with_month(rows).to_arrow()
    table = catalog.create_table("bench.observations", schema=whole.schema)
    with table.update_spec() as update:
        update.add_field("internal_series_code", IdentityTransform(), "code")
        if by_month:
            update.add_field("month", IdentityTransform(), "month_of")
    who, layout = ("pyiceberg", "by month") if by_month else ("pyiceberg by series", "by series")
    first = measured(who, f"first publish, {layout}", folder, lambda: table.append(whole))
    after = corrected(rows, changed)
    part = changed_months(rows, after)
    if not by_month:
        codes = part.select("internal_series_code").unique()
        part = with_month(after).join(codes, on="internal_series_code", how="semi")
    change = part.to_arrow()
    second = measured(
        who, f"{changed} values changed", folder, lambda: table.dynamic_partition_overwrite(change)
    )
    code, months, wanted = question(rows)
    where = And(EqualTo("internal_series_code", code), GreaterThanOrEqual("month", months[0]))

    def read() -> None:
        found = catalog.load_table("bench.observations").scan(row_filter=where).to_arrow()
        assert found.num_rows == wanted

    opened = catalog.load_table("bench.observations")

    def read_opened() -> None:
        assert opened.scan(row_filter=where).to_arrow().num_rows == wanted

    facts = {"read_ms": median_ms(read, 3), "read_with_table_in_hand_ms": median_ms(read_opened, 3)}
    return [first, second], {**facts, **shares(first, second)}
